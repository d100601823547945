//! What the end-to-end tests and the benches share: a running federation, and callers of every kind.

pub mod bench;
mod callers;
mod contract;
mod held;
mod inside;
mod liar;
mod own;
mod raw;
mod rewrite;
mod shared;

pub use callers::{Caller, refusal_of};
pub use contract::{change_contract, change_contracts, offered_digest, rewrite_contract};
pub use firebreak_testbed::http_file;
pub use held::HeldFile;
pub use inside::Inside;
pub use liar::{Liar, Relayed};
pub use own::{Own, ask_until_answered, built, copy_folder, files_below, passes};
pub use raw::{Header, hear, hear_under, send};
pub use rewrite::{Written, with_columns, with_rows, without_rows};
pub use shared::{Shared, http_get, run, shared, verified_refusal};
