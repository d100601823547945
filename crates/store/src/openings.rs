//! What overseers read of each leaf, sealed to their keys: this program, its state key and its operator cannot open it.

use crate::{LeafHash, State, StoreError, writer::Work};
use sqlx::Row;

impl State {
    /// Keeps the sealed openings of leaves, each once: what was kept for a leaf before stays.
    ///
    /// # Errors
    /// [`StoreError`]: none was kept.
    pub async fn keep_sealed(&self, openings: Vec<(LeafHash, Vec<u8>)>) -> Result<(), StoreError> {
        self.write(move |work| {
            Box::pin(async move {
                for (leaf, sealed) in openings {
                    insert_opening(work, &leaf, &sealed).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The sealed openings of leaves, as far as they are kept here, in the order asked.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn sealed_openings(&self, leaves: &[LeafHash]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut reading = self.shared.readers.acquire().await?;
        let mut openings = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            let row = sqlx::query("SELECT sealed FROM openings WHERE leaf = ?")
                .bind(leaf.as_bytes().as_slice())
                .fetch_optional(&mut *reading)
                .await?;
            openings.push(row.map(|row| row.try_get(0)).transpose()?);
        }
        Ok(openings)
    }
}

/// Keeps a sealed opening inside a transaction.
pub(crate) async fn insert_opening(work: &mut Work, leaf: &LeafHash, sealed: &[u8]) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO openings (leaf, sealed) VALUES (?, ?) ON CONFLICT (leaf) DO NOTHING")
        .bind(leaf.as_bytes().as_slice())
        .bind(sealed)
        .execute(work.sql())
        .await?;
    Ok(())
}
