use super::question::{self, SealedQuestion};
use super::{ReleaseId, ReleaseKey, Settled, Settlement, StoredRelease};
use crate::{LeafHash, NewLeaf, Reservation, State, StoreError, accounts::RequestRef, codec, outbox, writer::Work};
use firebreak_domain::Timestamp;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

impl State {
    /// Stores a release for a reservation, with the leaf that tells of it, in one transaction and on the disk before it
    /// returns. `release` is for everybody who may ask the same; `evidence` is about this very request, and given back
    /// to it alone.
    ///
    /// If one was stored under the same key meanwhile, that one stands and nothing is stored: neither the release nor
    /// the leaf given here may leave the program then.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was stored, the charge stands, and the request may be sent again.
    pub async fn settle(
        &self,
        reservation: Reservation,
        release: &[u8],
        evidence: &[u8],
        leaf: NewLeaf,
    ) -> Result<Settled, StoreError> {
        self.own(&reservation)?;
        let (release, evidence) = (release.to_vec(), evidence.to_vec());
        self.write(move |work| Box::pin(settle(work, reservation, release, evidence, leaf, None))).await
    }

    /// [`State::settle`], and keeps beside the release the question that it answers, sealed, in the same transaction:
    /// it is found again by the release's name ([`State::answered`]).
    ///
    /// # Errors
    /// As there.
    pub async fn settle_asked(
        &self,
        reservation: Reservation,
        release: &[u8],
        evidence: &[u8],
        leaf: NewLeaf,
        question: &[u8],
    ) -> Result<Settled, StoreError> {
        self.own(&reservation)?;
        let question = Some(self.seal_question(&reservation.release_key(), release, question)?);
        let (release, evidence) = (release.to_vec(), evidence.to_vec());
        self.write(move |work| Box::pin(settle(work, reservation, release, evidence, leaf, question))).await
    }

    /// A release by its name.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn release(&self, id: &ReleaseId) -> Result<Option<StoredRelease>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT release_key, id, releases.bytes, leaf, stored_at, log_index, principal, request, evidence ",
            "FROM releases JOIN leaves ON leaves.hash = releases.leaf WHERE id = ?"
        ))
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&self.shared.readers)
        .await?;
        Ok(row.as_ref().map(read_settlement).transpose()?.map(|settlement| settlement.release))
    }

    /// The release for a key, if what it stands for was ever released.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn release_of(&self, key: &ReleaseKey) -> Result<Option<StoredRelease>, StoreError> {
        let mut reading = self.shared.readers.acquire().await?;
        Ok(by_key(&mut reading, key).await?.map(|settlement| settlement.release))
    }
}

async fn settle(
    work: &mut Work,
    reservation: Reservation,
    release: Vec<u8>,
    evidence: Vec<u8>,
    leaf: NewLeaf,
    question: Option<SealedQuestion>,
) -> Result<Settled, StoreError> {
    let (release_key, request) = (reservation.release_key(), reservation.request);
    // INVARIANT: the first release stored wins, also against the request's own second run.
    if let Some(settlement) = by_key(work.sql(), &release_key).await? {
        return Ok(settlement.known_to(&request).into());
    }
    let leaf = outbox::insert_leaf(work, &leaf).await?;
    let (id, stored_at) = (ReleaseId::of(&release_key, &release, &request, &evidence), work.now());
    sqlx::query(concat!(
        "INSERT INTO releases (release_key, id, bytes, principal, request, evidence, leaf, stored_at) ",
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    ))
    .bind(release_key.as_bytes().as_slice())
    .bind(id.as_bytes().as_slice())
    .bind(release.as_slice())
    .bind(request.principal.as_slice())
    .bind(request.id.as_slice())
    .bind(evidence.as_slice())
    .bind(leaf.as_bytes().as_slice())
    .bind(stored_at.secs())
    .execute(work.sql())
    .await?;
    work.released(release_key);
    if let Some(question) = question {
        question::insert(work, &release_key, &question).await?;
    }
    Ok(Settled::Now(StoredRelease { id, release_key, bytes: release.into(), leaf, log_index: None, stored_at }))
}

pub(crate) async fn by_key(
    connection: &mut SqliteConnection,
    key: &ReleaseKey,
) -> Result<Option<Settlement>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT release_key, id, releases.bytes, leaf, stored_at, log_index, principal, request, evidence ",
        "FROM releases JOIN leaves ON leaves.hash = releases.leaf WHERE release_key = ?"
    ))
    .bind(key.as_bytes().as_slice())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read_settlement).transpose()
}

fn read_settlement(row: &SqliteRow) -> Result<Settlement, StoreError> {
    let log_index: Option<i64> = row.try_get(5)?;
    Ok(Settlement {
        release: StoredRelease {
            release_key: ReleaseKey::from_bytes(codec::fixed("release", row.try_get(0)?)?),
            id: ReleaseId::from_bytes(codec::fixed("release", row.try_get(1)?)?),
            bytes: row.try_get::<&[u8], _>(2)?.into(),
            leaf: LeafHash::from_bytes(codec::fixed("release", row.try_get(3)?)?),
            stored_at: Timestamp::from_secs(row.try_get(4)?),
            log_index: log_index.map(|index| codec::count("release", index)).transpose()?,
        },
        settler: RequestRef {
            principal: codec::fixed("release", row.try_get(6)?)?,
            id: codec::fixed("release", row.try_get(7)?)?,
        },
        evidence: row.try_get::<&[u8], _>(8)?.into(),
    })
}
