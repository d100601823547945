//! The public log: one thread writes it, and puts all that waits under one checkpoint.

use firebreak_audit::{
    Checkpoint, Hash, LeafKind, Log, LogError, NoteKey, NoteKeyError, Opening, SignedLeaf, SignerRole,
};
use firebreak_domain::OrgId;
use firebreak_store::LeafHash;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Leaves that may wait for the writer.
const WAITING: usize = 4096;
/// Leaves under one checkpoint at the most.
const BATCH: usize = 512;

/// The log failed. Nothing is answered until it is mended.
#[derive(Debug, thiserror::Error)]
pub enum LogFailure {
    /// The files.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The key.
    #[error(transparent)]
    Key(#[from] NoteKeyError),
    /// The writer has stopped after an earlier failure.
    #[error("the log's writer has stopped")]
    Stopped,
}

/// The log and its writer. Cheap to clone.
#[derive(Clone)]
pub struct EvidenceLog {
    queue: mpsc::Sender<Waiting>,
    shared: Arc<Shared>,
}

struct Shared {
    log: Mutex<Log>,
    known: Mutex<Known>,
}

/// Where leaves are in the log.
#[derive(Default)]
struct Known {
    index: HashMap<LeafHash, u64>,
    newest: HashMap<(OrgId, &'static str), u64>,
}

impl Known {
    fn add(&mut self, leaf: &SignedLeaf, index: u64) {
        self.index.insert(LeafHash::of(leaf.as_bytes()), index);
        // SECURITY: a program whose ledger was set back still signs refusals, under the head that it was set back to.
        // They say nothing of what the ledger has seen.
        if leaf.leaf().kind == LeafKind::Refusal {
            return;
        }
        let signer = (leaf.leaf().signer_org.clone(), leaf.leaf().signer_role.as_str());
        let newest = self.newest.entry(signer).or_insert(index);
        *newest = index.max(*newest);
    }
}

struct Waiting {
    leaf: SignedLeaf,
    done: oneshot::Sender<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EvidenceLog {
    /// Opens the log in `folder`, or begins it, and starts its writer.
    ///
    /// # Errors
    /// [`LogFailure`].
    pub fn open(folder: &Path, key: NoteKey) -> Result<Self, LogFailure> {
        let log = Log::open(folder, key)?;
        let mut known = Known::default();
        for index in 0..log.checkpoint().size() {
            known.add(&log.entry(index)?, index);
        }
        let shared = Arc::new(Shared { log: Mutex::new(log), known: Mutex::new(known) });
        let (queue, waiting) = mpsc::channel(WAITING);
        let writer = Arc::clone(&shared);
        tokio::task::spawn_blocking(move || write(&writer, waiting));
        Ok(Self { queue, shared })
    }

    /// Puts a leaf into the log and waits for the checkpoint that covers it. Gives its number. A leaf that is there
    /// already is not put in again.
    ///
    /// # Errors
    /// [`LogFailure::Stopped`].
    pub async fn append(&self, leaf: SignedLeaf) -> Result<u64, LogFailure> {
        let (done, wait) = oneshot::channel();
        self.queue.send(Waiting { leaf, done }).await.map_err(|_| LogFailure::Stopped)?;
        wait.await.map_err(|_| LogFailure::Stopped)
    }

    /// The latest checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        lock(&self.shared.log).checkpoint().clone()
    }

    /// The receipt of the leaf at `index`, as text.
    ///
    /// # Errors
    /// [`LogFailure`].
    pub fn receipt(&self, index: u64, opening: Option<Opening>) -> Result<String, LogFailure> {
        Ok(lock(&self.shared.log).receipt(index, opening)?.encode())
    }

    /// The number of a leaf, if it is in the log.
    #[must_use]
    pub fn index_of(&self, leaf: &SignedLeaf) -> Option<u64> {
        lock(&self.shared.known).index.get(&LeafHash::of(leaf.as_bytes())).copied()
    }

    /// The newest leaf, refusals aside, that an organisation signed in that role.
    ///
    /// # Errors
    /// [`LogFailure`].
    pub fn newest_of(&self, org: &OrgId, role: SignerRole) -> Result<Option<(u64, SignedLeaf)>, LogFailure> {
        let index = lock(&self.shared.known).newest.get(&(org.clone(), role.as_str())).copied();
        index.map(|index| Ok((index, lock(&self.shared.log).entry(index)?))).transpose()
    }

    /// The inclusion proof of the leaf at `index` in the tree of `size` leaves.
    ///
    /// # Errors
    /// [`LogFailure`].
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogFailure> {
        Ok(lock(&self.shared.log).inclusion_proof(index, size)?)
    }

    /// The proof that the tree of `new` leaves extends that of `old`.
    ///
    /// # Errors
    /// [`LogFailure`].
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogFailure> {
        Ok(lock(&self.shared.log).consistency_proof(old, new)?)
    }
}

/// Writes until the queue closes or the disk fails; then every waiter learns that the writer has stopped.
fn write(shared: &Shared, mut queue: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::new();
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        if let Err(error) = write_batch(shared, &mut batch) {
            tracing::error!(error_kind = %error, "the log could not be written; nothing more is answered");
            return;
        }
    }
}

fn write_batch(shared: &Shared, batch: &mut Vec<Waiting>) -> Result<(), LogError> {
    let mut log = lock(&shared.log);
    let mut fresh: Vec<SignedLeaf> = Vec::new();
    let mut places = Vec::with_capacity(batch.len());
    {
        let known = lock(&shared.known);
        let mut added: HashMap<LeafHash, u64> = HashMap::new();
        for waiting in batch.iter() {
            let hash = LeafHash::of(waiting.leaf.as_bytes());
            let index = known.index.get(&hash).or_else(|| added.get(&hash)).copied();
            places.push(index.unwrap_or_else(|| {
                let index = log.appended() + fresh.len() as u64;
                added.insert(hash, index);
                fresh.push(waiting.leaf.clone());
                index
            }));
        }
    }
    if !fresh.is_empty() {
        let first = log.append(&fresh)?.start;
        log.publish()?;
        let mut known = lock(&shared.known);
        for (offset, leaf) in fresh.iter().enumerate() {
            known.add(leaf, first + offset as u64);
        }
    }
    drop(log);
    for (waiting, index) in batch.drain(..).zip(places) {
        // A caller that has gone needs no answer.
        let _ = waiting.done.send(index);
    }
    Ok(())
}
