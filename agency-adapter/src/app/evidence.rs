//! The adapter's check on the log: nothing new is answered while its own leaves are not seen to be in it.

use super::{App, Failure};
use firebreak_audit::{Follower, Hash, SignedLeaf, VerifierKey};
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_store::{LeafHash, LogView, NewLeaf, State, StoreError};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// The most leaves that may be outstanding.
const MOST_OUTSTANDING: u64 = 64;
/// The longest that a leaf may be outstanding, in seconds.
const LONGEST_OUTSTANDING: i64 = 10;

/// How long a question waits for the gateway to show the log for the first time.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// The most bytes of leaves and openings that are offered at once, one leaf always. Far below what a message holds,
/// so that large requests that were refused never keep an agency's leaves from the log.
const OFFERED: usize = 1024 * 1024;

/// Leaves that are looked at together when the newest of a kind is looked for.
const LOOKED_AT: u32 = 64;

const UNKNOWN: u8 = 0;
const CURRENT: u8 = 1;
const BEHIND: u8 = 2;

/// Whether new answers may leave.
pub struct Gate {
    key: VerifierKey,
    ledger: AtomicU8,
    // One confirmation at a time: each extends the one before.
    turn: Mutex<Seen>,
}

/// What earlier confirmations have proved.
#[derive(Default)]
struct Seen {
    /// The place in the log of the newest own leaf proved to be there that tells of the ledger; `None` before the state
    /// was looked through for it.
    newest: Option<Option<u64>>,
}

/// What a gateway shows of the log.
pub struct Confirmation {
    /// The checkpoint's signed note.
    pub checkpoint: Vec<u8>,
    /// That it extends the tree last accepted.
    pub consistency: Vec<Hash>,
    /// Leaves of this adapter that are in it.
    pub leaves: Vec<ConfirmedLeaf>,
    /// The newest leaf of this agency in the log that tells of its ledger, with its place and proof.
    pub newest: Option<(Vec<u8>, ConfirmedLeaf)>,
}

/// A leaf's place in the log.
pub struct ConfirmedLeaf {
    /// Hash of the leaf.
    pub hash: Hash,
    /// Number in the log.
    pub index: u64,
    /// Inclusion proof.
    pub proof: Vec<Hash>,
}

/// What the gateway showed does not hold. It is told, and the leaves stay outstanding.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// The log is not one that only grows, or a leaf is not in it.
    #[error(transparent)]
    Log(#[from] firebreak_audit::FollowError),
    /// A leaf of somebody else, or one of another kind.
    #[error("the newest leaf shown is not one of this agency's that tells of its ledger")]
    NotOurs,
    /// An older leaf than one that was proved to be in the log before, or none.
    #[error(
        "what is shown as this agency's newest leaf is not: number {proved} of the log is newer; show the log as it is"
    )]
    Withheld {
        /// The number in the log of a newer one.
        proved: u64,
    },
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The follower's state.
    #[error(transparent)]
    View(#[from] firebreak_store::FollowerError),
}

impl Gate {
    /// A gate that opens once the log of that key was seen.
    #[must_use]
    pub const fn new(key: VerifierKey) -> Self {
        Self { key, ledger: AtomicU8::new(UNKNOWN), turn: Mutex::const_new(Seen { newest: None }) }
    }

    /// Whether something new may be answered now.
    ///
    /// # Errors
    /// The state failed.
    pub async fn check(&self, state: &State) -> Result<Result<(), Refusal>, StoreError> {
        let refused = |reason, detail: &str| Ok(Err(Refusal::new(reason).because(detail)));
        // A gateway shows the log within a second of the first connection: whoever asks that early waits for it.
        let began = Instant::now();
        while self.ledger.load(Ordering::SeqCst) == UNKNOWN && began.elapsed() < FIRST_LOOK {
            sleep(Duration::from_millis(20)).await;
        }
        match self.ledger.load(Ordering::SeqCst) {
            CURRENT => {}
            BEHIND => {
                return refused(
                    ReasonCode::LedgerBehindLog,
                    "the agency's ledger is older than the log: its state was restored or copied, and must be reconciled",
                );
            }
            _ => {
                return refused(
                    ReasonCode::EvidenceOutstanding,
                    "the agency has not yet seen the log since it started",
                );
            }
        }
        let backlog = state.backlog().await?;
        let late = backlog.oldest.is_some_and(|oldest| oldest.plus_secs(LONGEST_OUTSTANDING) < state.now());
        if backlog.count >= MOST_OUTSTANDING || late {
            return refused(ReasonCode::EvidenceOutstanding, "the log has not taken up the agency's earlier leaves");
        }
        Ok(Ok(()))
    }

    async fn follower(&self, state: &State) -> Result<Follower, ConfirmError> {
        Ok(match state.log_view().await? {
            None => Follower::new(self.key.clone()),
            Some(view) => Follower::decode(&view.bytes, self.key.clone())?,
        })
    }
}

impl App {
    /// The first of the leaves signed here and not yet seen in the log, and the size of the log last accepted.
    ///
    /// # Errors
    /// [`ConfirmError`].
    pub async fn outstanding(&self) -> Result<(Vec<NewLeaf>, u64), ConfirmError> {
        let mut bytes = 0;
        let waiting = self.state.outstanding(1024).await?.into_iter().take_while(|waiting| {
            let first = bytes == 0;
            bytes += waiting.bytes.len() + waiting.sealed.len();
            first || bytes <= OFFERED
        });
        let leaves = waiting.map(|waiting| NewLeaf { leaf: waiting.bytes, sealed: waiting.sealed }).collect();
        Ok((leaves, self.gate.follower(&self.state).await?.size()))
    }

    /// Takes up a checkpoint and the leaves that are proved to be in it. Gives the size accepted.
    ///
    /// # Errors
    /// [`ConfirmError`]: nothing is taken up.
    pub async fn confirm(&self, confirmation: &Confirmation) -> Result<u64, ConfirmError> {
        let mut seen = self.gate.turn.lock().await;
        let mut follower = self.gate.follower(&self.state).await?;
        // SECURITY: nothing is confirmed, and the gate stays as it is, without a checkpoint signed by the log's key.
        follower.advance(&confirmation.checkpoint, &confirmation.consistency)?;
        let outstanding = self.state.outstanding(1024).await?;
        let mut confirmed = Vec::new();
        let mut newest = match seen.newest {
            Some(newest) => newest,
            None => newest_of_ledger(&self.state).await?,
        };
        for leaf in &confirmation.leaves {
            let Some(own) = outstanding.iter().find(|o| *o.hash.as_bytes() == leaf.hash) else { continue };
            let signed = SignedLeaf::decode(&own.bytes).map_err(|_| ConfirmError::NotOurs)?;
            follower.check_inclusion(&signed, leaf.index, &leaf.proof)?;
            if signed.leaf().kind.tells_of_ledger() {
                newest = newest.max(Some(leaf.index));
            }
            confirmed.push((LeafHash::from_bytes(leaf.hash), leaf.index));
        }
        // SECURITY: the leaf that is shown as the newest is what a ledger that was set back is found by. A gateway that
        // shows none, or an older one than was proved to be in the log before, would have it looked for in vain.
        let shown = confirmation.newest.as_ref().map(|(_, place)| place.index);
        if let Some(proved) = newest.filter(|_| shown < newest) {
            return Err(ConfirmError::Withheld { proved });
        }
        let ledger = match &confirmation.newest {
            None => CURRENT,
            Some((bytes, place)) => {
                let signed = SignedLeaf::decode(bytes).map_err(|_| ConfirmError::NotOurs)?;
                follower.check_inclusion(&signed, place.index, &place.proof)?;
                let leaf = signed.leaf();
                if leaf.signer_org != *self.recorder.organisation() || !leaf.kind.tells_of_ledger() {
                    return Err(ConfirmError::NotOurs);
                }
                // SECURITY: a ledger that does not know the head under which its own newest leaf was signed has
                // been set back, and would spend what was spent before.
                if self.state.knows_head(&leaf.ledger_head).await? { CURRENT } else { BEHIND }
            }
        };
        let view = LogView { size: follower.size(), bytes: follower.encode().into_bytes() };
        self.state.accept_log_view(&view).await?;
        self.state.confirm(&confirmed).await?;
        seen.newest = Some(newest);
        // Once behind, only an operator's reconciliation and a restart open the gate again.
        let _ =
            self.gate.ledger.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| (now != BEHIND).then_some(ledger));
        Ok(follower.size())
    }
}

/// The place in the log of the newest leaf signed here that tells of the ledger.
async fn newest_of_ledger(state: &State) -> Result<Option<u64>, ConfirmError> {
    let mut below = None;
    loop {
        let leaves = state.confirmed_below(below, LOOKED_AT).await?;
        for (place, bytes) in &leaves {
            let signed = SignedLeaf::decode(bytes).map_err(|_| ConfirmError::NotOurs)?;
            if signed.leaf().kind.tells_of_ledger() {
                return Ok(Some(*place));
            }
        }
        match leaves.last() {
            Some((place, _)) => below = Some(*place),
            None => return Ok(None),
        }
    }
}

impl From<ConfirmError> for Failure {
    fn from(error: ConfirmError) -> Self {
        match error {
            ConfirmError::Store(error) => Self::Store(error),
            other => Self::Measurement(other.to_string()),
        }
    }
}
