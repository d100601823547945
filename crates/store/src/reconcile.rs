//! Comparing the ledger with what the log says of it: a restored backup or a copied disk shows as a ledger that lacks
//! what the log has.

use crate::{State, StoreError, codec};
use sqlx::Row;

/// A ledger that is not the one the log tells of. Nothing new may be answered until that is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// The log knows more entries than there are.
    #[error(
        "the log tells of {log} ledger entries, this folder has {ledger}: it was restored from a backup or copied; reconcile it before answering"
    )]
    LedgerBehind {
        /// Entries in the ledger.
        ledger: u64,
        /// Entries that the log tells of.
        log: u64,
    },
    /// The ledger has other entries than those that the log tells of.
    #[error(
        "the ledger and the log differ at or before entry {at}: this folder was copied or replaced; reconcile it before answering"
    )]
    LedgerDiffers {
        /// The entry whose head differs.
        at: u64,
    },
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl State {
    /// Whether the chain ever stood at this head: what a program asks with the head in the newest leaf that it signed
    /// and the log holds.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn knows_head(&self, head: &[u8; 32]) -> Result<bool, StoreError> {
        if *head == [0; 32] {
            return Ok(true);
        }
        let found: Option<i64> = sqlx::query_scalar("SELECT seq FROM ledger WHERE head = ?")
            .bind(head.as_slice())
            .fetch_optional(&self.shared.readers)
            .await?;
        Ok(found.is_some())
    }

    /// The ledger's head when it had `count` entries; `None` if it never had as many.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn head_at(&self, count: u64) -> Result<Option<[u8; 32]>, StoreError> {
        if count == 0 {
            return Ok(Some([0; 32]));
        }
        let Ok(seq) = i64::try_from(count) else { return Ok(None) };
        let row =
            sqlx::query("SELECT head FROM ledger WHERE seq = ?").bind(seq).fetch_optional(&self.shared.readers).await?;
        row.map(|row| codec::fixed("ledger", row.try_get(0)?)).transpose()
    }

    /// Checks that the ledger has at least the `count` entries that a leaf of this program in the log tells of, and had
    /// the same `head` then.
    ///
    /// # Errors
    /// [`ReconcileError::LedgerBehind`] or [`ReconcileError::LedgerDiffers`].
    pub async fn check_not_behind(&self, count: u64, head: &[u8; 32]) -> Result<(), ReconcileError> {
        match self.head_at(count).await? {
            None => Err(ReconcileError::LedgerBehind { ledger: self.ledger_head().count, log: count }),
            Some(found) if found != *head => Err(ReconcileError::LedgerDiffers { at: count }),
            Some(_) => Ok(()),
        }
    }
}
