//! Epochs of matches: what several sessions share, on either side, kept like a session and destroyed at a time of its own.
//! That it was there, and when it was destroyed, stays.

use super::{SESSIONS, SessionError, close_all, open};
use crate::{State, StoreError, codec};
use firebreak_domain::{AgreementId, Timestamp};
use sqlx::Row;
use zeroize::Zeroizing;

/// An epoch of which this state keeps, or has kept, the key or the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEpoch {
    /// Its name.
    pub epoch: [u8; 32],
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Until when it may be kept.
    pub until: Timestamp,
    /// When it was destroyed; `None` where it is not yet.
    pub closed_at: Option<Timestamp>,
}

impl State {
    /// Opens an epoch on `secret`, or takes up again the one of this name: returns the secret that it runs on, which is
    /// the one first stored. Its files are those of [`State::session_files`] under the same name. It is kept until
    /// `until`, or, where an earlier time was stated before, until then.
    ///
    /// # Errors
    /// [`SessionError::Closed`] if that time has passed.
    pub async fn open_epoch(
        &self,
        epoch: &[u8; 32],
        secret: &[u8],
        agreement: &AgreementId,
        until: Timestamp,
    ) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let sealed = self.shared.keys.sessions.seal(SESSIONS, epoch, secret).map_err(StoreError::from)?;
        let (name, agreement) = (*epoch, agreement.as_str().to_owned());
        let stored = self
            .write(move |work| {
                Box::pin(async move {
                    let now = work.now().secs();
                    if until.secs() <= now {
                        return Ok(None);
                    }
                    let stored = open(work, &name, sealed).await?;
                    sqlx::query(
                        "INSERT INTO epochs (session, agreement, until) VALUES (?, ?, ?)
                         ON CONFLICT (session) DO UPDATE SET until = min(until, excluded.until)",
                    )
                    .bind(name.as_slice())
                    .bind(agreement)
                    .bind(until.secs())
                    .execute(work.sql())
                    .await?;
                    Ok(Some(stored))
                })
            })
            .await?;
        let (stored, reason) = stored.ok_or(SessionError::Closed)?;
        self.unseal_secret(epoch, stored, reason.as_deref())
    }

    /// Has an epoch kept until `until` and no longer. A later time than the one stated before changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn shorten_epoch(&self, epoch: &[u8; 32], until: Timestamp) -> Result<(), StoreError> {
        let name = *epoch;
        self.write(move |work| {
            Box::pin(async move {
                sqlx::query("UPDATE epochs SET until = min(until, ?) WHERE session = ? AND closed_at IS NULL")
                    .bind(until.secs())
                    .bind(name.as_slice())
                    .execute(work.sql())
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Destroys what is kept of every epoch whose time has passed, as [`State::close_session`] does of a session. Returns
    /// how many they are.
    ///
    /// # Errors
    /// [`StoreError`]: none is destroyed, or some files are left, which no secret opens and which go when the state is
    /// next opened.
    pub async fn close_epochs(&self) -> Result<u64, StoreError> {
        let closed = self
            .write(move |work| {
                Box::pin(async move {
                    let now = work.now().secs();
                    let rows = sqlx::query("SELECT session FROM epochs WHERE closed_at IS NULL AND until <= ?")
                        .bind(now)
                        .fetch_all(work.sql())
                        .await?;
                    sqlx::query("UPDATE epochs SET closed_at = ? WHERE closed_at IS NULL AND until <= ?")
                        .bind(now)
                        .bind(now)
                        .execute(work.sql())
                        .await?;
                    close_all(work, &rows).await
                })
            })
            .await?;
        if !closed.is_empty() {
            self.delete_files_of(&closed).await?;
        }
        Ok(closed.len() as u64)
    }

    /// All epochs of which something is or was kept here, the earliest end first.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn epochs(&self) -> Result<Vec<KeptEpoch>, StoreError> {
        self.epochs_of("SELECT session, agreement, until, closed_at FROM epochs ORDER BY until, session").await
    }

    /// Those of which something is kept.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn kept_epochs(&self) -> Result<Vec<KeptEpoch>, StoreError> {
        let open = "SELECT session, agreement, until, closed_at FROM epochs WHERE closed_at IS NULL";
        self.epochs_of(open).await
    }

    async fn epochs_of(&self, query: &'static str) -> Result<Vec<KeptEpoch>, StoreError> {
        let rows = sqlx::query(query).fetch_all(&self.shared.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(KeptEpoch {
                    epoch: codec::fixed("epoch", row.try_get(0)?)?,
                    agreement: AgreementId::new(row.try_get::<&str, _>(1)?)
                        .map_err(|_| StoreError::Malformed("agreement of an epoch"))?,
                    until: Timestamp::from_secs(row.try_get(2)?),
                    closed_at: row.try_get::<Option<i64>, _>(3)?.map(Timestamp::from_secs),
                })
            })
            .collect()
    }
}
