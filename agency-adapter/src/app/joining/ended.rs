//! Why a side of a join ends, each reason recorded once.

use super::{JoinRun, refusal_of};
use crate::app::matching::MatchError;
use crate::app::matching::fault::ends_session;
use crate::app::query::Refused;
use crate::app::{App, Failure};
use firebreak_audit::LeafKind;
use firebreak_domain::{Charge, ReasonCode, Refusal};
use firebreak_node::Content;
use firebreak_policy::Denial;
use std::sync::Arc;

/// What ends for a reason.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// This attempt: the same request may go on.
    Attempt,
    /// The session, for good.
    Session,
    /// Nothing here: it is a gateway's word.
    Nothing,
}

/// What was recorded of one attempt.
#[derive(Default)]
pub(super) struct Recorded(Vec<(Ends, Arc<Refused>)>);

impl Recorded {
    fn first(&self, ends: Ends, reason: Option<ReasonCode>) -> Option<Arc<Refused>> {
        let is_it = |(of, refused): &&(Ends, Arc<Refused>)| {
            *of == ends && reason.is_none_or(|reason| refused.refusal.reason == reason)
        };
        self.0.iter().find(is_it).map(|(_, refused)| Arc::clone(refused))
    }
}

/// Whether a gateway may find that in a list which comes to be counted.
#[must_use]
pub const fn is_of_list(reason: ReasonCode) -> bool {
    matches!(reason, ReasonCode::HostileInput | ReasonCode::WrongCount | ReasonCode::SizeExceeded)
}

impl JoinRun {
    /// Records why this side of the join ends here, each reason once: whoever finds it and whoever waits for the list may
    /// both say it. A fault that nobody makes who keeps to the protocol ends the session for good, and whatever is found
    /// from then on is that; after any other the same request may go on.
    ///
    /// # Errors
    /// [`Failure`]: something of this program's own.
    pub async fn ended(&self, app: &App, error: MatchError) -> Result<Arc<Refused>, Failure> {
        let mut recorded = self.recorded.lock().await;
        // What a session keeps goes with it: whoever still works with that fails, and says why it ended.
        if let Some(over) = recorded.first(Ends::Session, None) {
            return Ok(over);
        }
        let refusal = Refusal { contest: Some(self.contest.clone()), ..refusal_of(error)? };
        let ends = if ends_session(refusal.reason) { Ends::Session } else { Ends::Attempt };
        if let Some(before) = recorded.first(ends, Some(refusal.reason)) {
            return Ok(before);
        }
        let refused = Arc::new(match ends {
            Ends::Session => self.end_session(app, refusal).await?,
            _ => self.refuse(app, refusal).await?,
        });
        recorded.0.push((ends, Arc::clone(&refused)));
        Ok(refused)
    }

    /// Records what the gateway says that it found in a list which came to be counted: in the one that this side sent on,
    /// or in its own, as the other side sent it on. Once; the leaf opens to whose word it is.
    ///
    /// SECURITY: a gateway's word ends no session.
    ///
    /// # Errors
    /// [`Failure`]: something of this program's own.
    pub async fn found_by_gateway(
        &self,
        app: &App,
        reason: ReasonCode,
        sent_on: bool,
    ) -> Result<Arc<Refused>, Failure> {
        let mut recorded = self.recorded.lock().await;
        if let Some(before) = recorded.first(Ends::Nothing, None) {
            return Ok(before);
        }
        let what = if sent_on {
            "found by the gateway in the list that this agency sent on"
        } else {
            "found by the gateway in the list of this agency that the other one sent on"
        };
        let (none, content) = (Charge::default(), Content::of_request(Some(&self.intent)).with_line(what));
        let evidence = app.recorder.record(LeafKind::Refusal, &self.facts, Some(reason), none, content, &app.state)?;
        app.state.record_leaf(evidence.new_leaf()).await?;
        tracing::warn!(reason = %reason, sent_on, "the gateway found a fault in a list of a join");
        let refused = Arc::new(Refused { refusal: Refusal::new(reason).because(what), evidence });
        recorded.0.push((Ends::Nothing, Arc::clone(&refused)));
        Ok(refused)
    }

    /// Whether this side has begun to send on what is to be counted.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn has_sent_on(&self, app: &App) -> Result<bool, Failure> {
        Ok(app.state.sent_join(&self.name).await?.is_some())
    }

    async fn end_session(&self, app: &App, refusal: Refusal) -> Result<Refused, Failure> {
        let (reason, none, content) = (refusal.reason, Charge::default(), Content::of_request(Some(&self.intent)));
        let evidence = app.recorder.record(LeafKind::Refusal, &self.facts, Some(reason), none, content, &app.state)?;
        if app.state.end_session(&self.name, reason, evidence.new_leaf()).await? {
            tracing::info!(outcome = "ended", reason = %reason, "join");
            return Ok(Refused { refusal, evidence });
        }
        self.refuse(app, refusal).await
    }

    async fn refuse(&self, app: &App, refusal: Refusal) -> Result<Refused, Failure> {
        app.record_refusal(Denial { refusal, facts: self.facts.clone() }, Some(&self.intent)).await
    }
}
