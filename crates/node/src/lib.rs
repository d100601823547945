//! What the gateway and an adapter do alike: read their configuration, hold the policy in force, decide a request
//! from the bytes that came in, and sign evidence of what they did.
//!
//! Neither believes the other. Both call [`decide_query`] and [`decide_match`] on the caller's own, signed request;
//! that they run the same code is why a request that the gateway lets through is one that an honest adapter answers.

mod accounts;
mod configuration;
mod decide;
mod evidence;
mod policy;
mod submitted;

pub use accounts::{account_name, accounts_of, exhausted};
pub use configuration::{Bundles, ConfigurationError, Tls, load};
pub use decide::{DecidedQuery, decide_match, decide_query, foresee_query};
pub use evidence::{Evidence, EvidenceError, Recorder, release_name, release_payload};
pub use policy::{PolicyError, PolicyInForce};
pub use submitted::{Caller, SubmittedMatch, SubmittedQuery};
