//! A permitted match, from both sides, with neither sockets nor messages in it.

mod broken;
mod caps;
mod epoch;
pub(in crate::app) mod fault;
mod keys;
mod offer;
mod offered;
mod opening;
mod participants;
mod payload;
mod pieces;
mod received;
mod receiver;
mod running;
mod sender;
pub(in crate::app) mod sorting;

pub use broken::{Attempt, BrokenOff};
pub use fault::of_the_match;
pub use keys::Asked;
pub use opening::OpenRequest;
pub use payload::PayloadOffer;
pub use pieces::TagPieces;
pub use received::Received;
pub(in crate::app) use receiver::wait_until_logged;
pub use receiver::{
    MOST_PLACES, MatchReport, MatchStep, PayloadReport, Prepared, Receiver, Sample, SampledPlace, prepare_receiver,
};
pub(crate) use running::Running;
pub use sender::{SenderSession, accept_match};

use super::{App, Failure};
use crate::datasets::DatasetError;
use firebreak_domain::{AgreementId, Intent, MATCH_CHUNK, MatchTerms, ReasonCode, Refusal, RequestId, Timestamp};
use firebreak_node::StandingMatch;
use firebreak_policy::{Denial, Permit};
use firebreak_psi::{Mode, PsiError};
use firebreak_store::{SessionError, StoreError};
use sha2::{Digest, Sha256};

/// Blinded elements in a chunk: 128 KiB on the wire, and the unit of padding, resuming and counting.
pub const CHUNK_ELEMENTS: u32 = MATCH_CHUNK;

/// Seconds for which a session may be open, resumed or not. Then its secrets are destroyed, however far it came.
pub const SESSION_LIFETIME: i64 = 24 * 3600;

/// Sessions that one receiver may have open at a sender at once under one agreement. Each takes room on its disk for
/// the whole set and list.
pub const OPEN_AT_ONCE: u32 = 8;

/// A match that did not go on.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The other side did not keep to the protocol: found here, and not recorded yet.
    #[error(transparent)]
    Fault(Refusal),
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session.
    #[error(transparent)]
    Session(SessionError),
    /// The data.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Anything else of this program's own.
    #[error("the match failed on this side")]
    Failed,
}

impl From<SessionError> for MatchError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Store(error) => Self::Store(error),
            SessionError::Ended(reason) => Self::Refused(fault::ended(reason)),
            SessionError::TooManyOpen => Self::Refused(too_many_open()),
            error @ (SessionError::Closed | SessionError::Unknown | SessionError::AlreadyKept) => Self::Session(error),
        }
    }
}

fn too_many_open() -> Refusal {
    let hours = SESSION_LIFETIME / 3600;
    Refusal::new(ReasonCode::MatchCapExhausted)
        .because(format!("{OPEN_AT_ONCE} sessions of this receiver are open under the agreement, the most at once"))
        .instead(format!("resume one of them and finish it; one that is left open ends {hours} hours after it began"))
}

/// What fails in the protocol's own work, on what this side has made itself.
impl From<PsiError> for MatchError {
    fn from(_: PsiError) -> Self {
        Self::Failed
    }
}

impl From<Failure> for MatchError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) => Self::Store(error),
            Failure::Dataset(error) => Self::Dataset(error),
            Failure::Evidence(_) | Failure::Measurement(_) | Failure::Stored | Failure::Died => Self::Failed,
        }
    }
}

impl App {
    /// Closes every session that is past its lifetime, and every epoch that is past its time or that no agreement in
    /// force has any more: their secrets are gone then, and a receiver's list. Deletes what opens commitments that are
    /// past their retention. Gives how many were closed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn close_old_sessions(&self) -> Result<u64, StoreError> {
        let epochs = self.close_epochs().await?;
        if epochs > 0 {
            tracing::info!(outcome = "destroyed", "what was kept of an epoch of a match");
        }
        let closed = self.state.close_sessions_of(self.oldest_session()).await?;
        self.state.forget_openings().await?;
        Ok(closed.saturating_add(epochs))
    }

    fn oldest_session(&self) -> Timestamp {
        self.state.now().plus_secs(-SESSION_LIFETIME)
    }

    /// That a session which was opened here may go on: it is not closed and not past its lifetime.
    pub(in crate::app) async fn check_session(&self, name: &[u8; 32]) -> Result<(), MatchError> {
        if self.state.session_opened(name).await? <= self.oldest_session() {
            self.state.close_session(name).await?;
            return Err(SessionError::Closed.into());
        }
        Ok(())
    }

    /// Why something of a session failed. What a session keeps goes with it: where another call ended it meanwhile, what
    /// fails on what is gone fails for the reason of that.
    pub(in crate::app) async fn why(&self, session: &[u8; 32], error: MatchError) -> MatchError {
        match error {
            named @ (MatchError::Refused(_) | MatchError::Fault(_)) => named,
            own => match self.check_session(session).await {
                Err(over @ (MatchError::Refused(_) | MatchError::Session(_))) => {
                    tracing::info!(error_kind = %own, "a call failed on what went with its session");
                    over
                }
                _ => own,
            },
        }
    }

    /// Decides a match again that runs. A refusal is recorded.
    async fn check_standing(&self, standing: &StandingMatch) -> Result<(), MatchError> {
        match standing.check(&self.policy, self.state.now()) {
            Ok(()) => Ok(()),
            Err(denial) => Err(self.refuse_match(denial, standing.intent()).await),
        }
    }

    /// A refusal, recorded.
    pub(super) async fn refuse_match(&self, denial: Denial, intent: &Intent) -> MatchError {
        match self.record_refusal(denial, Some(intent)).await {
            Ok(refused) => refused.refusal.into(),
            Err(failure) => failure.into(),
        }
    }
}

/// The name under which a session is kept: bound to its agreement.
fn session_name(agreement: &AgreementId, session: &RequestId) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"firebreak match session 1\n")
        .chain_update(agreement.as_str().as_bytes())
        .chain_update(b"\n")
        .chain_update(session.as_bytes())
        .finalize()
        .into()
}

fn terms(permit: &Permit) -> Result<&MatchTerms, Refusal> {
    permit.agreement().matching.as_ref().ok_or(Refusal::new(ReasonCode::OperationNotCovered))
}

/// Whether evaluations are proved, as the agreement says.
const fn mode(terms: &MatchTerms) -> Mode {
    if terms.proofs { Mode::Voprf } else { Mode::Oprf }
}
