//! What the gateway does, with neither sockets nor messages in it.

mod agencies;
mod caps;
mod catalogue;
mod closed;
mod courier;
mod joining;
mod log;
mod loss;
mod matching;
mod openings;
mod publication;
mod query;

pub use agencies::{
    Agencies, AgencyAnswer, AgencyError, AgencyRefusal, AgencyRelease, Asked, JoinStep, JoinSteps, LeafInLog,
    OfferedLeaf, Outstanding, Shown, TunnelAnswer,
};
pub use catalogue::{Described, Visible};
pub use courier::{Courier, MOST_LEAVES};
pub use joining::JoinTunnel;
pub use log::{EvidenceLog, LogFailure};
pub use loss::{Losses, RegisterLoss};
pub use matching::TunnelAuthorised;
pub use openings::{KeptOpening, OpeningsPage};
pub use publication::{ShownPublication, TakenStep};
pub use query::{AcceptedJoin, AcceptedQuery, Budget, Budgets, Finished, LeftOut, Validated, ValidatedJoin};

use closed::ClosedByAgencies;
use firebreak_audit::{LeafKind, LogEntry, SealedOpening, SignedLeaf};
use firebreak_domain::{Charge, Identity, Intent, ReasonCode, Refusal};
use firebreak_node::{Content, EvidenceError, PolicyError, PolicyInForce, Recorder, Unread, refuse_misnamed};
use firebreak_policy::Denial;
use firebreak_store::{State, StoreError};
use firebreak_transport::TrustAnchor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The gateway's policy, accounts and log, and the agencies that it reaches.
pub struct App {
    pub(crate) state: State,
    pub(crate) policy: Arc<PolicyInForce>,
    pub(crate) trust: TrustAnchor,
    pub(crate) recorder: Recorder,
    pub(crate) log: EvidenceLog,
    pub(crate) agencies: Arc<dyn Agencies>,
    /// Where the federation's web server shows what is published; empty for paths alone.
    public_url: String,
    /// Held by whoever takes a step of a publication: they are few, and none is decided on what another changes.
    publishing: tokio::sync::Mutex<()>,
    /// Whether the ledger is older than the log.
    behind: AtomicBool,
    /// What agencies keep closed, whatever a bundle says.
    closed: ClosedByAgencies,
    /// The joins that run, for whose tunnels the gateway is asked.
    joins: joining::InFlight,
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// It is refused, with evidence.
    Refused {
        /// What the caller is told.
        refusal: Box<Refusal>,
        /// Evidence of the refusal, as text; none of what was no request.
        receipt: Option<String>,
    },
    /// This program failed. Its own log says why.
    Failed(Failure),
}

/// A fault of this program or its disk.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogFailure),
    /// Evidence.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// Policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A stored answer, or one from an agency, that cannot be read.
    #[error("an answer could not be read: {0}")]
    Answer(&'static str),
    /// An agency failed.
    #[error("the agency could not answer")]
    Agency,
    /// An agency answered under another contract, which it took up before this gateway or still goes by.
    #[error("the agency answered under another contract than is in force here; both take up a bundle within seconds")]
    OtherContract,
}

impl<T: Into<Failure>> From<T> for Unanswered {
    fn from(failure: T) -> Self {
        Self::Failed(failure.into())
    }
}

impl App {
    /// Joins the parts, and brings leaves that a crash left behind into the log.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open(
        state: State,
        policy: Arc<PolicyInForce>,
        trust: TrustAnchor,
        recorder: Recorder,
        log: EvidenceLog,
        agencies: Arc<dyn Agencies>,
        public_url: String,
    ) -> Result<Self, Failure> {
        let (behind, publishing) = (AtomicBool::new(false), tokio::sync::Mutex::default());
        let closed = ClosedByAgencies::open(&state).await?;
        let joins = joining::InFlight::default();
        let this =
            Self { state, policy, trust, recorder, log, agencies, public_url, publishing, behind, closed, joins };
        if let Some((_, newest)) =
            this.log.newest_of(this.recorder.organisation(), firebreak_audit::SignerRole::Gateway)?
        {
            // SECURITY: a ledger that does not know the head under which this gateway last signed was set back.
            let known = this.state.knows_head(&newest.leaf().ledger_head).await?;
            this.behind.store(!known, Ordering::SeqCst);
        }
        this.log_outbox().await?;
        this.open_published().await?;
        Ok(this)
    }

    /// Brings what waits in this gateway's own outbox into the log.
    async fn log_outbox(&self) -> Result<(), Failure> {
        loop {
            let waiting = self.state.outstanding(512).await?;
            if waiting.is_empty() {
                return Ok(());
            }
            for leaf in waiting {
                let signed = SignedLeaf::decode(&leaf.bytes).map_err(|_| Failure::Answer("a stored leaf"))?;
                let sealed = SealedOpening::from_bytes(leaf.sealed).map_err(|_| Failure::Answer("a stored opening"))?;
                let index = self.log.append(LogEntry { leaf: signed, sealed }).await?;
                self.state.confirm(&[(leaf.hash, index)]).await?;
            }
        }
    }

    /// Takes up policy that is new, and logs what became of it, with whatever else waits.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn refresh_policy(&self) -> Result<(), Failure> {
        self.policy.refresh(&self.recorder, &self.state).await?;
        self.log_outbox().await
    }

    /// The durable state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Arc<PolicyInForce> {
        &self.policy
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &EvidenceLog {
        &self.log
    }

    /// Whether new answers may be given at all.
    fn check_ledger(&self) -> Result<(), Refusal> {
        if self.behind.load(Ordering::SeqCst) {
            let detail =
                "the gateway's ledger is older than the log: its state was restored or copied, and must be reconciled";
            return Err(Refusal::new(ReasonCode::LedgerBehindLog).because(detail));
        }
        Ok(())
    }

    /// Refuses a request, if it could be read, with evidence in the log before anybody hears of it.
    pub(crate) async fn refuse(&self, denial: Denial, intent: Option<&Intent>) -> Unanswered {
        match self.record_refusal(&denial, intent).await {
            Ok(receipt) => Unanswered::Refused { refusal: Box::new(denial.refusal), receipt: Some(receipt) },
            Err(failure) => Unanswered::Failed(failure),
        }
    }

    /// Refuses what could not be read: with evidence, unless it is no request at all.
    pub async fn refuse_unread(&self, unread: Unread, caller: &Identity) -> Unanswered {
        match unread {
            Unread::NoRequest(refusal) => Unanswered::Refused { refusal: Box::new(refusal), receipt: None },
            Unread::Misnamed(misnamed) => {
                self.refuse(refuse_misnamed(&misnamed, caller, &self.policy, self.state.now()), None).await
            }
        }
    }

    /// What [`App::refuse_unread`] would say, without evidence, for a caller to whom nothing would be answered anyway.
    #[must_use]
    pub fn foresee_unread(&self, unread: Unread, caller: &Identity) -> Refusal {
        match unread {
            Unread::NoRequest(refusal) => refusal,
            Unread::Misnamed(misnamed) => refuse_misnamed(&misnamed, caller, &self.policy, self.state.now()).refusal,
        }
    }

    /// Whether anything can be answered: the log can be written, and a policy is in force.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        let in_force = self.policy.accepted().is_some_and(|bundle| bundle.in_force(self.state.now()));
        in_force && self.log.is_writing()
    }

    async fn record_refusal(&self, denial: &Denial, intent: Option<&Intent>) -> Result<String, Failure> {
        let Denial { refusal, facts } = denial;
        let (reason, none, content) = (Some(refusal.reason), Charge::default(), Content::of_request(intent));
        let evidence = self.recorder.record(LeafKind::Refusal, facts, reason, none, content, &self.state)?;
        tracing::info!(outcome = "refused", reason = %refusal.reason, "request");
        metrics::counter!("firebreak_refusals_total", "reason" => refusal.reason.as_str()).increment(1);
        Ok(self.log.receipt(evidence).await?)
    }
}
