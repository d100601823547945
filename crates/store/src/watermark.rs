//! What only ever rises: the time seen and the sequence of bundles accepted.

use crate::{State, StoreError, codec};
use firebreak_domain::{Clock, Timestamp};
use sqlx::SqliteConnection;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use tokio::sync::Notify;

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
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The time as this state has seen it.
pub(crate) struct Watermark {
    clock: Arc<dyn Clock>,
    /// Seconds; never lowered.
    seen: AtomicI64,
    /// What of it is on the disk.
    durable: AtomicI64,
    /// Wakes the task that writes.
    pub(crate) moved: Notify,
}

impl Watermark {
    pub(crate) async fn load(reading: &mut SqliteConnection, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let durable: i64 = sqlx::query_scalar("SELECT seen FROM watermark").fetch_one(reading).await?;
        Ok(Self { clock, seen: AtomicI64::new(durable), durable: AtomicI64::new(durable), moved: Notify::new() })
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

    /// `at` is on the disk.
    pub(crate) fn written(&self, at: Timestamp) {
        self.durable.fetch_max(at.secs(), Ordering::AcqRel);
    }
}

impl State {
    /// The highest bundle sequence ever accepted; 0 before the first.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn highest_bundle_sequence(&self) -> Result<u64, StoreError> {
        let stored: i64 =
            sqlx::query_scalar("SELECT bundle_sequence FROM watermark").fetch_one(&self.shared.readers).await?;
        codec::count("bundle sequence", stored)
    }

    /// Records that the bundle of this sequence was accepted. The same sequence may be accepted again, as after a
    /// restart.
    ///
    /// # Errors
    /// [`BundleError::RolledBack`] if a higher one was accepted before.
    pub async fn accept_bundle(&self, sequence: u64) -> Result<(), BundleError> {
        let offered = codec::stored("bundle sequence", sequence)?;
        let highest = self
            .write(move |work| {
                Box::pin(async move {
                    let highest: i64 = sqlx::query_scalar(
                        "UPDATE watermark SET bundle_sequence = max(bundle_sequence, ?) RETURNING bundle_sequence",
                    )
                    .bind(offered)
                    .fetch_one(work.sql())
                    .await?;
                    codec::count("bundle sequence", highest)
                })
            })
            .await?;
        if highest > sequence { Err(BundleError::RolledBack { sequence, highest }) } else { Ok(()) }
    }
}
