//! Sessions that a fault ended: why, for whoever comes back to them.

use super::close;
use crate::{NewLeaf, State, StoreError, outbox::insert_leaf};
use firebreak_domain::ReasonCode;
use sqlx::Row;

impl State {
    /// Ends a session for good, with a reason that stays: destroys what [`State::close_session`] destroys, and records
    /// the leaf that tells of it, all or nothing. The name of one that was never opened here is used up all the same.
    ///
    /// Gives whether it ended now. One that was closed or ended before is left as it was, and the leaf is not recorded.
    /// Files of it that cannot be deleted now go when the state is next opened.
    ///
    /// # Errors
    /// [`StoreError`]: it is as it was.
    pub async fn end_session(&self, session: &[u8; 32], reason: ReasonCode, leaf: NewLeaf) -> Result<bool, StoreError> {
        let session = *session;
        let ended = self.write(move |work| {
            Box::pin(async move {
                let row = sqlx::query("SELECT secret IS NULL FROM sessions WHERE session = ?")
                    .bind(session.as_slice())
                    .fetch_optional(work.sql())
                    .await?;
                match row.map(|row| row.try_get(0)).transpose()? {
                    Some(true) => return Ok(false),
                    Some(false) => close(work, &session).await?,
                    None => {
                        let now = work.now().secs();
                        sqlx::query("INSERT INTO sessions (session, opened_at, secret) VALUES (?, ?, NULL)")
                            .bind(session.as_slice())
                            .bind(now)
                            .execute(work.sql())
                            .await?;
                    }
                }
                sqlx::query("INSERT INTO session_ends (session, reason) VALUES (?, ?)")
                    .bind(session.as_slice())
                    .bind(reason.as_str())
                    .execute(work.sql())
                    .await?;
                insert_leaf(work, &leaf).await?;
                Ok(true)
            })
        });
        let ended = ended.await?;
        if ended {
            // Whatever becomes of the files, it has ended, and no byte of them opens.
            let _ = self.delete_files_of(&[session]).await;
        }
        Ok(ended)
    }

    /// The reason for which a fault ended a session; `None` for one that is open, unknown, or closed without one.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn session_end(&self, session: &[u8; 32]) -> Result<Option<ReasonCode>, StoreError> {
        let reason: Option<String> = sqlx::query_scalar("SELECT reason FROM session_ends WHERE session = ?")
            .bind(session.as_slice())
            .fetch_optional(&self.shared.readers)
            .await?;
        Ok(reason.as_deref().and_then(reason_of))
    }
}

/// A reason as it is stored. One that a later program stored is none to this one: the session is closed all the same.
pub(super) fn reason_of(text: &str) -> Option<ReasonCode> {
    ReasonCode::ALL.iter().copied().find(|reason| reason.as_str() == text)
}
