//! Choices of persons as an agency's staff records them.

use firebreak_domain::{InvalidId, PurposeId};
use firebreak_store::{Choice, RecordedChoice};
use firebreak_wire::local::v1::{self as wire, ChoiceKind};

/// Bytes of a person's key, at most.
pub const LONGEST_PERSON: usize = 256;

/// A request that says no choice of anybody. It repeats nothing of the person.
#[derive(Debug, thiserror::Error)]
pub enum UnreadChoice {
    /// What is named is no purpose.
    #[error(transparent)]
    Purpose(#[from] InvalidId),
    /// Consent, or its withdrawal, without a purpose.
    #[error("consent is to one purpose: name it")]
    NoPurpose,
    /// No kind, or one that a later program knows.
    #[error("a choice is to consent, to withdraw, to restrict or to lift")]
    Kind,
    /// Nobody is named, or by too long a key.
    #[error("a person is named by the agency's own key, of at most {LONGEST_PERSON} bytes")]
    Person,
}

/// The person and the choice of a request.
///
/// # Errors
/// [`UnreadChoice`] says what is missing.
pub fn read_choice(request: &wire::RecordChoiceRequest) -> Result<(String, Choice), UnreadChoice> {
    let purpose = match request.purpose.as_str() {
        "" => None,
        name => Some(PurposeId::new(name)?),
    };
    let choice = match (request.kind(), purpose) {
        (ChoiceKind::Consent, purpose) => Choice::Consent(purpose.ok_or(UnreadChoice::NoPurpose)?),
        (ChoiceKind::Withdraw, purpose) => Choice::Withdraw(purpose.ok_or(UnreadChoice::NoPurpose)?),
        (ChoiceKind::Restrict, purpose) => Choice::Restrict(purpose),
        (ChoiceKind::Lift, purpose) => Choice::Lift(purpose),
        (ChoiceKind::Unspecified, _) => return Err(UnreadChoice::Kind),
    };
    Ok((read_person(&request.person)?, choice))
}

/// A person's key, as the register writes it.
///
/// # Errors
/// [`UnreadChoice::Person`].
pub fn read_person(key: &str) -> Result<String, UnreadChoice> {
    let key = key.trim();
    if key.is_empty() || key.len() > LONGEST_PERSON { Err(UnreadChoice::Person) } else { Ok(key.to_owned()) }
}

/// What was recorded, as it is told.
#[must_use]
pub fn told_choice(recorded: &RecordedChoice) -> wire::RecordedChoice {
    let (kind, purpose) = match &recorded.choice {
        Choice::Consent(purpose) => (ChoiceKind::Consent, Some(purpose)),
        Choice::Withdraw(purpose) => (ChoiceKind::Withdraw, Some(purpose)),
        Choice::Restrict(purpose) => (ChoiceKind::Restrict, purpose.as_ref()),
        Choice::Lift(purpose) => (ChoiceKind::Lift, purpose.as_ref()),
    };
    let purpose = purpose.map(ToString::to_string).unwrap_or_default();
    wire::RecordedChoice { kind: kind.into(), purpose, recorded_at: recorded.at.secs() }
}
