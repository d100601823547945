//! Choices of persons as the agency's staff records them.

use firebreak_domain::PurposeId;
use firebreak_store::{Choice, RecordedChoice};
use firebreak_wire::local::v1::{self as wire, ChoiceKind};
use tonic::Status;

/// Bytes of a person's key, at most.
const LONGEST_KEY: usize = 256;

/// The person and the choice of a request.
///
/// # Errors
/// `INVALID_ARGUMENT`, which says what is missing.
pub(super) fn read(request: &wire::RecordChoiceRequest) -> Result<(String, Choice), Status> {
    let purpose = match request.purpose.as_str() {
        "" => None,
        name => Some(PurposeId::new(name).map_err(|error| Status::invalid_argument(error.to_string()))?),
    };
    let of_one = || Status::invalid_argument("consent is to one purpose: name it");
    let choice = match (request.kind(), purpose) {
        (ChoiceKind::Consent, purpose) => Choice::Consent(purpose.ok_or_else(of_one)?),
        (ChoiceKind::Withdraw, purpose) => Choice::Withdraw(purpose.ok_or_else(of_one)?),
        (ChoiceKind::Restrict, purpose) => Choice::Restrict(purpose),
        (ChoiceKind::Lift, purpose) => Choice::Lift(purpose),
        (ChoiceKind::Unspecified, _) => {
            return Err(Status::invalid_argument("a choice is to consent, to withdraw, to restrict or to lift"));
        }
    };
    Ok((person(&request.person)?, choice))
}

/// A person's key, as the register writes it.
pub(super) fn person(key: &str) -> Result<String, Status> {
    let key = key.trim();
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(Status::invalid_argument("a person is named by the agency's own key, of at most 256 bytes"));
    }
    Ok(key.to_owned())
}

/// What was recorded, as it is told.
pub(super) fn told(recorded: &RecordedChoice) -> wire::RecordedChoice {
    let (kind, purpose) = match &recorded.choice {
        Choice::Consent(purpose) => (ChoiceKind::Consent, Some(purpose)),
        Choice::Withdraw(purpose) => (ChoiceKind::Withdraw, Some(purpose)),
        Choice::Restrict(purpose) => (ChoiceKind::Restrict, purpose.as_ref()),
        Choice::Lift(purpose) => (ChoiceKind::Lift, purpose.as_ref()),
    };
    let purpose = purpose.map(ToString::to_string).unwrap_or_default();
    wire::RecordedChoice { kind: kind.into(), purpose, recorded_at: recorded.at.secs() }
}
