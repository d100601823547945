//! Match sessions: the secrets they run on, sealed, and gone when the session is closed. What opens a session's
//! commitment stays, sealed. All else that a session keeps is in its [files](crate::SessionFiles).

mod bound;
mod committed;
mod end;
mod epochs;

pub use bound::OpenBound;
pub use committed::CommittedSetSource;
pub use epochs::KeptEpoch;

use crate::{NewLeaf, State, StoreError, codec, outbox::insert_leaf, writer::Work};
use firebreak_domain::{ReasonCode, Timestamp};
use sqlx::{Row, sqlite::SqliteRow};
use zeroize::Zeroizing;

/// A session that was opened and not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSession {
    /// Its name.
    pub session: [u8; 32],
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// Why a session cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// It ended; its secret is destroyed and its name is used up.
    #[error("the session is closed: begin a new one")]
    Closed,
    /// A fault ended it, with this reason; otherwise as closed.
    #[error("the session ended, because {rule}: begin a new one", rule = .0.rule())]
    Ended(ReasonCode),
    /// As many of its receiver are open under its agreement as may be at once. It was not opened.
    #[error("too many sessions are open: finish one of them first")]
    TooManyOpen,
    /// It was never opened here.
    #[error("there is no such session")]
    Unknown,
    /// It has committed before, to something else.
    #[error("the session is committed to another set: begin a new one")]
    AlreadyKept,
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A session's secret and, if a fault ended it, the reason.
const SECRET: &str = "SELECT secret, reason FROM sessions LEFT JOIN session_ends USING (session) WHERE session = ?";

const SESSIONS: &str = "sessions";
/// The table is named for what earlier programs kept in it beside the two rows that are left.
const KEPT: &str = "session_chunks";

/// The number under which what opens the commitment is kept. All below it ends with the session.
const OPENING: u32 = u32::MAX;
/// The mark that the leaf of the session's end is recorded.
const END: u32 = OPENING - 1;

impl State {
    /// Opens a session on `secret`, or takes up again the one of this name: returns the secret that it runs on, which
    /// is the one first stored.
    ///
    /// # Errors
    /// [`SessionError::Closed`] or [`SessionError::Ended`] if it was.
    pub async fn open_session(&self, session: &[u8; 32], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let sealed = self.shared.keys.sessions.seal(SESSIONS, session, secret).map_err(StoreError::from)?;
        let session = *session;
        let (stored, reason) =
            self.write(move |work| Box::pin(async move { open(work, &session, sealed).await })).await?;
        self.unseal_secret(&session, stored, reason.as_deref())
    }

    /// The secret of an open session.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::Closed`] or [`SessionError::Ended`].
    pub async fn session_secret(&self, session: &[u8; 32]) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let row = sqlx::query(SECRET)
            .bind(session.as_slice())
            .fetch_optional(&self.shared.readers)
            .await
            .map_err(StoreError::from)?
            .ok_or(SessionError::Unknown)?;
        let reason: Option<&str> = row.try_get(1).map_err(StoreError::from)?;
        self.unseal_secret(session, row.try_get(0).map_err(StoreError::from)?, reason)
    }

    /// When a session that is still open was opened.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::Closed`] or [`SessionError::Ended`].
    pub async fn session_opened(&self, session: &[u8; 32]) -> Result<Timestamp, SessionError> {
        let row = sqlx::query(
            "SELECT opened_at, secret IS NULL, reason FROM sessions LEFT JOIN session_ends USING (session)
             WHERE session = ?",
        )
        .bind(session.as_slice())
        .fetch_optional(&self.shared.readers)
        .await
        .map_err(StoreError::from)?
        .ok_or(SessionError::Unknown)?;
        if row.try_get(1).map_err(StoreError::from)? {
            return Err(closed_for(row.try_get(2).map_err(StoreError::from)?));
        }
        Ok(Timestamp::from_secs(row.try_get(0).map_err(StoreError::from)?))
    }

    /// Keeps what opens the commitment of `session`, and with it records the leaf that commits. It outlives the
    /// session, until [`State::forget_openings`].
    ///
    /// # Errors
    /// [`SessionError`]: not an open session, or it has committed before.
    pub async fn keep_opening(&self, session: &[u8; 32], opening: &[u8], leaf: NewLeaf) -> Result<(), SessionError> {
        self.keep(session, OPENING, opening, leaf).await
    }

    /// What opens the commitment of a session, open or closed, if it has committed.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed or it does not unseal.
    pub async fn session_opening(&self, session: &[u8; 32]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let row = sqlx::query("SELECT sealed FROM session_chunks WHERE session = ? AND chunk = ?")
            .bind(session.as_slice())
            .bind(OPENING)
            .fetch_optional(&self.shared.readers)
            .await?;
        let place = kept_place(session, OPENING);
        row.map(|row| Ok(self.shared.keys.sessions.open(KEPT, &place, row.try_get(0)?)?)).transpose()
    }

    /// Records the leaf that says that `session` came to its end; once for a session, however often it is recorded.
    ///
    /// # Errors
    /// [`SessionError`]: not an open session, or the state failed.
    pub async fn record_end(&self, session: &[u8; 32], leaf: NewLeaf) -> Result<(), SessionError> {
        self.keep(session, END, b"", leaf).await
    }

    async fn keep(&self, session: &[u8; 32], number: u32, bytes: &[u8], leaf: NewLeaf) -> Result<(), SessionError> {
        let sealer = &self.shared.keys.sessions;
        let place = kept_place(session, number);
        let sealed = sealer.seal(KEPT, &place, bytes).map_err(StoreError::from)?;
        let session = *session;
        let earlier: Option<Vec<u8>> = self
            .write(move |work| {
                Box::pin(async move {
                    if let Err(error) = check_open(work, &session).await? {
                        return Ok(Err(error));
                    }
                    let row = sqlx::query("SELECT sealed FROM session_chunks WHERE session = ? AND chunk = ?")
                        .bind(session.as_slice())
                        .bind(number)
                        .fetch_optional(work.sql())
                        .await?;
                    if let Some(row) = row {
                        return Ok(Ok(Some(row.try_get(0)?)));
                    }
                    sqlx::query("INSERT INTO session_chunks (session, chunk, sealed) VALUES (?, ?, ?)")
                        .bind(session.as_slice())
                        .bind(number)
                        .bind(sealed)
                        .execute(work.sql())
                        .await?;
                    insert_leaf(work, &leaf).await?;
                    Ok(Ok(None))
                })
            })
            .await??;
        let Some(earlier) = earlier else { return Ok(()) };
        let earlier = sealer.open(KEPT, &place, &earlier).map_err(StoreError::from)?;
        if earlier.as_slice() == bytes { Ok(()) } else { Err(SessionError::AlreadyKept) }
    }

    /// The sessions that are open, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn open_sessions(&self) -> Result<Vec<OpenSession>, StoreError> {
        let rows =
            sqlx::query("SELECT session, opened_at FROM sessions WHERE secret IS NOT NULL ORDER BY opened_at, session")
                .fetch_all(&self.shared.readers)
                .await?;
        rows.iter()
            .map(|row| {
                Ok(OpenSession {
                    session: codec::fixed("session", row.try_get(0)?)?,
                    opened_at: Timestamp::from_secs(row.try_get(1)?),
                })
            })
            .collect()
    }

    /// Destroys a session's secret and files: no file of the state holds them any longer, sealed or not. Its name stays, so that no other session takes it, and so does what opens its commitment.
    ///
    /// While another program reads the files, they hold the sealed bytes on: this waits for it up to five seconds.
    ///
    /// # Errors
    /// [`StoreError`]: it is still open.
    pub async fn close_session(&self, session: &[u8; 32]) -> Result<(), StoreError> {
        let session = *session;
        self.write(move |work| Box::pin(async move { close(work, &session).await })).await?;
        self.delete_files_of(&[session]).await
    }

    /// Closes every session that was opened at `before` or earlier, but for epochs, which have times of their own. Returns
    /// how many.
    ///
    /// # Errors
    /// [`StoreError`]: none is closed.
    pub async fn close_sessions_of(&self, before: Timestamp) -> Result<u64, StoreError> {
        let closed = self
            .write(move |work| {
                Box::pin(async move {
                    let rows = sqlx::query(
                        "SELECT session FROM sessions
                         WHERE secret IS NOT NULL AND opened_at <= ? AND session NOT IN (SELECT session FROM epochs)",
                    )
                    .bind(before.secs())
                    .fetch_all(work.sql())
                    .await?;
                    close_all(work, &rows).await
                })
            })
            .await?;
        self.delete_files_of(&closed).await?;
        Ok(closed.len() as u64)
    }

    fn unseal_secret(
        &self,
        session: &[u8; 32],
        sealed: Option<Vec<u8>>,
        reason: Option<&str>,
    ) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let sealed = sealed.ok_or_else(|| closed_for(reason))?;
        Ok(self.shared.keys.sessions.open(SESSIONS, session, &sealed).map_err(StoreError::from)?)
    }
}

/// The sealed secret of a session, if it is open, and the reason for which it ended, if there is one.
type Stored = (Option<Vec<u8>>, Option<String>);

/// Opens a session, or takes it as it is.
async fn open(work: &mut Work, session: &[u8; 32], sealed: Vec<u8>) -> Result<Stored, StoreError> {
    let now = work.now().secs();
    sqlx::query("INSERT INTO sessions (session, opened_at, secret) VALUES (?, ?, ?) ON CONFLICT (session) DO NOTHING")
        .bind(session.as_slice())
        .bind(now)
        .bind(sealed)
        .execute(work.sql())
        .await?;
    let row = sqlx::query(SECRET).bind(session.as_slice()).fetch_one(work.sql()).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// That a session is open.
pub(crate) async fn check_open(work: &mut Work, session: &[u8; 32]) -> Result<Result<(), SessionError>, StoreError> {
    let row = sqlx::query(
        "SELECT secret IS NULL, reason FROM sessions LEFT JOIN session_ends USING (session) WHERE session = ?",
    )
    .bind(session.as_slice())
    .fetch_optional(work.sql())
    .await?;
    let Some(row) = row else { return Ok(Err(SessionError::Unknown)) };
    Ok(if row.try_get(0)? { Err(closed_for(row.try_get(1)?)) } else { Ok(()) })
}

/// A session that is closed, for that reason if there is one.
fn closed_for(reason: Option<&str>) -> SessionError {
    reason.and_then(end::reason_of).map_or(SessionError::Closed, SessionError::Ended)
}

async fn close_all(work: &mut Work, rows: &[SqliteRow]) -> Result<Vec<[u8; 32]>, StoreError> {
    let mut closed = Vec::with_capacity(rows.len());
    for row in rows {
        let session = codec::fixed("session", row.try_get(0)?)?;
        close(work, &session).await?;
        closed.push(session);
    }
    Ok(closed)
}

async fn close(work: &mut Work, session: &[u8; 32]) -> Result<(), StoreError> {
    // Deleted bytes are overwritten, since `secure_delete` is on; the log of writes is emptied after the commit.
    sqlx::query("DELETE FROM session_chunks WHERE session = ? AND chunk < ?")
        .bind(session.as_slice())
        .bind(OPENING)
        .execute(work.sql())
        .await?;
    sqlx::query("UPDATE sessions SET secret = NULL WHERE session = ?")
        .bind(session.as_slice())
        .execute(work.sql())
        .await?;
    sqlx::query("DELETE FROM session_receivers WHERE session = ?").bind(session.as_slice()).execute(work.sql()).await?;
    work.scrub();
    Ok(())
}

fn kept_place(session: &[u8; 32], number: u32) -> [u8; 36] {
    let mut place = [0; 36];
    for (to, from) in place.iter_mut().zip(session.iter().copied().chain(number.to_be_bytes())) {
        *to = from;
    }
    place
}
