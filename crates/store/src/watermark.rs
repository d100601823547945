//! What only ever rises: the time seen and the bundle accepted last.

use crate::{LedgerHead, NewLeaf, OpenError, State, StateKey, StoreError, codec, key::prf, outbox::insert_leaf};
use firebreak_domain::{Clock, Timestamp};
use sqlx::{Row, SqliteConnection};
use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicI64, Ordering},
};
use subtle::ConstantTimeEq;
use tokio::sync::Notify;
use zeroize::Zeroizing;

/// A bundle that may not take the place of the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// An earlier one than was accepted before.
    #[error("the bundle has sequence {sequence}, but {highest} was already accepted: it is rolled back")]
    RolledBack {
        /// The sequence offered.
        sequence: u64,
        /// The highest accepted.
        highest: u64,
    },
    /// Another one than was accepted under the same sequence.
    #[error("another bundle of sequence {sequence} was already accepted")]
    Forked {
        /// The sequence of both.
        sequence: u64,
    },
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The bundle accepted last: its sequence, and the digest that tells it from any other of that sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedBundle {
    /// Its sequence, from 1.
    pub sequence: u64,
    /// SHA-256 of the text of its manifest.
    pub manifest: [u8; 32],
}

/// What the one row of the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The latest time seen, in seconds.
    pub(crate) seen: i64,
    pub(crate) bundle: Option<AcceptedBundle>,
}

impl Marks {
    /// What a new folder begins with.
    pub(crate) const FIRST: Self = Self { seen: i64::MIN, bundle: None };
}

/// Reads and writes the row, under a key of its own.
// SECURITY: whoever edits the row cannot make the code that goes with it, and one that goes with an earlier row names
// an earlier head of the ledger: neither the clock nor a bundle is set back with a database tool.
pub(crate) struct Seal(Zeroizing<[u8; 32]>);

impl Seal {
    pub(crate) fn of(key: &StateKey) -> Self {
        Self(key.derive("watermark"))
    }

    /// The row, if it is as this program wrote it beside a ledger with that head.
    pub(crate) async fn read(
        &self,
        reading: &mut SqliteConnection,
        head: &LedgerHead,
    ) -> Result<Option<Marks>, StoreError> {
        let row = sqlx::query("SELECT seen, bundle_sequence, bundle_manifest, code FROM watermark")
            .fetch_optional(reading)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let (sequence, manifest, code): (i64, &[u8], &[u8]) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let (Ok(sequence), Ok(manifest)) = (u64::try_from(sequence), manifest.try_into()) else { return Ok(None) };
        let bundle = (sequence > 0).then_some(AcceptedBundle { sequence, manifest });
        let marks = Marks { seen: row.try_get(0)?, bundle };
        Ok(bool::from(code.ct_eq(&self.code(&marks, head))).then_some(marks))
    }

    /// Puts the row in the place of whatever is there.
    pub(crate) async fn write(
        &self,
        writing: &mut SqliteConnection,
        marks: &Marks,
        head: &LedgerHead,
    ) -> Result<(), StoreError> {
        let (sequence, manifest) = marks.bundle.map_or((0, [0; 32]), |b| (b.sequence, b.manifest));
        sqlx::query(
            "REPLACE INTO watermark (one, seen, bundle_sequence, bundle_manifest, code) VALUES (1, ?, ?, ?, ?)",
        )
        .bind(marks.seen)
        .bind(codec::stored("bundle sequence", sequence)?)
        .bind(manifest.as_slice())
        .bind(self.code(marks, head).as_slice())
        .execute(writing)
        .await?;
        Ok(())
    }

    /// HMAC-SHA-256 over parts of fixed lengths.
    fn code(&self, marks: &Marks, head: &LedgerHead) -> [u8; 32] {
        let (sequence, manifest) = marks.bundle.map_or((0, [0; 32]), |b| (b.sequence, b.manifest));
        let (seen, sequence, count) = (marks.seen.to_be_bytes(), sequence.to_be_bytes(), head.count.to_be_bytes());
        prf(&self.0, &[&seen, &sequence, &manifest, &count, &head.head])
    }
}

/// The time and the bundle as this state has seen them.
pub(crate) struct Watermark {
    clock: Arc<dyn Clock>,
    /// Seconds; never lowered.
    seen: AtomicI64,
    /// What of it is on the disk.
    durable: AtomicI64,
    /// As on the disk: changed only after a commit.
    bundle: RwLock<Option<AcceptedBundle>>,
    pub(crate) seal: Seal,
    /// Wakes the task that writes.
    pub(crate) moved: Notify,
}

impl Watermark {
    pub(crate) async fn load(
        reading: &mut SqliteConnection,
        seal: Seal,
        head: &LedgerHead,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let Marks { seen, bundle } = seal.read(reading, head).await?.ok_or(OpenError::Watermark)?;
        let (seen, durable) = (AtomicI64::new(seen), AtomicI64::new(seen));
        Ok(Self { clock, seen, durable, bundle: RwLock::new(bundle), seal, moved: Notify::new() })
    }

    // INVARIANT: never earlier than any value it gave before, nor than the value on the disk at the start. A time that
    // was acted upon is on the way to the disk at once, at most once for each second of the clock.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.look();
        if now > self.durable.load(Ordering::Acquire) {
            self.moved.notify_one();
        }
        Timestamp::from_secs(now)
    }

    fn look(&self) -> i64 {
        let clock = self.clock.now().secs();
        clock.max(self.seen.fetch_max(clock, Ordering::AcqRel))
    }

    /// The present time, and whether it is yet to be written.
    pub(crate) fn to_write(&self) -> (Timestamp, bool) {
        let now = self.look();
        (Timestamp::from_secs(now), now > self.durable.load(Ordering::Acquire))
    }

    /// What is on the disk, or later.
    pub(crate) fn durable(&self) -> Marks {
        Marks { seen: self.durable.load(Ordering::Acquire), bundle: self.bundle() }
    }

    pub(crate) fn bundle(&self) -> Option<AcceptedBundle> {
        *self.bundle.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// `marks` are on the disk.
    pub(crate) fn written(&self, marks: &Marks) {
        self.durable.fetch_max(marks.seen, Ordering::AcqRel);
        *self.bundle.write().unwrap_or_else(PoisonError::into_inner) = marks.bundle;
    }
}

impl State {
    /// The bundle accepted last; `None` before the first.
    #[must_use]
    pub fn accepted_bundle(&self) -> Option<AcceptedBundle> {
        self.shared.core.watermark.bundle()
    }

    /// Records that this bundle was accepted, and in the same transaction the `leaf` that says so. The same one may be
    /// accepted again.
    ///
    /// # Errors
    /// [`BundleError::RolledBack`] or [`BundleError::Forked`] if a later one, or another of the same sequence, was
    /// accepted before; nothing is recorded.
    pub async fn accept_bundle(&self, bundle: AcceptedBundle, leaf: NewLeaf) -> Result<(), BundleError> {
        let sequence = bundle.sequence;
        codec::stored("bundle sequence", sequence)?;
        self.write(move |work| {
            Box::pin(async move {
                match work.bundle() {
                    Some(before) if before.sequence > sequence => {
                        return Ok(Err(BundleError::RolledBack { sequence, highest: before.sequence }));
                    }
                    Some(before) if before.sequence == sequence && before != bundle => {
                        return Ok(Err(BundleError::Forked { sequence }));
                    }
                    _ => {}
                }
                insert_leaf(work, &leaf).await?;
                work.accept(bundle);
                Ok(Ok(()))
            })
        })
        .await?
    }
}
