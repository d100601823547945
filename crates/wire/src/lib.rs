//! What goes over the wire: generated code, and its conversions to and from the types that the rest of Firebreak uses.
//!
//! A conversion from the wire checks form and nothing else; its errors are refusals that name the field and never the
//! value. The generated code in `gen/` is written by `cargo xtask codegen` from `proto/`.

mod answer;
mod caps;
mod charge;
mod group;
mod header;
mod opening;
mod published;
mod question;
mod refusal;
mod view;

pub use answer::{
    accepted, accepted_at, accepted_over, all_groups, answer_rows, column, estimate_status, estimate_to_wire,
    left_out_to_wire, part_to_wire,
};
pub use caps::{from_wire as cap_from_wire, to_wire as cap_to_wire};
pub use charge::{from_wire as charge_from_wire, to_wire as charge_to_wire};
pub use header::{Header, MisnamedHeader, ReadHeader, RequestSignature, export_kind_name};
pub use opening::{opening_from_wire, opening_to_wire};
pub use published::{figures_from_bytes, figures_to_bytes, stored_publication_from_bytes, stored_publication_to_bytes};
pub use question::{question_from_bytes, question_from_wire, question_to_bytes, question_to_wire, sql_question};
pub use refusal::{
    ERROR_DOMAIN, ReceivedRefusal, reason_from_wire, reason_to_wire, refusal_from_wire, refusal_of_status,
    refusal_to_wire, status_of_refusal,
};

/// The generated code.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "generated"
)]
mod generated {
    include!("gen/mod.rs");
}

pub use generated::firebreak::*;

/// The compiled `proto/` files, for reflection and for tests over every method.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");
