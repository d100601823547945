//! What one side of a match may find wrong with the other, by name, and which of it ends the session.

use super::MatchError;
use crate::app::App;
use firebreak_audit::LeafKind;
use firebreak_domain::{Charge, ReasonCode, Refusal};
use firebreak_node::{Content, StandingMatch};
use firebreak_psi::PsiError;

/// Whether the session ends for good: nobody who keeps to the protocol sends such a thing, so there is nothing to wait
/// for. Any other fault ends the attempt, and the same request may go on.
///
/// SECURITY: what arrives in a tunnel comes from the one pinned key. A gateway can drop bytes or cut a connection, which
/// ends no session; it cannot make either side find one of these.
pub(in crate::app) const fn ends_session(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::ProofRejected
            | ReasonCode::HostileInput
            | ReasonCode::WrongCount
            | ReasonCode::SizeExceeded
            | ReasonCode::ChunkReplayed
    )
}

/// Whether a receiver tells the sender what it found.
///
/// PRIVACY: each follows from what the sender itself has sent, or has not, and from blinded elements. None can follow
/// from a comparison: that comes after the receiver's last message.
pub(in crate::app) const fn is_told(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::ProofRejected
            | ReasonCode::HostileInput
            | ReasonCode::WrongCount
            | ReasonCode::SizeExceeded
            | ReasonCode::SessionMismatch
            | ReasonCode::PeerStalled
    )
}

/// Whether a refusal is about how the two sides' programs meet: then a receiver that hears it from the sender records
/// it too. Any other is the sender's own policy, of which the receiver's has its own word.
#[must_use]
pub const fn of_the_match(reason: ReasonCode) -> bool {
    ends_session(reason)
        || is_told(reason)
        || matches!(reason, ReasonCode::NormaliserMismatch | ReasonCode::BundleMismatch | ReasonCode::ConnectionLost)
}

/// The name of what is wrong with something that the other side sent. Its words give sizes that both sides know, and no
/// value.
pub(in crate::app) fn of_peer(error: PsiError) -> MatchError {
    use PsiError as E;
    use ReasonCode as R;
    let reason = match error {
        E::ProofRejected | E::KnowledgeRejected => R::ProofRejected,
        E::InvalidElement
        | E::IdentityElement
        | E::DuplicateElement
        | E::InvalidScalar
        | E::TagOrder
        | E::PointOrder
        | E::Label => R::HostileInput,
        E::TooManyTags | E::NoSuchChunk => R::SizeExceeded,
        E::WrongLength { expected, found, .. } if found > expected => R::SizeExceeded,
        E::WrongLength { .. } | E::Incomplete | E::Parameters(_) | E::LabelSize => R::WrongCount,
        E::ForeignChunk | E::ChunkRepeated => R::ChunkReplayed,
        // What else there is follows from what this side has made itself.
        _ => return MatchError::Failed,
    };
    MatchError::Fault(Refusal::new(reason).because(error.to_string()))
}

/// The refusal of a session that ended before.
pub(super) fn ended(reason: ReasonCode) -> Refusal {
    Refusal::new(reason).because("the session of this request ended for it").instead("what was asked, under a new id")
}

impl App {
    /// Ends a session for a fault, with the leaf that says so. Gives whether it ended now: otherwise no leaf is recorded.
    pub(super) async fn end_session(
        &self,
        name: &[u8; 32],
        reason: ReasonCode,
        standing: &StandingMatch,
    ) -> Result<bool, MatchError> {
        let (none, content) = (Charge::default(), Content::of_request(Some(standing.intent())));
        let evidence =
            self.recorder.record(LeafKind::Refusal, standing.facts(), Some(reason), none, content, &self.state);
        let evidence = evidence.map_err(|_| MatchError::Failed)?;
        let ended = self.state.end_session(name, reason, evidence.new_leaf()).await?;
        if ended {
            tracing::info!(outcome = "ended", reason = %reason, "match");
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(error: PsiError) -> Option<ReasonCode> {
        match of_peer(error) {
            MatchError::Fault(refusal) => Some(refusal.reason),
            _ => None,
        }
    }

    #[test]
    fn whatever_the_other_side_may_send_has_a_name_and_what_this_side_makes_has_none() {
        let length = |expected, found| PsiError::WrongLength { what: "a chunk", expected, found };
        for (error, reason) in [
            (PsiError::ProofRejected, ReasonCode::ProofRejected),
            (PsiError::InvalidElement, ReasonCode::HostileInput),
            (PsiError::IdentityElement, ReasonCode::HostileInput),
            (PsiError::DuplicateElement, ReasonCode::HostileInput),
            (PsiError::InvalidScalar, ReasonCode::HostileInput),
            (PsiError::TagOrder, ReasonCode::HostileInput),
            (length(64, 63), ReasonCode::WrongCount),
            (length(64, 640), ReasonCode::SizeExceeded),
            (PsiError::Incomplete, ReasonCode::WrongCount),
            (PsiError::Parameters("sizes"), ReasonCode::WrongCount),
            (PsiError::TooManyTags, ReasonCode::SizeExceeded),
            (PsiError::NoSuchChunk, ReasonCode::SizeExceeded),
            (PsiError::ForeignChunk, ReasonCode::ChunkReplayed),
            (PsiError::ChunkRepeated, ReasonCode::ChunkReplayed),
        ] {
            assert_eq!(named(error), Some(reason), "{error}");
            assert!(ends_session(reason) && of_the_match(reason), "{error}");
        }
        for own in [PsiError::Randomness, PsiError::SetTooLarge, PsiError::NoSuchRange, PsiError::KeyContextLength] {
            assert_eq!(named(own), None, "{own}");
        }
    }

    #[test]
    fn what_passes_by_itself_ends_no_session() {
        for reason in [
            ReasonCode::PeerStalled,
            ReasonCode::ConnectionLost,
            ReasonCode::BundleMismatch,
            ReasonCode::NormaliserMismatch,
            ReasonCode::SessionMismatch,
            ReasonCode::MatchCapExhausted,
            ReasonCode::NoPolicyInForce,
        ] {
            assert!(!ends_session(reason), "{reason}");
        }
        assert!(!of_the_match(ReasonCode::MatchCapExhausted) && !of_the_match(ReasonCode::NoPolicyInForce));
    }
}
