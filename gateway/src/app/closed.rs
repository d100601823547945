//! What agencies keep closed, for releases that are here already and that no agency is asked about.

use super::{App, Failure};
use firebreak_domain::{Closed, DatasetId, OrgId, ReasonCode, Refusal};
use firebreak_policy::Permit;
use firebreak_query::CheckedQuery;
use firebreak_store::State;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// What each agency last said that it has closed.
pub(super) struct ClosedByAgencies(RwLock<BTreeMap<OrgId, Vec<Closed>>>);

impl ClosedByAgencies {
    pub(super) async fn open(state: &State) -> Result<Self, Failure> {
        Ok(Self(RwLock::new(state.closed().await?)))
    }
}

impl App {
    /// Takes note of what an agency has closed, durably and then for every request.
    pub(super) async fn take_closed(&self, agency: &OrgId, mut closed: Vec<Closed>) -> Result<(), Failure> {
        closed.sort_unstable();
        closed.dedup();
        let known = |of: &BTreeMap<OrgId, Vec<Closed>>| of.get(agency).map_or(&[][..], Vec::as_slice) == closed;
        if known(&self.closed.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        self.state.keep_closed(agency, &closed).await?;
        self.closed.0.write().unwrap_or_else(PoisonError::into_inner).insert(agency.clone(), closed);
        Ok(())
    }

    /// Refuses a question that reads what its agency has closed.
    ///
    /// SECURITY: an agency's own list wins over every bundle, for what it answered before as for what it is asked.
    pub(super) fn check_open(&self, permit: &Permit, query: &CheckedQuery) -> Result<(), Refusal> {
        let closed = self.closed.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(closed) = closed.get(query.agency()) else { return Ok(()) };
        let read = |dataset: &DatasetId| query.reads().iter().any(|reads| reads.dataset == *dataset);
        let mut accesses = permit.question().datasets.iter().filter(|access| read(&access.dataset));
        if accesses.any(|access| Closed::reach(closed, &access.dataset, access.columns.iter())) {
            return Err(Refusal::new(ReasonCode::ClosedByAgency));
        }
        Ok(())
    }
}
