//! What the gateway and an adapter do alike: read their configuration, hold the policy in force, decide a request
//! from the bytes that came in, and sign evidence of what they did. A few readers of one of them alone stand here too,
//! since the fuzz targets build on neither program.
//!
//! Neither believes the other. Both call [`decide_query`], [`decide_join`] and [`decide_match`] on the caller's own, signed request;
//! that they run the same code is why a request that the gateway lets through is one that an honest adapter answers.

mod accounts;
mod caps;
mod choices;
mod configuration;
mod decide;
mod evidence;
mod join;
mod join_session;
mod misnamed;
mod policy;
mod publication;
mod release;
mod standing;
mod submitted;

pub use accounts::{account_name, accounts_of, exhausted, limits_of};
pub use caps::{caps_of, exhausted_cap};
pub use choices::{LONGEST_PERSON, UnreadChoice, read_choice, read_person, told_choice};
pub use configuration::{Bundles, ConfigurationError, Tls, check_folder, check_loopback, check_state_key, load};
pub use decide::{DecidedPart, DecidedQuery, decide_match, decide_query, facts_of, foresee_query, refuse_misnamed};
pub use evidence::{Content, Evidence, EvidenceError, Recorder, is_release_payload, is_request_payload, release_name};
pub use join::{DecidedJoin, DecidedSide, StandingJoin, decide_join, foresee_join};
pub use join_session::join_session;
pub use misnamed::{MisnamedRequest, Unread};
pub use policy::{PolicyError, PolicyInForce};
pub use publication::{PublicationContent, permit_publication, publication_payload, published_figures};
pub use release::{CitedRelease, StoredQuestion};
pub use standing::StandingMatch;
pub use submitted::{Caller, RequestedExport, SubmittedMatch, SubmittedQuery};
