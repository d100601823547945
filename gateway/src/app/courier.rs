use super::{AgencyError, App, Failure, LeafInLog, Shown};
use firebreak_audit::{SignedLeaf, SignerRole};
use firebreak_domain::OrgId;
use firebreak_store::LeafHash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The longest between two visits to an agency.
const EVERY: Duration = Duration::from_millis(500);

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

    /// Goes round for ever.
    pub async fn run(&self, app: &App) {
        loop {
            for agency in app.agencies.connected() {
                if let Err(error) = app.visit(&agency).await {
                    tracing::info!(agency = %agency, error_kind = %error, "leaves not confirmed");
                }
            }
            let _ = tokio::time::timeout(EVERY, self.wake.notified()).await;
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
    /// A leaf that is not for this agency to put in the log.
    #[error("the agency offered a leaf of somebody else")]
    Foreign,
}

impl App {
    /// One visit: fetch what is outstanding, log it, show the log.
    async fn visit(&self, agency: &OrgId) -> Result<(), VisitError> {
        let (leaves, accepted) = self.agencies.outstanding(agency).await?;
        for leaf in &leaves {
            if leaf.leaf().signer_org != *agency || leaf.leaf().signer_role != SignerRole::Adapter {
                return Err(VisitError::Foreign);
            }
            self.log.append(leaf.clone()).await?;
        }
        let checkpoint = self.log.checkpoint();
        let size = checkpoint.size();
        if size < accepted {
            // The agency has seen more of the log than there is: it will say so when it is shown less.
            tracing::error!(agency = %agency, "the log is shorter than an agency has seen");
        }
        let place = |leaf: &SignedLeaf| {
            let index = self.log.index_of(leaf).ok_or(super::LogFailure::Stopped)?;
            let hash = *LeafHash::of(leaf.as_bytes()).as_bytes();
            Ok::<_, super::LogFailure>(LeafInLog { hash, index, proof: self.log.inclusion(index, size)? })
        };
        let newest = match self.log.newest_of(agency, SignerRole::Adapter)? {
            Some((index, leaf)) if index < size => {
                let place = place(&leaf)?;
                Some((leaf, place))
            }
            _ => None,
        };
        let consistency =
            if accepted == 0 || size < accepted { Vec::new() } else { self.log.consistency(accepted, size)? };
        let leaves = leaves.iter().map(place).collect::<Result<_, _>>()?;
        let checkpoint = checkpoint.note().to_owned();
        Ok(self.agencies.confirm(agency, Shown { checkpoint, consistency, leaves, newest }).await?)
    }
}
