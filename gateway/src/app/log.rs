//! The public log: one thread writes it, and puts all that waits under one checkpoint.

use firebreak_audit::{Log, LogEntry, LogError, NoteKey, NoteKeyError, PublishedLog, SignedLeaf, SignerRole};
use firebreak_domain::{OrgId, Pin};
use firebreak_node::Evidence;
use firebreak_store::{LeafHash, State, StoreError};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::runtime::Handle;
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
    /// The openings.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The writer has stopped, or gave this leaf up, after a failure.
    #[error("the log's writer did not take the leaf")]
    Stopped,
}

/// The log and its writer. Cheap to clone.
#[derive(Clone)]
pub struct EvidenceLog {
    queue: mpsc::Sender<Waiting>,
    shared: Arc<Shared>,
}

/// What the writer shows to everybody else. It never holds a lock while it waits for the disk.
struct Shared {
    published: RwLock<Arc<PublishedLog>>,
    known: Mutex<Known>,
}

/// Where leaves are in the log.
#[derive(Default)]
struct Known {
    index: HashMap<LeafHash, u64>,
    newest: HashMap<(OrgId, &'static str), u64>,
    keys: HashMap<(OrgId, &'static str), HashSet<Pin>>,
}

impl Known {
    fn add(&mut self, leaf: &SignedLeaf, index: u64) {
        self.index.insert(LeafHash::of(leaf.as_bytes()), index);
        let signer = (leaf.leaf().signer_org.clone(), leaf.leaf().signer_role.as_str());
        self.keys.entry(signer.clone()).or_default().insert(*leaf.key());
        if !leaf.leaf().kind.tells_of_ledger() {
            return;
        }
        let newest = self.newest.entry(signer).or_insert(index);
        *newest = index.max(*newest);
    }
}

struct Waiting {
    entry: LogEntry,
    done: oneshot::Sender<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EvidenceLog {
    /// Opens the log in `folder`, or begins it, and starts its writer, which keeps what the overseers read in `state`.
    /// To be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`LogFailure`].
    pub fn open(folder: &Path, key: NoteKey, state: State) -> Result<Self, LogFailure> {
        let log = Log::open(folder, key)?;
        let mut known = Known::default();
        log.published().for_each_entry(|index, leaf| known.add(&leaf, index))?;
        let published = RwLock::new(Arc::clone(log.published()));
        let shared = Arc::new(Shared { published, known: Mutex::new(known) });
        let (queue, waiting) = mpsc::channel(WAITING);
        let writer = Writer { log, shared: Arc::clone(&shared), state };
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || writer.run(waiting, &runtime));
        Ok(Self { queue, shared })
    }

    /// Puts a leaf into the log and waits for the checkpoint that covers it. Gives its number. A leaf that is there
    /// already is not put in again.
    ///
    /// # Errors
    /// [`LogFailure::Stopped`].
    pub async fn append(&self, entry: LogEntry) -> Result<u64, LogFailure> {
        match self.index_of(&entry.leaf) {
            Some(index) => Ok(index),
            None => self.queued(entry).await?.await.map_err(|_| LogFailure::Stopped),
        }
    }

    /// [`EvidenceLog::append`] for several, which wait for their checkpoint together.
    ///
    /// # Errors
    /// [`LogFailure::Stopped`].
    pub async fn append_all(&self, entries: &[LogEntry]) -> Result<(), LogFailure> {
        let mut waiting = Vec::with_capacity(entries.len());
        for entry in entries {
            waiting.push(self.queued(entry.clone()).await?);
        }
        for one in waiting {
            one.await.map_err(|_| LogFailure::Stopped)?;
        }
        Ok(())
    }

    /// Whether the writer takes leaves. Once it has stopped it never does again.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        !self.queue.is_closed()
    }

    async fn queued(&self, entry: LogEntry) -> Result<oneshot::Receiver<u64>, LogFailure> {
        let (done, wait) = oneshot::channel();
        self.queue.send(Waiting { entry, done }).await.map_err(|_| LogFailure::Stopped)?;
        Ok(wait)
    }

    /// The log under its latest checkpoint.
    #[must_use]
    pub fn published(&self) -> Arc<PublishedLog> {
        Arc::clone(&self.shared.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a leaf into the log, and gives its receipt as text.
    ///
    /// # Errors
    /// [`LogFailure`].
    pub async fn receipt(&self, evidence: Evidence) -> Result<String, LogFailure> {
        let index = self.append(evidence.entry()).await?;
        let Evidence { leaf, opening, .. } = evidence;
        Ok(self.published().receipt(index, leaf, Some(opening))?.encode())
    }

    /// The file of the log at a path of its folder. A log that cannot be read has none.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.published().file(path).unwrap_or_else(|error| {
            tracing::error!(error_kind = %error, "a file of the log could not be read");
            None
        })
    }

    /// The number of a leaf, if it is in the log.
    #[must_use]
    pub fn index_of(&self, leaf: &SignedLeaf) -> Option<u64> {
        lock(&self.shared.known).index.get(&LeafHash::of(leaf.as_bytes())).copied()
    }

    /// Whether a leaf in the log names that key as an organisation's in that role.
    #[must_use]
    pub fn has_signed(&self, org: &OrgId, role: SignerRole, key: &Pin) -> bool {
        lock(&self.shared.known).keys.get(&(org.clone(), role.as_str())).is_some_and(|keys| keys.contains(key))
    }

    /// The newest leaf that tells of a ledger ([`firebreak_audit::LeafKind::tells_of_ledger`]) and that an organisation
    /// signed in that role.
    ///
    /// # Errors
    /// [`LogFailure`].
    pub fn newest_of(&self, org: &OrgId, role: SignerRole) -> Result<Option<(u64, SignedLeaf)>, LogFailure> {
        let index = lock(&self.shared.known).newest.get(&(org.clone(), role.as_str())).copied();
        index.map(|index| Ok((index, self.published().entry(index)?))).transpose()
    }
}

/// Writes the log, alone.
struct Writer {
    log: Log,
    shared: Arc<Shared>,
    state: State,
}

impl Writer {
    /// Writes until the queue closes or the disk fails; then every waiter learns that the writer has stopped.
    fn run(mut self, mut queue: mpsc::Receiver<Waiting>, runtime: &Handle) {
        let mut batch = Vec::new();
        while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            match self.write(&mut batch, runtime) {
                Ok(()) => {}
                // Nothing was written: who waits hears that it failed, and what comes next is tried anew.
                Err(LogFailure::Store(error)) => {
                    tracing::error!(error_kind = %error, "openings could not be kept; their leaves are not logged");
                    batch.clear();
                }
                Err(error) => {
                    tracing::error!(error_kind = %error, "the log could not be written; nothing more is answered");
                    return;
                }
            }
        }
    }

    fn write(&mut self, batch: &mut Vec<Waiting>, runtime: &Handle) -> Result<(), LogFailure> {
        let mut fresh: Vec<SignedLeaf> = Vec::new();
        let mut openings = Vec::new();
        let mut places = Vec::with_capacity(batch.len());
        {
            let known = lock(&self.shared.known);
            let mut added: HashMap<LeafHash, u64> = HashMap::new();
            for waiting in batch.iter() {
                let LogEntry { leaf, sealed } = &waiting.entry;
                let hash = LeafHash::of(leaf.as_bytes());
                let index = known.index.get(&hash).or_else(|| added.get(&hash)).copied();
                places.push(index.unwrap_or_else(|| {
                    let index = self.log.appended() + fresh.len() as u64;
                    added.insert(hash, index);
                    fresh.push(leaf.clone());
                    openings.push((hash, sealed.as_bytes().to_vec()));
                    index
                }));
            }
        }
        // INVARIANT: no leaf is in the log whose opening is not on the disk for the overseers.
        if !openings.is_empty() {
            runtime.block_on(self.state.keep_sealed(openings))?;
        }
        let first = self.log.append(&fresh)?.start;
        let published = Arc::clone(self.log.publish()?);
        // INVARIANT: what is known is published: whoever finds a leaf's number here also gets its proof.
        *self.shared.published.write().unwrap_or_else(PoisonError::into_inner) = published;
        {
            let mut known = lock(&self.shared.known);
            for (index, leaf) in (first..).zip(&fresh) {
                known.add(leaf, index);
            }
        }
        for (waiting, index) in batch.drain(..).zip(places) {
            // A caller that has gone needs no answer.
            let _ = waiting.done.send(index);
        }
        Ok(())
    }
}
