//! The one task that writes. It puts all that waits into one transaction, so that one wait for the disk serves many.

use crate::{
    ReleaseKey, State, StoreError,
    accounts::{AccountKey, RequestRef},
    batch,
    checkpoint::Checkpoints,
    codec,
    ledger::{Draft, Entry, LedgerHead, ListRef, Spend},
    scrub::Scrub,
    state::Core,
    watermark::{AcceptedBundle, Marks},
};
use firebreak_domain::{Charge, Timestamp};
use sqlx::{Connection, SqliteConnection};
use std::{
    collections::HashSet,
    fs::File,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};

/// A step of a transaction, under way.
pub(crate) type Step<'w, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'w>>;

/// Tells a caller how it ended, once the transaction is on the disk or given up.
pub(crate) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A step that tells its caller itself how it ended.
type Run<'w> = Pin<Box<dyn Future<Output = (Reply, Result<(), StoreError>)> + Send + 'w>>;

/// A caller's step, waiting to be run.
pub(crate) trait Job: Send {
    /// Runs it inside the transaction. The reply is to be called when the transaction has ended.
    fn run<'w>(self: Box<Self>, work: &'w mut Work) -> Run<'w>;
    /// The transaction failed before it was its turn.
    fn refuse(self: Box<Self>, error: StoreError);
    /// The releases that it looks for before anything else.
    fn asked(&self) -> &[ReleaseKey];
}

struct Waiting<T, F> {
    step: F,
    asked: Vec<ReleaseKey>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Waiting<T, F>
where
    T: Send + 'static,
    F: for<'w> FnOnce(&'w mut Work) -> Step<'w, T> + Send + 'static,
{
    fn run<'w>(self: Box<Self>, work: &'w mut Work) -> Run<'w> {
        Box::pin(async move {
            let Self { step, reply, .. } = *self;
            let (value, outcome) = match step(work).await {
                Ok(value) => (Some(value), Ok(())),
                Err(error) => (None, Err(error)),
            };
            let answer: Reply = Box::new(move |ended| {
                let result = ended.and_then(|()| value.ok_or(StoreError::Closed));
                // Whoever no longer waits loses only the message; what was done stands.
                let _ = reply.send(result);
            });
            (answer, outcome)
        })
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        let _ = self.reply.send(Err(error));
    }

    fn asked(&self) -> &[ReleaseKey] {
        &self.asked
    }
}

/// The way to the task that writes. When the last is dropped, the task finishes what is queued and ends.
pub(crate) struct Jobs {
    queue: mpsc::Sender<Box<dyn Job>>,
    stop: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Jobs {
    pub(crate) async fn close(&self) {
        self.stop.notify_one();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A task that was aborted with its runtime has let go of its files as well.
            let _ = task.await;
        }
    }
}

impl State {
    /// Runs `step` inside the next transaction and returns when that is on the disk.
    ///
    /// A step must check before it writes: what it decides against is an `Ok`, an `Err` undoes the whole transaction
    /// and everybody's step in it.
    pub(crate) async fn write<T, F>(&self, step: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'w> FnOnce(&'w mut Work) -> Step<'w, T> + Send + 'static,
    {
        self.queue(Vec::new(), step).await
    }

    /// [`State::write`] of a step that asks [`Work::has_release`] for what is `asked`: it is looked up for all steps
    /// of the transaction at once.
    pub(crate) async fn write_asking<T, F>(&self, asked: Vec<ReleaseKey>, step: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'w> FnOnce(&'w mut Work) -> Step<'w, T> + Send + 'static,
    {
        self.queue(asked, step).await
    }

    async fn queue<T, F>(&self, asked: Vec<ReleaseKey>, step: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'w> FnOnce(&'w mut Work) -> Step<'w, T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let waiting = Box::new(Waiting { step, asked, reply });
        self.shared.jobs.queue.send(waiting).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Steps that may wait for the task before callers wait to be queued.
const QUEUE: usize = 4096;
/// Steps in one transaction: enough to share a wait for the disk, few enough to keep that wait short.
const BATCH: usize = 512;

/// The transaction that steps run in.
pub(crate) struct Work {
    connection: SqliteConnection,
    core: Arc<Core>,
    draft: Draft,
    /// Of the releases that its steps ask for, those that are stored.
    released: HashSet<ReleaseKey>,
    now: Timestamp,
    /// Whether the step that runs destroys something.
    destroys: bool,
    bundle: Option<AcceptedBundle>,
}

impl Work {
    /// For statements of this transaction.
    pub(crate) fn sql(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// What this step deletes is to be left in no file. Its caller hears of its end when that is so, or when somebody
    /// has kept the files from it for five seconds; it is tried until it is so.
    pub(crate) const fn scrub(&mut self) {
        self.destroys = true;
    }

    /// The time of this transaction.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The bundle accepted last, with all that this transaction has done so far.
    pub(crate) fn bundle(&self) -> Option<AcceptedBundle> {
        self.bundle
    }

    /// Takes note of an accepted bundle.
    pub(crate) fn accept(&mut self, bundle: AcceptedBundle) {
        self.bundle = Some(bundle);
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Balances with all that this transaction has done so far.
    pub(crate) fn spent(&self, account: &AccountKey) -> Charge {
        self.draft.spent(&self.core.ledger.read().unwrap_or_else(PoisonError::into_inner), account)
    }

    /// What a cap has counted, with all that this transaction has done so far.
    pub(crate) fn counted(&self, account: &AccountKey) -> u64 {
        self.draft.counted(&self.core.ledger.read().unwrap_or_else(PoisonError::into_inner), account)
    }

    /// Whether that very list of tags is charged, with all that this transaction has done so far.
    pub(crate) fn is_handed_out(&self, list: &ListRef) -> bool {
        self.draft.is_handed_out(&self.core.ledger.read().unwrap_or_else(PoisonError::into_inner), list)
    }

    /// The head with all that this transaction has done so far.
    pub(crate) fn head(&self) -> LedgerHead {
        self.draft.head()
    }

    /// Whether the release of a step that was queued with it is stored.
    pub(crate) fn has_release(&self, key: &ReleaseKey) -> bool {
        self.released.contains(key)
    }

    /// Takes note of a release that a step has stored.
    pub(crate) fn released(&mut self, key: ReleaseKey) {
        self.released.insert(key);
    }

    /// What a request was charged and when, with all that this transaction has done so far; `None` if it is not
    /// charged.
    pub(crate) async fn charged(&mut self, request: &RequestRef) -> Result<Option<(Timestamp, Spend)>, StoreError> {
        let charged = {
            let base = self.core.ledger.read().unwrap_or_else(PoisonError::into_inner);
            self.draft.charged(&base, request)
        };
        let Some(seq) = charged else { return Ok(None) };
        let bytes = match self.draft.rows.iter().find(|row| row.seq == seq) {
            Some(row) => row.entry.clone(),
            None => {
                let select = sqlx::query_scalar("SELECT entry FROM ledger WHERE seq = ?");
                let found = select.bind(codec::stored("ledger", seq)?).fetch_optional(&mut self.connection).await?;
                found.ok_or(StoreError::Malformed("ledger"))?
            }
        };
        match Entry::from_bytes(&bytes)? {
            (at, Entry::Reserve(spend) | Entry::Repeat(spend)) if spend.request == *request => Ok(Some((at, spend))),
            _ => Err(StoreError::Malformed("ledger entry")),
        }
    }

    /// Appends to the ledger.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<u64, StoreError> {
        let base = self.core.ledger.read().unwrap_or_else(PoisonError::into_inner);
        self.draft.append(&base, entry, self.now).map_err(|_| StoreError::Malformed("balance"))
    }

    async fn begin(&mut self, asked: &[ReleaseKey]) -> Result<(), StoreError> {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await?;
        // INVARIANT: looked up within the transaction. From here on nobody else writes, and the steps tell what they
        // change.
        self.released = batch::released(&mut self.connection, asked).await?;
        Ok(())
    }

    /// The time and the bundle that the transaction leaves behind.
    fn marks(&self) -> Marks {
        Marks { seen: self.now.secs(), bundle: self.bundle }
    }

    async fn commit(&mut self, moved: bool) -> Result<(), StoreError> {
        batch::insert_entries(&mut self.connection, &self.draft.rows).await?;
        // Its code names the ledger's head, so it changes with every entry.
        let watermark = &self.core.watermark;
        if moved || !self.draft.rows.is_empty() || self.bundle != watermark.bundle() {
            let (marks, head) = (self.marks(), self.draft.head());
            watermark.seal.write(&mut self.connection, &marks, &head).await?;
        }
        sqlx::query("COMMIT").execute(&mut self.connection).await?;
        Ok(())
    }
}

/// Runs the steps.
pub(crate) struct Writer {
    work: Work,
    scrub: Scrub,
    checkpoints: Checkpoints,
    /// Held as long as anything may be written.
    lock: File,
}

impl Writer {
    pub(crate) fn spawn(
        connection: SqliteConnection,
        checkpoints: Checkpoints,
        lock: File,
        core: Arc<Core>,
        scrub: Scrub,
    ) -> Jobs {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let stop = Arc::new(Notify::new());
        let draft = core.ledger.read().unwrap_or_else(PoisonError::into_inner).draft();
        let (now, _) = core.watermark.to_write();
        let bundle = core.watermark.bundle();
        let work = Work { connection, core, draft, released: HashSet::new(), now, destroys: false, bundle };
        let writer = Self { work, scrub, checkpoints, lock };
        let task = tokio::spawn(writer.run(waiting, Arc::clone(&stop)));
        Jobs { queue, stop, task: Mutex::new(Some(task)) }
    }

    async fn run(mut self, mut waiting: mpsc::Receiver<Box<dyn Job>>, stop: Arc<Notify>) {
        let core = Arc::clone(&self.work.core);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                // After a stop, what is queued is still taken; after the last, zero comes back.
                taken = waiting.recv_many(&mut batch, BATCH) => if taken == 0 { break },
                () = core.watermark.moved.notified() => {}
                () = self.scrub.due() => {}
                () = self.checkpoints.due() => {
                    self.checkpoints.begin().await;
                    continue;
                }
                () = stop.notified() => waiting.close(),
            }
            let steps = batch.len();
            self.transact(std::mem::take(&mut batch)).await;
            self.checkpoints.after(steps).await;
            if self.scrub.is_due() {
                // Of two who empty the log one would find the other in the way.
                self.checkpoints.rest().await;
                self.scrub.attempt(&mut self.work.connection).await;
            }
        }
        // The last time seen goes to the disk with the last transaction.
        self.transact(Vec::new()).await;
        self.checkpoints.close().await;
        // Whoever closes the files last brings the log into the database and deletes it.
        let _ = self.work.connection.close().await;
        self.scrub.end();
        // Closing the file would do, but for a child process that was forked just now and holds it too until it runs
        // its own program.
        let _ = self.lock.unlock();
    }

    async fn transact(&mut self, batch: Vec<Box<dyn Job>>) {
        let (now, moved) = self.work.core.watermark.to_write();
        if batch.is_empty() && !moved {
            return;
        }
        self.work.now = now;
        self.work.bundle = self.work.core.watermark.bundle();
        self.work.draft = self.work.core.ledger.read().unwrap_or_else(PoisonError::into_inner).draft();
        let mut replies = Vec::with_capacity(batch.len());
        let outcome = self.attempt(batch, moved, &mut replies).await;
        match outcome {
            Ok(()) => {
                let draft = std::mem::take(&mut self.work.draft);
                self.work.core.ledger.write().unwrap_or_else(PoisonError::into_inner).commit(draft);
                self.work.core.watermark.written(&self.work.marks());
            }
            // If this fails too, so does the next BEGIN, and nothing is taken for done.
            Err(_) => drop(sqlx::query("ROLLBACK").execute(&mut self.work.connection).await),
        }
        for (reply, destroyed) in replies {
            // Nobody else waits until the log is emptied.
            if destroyed && outcome.is_ok() {
                self.scrub.ask_and_wait(reply);
            } else {
                reply(outcome);
            }
        }
    }

    async fn attempt(
        &mut self,
        batch: Vec<Box<dyn Job>>,
        moved: bool,
        replies: &mut Vec<(Reply, bool)>,
    ) -> Result<(), StoreError> {
        let asked: Vec<_> = batch.iter().flat_map(|job| job.asked().iter().copied()).collect();
        let mut outcome = self.work.begin(&asked).await;
        for job in batch {
            match outcome {
                Ok(()) => {
                    self.work.destroys = false;
                    let (reply, ended) = job.run(&mut self.work).await;
                    replies.push((reply, self.work.destroys));
                    outcome = ended;
                }
                Err(error) => job.refuse(error),
            }
        }
        outcome?;
        self.work.commit(moved).await
    }
}

#[cfg(test)]
mod tests {
    use crate::{State, StateKey};
    use firebreak_domain::SystemClock;
    use std::sync::Arc;

    /// No kill of a program shows what a power cut would: that what is committed is only on its way to the disk.
    #[tokio::test]
    async fn every_commit_waits_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), StateKey::from_bytes([7; 32]), Arc::new(SystemClock)).await.unwrap();
        let asked = state.write(|work| {
            Box::pin(async move {
                let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(work.sql()).await?;
                let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(work.sql()).await?;
                Ok((synchronous, journal))
            })
        });
        // 2 is FULL: the log of writes is synced at each commit (https://sqlite.org/pragma.html#pragma_synchronous).
        assert_eq!(asked.await.unwrap(), (2, "wal".to_owned()));
    }

    /// Before 3.51.3 a pass that met the first write to a log begun anew could damage the database
    /// (<https://sqlite.org/releaselog/3_51_3.html>). Passes are made beside the writing here.
    #[tokio::test]
    async fn passes_beside_the_writing_meet_an_sqlite_that_allows_them() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), StateKey::from_bytes([7; 32]), Arc::new(SystemClock)).await.unwrap();
        let asked = state.write(|work| {
            Box::pin(async move {
                let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(work.sql()).await?;
                Ok(version)
            })
        });
        let version = asked.await.unwrap();
        let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(parts >= vec![3, 51, 3], "{version}");
    }
}
