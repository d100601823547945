//! The words that every part of Firebreak shares: names, purposes, agreements, contracts, classes of
//! recipient, privacy loss, time, and the reasons for a refusal.
//!
//! Nothing here reads a file, opens a socket or waits. Nothing here prints a value that a caller typed:
//! every error names the *kind* of thing that was wrong, because a literal, a column name or an agreement
//! id typed by mistake can be somebody's national number.

mod agreement;
mod assessment;
mod binding;
mod caps;
mod charge;
mod clock;
mod closed;
mod contract;
mod epoch;
mod identity;
mod ids;
mod intent;
mod join_terms;
mod match_key;
mod open_code;
mod payload;
mod publication;
mod recipient;
mod refusal;
mod release_name;
mod seal_key;

pub use agreement::{
    Agreement, AgreementBudget, AgreementDataset, LegalBasis, MatchTerms, Mechanism, Operation, SpecialGround,
};
pub use assessment::Assessment;
pub use binding::{Binding, CutFile, FileType, Misfit};
pub use caps::{CapLimits, CapPeriod, CapStanding, Counted, MATCH_CHUNK, MatchCaps, tags_of};
pub use charge::{Charge, ChargeOverflow, Delta, Epsilon, Rho};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use closed::Closed;
pub use contract::{
    Code, Column, ColumnRole, Contract, ContractError, Contribution, Domain, PartOf, SpecialKind, UnitSpace,
};
pub use epoch::{Epoch, EpochTerms};
pub use identity::{Identity, IdentityError, IdentityRole};
pub use ids::{
    AgreementId, AssessmentId, ColumnName, CutId, DatasetId, EndpointId, InvalidId, MatchKeyName, OrgId, PurposeId,
    RequestId, UnitSpaceId,
};
pub use intent::{Act, Intent};
pub use join_terms::{JoinSide, JoinTerms, MAX_JOIN_CELLS};
pub use match_key::{MATCHED_BY_COLUMNS, MOST_MATCH_KEYS, MatchKey};
pub use open_code::OpenCode;
pub use payload::{PayloadError, PayloadLayout, PayloadRow, PayloadTerms};
pub use publication::{InvalidPublication, PublicationId, PublicationStep, SeriesId};
pub use recipient::{ClassFinding, Endpoint, Organisation, Pin, Recipient, RecipientClass, Registry, RegistryError};
pub use refusal::{ReasonCode, Refusal};
pub use release_name::{InvalidReleaseName, ReleaseName};
pub use seal_key::SealKey;

/// The number of the stored, signed and sent formats defined here. A higher one is refused by name.
pub const FORMAT: u32 = 1;

/// A stored or received thing that carries a format this program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} has format {found}, this program reads up to {FORMAT}: upgrade it")]
pub struct UnknownFormat {
    /// What carried the number, in words.
    pub what: &'static str,
    /// The number found.
    pub found: u32,
}

/// Accepts `found` if this program can read it.
///
/// # Errors
/// [`UnknownFormat`] for 0 and for anything above [`FORMAT`].
pub fn check_format(what: &'static str, found: u32) -> Result<(), UnknownFormat> {
    if (1..=FORMAT).contains(&found) { Ok(()) } else { Err(UnknownFormat { what, found }) }
}
