//! Leaves on their way to the log, and what was last accepted of the log itself.

use crate::{State, StoreError, codec, openings::insert_opening, writer::Work};
use firebreak_domain::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::Row;

/// A leaf's hash as the log computes it: SHA-256 over a zero byte and the leaf (RFC 6962, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeafHash([u8; 32]);

/// How much waits for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Leaves recorded and not yet confirmed.
    pub count: u64,
    /// When the oldest of them was recorded.
    pub oldest: Option<Timestamp>,
}

/// A leaf that a program has just signed.
#[derive(Clone, PartialEq, Eq)]
pub struct NewLeaf {
    /// The leaf.
    pub leaf: Vec<u8>,
    /// What opens it, sealed to the overseers.
    pub sealed: Vec<u8>,
}

/// A leaf that waits for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutstandingLeaf {
    /// Its hash.
    pub hash: LeafHash,
    /// The leaf.
    pub bytes: Vec<u8>,
    /// What opens it, sealed to the overseers.
    pub sealed: Vec<u8>,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// The latest that was accepted of the log: a checkpoint, and whatever else following it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogView {
    /// The log's size.
    pub size: u64,
    /// What the follower keeps, in its own format.
    pub bytes: Vec<u8>,
}

/// Why a view of the log was not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FollowerError {
    /// A log that was larger before.
    #[error("the log has {offered} leaves but had {accepted} before: it was cut or another one is shown")]
    Shrunk {
        /// The size offered.
        offered: u64,
        /// The size accepted before.
        accepted: u64,
    },
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LeafHash {
    /// The hash of a leaf's bytes.
    #[must_use]
    pub fn of(leaf: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
    }

    /// Wraps a hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl State {
    /// Records a leaf that belongs to no release: a refusal, a match, a change of policy. The same bytes are recorded
    /// once.
    ///
    /// # Errors
    /// [`StoreError`]: it was not recorded.
    pub async fn record_leaf(&self, leaf: NewLeaf) -> Result<LeafHash, StoreError> {
        self.write(move |work| Box::pin(async move { insert_leaf(work, &leaf).await })).await
    }

    /// How many leaves wait for the log, and since when.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        let row = sqlx::query("SELECT count(*), min(recorded_at) FROM leaves WHERE log_index IS NULL")
            .fetch_one(&self.shared.readers)
            .await?;
        let oldest: Option<i64> = row.try_get(1)?;
        Ok(Backlog { count: codec::count("leaf", row.try_get(0)?)?, oldest: oldest.map(Timestamp::from_secs) })
    }

    /// Up to `most` leaves that wait for the log, in the order in which they were recorded.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn outstanding(&self, most: u32) -> Result<Vec<OutstandingLeaf>, StoreError> {
        let rows = sqlx::query(
            "SELECT hash, bytes, recorded_at, sealed FROM leaves LEFT JOIN openings ON openings.leaf = leaves.hash
             WHERE log_index IS NULL ORDER BY seq LIMIT ?",
        )
        .bind(most)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(OutstandingLeaf {
                    hash: LeafHash(codec::fixed("leaf", row.try_get(0)?)?),
                    bytes: row.try_get(1)?,
                    recorded_at: Timestamp::from_secs(row.try_get(2)?),
                    // A leaf that could never be offered would keep the gate shut without a word.
                    sealed: row.try_get::<Option<_>, _>(3)?.ok_or(StoreError::Malformed("opening"))?,
                })
            })
            .collect()
    }

    /// Records that leaves stand in the log, each at its index. The caller has verified that they do. A leaf that is
    /// not this program's, or was confirmed before, is passed over. Returns how many were new.
    ///
    /// # Errors
    /// [`StoreError`]: none was recorded.
    pub async fn confirm(&self, leaves: &[(LeafHash, u64)]) -> Result<u64, StoreError> {
        let leaves: Vec<_> = leaves
            .iter()
            .map(|(hash, index)| Ok((*hash, codec::stored("log index", *index)?)))
            .collect::<Result<_, StoreError>>()?;
        self.write(move |work| {
            Box::pin(async move {
                let mut new = 0;
                for (hash, index) in leaves {
                    new += sqlx::query("UPDATE leaves SET log_index = ? WHERE hash = ? AND log_index IS NULL")
                        .bind(index)
                        .bind(hash.0.as_slice())
                        .execute(work.sql())
                        .await?
                        .rows_affected();
                }
                Ok(new)
            })
        })
        .await
    }

    /// Up to `most` leaves that were confirmed to be in the log below a place, or anywhere, with their places, the
    /// newest first.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn confirmed_below(&self, place: Option<u64>, most: u32) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let below = codec::stored("log index", place.unwrap_or(i64::MAX as u64))?;
        let rows = sqlx::query(
            "SELECT log_index, bytes FROM leaves WHERE log_index IS NOT NULL AND log_index < ?
             ORDER BY log_index DESC LIMIT ?",
        )
        .bind(below)
        .bind(most)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(|row| Ok((codec::count("log index", row.try_get(0)?)?, row.try_get(1)?))).collect()
    }

    /// Whether a leaf of this program was confirmed to be in the log.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn is_logged(&self, leaf: &LeafHash) -> Result<bool, StoreError> {
        let index: Option<Option<i64>> = sqlx::query_scalar("SELECT log_index FROM leaves WHERE hash = ?")
            .bind(leaf.0.as_slice())
            .fetch_optional(&self.shared.readers)
            .await?;
        Ok(index.flatten().is_some())
    }

    /// What was last accepted of the log.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn log_view(&self) -> Result<Option<LogView>, StoreError> {
        let row = sqlx::query("SELECT size, bytes FROM log_view").fetch_optional(&self.shared.readers).await?;
        row.map(|row| Ok(LogView { size: codec::count("log view", row.try_get(0)?)?, bytes: row.try_get(1)? }))
            .transpose()
    }

    /// Takes over a later view of the log, or another of the same size. The caller has verified that it extends the
    /// last.
    ///
    /// # Errors
    /// [`FollowerError::Shrunk`] if a larger one was accepted before.
    pub async fn accept_log_view(&self, view: &LogView) -> Result<(), FollowerError> {
        let (size, bytes, offered) = (codec::stored("log view", view.size)?, view.bytes.clone(), view.size);
        let accepted = self
            .write(move |work| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO log_view (one, size, bytes) VALUES (1, ?, ?)
                         ON CONFLICT (one) DO UPDATE SET size = excluded.size, bytes = excluded.bytes
                         WHERE excluded.size >= log_view.size",
                    )
                    .bind(size)
                    .bind(bytes)
                    .execute(work.sql())
                    .await?;
                    let kept: i64 = sqlx::query_scalar("SELECT size FROM log_view").fetch_one(work.sql()).await?;
                    codec::count("log view", kept)
                })
            })
            .await?;
        if accepted > offered { Err(FollowerError::Shrunk { offered, accepted }) } else { Ok(()) }
    }
}

/// Records a leaf inside a transaction, with what opens it.
pub(crate) async fn insert_leaf(work: &mut Work, new: &NewLeaf) -> Result<LeafHash, StoreError> {
    let (hash, at) = (LeafHash::of(&new.leaf), work.now());
    insert_opening(work, &hash, &new.sealed).await?;
    sqlx::query("INSERT INTO leaves (hash, bytes, recorded_at) VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING")
        .bind(hash.0.as_slice())
        .bind(new.leaf.as_slice())
        .bind(at.secs())
        .execute(work.sql())
        .await?;
    Ok(hash)
}
