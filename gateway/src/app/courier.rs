use super::{AgencyError, App, Failure, LeafInLog, OfferedLeaf, Outstanding, Shown};
use firebreak_audit::{SignedLeaf, SignerRole};
use firebreak_domain::OrgId;
use firebreak_store::LeafHash;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

/// The longest between two visits to an agency.
const EVERY: Duration = Duration::from_millis(500);

/// The longest that one visit may take.
const VISIT: Duration = Duration::from_secs(5);

/// The most leaves that are taken up in one visit.
pub const MOST_LEAVES: usize = 1024;

/// Brings agencies' leaves into the log, and shows the agencies that they are there.
pub struct Courier {
    wake: Arc<Notify>,
}

impl Courier {
    /// A courier that goes when `wake` says so, and every half second.
    #[must_use]
    pub const fn new(wake: Arc<Notify>) -> Self {
        Self { wake }
    }

    /// Goes round for ever. Each agency is visited by a task of its own, so that one that is slow or silent keeps no
    /// other waiting. Dropping the future ends every visit.
    pub async fn run(&self, app: &Arc<App>) {
        let rounds = watch::Sender::new(());
        let mut tasks = JoinSet::new();
        let mut visited: HashMap<OrgId, AbortHandle> = HashMap::new();
        loop {
            while tasks.try_join_next().is_some() {}
            visited.retain(|_, task| !task.is_finished());
            for agency in app.agencies.connected() {
                visited.entry(agency).or_insert_with_key(|agency| {
                    tasks.spawn(attend(Arc::clone(app), agency.clone(), rounds.subscribe()))
                });
            }
            rounds.send_replace(());
            let _ = tokio::time::timeout(EVERY, self.wake.notified()).await;
        }
    }
}

/// Visits one agency in every round for as long as it is connected.
async fn attend(app: Arc<App>, agency: OrgId, mut rounds: watch::Receiver<()>) {
    while app.agencies.connected().contains(&agency) {
        match tokio::time::timeout(VISIT, app.visit(&agency)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!(agency = %agency, error_kind = %error, "leaves not confirmed"),
            Err(_) => tracing::info!(agency = %agency, error_kind = "no answer in time", "leaves not confirmed"),
        }
        // A round that began during the visit is made up for at once.
        if rounds.changed().await.is_err() {
            return;
        }
    }
}

/// A visit that did not succeed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The agency.
    #[error(transparent)]
    Agency(#[from] AgencyError),
    /// The log.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The log's files.
    #[error(transparent)]
    Log(#[from] super::LogFailure),
}

impl App {
    /// One visit: fetch what is outstanding, log it, show the log.
    async fn visit(&self, agency: &OrgId) -> Result<(), VisitError> {
        let Outstanding { leaves: offered, log_size: accepted, closed } = self.agencies.outstanding(agency).await?;
        self.take_closed(agency, closed).await?;
        // SECURITY: what the agency's own key did not sign is not evidence. A key that it had before cannot be checked
        // here any more; one that never signed a leaf of the log was never its key.
        let is_evidence = |offered: &OfferedLeaf| {
            offered.signed_by_key || self.log.has_signed(agency, SignerRole::Adapter, offered.entry.leaf.key())
        };
        let leaves: Vec<_> =
            offered.into_iter().take(MOST_LEAVES).filter(is_evidence).map(|offered| offered.entry).collect();
        self.log.append_all(&leaves).await?;
        // In this order: what is known to be in the log is covered by what is published afterwards.
        let newest = self.log.newest_of(agency, SignerRole::Adapter)?;
        let published = self.log.published();
        let size = published.checkpoint().size();
        if size < accepted {
            // The agency has seen more of the log than there is: it will say so when it is shown less.
            tracing::error!(agency = %agency, "the log is shorter than an agency has seen");
        }
        let place = |leaf: &SignedLeaf| {
            let index = self.log.index_of(leaf).ok_or(super::LogFailure::Stopped)?;
            let hash = *LeafHash::of(leaf.as_bytes()).as_bytes();
            Ok::<_, super::LogFailure>(LeafInLog { hash, index, proof: published.inclusion_proof(index, size)? })
        };
        let newest = match newest {
            Some((_, leaf)) => {
                let place = place(&leaf)?;
                Some((leaf, place))
            }
            None => None,
        };
        let consistency = if accepted == 0 || size < accepted {
            Vec::new()
        } else {
            published.consistency_proof(accepted, size).map_err(super::LogFailure::from)?
        };
        let leaves = leaves.iter().map(|entry| place(&entry.leaf)).collect::<Result<_, _>>()?;
        let checkpoint = published.checkpoint().note().to_owned();
        Ok(self.agencies.confirm(agency, Shown { checkpoint, consistency, leaves, newest }).await?)
    }
}
