//! What breaks a conversation with a sender off, and what is made of it.

use super::match_status;
use super::oversized::NoMessage;
use super::patience::Stalled;
use crate::app::{App, Attempt, BrokenOff, MatchError, of_the_match};
use firebreak_domain::ReasonCode;
use firebreak_wire::refusal_of_status;
use std::error::Error;
use tonic::{Code, Status};

/// Why the conversation ends.
pub(super) enum Broken {
    /// This side.
    Own(MatchError),
    /// What the sender answered, or what became of the connection to it.
    Sender(Status),
    /// Nothing was answered in time.
    Stalled,
}

impl From<MatchError> for Broken {
    fn from(error: MatchError) -> Self {
        Self::Own(error)
    }
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        Self::Sender(status)
    }
}

impl From<Stalled> for Broken {
    fn from(_: Stalled) -> Self {
        Self::Stalled
    }
}

impl Broken {
    /// Records it, and gives what whoever waits for the match is told, and the reason that the sender is told, if any.
    pub(super) async fn recorded(self, app: &App, attempt: &Attempt) -> (Status, Option<ReasonCode>) {
        let why = match self {
            Self::Own(error) => BrokenOff::Here(error),
            Self::Stalled => BrokenOff::Stalled,
            Self::Sender(status) => match meant(&status) {
                Some(why) => why,
                // The sender's own policy, or a failure there. Where policy ended the match, this agency's own says so
                // as well, and says why.
                None if refusal_of_status(&status).is_none() => {
                    let own = attempt.check(app).await.err();
                    return (own.map_or(status, match_status), None);
                }
                None => return (status, None),
            },
        };
        let told = why.told();
        (match_status(attempt.broken_off(app, why).await), told)
    }
}

/// What a status means for a match, if it means that it ends for a fault.
fn meant(status: &Status) -> Option<BrokenOff> {
    if let Some(refusal) = refusal_of_status(status) {
        let reason = ReasonCode::ALL.iter().copied().find(|reason| reason.as_str() == refusal.reason)?;
        return of_the_match(reason).then_some(BrokenOff::BySender(reason));
    }
    match NoMessage::of(status) {
        Some(NoMessage::TooLarge) => return Some(BrokenOff::TooLarge),
        Some(NoMessage::Unreadable) => return Some(BrokenOff::Unreadable),
        None => {}
    }
    match status.code() {
        // A connection that broke, or a stream that ended in the middle: neither comes from the sender's program.
        Code::Unknown | Code::Unavailable | Code::Cancelled => Some(BrokenOff::Lost),
        _ => status.source().is_some().then_some(BrokenOff::Lost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_domain::Refusal;
    use firebreak_wire::status_of_refusal;

    #[test]
    fn a_connection_that_breaks_is_no_word_of_the_sender_and_its_policy_is_no_fault() {
        for code in [Code::Unknown, Code::Unavailable, Code::Cancelled] {
            assert!(matches!(meant(&Status::new(code, "broken")), Some(BrokenOff::Lost)), "{code}");
        }
        let broken = Status::from_error(Box::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        assert!(matches!(meant(&broken), Some(BrokenOff::Lost)));
        assert!(matches!(meant(&Status::out_of_range("too large")), Some(BrokenOff::TooLarge)));
        let unreadable = Status::internal("failed to decode Protobuf message: invalid varint");
        assert!(matches!(meant(&unreadable), Some(BrokenOff::Unreadable)));
        assert!(meant(&Status::internal("the match failed at this agency")).is_none());
        let said = |reason| meant(&status_of_refusal(&Refusal::new(reason), None));
        for reason in [ReasonCode::ChunkReplayed, ReasonCode::BundleMismatch, ReasonCode::PeerStalled] {
            assert!(matches!(said(reason), Some(BrokenOff::BySender(found)) if found == reason), "{reason}");
        }
        for reason in [ReasonCode::NoPolicyInForce, ReasonCode::MatchCapExhausted] {
            assert!(said(reason).is_none(), "{reason}");
        }
    }
}
