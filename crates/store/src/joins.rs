//! What a join of two agencies is replayed from: its seed and what was committed to, and hashes of what was sent. All of
//! it outlives the session, until the day that it is kept to, and is gone then.

use crate::{NewLeaf, SessionError, State, StoreError, codec, outbox::insert_leaf, sessions::check_open, writer::Work};
use firebreak_domain::{RequestId, Timestamp};
use sqlx::Row;
use zeroize::Zeroizing;

const TABLE: &str = "joins";

/// What a session committed to, before its first byte.
const BEGUN: u32 = 0;
/// What it sent.
const SENT: u32 = 1;

impl State {
    /// Keeps what a join is replayed from until `until`, and with it records the leaf that commits. A session that keeps
    /// the same again changes nothing, and records no leaf.
    ///
    /// # Errors
    /// [`SessionError`]: not an open session, or it has kept something else before.
    pub async fn keep_join(
        &self,
        session: &[u8; 32],
        request: &RequestId,
        until: Timestamp,
        bytes: &[u8],
        leaf: NewLeaf,
    ) -> Result<(), SessionError> {
        self.keep_part(session, BEGUN, request, until, bytes, leaf).await
    }

    /// Keeps what a join has sent, and with it records the leaf that tells of its end; once for a session.
    ///
    /// # Errors
    /// As [`State::keep_join`].
    pub async fn end_join(
        &self,
        session: &[u8; 32],
        request: &RequestId,
        until: Timestamp,
        bytes: &[u8],
        leaf: NewLeaf,
    ) -> Result<(), SessionError> {
        self.keep_part(session, SENT, request, until, bytes, leaf).await
    }

    /// What a join is replayed from, if the session has begun one and it is still kept.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed or it does not unseal.
    pub async fn kept_join(&self, session: &[u8; 32]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.part(session, BEGUN).await
    }

    /// What a join has sent, if it came to its end and is still kept.
    ///
    /// # Errors
    /// As [`State::kept_join`].
    pub async fn sent_join(&self, session: &[u8; 32]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.part(session, SENT).await
    }

    /// The sessions of the joins that were asked for under a request id: one for each caller who chose it.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn joins_of(&self, request: &RequestId) -> Result<Vec<[u8; 32]>, StoreError> {
        let rows = sqlx::query("SELECT session FROM joins WHERE request = ? AND part = ? ORDER BY session")
            .bind(request.as_bytes().to_vec())
            .bind(BEGUN)
            .fetch_all(&self.shared.readers)
            .await?;
        rows.iter().map(|row| codec::fixed("session", row.try_get(0)?)).collect()
    }

    /// Deletes what was kept to `now` or a day before: no file of the state holds it any longer, sealed or not. Returns
    /// how many joins can be replayed no more.
    ///
    /// # Errors
    /// [`StoreError`]: all are still there.
    pub async fn delete_old_joins(&self, now: Timestamp) -> Result<u64, StoreError> {
        let due: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM joins WHERE until <= ?)")
            .bind(now.secs())
            .fetch_one(&self.shared.readers)
            .await?;
        if !due {
            return Ok(0);
        }
        self.write(move |work| {
            Box::pin(async move {
                let gone: i64 = sqlx::query_scalar("SELECT count(*) FROM joins WHERE until <= ? AND part = ?")
                    .bind(now.secs())
                    .bind(BEGUN)
                    .fetch_one(work.sql())
                    .await?;
                sqlx::query("DELETE FROM joins WHERE until <= ?").bind(now.secs()).execute(work.sql()).await?;
                // Deleted bytes are overwritten; the log of writes is emptied after the commit.
                work.scrub();
                Ok(u64::try_from(gone).unwrap_or_default())
            })
        })
        .await
    }

    async fn part(&self, session: &[u8; 32], part: u32) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let row = sqlx::query("SELECT sealed FROM joins WHERE session = ? AND part = ?")
            .bind(session.as_slice())
            .bind(part)
            .fetch_optional(&self.shared.readers)
            .await?;
        row.map(|row| Ok(self.shared.keys.sessions.open(TABLE, &place(session, part), row.try_get(0)?)?)).transpose()
    }

    async fn keep_part(
        &self,
        session: &[u8; 32],
        part: u32,
        request: &RequestId,
        until: Timestamp,
        bytes: &[u8],
        leaf: NewLeaf,
    ) -> Result<(), SessionError> {
        let place = place(session, part);
        let sealed = self.shared.keys.sessions.seal(TABLE, &place, bytes).map_err(StoreError::from)?;
        let (session, request) = (*session, request.as_bytes().to_vec());
        let earlier = self
            .write(move |work| {
                Box::pin(async move {
                    if let Err(error) = check_open(work, &session).await? {
                        return Ok(Err(error));
                    }
                    if let Some(earlier) = earlier(work, &session, part).await? {
                        return Ok(Ok(Some(earlier)));
                    }
                    sqlx::query("INSERT INTO joins (session, part, request, until, sealed) VALUES (?, ?, ?, ?, ?)")
                        .bind(session.as_slice())
                        .bind(part)
                        .bind(request)
                        .bind(until.secs())
                        .bind(sealed)
                        .execute(work.sql())
                        .await?;
                    insert_leaf(work, &leaf).await?;
                    Ok(Ok(None))
                })
            })
            .await??;
        let Some(earlier) = earlier else { return Ok(()) };
        let earlier = self.shared.keys.sessions.open(TABLE, &place, &earlier).map_err(StoreError::from)?;
        if earlier.as_slice() == bytes { Ok(()) } else { Err(SessionError::AlreadyKept) }
    }
}

async fn earlier(work: &mut Work, session: &[u8; 32], part: u32) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sqlx::query("SELECT sealed FROM joins WHERE session = ? AND part = ?")
        .bind(session.as_slice())
        .bind(part)
        .fetch_optional(work.sql())
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

fn place(session: &[u8; 32], part: u32) -> Vec<u8> {
    [session.as_slice(), &part.to_be_bytes()].concat()
}
