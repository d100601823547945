//! What is allowed: the constitution, the policy bundle, and decisions.
//!
//! - [`constitution`] is compiled in: `forbid` policies that read the context alone and that no bundle can lift.
//! - [`Candidate`] is a bundle folder as read; [`Bundle::first`], [`Bundle::succeed`] and [`Bundle::resume`] are the
//!   only ways for it to come into force. [`signing`] is what overseers and agencies do to get it there.
//! - [`Bundle::decide`] answers a [`Question`] with a [`Permit`], which nothing else can make, or a [`Denial`].
//! - [`ceilings`] bound the privacy loss that any bundle can allow.
//!
//! Nothing here reads a clock or keeps state: the present moment, the watermark of the last bundle and the
//! suspensions in force are passed in by the program.

mod bundle;
mod candidate;
mod catalogue;
pub mod ceilings;
pub mod constitution;
mod content;
mod context;
mod decision;
mod disclosure;
mod error;
mod manifest;
mod match_terms;
mod overseers;
mod permit;
mod ratchet;
mod refusal;
pub mod signing;
mod suspension;
mod view;

#[cfg(test)]
mod fixture;

pub use bundle::{Bundle, Watermark};
pub use candidate::Candidate;
pub use catalogue::{VisibleDataset, VisibleMatch};
pub use decision::{DatasetAccess, Misnamed, OutputKind, Question};
pub use error::BundleError;
pub use manifest::{Manifest, Validity};
pub use overseers::{AgencyKey, Overseer, Overseers, OverseersError, TrustRoot};
pub use permit::{DecisionFacts, Denial, Permit};
pub use ratchet::{Loosening, WAITING_DAYS};
pub use suspension::Suspensions;
