//! An attempt at a match that breaks off, from its receiver's side.

use super::fault::{ends_session, is_told};
use super::{MatchError, Prepared};
use crate::app::App;
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_node::StandingMatch;
use firebreak_policy::Denial;
use std::sync::Arc;

/// Why an attempt breaks off.
#[derive(Debug)]
pub enum BrokenOff {
    /// Something on this side: a refusal, a failure, or a fault found in what the sender sent.
    Here(MatchError),
    /// The sender refuses to go on, as it says inside the tunnel.
    BySender(ReasonCode),
    /// A message of the sender is overdue.
    Stalled,
    /// The tunnel ended before the match did.
    Lost,
    /// A message of the sender is larger than any message of a match.
    TooLarge,
    /// A message of the sender is not written as any message of a match.
    Unreadable,
}

impl BrokenOff {
    /// The fault by its name; otherwise what failed on this side.
    fn named(self) -> Result<Refusal, MatchError> {
        let again = "the same request again, which resumes the match";
        Ok(match self {
            Self::Here(MatchError::Fault(refusal)) => refusal,
            Self::Here(error) => return Err(error),
            Self::BySender(reason) => Refusal::new(reason).because("the sender ended the match for it"),
            Self::Stalled => {
                Refusal::new(ReasonCode::PeerStalled).because("the sender did not answer in time").instead(again)
            }
            Self::Lost => Refusal::new(ReasonCode::ConnectionLost).because("the tunnel was cut").instead(again),
            Self::TooLarge => Refusal::new(ReasonCode::SizeExceeded).because("a message is larger than any of a match"),
            Self::Unreadable => {
                Refusal::new(ReasonCode::HostileInput).because("a message is not written as any of a match")
            }
        })
    }

    /// The reason that the sender is told, if it is told one.
    #[must_use]
    pub fn told(&self) -> Option<ReasonCode> {
        let found = match self {
            Self::Here(MatchError::Fault(refusal)) => refusal.reason,
            Self::Stalled => ReasonCode::PeerStalled,
            Self::TooLarge => ReasonCode::SizeExceeded,
            Self::Unreadable => ReasonCode::HostileInput,
            // PRIVACY: what fails or is refused on this side is this side's own.
            Self::Here(_) | Self::BySender(_) | Self::Lost => return None,
        };
        Some(found).filter(|reason| is_told(*reason))
    }
}

/// A receiver's attempt at a match, for whoever has to say that it broke off.
pub struct Attempt {
    standing: Arc<StandingMatch>,
    contest: String,
    name: [u8; 32],
}

impl Prepared {
    /// The attempt that begins now.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        Attempt { standing: Arc::clone(&self.standing), contest: self.contest.clone(), name: self.name }
    }
}

impl Attempt {
    /// Decides the match again. A refusal is recorded: where the other side or the gateway broke off for policy, this
    /// agency's own policy says so as well, and says why.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn check(&self, app: &App) -> Result<(), MatchError> {
        app.check_standing(&self.standing).await
    }

    /// Records why the attempt broke off, and ends the session if it may not be resumed. Gives what whoever waits for
    /// the match is told.
    pub async fn broken_off(&self, app: &App, why: BrokenOff) -> MatchError {
        if matches!(why, BrokenOff::Lost)
            && let Err(own) = self.check(app).await
        {
            return own;
        }
        match why.named() {
            Ok(refusal) => self.record(app, refusal).await,
            Err(own) => own,
        }
    }

    async fn record(&self, app: &App, refusal: Refusal) -> MatchError {
        let refusal = Refusal { contest: Some(self.contest.clone()), ..refusal };
        if ends_session(refusal.reason) {
            match app.end_session(&self.name, refusal.reason, &self.standing).await {
                Ok(true) => return MatchError::Refused(refusal),
                Ok(false) => {}
                Err(error) => return error,
            }
        }
        let denial = Denial { refusal, facts: self.standing.facts().clone() };
        app.refuse_match(denial, self.standing.intent()).await
    }
}
