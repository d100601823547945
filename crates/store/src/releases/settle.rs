use super::{ReleaseId, ReleaseKey, StoredRelease};
use crate::{LeafHash, Reservation, State, StoreError, codec, outbox, writer::Work};
use firebreak_domain::Timestamp;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

impl State {
    /// Stores a release and its leaf for a reservation, in one transaction and on the disk before it returns.
    ///
    /// If one was stored under the same key meanwhile, that one is returned and nothing is stored: neither the bytes nor
    /// the leaf given here may leave the program then.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was stored, the charge stands, and the request may be sent again.
    pub async fn settle(
        &self,
        reservation: Reservation,
        release: &[u8],
        leaf: &[u8],
    ) -> Result<StoredRelease, StoreError> {
        self.own(&reservation)?;
        let (release, leaf) = (release.to_vec(), leaf.to_vec());
        self.write(move |work| Box::pin(settle(work, reservation, release, leaf))).await
    }

    /// A release by its name.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn release(&self, id: &ReleaseId) -> Result<Option<StoredRelease>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT release_key, id, releases.bytes, leaf, stored_at, log_index ",
            "FROM releases JOIN leaves ON leaves.hash = releases.leaf WHERE id = ?"
        ))
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&self.shared.readers)
        .await?;
        row.as_ref().map(read_release).transpose()
    }

    /// The release for a key, if what it stands for was ever released.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn release_of(&self, key: &ReleaseKey) -> Result<Option<StoredRelease>, StoreError> {
        let mut reading = self.shared.readers.acquire().await?;
        by_key(&mut reading, key).await
    }
}

async fn settle(
    work: &mut Work,
    reservation: Reservation,
    release: Vec<u8>,
    leaf: Vec<u8>,
) -> Result<StoredRelease, StoreError> {
    let release_key = reservation.release_key();
    // INVARIANT: the first release stored wins, also against the request's own second run.
    if let Some(stored) = by_key(work.sql(), &release_key).await? {
        return Ok(stored);
    }
    let leaf = outbox::insert_leaf(work, &leaf).await?;
    let (id, stored_at) = (ReleaseId::of(&release_key, &release), work.now());
    sqlx::query("INSERT INTO releases (release_key, id, bytes, leaf, stored_at) VALUES (?, ?, ?, ?, ?)")
        .bind(release_key.as_bytes().as_slice())
        .bind(id.as_bytes().as_slice())
        .bind(release.as_slice())
        .bind(leaf.as_bytes().as_slice())
        .bind(stored_at.secs())
        .execute(work.sql())
        .await?;
    Ok(StoredRelease { id, release_key, bytes: release.into(), leaf, log_index: None, stored_at })
}

pub(crate) async fn by_key(
    connection: &mut SqliteConnection,
    key: &ReleaseKey,
) -> Result<Option<StoredRelease>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT release_key, id, releases.bytes, leaf, stored_at, log_index ",
        "FROM releases JOIN leaves ON leaves.hash = releases.leaf WHERE release_key = ?"
    ))
    .bind(key.as_bytes().as_slice())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read_release).transpose()
}

fn read_release(row: &SqliteRow) -> Result<StoredRelease, StoreError> {
    let log_index: Option<i64> = row.try_get(5)?;
    Ok(StoredRelease {
        release_key: ReleaseKey::from_bytes(codec::fixed("release", row.try_get(0)?)?),
        id: ReleaseId::from_bytes(codec::fixed("release", row.try_get(1)?)?),
        bytes: row.try_get::<&[u8], _>(2)?.into(),
        leaf: LeafHash::from_bytes(codec::fixed("release", row.try_get(3)?)?),
        stored_at: Timestamp::from_secs(row.try_get(4)?),
        log_index: log_index.map(|index| codec::count("release", index)).transpose()?,
    })
}
