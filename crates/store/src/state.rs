//! One program's state folder.

use crate::{
    AccountKind, ChainError, LedgerHead, OpenError, PersonLoss, Sealer, StateKey, StoreError,
    accounts::{AccountKey, RequestRef},
    checkpoint::{self, Checkpoints},
    files,
    ledger::Ledger,
    releases::Recent,
    schema,
    scrub::{self, Scrub},
    verify,
    watermark::{Seal, Watermark},
    writer::{Jobs, Writer},
};
use firebreak_domain::{Charge, Clock, Timestamp, UnitSpaceId};
use sqlx::{
    ConnectOptions, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    collections::{BTreeMap, HashSet},
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use zeroize::Zeroizing;

/// The durable state of one gateway or one adapter. Clones share it.
///
/// The folder is held by one program at a time. All that is written goes through one task, which puts whatever waits
/// into one transaction; reading does not wait for it. Dropping every clone ends the task; [`State::close`] waits until
/// it has ended.
#[derive(Clone)]
pub struct State {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
    pub(crate) keys: Keys,
    pub(crate) readers: SqlitePool,
    pub(crate) jobs: Jobs,
    /// Where sessions keep their files.
    pub(crate) sessions: PathBuf,
}

/// What the task that writes and those who ask share in memory.
pub(crate) struct Core {
    /// As on the disk: changed only after a commit.
    pub(crate) ledger: RwLock<Ledger>,
    pub(crate) watermark: Watermark,
    pub(crate) recent: Mutex<Recent>,
    pub(crate) refundable: Arc<Refundable>,
}

/// Keys derived from the state key, one for each use.
pub(crate) struct Keys {
    pub(crate) principals: Zeroizing<[u8; 32]>,
    pub(crate) persons: Zeroizing<[u8; 32]>,
    pub(crate) sessions: Sealer,
    pub(crate) register: Sealer,
    pub(crate) questions: Sealer,
    pub(crate) publications: Sealer,
}

/// The requests that were charged by this run of the program and have not been executed. Nothing of it outlives the
/// process: after a crash nobody knows whether the engine was asked.
#[derive(Default)]
pub(crate) struct Refundable(Mutex<HashSet<RequestRef>>);

impl Refundable {
    pub(crate) fn remember(&self, request: RequestRef) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(request);
    }

    /// Whether it was there.
    pub(crate) fn forget(&self, request: &RequestRef) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(request)
    }
}

const DATABASE: &str = "state.sqlite";
const LOCK: &str = "lock";
const READERS: u32 = 4;
/// Memory for pages that are written and looked up, in kibibytes below zero, as SQLite wants it: 8 MB. Nearly all
/// that is written goes to the end of its table; a larger cache only makes everybody wait when SQLite doubles its
/// table of pages.
const CACHE: &str = "-8192";

impl State {
    /// Opens the state in `folder`, which is created, private to its owner, if it does not exist.
    ///
    /// The whole ledger is read and verified: about a second for a million entries. For each request that is charged,
    /// about a hundred bytes of memory are kept.
    ///
    /// # Errors
    /// [`OpenError`]: another program has it open, it was written under another key or by a later version, its ledger
    /// does not verify, what is kept beside it was edited, or the disk failed.
    pub async fn open(folder: &Path, key: StateKey, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let lock = lock_folder(folder)?;
        let options = SqliteConnectOptions::new()
            .filename(folder.join(DATABASE))
            .foreign_keys(true)
            // What is deleted is overwritten: a closed match session leaves no key material in free pages.
            .pragma("secure_delete", "ON")
            .pragma("trusted_schema", "OFF")
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let mut writing = options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("wal_autocheckpoint", checkpoint::MOST_PAGES)
            .pragma("cache_size", CACHE)
            .connect()
            .await
            .map_err(StoreError::from)?;
        let seal = Seal::of(&key);
        schema::prepare(&mut writing, &key, &seal).await?;
        let ledger = verify::ledger(&mut writing).await?;
        let watermark = Watermark::load(&mut writing, seal, &ledger.head, clock).await?;
        schema::remove_earlier(&mut writing).await?;
        // SECURITY: a program that was killed right after it destroyed something left it in the log of writes. It is
        // gone before anybody can read.
        let mut scrub = Scrub::default();
        if !scrub::empty(&mut writing).await {
            scrub.ask();
        }
        let checkpoints = Checkpoints::over(options.clone().connect().await.map_err(StoreError::from)?);
        // Readers must not write even by mistake; they open the file only now that it exists.
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await
            .map_err(StoreError::from)?;
        let core = Arc::new(Core {
            ledger: RwLock::new(ledger),
            watermark,
            recent: Mutex::default(),
            refundable: Arc::default(),
        });
        let keys = Keys {
            principals: key.derive("principals"),
            persons: key.derive("persons"),
            sessions: key.sealer("sessions"),
            register: key.sealer("register"),
            questions: key.sealer("questions"),
            publications: key.sealer("publications"),
        };
        let jobs = Writer::spawn(writing, checkpoints, lock, Arc::clone(&core), scrub);
        let sessions = folder.join(files::FOLDER);
        let state = Self { shared: Arc::new(Shared { core, keys, readers, jobs, sessions }) };
        // A program that was killed while it closed a session left files that nobody can open.
        state.delete_closed_files().await?;
        Ok(state)
    }

    /// Finishes what is queued, closes the files and frees the folder. Clones that remain get [`StoreError::Closed`].
    pub async fn close(self) {
        self.shared.readers.close().await;
        self.shared.jobs.close().await;
    }

    /// Reads the whole ledger again from the disk, with all that rests on it, and compares it with what this program
    /// knows: each entry's hash and place, that no balance ever left its range, each evaluated chunk and each
    /// release with the entry that paid for it, and the latest time and bundle with the code that goes with them.
    ///
    /// # Errors
    /// [`ChainError`], which says what was found.
    pub async fn verify_chain(&self) -> Result<LedgerHead, ChainError> {
        // Taken before reading: what is on the disk must begin with it.
        let watermark = &self.shared.core.watermark;
        let (known, marks) = (self.ledger_head(), watermark.durable());
        let mut reading = self.shared.readers.acquire().await.map_err(StoreError::from)?;
        verify::everything(&mut reading, known, &watermark.seal, &marks).await
    }

    /// The ledger's head: what the leaf of the next release carries.
    #[must_use]
    pub fn ledger_head(&self) -> LedgerHead {
        self.ledger(|ledger| ledger.head)
    }

    /// What has been spent from each of `accounts`, in their order.
    #[must_use]
    pub fn balance(&self, accounts: &[AccountKind]) -> Vec<Charge> {
        let keys: Vec<_> =
            accounts.iter().map(|account| AccountKey::of(account, &self.shared.keys.principals)).collect();
        self.ledger(|ledger| keys.iter().map(|key| ledger.spent.get(key).copied().unwrap_or_default()).collect())
    }

    /// What every person of each unit space can have lost, of all that this ledger ever charged: what policy names no
    /// longer is still lost.
    #[must_use]
    pub fn losses(&self) -> BTreeMap<UnitSpaceId, PersonLoss> {
        let mut losses: BTreeMap<UnitSpaceId, PersonLoss> = BTreeMap::new();
        self.ledger(|ledger| {
            for (key, spent) in &ledger.spent {
                match key.of_persons() {
                    Some(AccountKind::UnitSpaceLife(space)) => losses.entry(space).or_default().for_life = *spent,
                    Some(AccountKind::UnitSpaceYear { space, year }) => {
                        losses.entry(space).or_default().by_year.insert(year, *spent);
                    }
                    _ => {}
                }
            }
        });
        losses
    }

    /// The present moment, never earlier than the latest that this state has seen, in this run or before it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.core.watermark.now()
    }

    pub(crate) fn ledger<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.shared.core.ledger.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn lock_folder(folder: &Path) -> Result<File, OpenError> {
    let private = || {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(folder.join(LOCK))
    };
    let file: File = private().map_err(OpenError::Folder)?;
    // INVARIANT: one writer per state folder. The lock goes with the open file, also when the process is killed.
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse),
        Err(TryLockError::Error(error)) => Err(OpenError::Folder(error)),
    }
}
