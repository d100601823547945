use super::agencies::TunnelAnswer;
use super::{AgencyError, App, Unanswered};
use firebreak_audit::LeafKind;
use firebreak_domain::{Charge, Identity, ReasonCode, Refusal};
use firebreak_node::{Content, StandingMatch, SubmittedMatch, decide_match};
use firebreak_policy::Denial;
use firebreak_transport::ByteStream;
use std::time::Duration;

/// The longest between two decisions on a tunnel that is open.
const DECIDED_EVERY: Duration = Duration::from_millis(500);

/// A tunnel that both the gateway and the sender have let in.
pub struct TunnelAuthorised {
    /// The sender's end. What goes through it is TLS between the two agencies' own keys.
    pub sender: ByteStream,
    /// The match, to be decided again while the tunnel is open.
    pub standing: StandingMatch,
    /// Evidence of the authorisation, as text.
    pub receipt: String,
}

impl App {
    /// Decides whether a tunnel may be opened, has the sender decide, and logs both.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn open_tunnel(
        &self,
        submitted: &SubmittedMatch,
        caller: &Identity,
    ) -> Result<TunnelAuthorised, Unanswered> {
        let now = self.state.now();
        let intent = submitted.intent(caller);
        let (permit, _) = match decide_match(submitted, caller, &self.policy, &self.trust, now) {
            Ok(decided) => decided,
            Err(denial) => return Err(self.refuse(denial, Some(&intent)).await),
        };
        let facts = permit.facts().clone();
        let contest = permit.agreement().contest.clone();
        let denied = |refusal: Refusal| Denial {
            refusal: Refusal { contest: Some(contest.clone()), ..refusal },
            facts: facts.clone(),
        };
        if let Err(refusal) = self.check_ledger() {
            return Err(self.refuse(denied(refusal), Some(&intent)).await);
        }
        let standing = match StandingMatch::of(&permit, intent.clone(), &self.policy) {
            Ok(standing) => standing,
            Err(refusal) => return Err(self.refuse(denied(refusal), Some(&intent)).await),
        };
        let terms = standing.terms();
        let none = Charge::default();
        let content = Content::of_request(Some(&intent));
        let evidence = self.recorder.record(LeafKind::MatchAuthorised, &facts, None, none, content, &self.state)?;
        match self.agencies.open_tunnel(&terms.sender, caller, submitted).await {
            Ok(TunnelAnswer::Open(sender, theirs)) => {
                let receipt = self.log.receipt(evidence).await?;
                self.log.append(theirs.entry()).await?;
                Ok(TunnelAuthorised { sender, standing, receipt })
            }
            Ok(TunnelAnswer::Refused(refused)) => {
                Err(self.refused_by_agency(refused, &terms.sender, &intent, contest.clone()).await)
            }
            Err(AgencyError::NotConnected | AgencyError::Lost | AgencyError::Unreadable) => {
                let refusal = Refusal::new(ReasonCode::AgencyUnavailable);
                let detail = format!("{} cannot be reached; resume the match later", terms.sender);
                Err(self.refuse(denied(refusal.because(detail)), Some(&intent)).await)
            }
        }
    }

    /// Decides again and again on a match whose tunnel is open, and returns when it may no longer run.
    pub async fn until_refused(&self, standing: &StandingMatch) -> Denial {
        loop {
            if let Err(denial) = standing.check(&self.policy, self.state.now()) {
                return denial;
            }
            tokio::time::sleep(DECIDED_EVERY).await;
        }
    }
}
