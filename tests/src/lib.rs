//! What the end-to-end tests and the benches share: a running federation, and callers of every kind.

mod callers;
mod liar;
mod shared;

pub use callers::{Caller, refusal_of};
pub use liar::Liar;
pub use shared::{Shared, run, shared, verified_refusal};
