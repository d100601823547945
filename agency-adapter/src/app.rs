//! What an adapter does, with neither sockets nor messages in it.

mod evidence;
mod matching;
mod query;
mod tick;

pub use evidence::{ConfirmError, Confirmation, ConfirmedLeaf, Gate};
pub use matching::{
    CHUNK_ELEMENTS, MatchError, MatchReport, MatchStep, OpenRequest, Prepared, Received, Receiver, SESSION_LIFETIME,
    SenderSession, accept_match, prepare_receiver,
};
pub use query::{Answered, Outcome, Refused};
pub use tick::Tick;

use crate::datasets::{DatasetError, Datasets};
use firebreak_domain::{Closed, ColumnName, Contract, DatasetId, Identity, ReasonCode, Refusal};
use firebreak_node::{EvidenceError, MisnamedRequest, PolicyError, PolicyInForce, Recorder, refuse_misnamed};
use firebreak_policy::{DatasetAccess, Permit};
use firebreak_query::Reads;
use firebreak_store::{State, StoreError};
use firebreak_transport::TrustAnchor;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An agency's side of the federation: its policy, its accounts, its data.
pub struct App {
    pub(crate) state: State,
    pub(crate) policy: Arc<PolicyInForce>,
    pub(crate) trust: TrustAnchor,
    pub(crate) recorder: Recorder,
    pub(crate) datasets: Datasets,
    pub(crate) closed: Vec<Closed>,
    pub(crate) gate: Gate,
    pub(crate) tick: Tick,
    pub(crate) sets: matching::OfferedSets,
}

/// A request that was neither answered nor refused, for the program's own log. The caller learns that it failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Evidence.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The data.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The measurement.
    #[error("the measurement failed: {0}")]
    Measurement(String),
    /// A stored answer could not be read back.
    #[error("a stored answer could not be read back; verify the state folder")]
    Stored,
    /// The work on it, an engine's for instance, ended in a panic.
    #[error("the work on the answer ended in a panic, whose place stands in this log; report it")]
    Died,
}

impl App {
    /// Joins the parts.
    #[expect(clippy::too_many_arguments, reason = "the one place where an adapter is put together")]
    #[must_use]
    pub fn new(
        state: State,
        policy: Arc<PolicyInForce>,
        trust: TrustAnchor,
        recorder: Recorder,
        datasets: Datasets,
        closed: Vec<Closed>,
        gate: Gate,
        tick: Tick,
    ) -> Self {
        Self { state, policy, trust, recorder, datasets, closed, gate, tick, sets: matching::OfferedSets::default() }
    }

    /// Makes the bounded view of the latest cut of every dataset served, so that no caller waits for one. From the end of
    /// the first call on there are callers.
    ///
    /// # Errors
    /// The first dataset that cannot be served.
    pub async fn warm_up(&self) -> Result<(), DatasetError> {
        let served = self.served();
        for contract in &served {
            for cut in &contract.cuts {
                self.datasets.place(contract, cut);
            }
        }
        for contract in &served {
            if let Some(cut) = contract.latest_cut() {
                self.datasets.engine(std::slice::from_ref(contract.as_ref()), cut).await?;
            }
        }
        self.datasets.open_to_callers();
        Ok(())
    }

    /// Makes those of the cuts before, one after another. What cannot be read is logged, and tried again when it is asked.
    pub async fn warm_up_earlier_cuts(&self) {
        for contract in &self.served() {
            for cut in &contract.cuts {
                if self.datasets.check(&[&contract.id], cut).is_err() {
                    continue;
                }
                if let Err(error) = self.datasets.engine(std::slice::from_ref(contract.as_ref()), cut).await {
                    tracing::error!(error_kind = %error, "a cut before the latest cannot be served");
                }
            }
        }
    }

    /// The contracts in force of the datasets that bindings serve.
    fn served(&self) -> Vec<Arc<Contract>> {
        let Some(bundle) = self.policy.accepted() else { return vec![] };
        self.datasets.bound().filter_map(|dataset| bundle.contracts().get(dataset).cloned()).collect()
    }

    /// The time that reading all that is served is given.
    pub(crate) fn time_to_read(&self) -> Duration {
        let reading = |contract: &Arc<Contract>| {
            let cut = tick::reading(contract.unit_space.register_size, contract.contribution.rows_per_person);
            cut.saturating_mul(contract.cuts.len() as u64)
        };
        self.tick.length(self.served().iter().map(reading).fold(0, u64::saturating_add))
    }

    /// Takes up policy that is new; a leaf that tells of it waits for the log.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub async fn refresh_policy(&self) -> Result<bool, PolicyError> {
        self.policy.refresh(&self.recorder, &self.state).await
    }

    /// Refuses, with evidence and on the smallest tick, a request that names something as nothing can be named.
    ///
    /// # Errors
    /// [`Failure`], on the same tick.
    pub async fn refuse_misnamed(&self, misnamed: &MisnamedRequest, claimed: &Identity) -> Result<Refused, Failure> {
        let start = Instant::now();
        let denial = refuse_misnamed(misnamed, claimed, &self.policy, self.state.now());
        let refused = self.record_refusal(denial, None).await;
        Tick::wait(start, self.tick.smallest()).await;
        refused
    }

    /// What the agency keeps closed, whatever a bundle says.
    #[must_use]
    pub fn closed(&self) -> &[Closed] {
        &self.closed
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Arc<PolicyInForce> {
        &self.policy
    }

    /// The durable state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The datasets that are served.
    #[must_use]
    pub const fn datasets(&self) -> &Datasets {
        &self.datasets
    }

    /// SECURITY: the agency's own deny-list, and that the dataset is this agency's, stand against every bundle. Of what
    /// is permitted over a logical dataset the other agencies' parts are theirs to close.
    pub(crate) fn check_open(&self, permit: &Permit, reads: &[Reads]) -> Result<(), Refusal> {
        let own = self.recorder.organisation();
        let read = |access: &&DatasetAccess| reads.iter().any(|reads| reads.dataset == access.dataset);
        for access in permit.question().datasets.iter().filter(read) {
            let contract = permit.contract(&access.dataset).ok_or(Refusal::new(ReasonCode::DatasetNotCovered))?;
            if contract.agency != *own {
                return Err(Refusal::new(ReasonCode::DatasetNotCovered).because("another agency serves it"));
            }
            self.check_not_closed(&access.dataset, access.columns.iter())?;
        }
        Ok(())
    }

    pub(crate) fn check_not_closed<'a>(
        &self,
        dataset: &DatasetId,
        columns: impl Iterator<Item = &'a ColumnName>,
    ) -> Result<(), Refusal> {
        if Closed::reach(&self.closed, dataset, columns) {
            return Err(Refusal::new(ReasonCode::ClosedByAgency));
        }
        Ok(())
    }
}
