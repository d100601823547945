//! The proof that the constitution suffices, for reviewers and for the build; never part of an adapter.
//!
//! [`prove`] shows with an SMT solver that the constitution together with `permit (principal, action, resource);`
//! allows nothing of what must never be allowed ([`never_text`]), and that none of its policies can err. Any bundle's
//! policies allow at most what that permit does, so the proof holds for every policy that anyone may ever add. It is
//! about policies; that the facts in a bundle (classes, roles, budgets) only tighten is the ratchet's work.
//!
//! [`weakened`] gives constitutions with something missing, in each of which the prover must find the hole.

mod counterexample;
mod prove;
mod solver;
mod weakened;

pub use counterexample::Counterexample;
pub use prove::{Proof, ProofError, Property, never_text, properties, prove, prove_property, prove_that};
pub use solver::{Solver, SolverMissing};
pub use weakened::{Weakened, weakened};
