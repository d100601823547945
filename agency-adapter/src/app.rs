//! What an adapter does, with neither sockets nor messages in it.

mod disclosed;
mod evidence;
mod hand_out;
mod joining;
mod matching;
mod query;
mod tick;

pub use evidence::{ConfirmError, Confirmation, ConfirmedLeaf, Gate};
pub use hand_out::AskedHandOut;
pub use joining::{
    Arrival, CommittedHashes, JoinList, JoinRun, PreparedJoin, Replay, Replayed, SentHashes, is_of_list,
};
pub use matching::{
    Asked, Attempt, BrokenOff, CHUNK_ELEMENTS, MOST_PLACES, MatchError, MatchReport, MatchStep, OPEN_AT_ONCE,
    OpenRequest, PayloadOffer, PayloadReport, Prepared, Received, Receiver, SESSION_LIFETIME, Sample, SampledPlace,
    SenderSession, TagPieces, accept_match, of_the_match, prepare_receiver,
};
pub use query::{Answered, Outcome, Refused};
pub use tick::Tick;

use crate::datasets::{DatasetError, Datasets};
use firebreak_domain::{Closed, ColumnName, Contract, DatasetId, Identity, ReasonCode, Refusal};
use firebreak_node::{
    DecidedQuery, EvidenceError, MisnamedRequest, PolicyError, PolicyInForce, Recorder, refuse_misnamed,
};
use firebreak_policy::{DatasetAccess, Permit};
use firebreak_query::Reads;
use firebreak_store::{State, StoreError};
use firebreak_transport::TrustAnchor;
use std::sync::Arc;
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
    pub(crate) running: matching::Running,
    pub(crate) joins: joining::Joins,
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
        let (running, joins) = (matching::Running::default(), joining::Joins::default());
        Self { state, policy, trust, recorder, datasets, closed, gate, tick, running, joins }
    }

    /// Makes the bounded view of the latest cut of every dataset served. From the end of the first call on there are
    /// callers, none of whom waits for one of those.
    ///
    /// # Errors
    /// The first dataset that cannot be served.
    pub async fn warm_up(&self) -> Result<(), DatasetError> {
        for contract in &self.place_all() {
            if let Some(cut) = contract.latest_cut() {
                self.datasets.read(contract, cut).await?;
            }
        }
        self.datasets.open_to_callers();
        Ok(())
    }

    /// Makes what is not made yet of the views of all cuts served, one after another. What cannot be read is logged.
    pub async fn read_all_cuts(&self) {
        for placed in &self.place_all() {
            let dataset = &placed.id;
            // By the contract in force as each is read: one that has been followed makes no view any more.
            let in_force = || self.served().into_iter().find(|contract| contract.id == *dataset);
            for cut in placed.cuts.iter().rev() {
                let Some(contract) = in_force().filter(|_| self.datasets.check(&[dataset], cut).is_ok()) else {
                    continue;
                };
                if let Err(error) = self.datasets.read(&contract, cut).await {
                    tracing::error!(error_kind = %error, "a cut cannot be served");
                }
            }
        }
    }

    /// Gives every cut served its place, so that all are new from the same time on.
    fn place_all(&self) -> Vec<Arc<Contract>> {
        let served = self.served();
        for contract in &served {
            for cut in &contract.cuts {
                self.datasets.place(contract, cut);
            }
        }
        served
    }

    /// The contracts in force of the datasets that bindings serve.
    fn served(&self) -> Vec<Arc<Contract>> {
        let Some(bundle) = self.policy.accepted() else { return vec![] };
        self.datasets.bound().filter_map(|dataset| bundle.contracts().get(dataset).cloned()).collect()
    }

    /// How many rows could be counted in the time that reading all that is served is given.
    fn work_to_read(&self) -> u64 {
        let reading = |contract: &Arc<Contract>| {
            let cut = tick::reading(contract.unit_space.register_size, contract.contribution.rows_per_person);
            cut.saturating_mul(contract.cuts.len() as u64)
        };
        self.served().iter().map(reading).fold(0, u64::saturating_add)
    }

    /// What a question is given time for. Follows from the question, from contracts and from when they came into force.
    // PRIVACY: whoever asks a view that is new may wait for all that is read before it, whatever others ask meanwhile. So
    // the time is that of all, until all can have been read.
    pub(crate) fn work(&self, decided: &DecidedQuery) -> u64 {
        let query = &decided.query;
        let contract = |reads: &Reads| decided.permit.contract(&reads.dataset);
        let Some(first) = query.reads().first().and_then(contract) else { return tick::work(query, 0) };
        let (alone, reading) = (query.reads().len() == 1, self.work_to_read());
        let new = alone && self.datasets.is_new(first, query.cut(), self.tick.length(reading));
        tick::work(query, first.unit_space.register_size).saturating_add(if new { reading } else { 0 })
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
