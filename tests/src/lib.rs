//! What the end-to-end tests and the benches share: a running federation, and callers of every kind.

pub mod bench;
mod callers;
mod liar;
mod own;
mod rewrite;
mod shared;

pub use callers::{Caller, refusal_of};
pub use liar::Liar;
pub use own::{Own, ask_until_answered, built, copy_folder, files_below, passes};
pub use rewrite::without_rows;
pub use shared::{Shared, http_get, run, shared, verified_refusal};
