//! How many sessions one receiver has open at a sender at once.

use super::{SESSIONS, SessionError, open};
use crate::{State, StoreError};
use firebreak_domain::{AgreementId, OrgId, Timestamp};
use zeroize::Zeroizing;

/// Whose session it is, and how many of that receiver may be open under that agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBound {
    /// The agreement.
    pub agreement: AgreementId,
    /// Who receives.
    pub receiver: OrgId,
    /// The most at once.
    pub most: u32,
    /// Sessions that were opened at this time or earlier are past their lifetime, and count no more.
    pub after: Timestamp,
}

impl State {
    /// As [`State::open_session`], of a session that is sent: a new one is opened only where fewer than
    /// [`OpenBound::most`] are open. One that was opened before is taken up again, however many there are.
    ///
    /// # Errors
    /// Those of [`State::open_session`]; [`SessionError::TooManyOpen`].
    pub async fn open_session_within(
        &self,
        session: &[u8; 32],
        secret: &[u8],
        bound: OpenBound,
    ) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let sealed = self.shared.keys.sessions.seal(SESSIONS, session, secret).map_err(StoreError::from)?;
        let session = *session;
        // In one transaction: of many that are asked for at once, no more are opened than may be.
        let stored = self.write(move |work| {
            Box::pin(async move {
                let known: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions WHERE session = ?")
                    .bind(session.as_slice())
                    .fetch_one(work.sql())
                    .await?;
                if known > 0 {
                    return Ok(Some(open(work, &session, sealed).await?));
                }
                let others: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM session_receivers JOIN sessions USING (session)
                     WHERE agreement = ? AND receiver = ? AND secret IS NOT NULL AND opened_at > ?",
                )
                .bind(bound.agreement.as_str().to_owned())
                .bind(bound.receiver.as_str().to_owned())
                .bind(bound.after.secs())
                .fetch_one(work.sql())
                .await?;
                if others >= i64::from(bound.most) {
                    return Ok(None);
                }
                let stored = open(work, &session, sealed).await?;
                sqlx::query("INSERT INTO session_receivers (session, agreement, receiver) VALUES (?, ?, ?)")
                    .bind(session.as_slice())
                    .bind(bound.agreement.as_str().to_owned())
                    .bind(bound.receiver.as_str().to_owned())
                    .execute(work.sql())
                    .await?;
                Ok(Some(stored))
            })
        });
        let (stored, reason) = stored.await?.ok_or(SessionError::TooManyOpen)?;
        self.unseal_secret(&session, stored, reason.as_deref())
    }
}
