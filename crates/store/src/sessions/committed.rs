//! What a receiver's set was committed to is formed again from: for as long as the agreement lets it be kept.

use super::OPENING;
use crate::{State, StoreError, codec};
use firebreak_domain::{AgreementId, CutId, DatasetId, Timestamp};
use sqlx::Row;
use zeroize::Zeroizing;

const TABLE: &str = "set_sources";

/// Of what a session's committed set was formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedSetSource {
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Of which dataset.
    pub dataset: DatasetId,
    /// Of which version of it.
    pub cut: CutId,
    /// What of each row was read, in the words of who formed it; `None` if an earlier program formed it, by the agreement's
    /// strongest key alone.
    pub reading: Option<String>,
    /// By which condition; empty where all records were selected.
    pub selection: String,
    /// When it is deleted, with what opens the commitment, if the session is closed by then.
    pub until: Timestamp,
}

impl State {
    /// Records of what the set of a session was formed, before it is committed to. The first stands.
    ///
    /// # Errors
    /// [`StoreError`]: it was not recorded.
    pub async fn record_set_source(&self, session: &[u8; 32], source: &CommittedSetSource) -> Result<(), StoreError> {
        // A condition is the agency's own business, and may name what is few.
        let sealed = self.shared.keys.sessions.seal(TABLE, session, source.selection.as_bytes())?;
        let (session, source) = (*session, source.clone());
        self.write(move |work| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO set_sources (session, agreement, dataset, cut, selection, until)
                     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (session) DO NOTHING",
                )
                .bind(session.as_slice())
                .bind(source.agreement.as_str())
                .bind(source.dataset.as_str())
                .bind(source.cut.as_str())
                .bind(sealed)
                .bind(source.until.secs())
                .execute(work.sql())
                .await?;
                let Some(reading) = source.reading else { return Ok(()) };
                sqlx::query(
                    "INSERT INTO set_readings (session, reading) VALUES (?, ?) ON CONFLICT (session) DO NOTHING",
                )
                .bind(session.as_slice())
                .bind(reading)
                .execute(work.sql())
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Of what the set of a session was formed, if that is kept.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed or it does not unseal.
    pub async fn set_source(&self, session: &[u8; 32]) -> Result<Option<CommittedSetSource>, StoreError> {
        let row = sqlx::query(
            "SELECT agreement, dataset, cut, selection, until, reading
             FROM set_sources LEFT JOIN set_readings USING (session) WHERE session = ?",
        )
        .bind(session.as_slice())
        .fetch_optional(&self.shared.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let malformed = || StoreError::Malformed("source of a committed set");
        let selection: Zeroizing<Vec<u8>> = self.shared.keys.sessions.open(TABLE, session, row.try_get(3)?)?;
        Ok(Some(CommittedSetSource {
            agreement: AgreementId::new(row.try_get::<&str, _>(0)?).map_err(|_| malformed())?,
            dataset: DatasetId::new(row.try_get::<&str, _>(1)?).map_err(|_| malformed())?,
            cut: CutId::new(row.try_get::<&str, _>(2)?).map_err(|_| malformed())?,
            reading: row.try_get(5)?,
            selection: String::from_utf8(selection.to_vec()).map_err(|_| malformed())?,
            until: Timestamp::from_secs(row.try_get(4)?),
        }))
    }

    /// Deletes what opens the commitments of closed sessions whose time has come. Gives how many.
    ///
    /// # Errors
    /// [`StoreError`]: all are kept.
    pub async fn forget_openings(&self) -> Result<u64, StoreError> {
        self.write(|work| {
            Box::pin(async move {
                let now = work.now().secs();
                let due = sqlx::query(
                    "SELECT session FROM set_sources JOIN sessions USING (session) WHERE until <= ? AND secret IS NULL",
                )
                .bind(now)
                .fetch_all(work.sql())
                .await?;
                for row in &due {
                    let session: [u8; 32] = codec::fixed("session", row.try_get(0)?)?;
                    sqlx::query("DELETE FROM session_chunks WHERE session = ? AND chunk = ?")
                        .bind(session.as_slice())
                        .bind(OPENING)
                        .execute(work.sql())
                        .await?;
                    for table in
                        ["DELETE FROM set_readings WHERE session = ?", "DELETE FROM set_sources WHERE session = ?"]
                    {
                        sqlx::query(table).bind(session.as_slice()).execute(work.sql()).await?;
                    }
                }
                if !due.is_empty() {
                    work.scrub();
                }
                Ok(due.len() as u64)
            })
        })
        .await
    }
}
