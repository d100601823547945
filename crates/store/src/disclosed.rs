//! What a receiver got of matched persons beside that they matched: their values, sealed, until the day on which they
//! are deleted.
//!
//! That a person's columns were received stays in the register when the values are gone.

use crate::{
    NewLeaf, State, StoreError,
    codec::{self, Reader, put_bytes},
    key::prf,
    outbox::insert_leaf,
};
use firebreak_domain::{AgreementId, ColumnName, DatasetId, PurposeId, Timestamp};
use sqlx::{QueryBuilder, Row, Sqlite, sqlite::SqliteRow};
use std::collections::HashMap;
use zeroize::Zeroizing;

/// What a session discloses to its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// The match session.
    pub session: [u8; 32],
    /// Under which agreement.
    pub agreement: AgreementId,
    /// For what purpose.
    pub purpose: PurposeId,
    /// Of which dataset of the sender's.
    pub dataset: DatasetId,
    /// The sender's columns, in the order of the values.
    pub columns: Vec<ColumnName>,
    /// From when on the values count as deleted. They are, at the latest, when the program looks next.
    pub delete_at: Timestamp,
}

/// A person's values. Wiped when dropped.
pub type DisclosedValues = Zeroizing<Vec<String>>;

const TABLE: &str = "disclosed";
const WHAT: &str = "disclosed values";
const FORMAT: u8 = 1;
/// Rows in one statement: three values each.
const ROWS: usize = 1000;
/// Seconds of a day.
const DAY: i64 = 86_400;

impl State {
    /// Records, at the receiver, that a session discloses those columns of a dataset, and that what it discloses is
    /// deleted so many days from now. To be called before any of it is kept; the first stands.
    ///
    /// # Errors
    /// [`StoreError`]: it was not recorded.
    pub async fn begin_disclosure(
        &self,
        session: &[u8; 32],
        agreement: &AgreementId,
        purpose: &PurposeId,
        (dataset, columns): (&DatasetId, &[ColumnName]),
        retention_days: u32,
    ) -> Result<(), StoreError> {
        let (session, dataset, columns) = (*session, dataset.as_str().to_owned(), joined(columns));
        let (agreement, purpose) = (agreement.as_str().to_owned(), purpose.as_str().to_owned());
        let kept = i64::from(retention_days).saturating_mul(DAY);
        self.write(move |work| {
            Box::pin(async move {
                let delete_at = work.now().plus_secs(kept).secs();
                sqlx::query(
                    "INSERT INTO disclosures (session, agreement, purpose, dataset, columns, delete_at)
                     VALUES (?, ?, ?, ?, ?, ?)
                     ON CONFLICT (session) DO NOTHING",
                )
                .bind(session.as_slice())
                .bind(agreement)
                .bind(purpose)
                .bind(dataset)
                .bind(columns)
                .bind(delete_at)
                .execute(work.sql())
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Keeps the values of some of the persons whom a session matched. `persons` are the receiver's own keys. Keeping
    /// one again changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]: none of these is kept.
    pub async fn record_disclosed(
        &self,
        session: &[u8; 32],
        persons: &[(Zeroizing<Vec<u8>>, DisclosedValues)],
    ) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(persons.len());
        for some in persons.chunks(ROWS) {
            for (person, values) in some {
                let index = prf(&self.shared.keys.persons, &[person.as_slice()]);
                let sealed = self.shared.keys.register.seal(TABLE, &place(session, &index), &encode(values))?;
                rows.push((index, sealed));
            }
            // Sealing takes microseconds a person: others get their turn in between.
            tokio::task::yield_now().await;
        }
        let session = *session;
        self.write(move |work| {
            Box::pin(async move {
                for some in rows.chunks(ROWS) {
                    let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO disclosed (person, session, sealed) ");
                    insert.push_values(some, |mut values, (index, sealed)| {
                        values.push_bind(index.to_vec()).push_bind(session.to_vec()).push_bind(sealed.clone());
                    });
                    insert.push(" ON CONFLICT (person, session) DO NOTHING");
                    insert.build().persistent(false).execute(work.sql()).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// What a session discloses; `None` if it discloses nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn disclosure(&self, session: &[u8; 32]) -> Result<Option<Disclosure>, StoreError> {
        let row = sqlx::query(
            "SELECT session, agreement, purpose, dataset, columns, delete_at FROM disclosures WHERE session = ?",
        )
        .bind(session.as_slice())
        .fetch_optional(&self.shared.readers)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// The values of those persons in a session, in their order; `None` for whom nothing is kept. `persons` follow each
    /// other as in [`State::matched_page`]. Nothing comes from [`Disclosure::delete_at`] on.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed or a row does not open.
    pub async fn disclosed_values<P: AsRef<[u8]>>(
        &self,
        session: &[u8; 32],
        persons: &[P],
    ) -> Result<Vec<Option<DisclosedValues>>, StoreError> {
        let index = |person: &P| prf(&self.shared.keys.persons, &[person.as_ref()]);
        let indexes: Vec<[u8; 32]> = persons.iter().map(index).collect();
        let (Some(first), Some(last)) = (indexes.iter().min(), indexes.iter().max()) else { return Ok(Vec::new()) };
        let rows = sqlx::query(
            "SELECT person, sealed FROM disclosed JOIN disclosures USING (session)
             WHERE session = ? AND person >= ? AND person <= ? AND sealed IS NOT NULL AND delete_at > ?",
        )
        .bind(session.as_slice())
        .bind(first.as_slice())
        .bind(last.as_slice())
        .bind(self.now().secs())
        .fetch_all(&self.shared.readers)
        .await?;
        let mut opened = HashMap::with_capacity(rows.len());
        for row in &rows {
            let index: [u8; 32] = codec::fixed(WHAT, row.try_get(0)?)?;
            let bytes = self.shared.keys.register.open(TABLE, &place(session, &index), row.try_get(1)?)?;
            opened.insert(index, decode(&bytes)?);
        }
        Ok(indexes.iter().map(|index| opened.remove(index)).collect())
    }

    /// What is to be deleted by now and is not, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn expired_disclosures(&self) -> Result<Vec<Disclosure>, StoreError> {
        let rows = sqlx::query(
            "SELECT session, agreement, purpose, dataset, columns, delete_at FROM disclosures
             WHERE deleted_at IS NULL AND delete_at <= ? ORDER BY delete_at, session",
        )
        .bind(self.now().secs())
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Deletes what a session disclosed, so that no file of the state holds it, sealed or not, and records the leaf that
    /// says so: all or nothing, and once. Whether it was now. That the persons' columns were received stays.
    ///
    /// While another program reads the files, they hold the sealed bytes on: this waits for it up to five seconds.
    ///
    /// # Errors
    /// [`StoreError`]: it is as it was.
    pub async fn delete_disclosed(&self, session: &[u8; 32], leaf: NewLeaf) -> Result<bool, StoreError> {
        let session = *session;
        self.write(move |work| {
            Box::pin(async move {
                let now = work.now().secs();
                let marked =
                    sqlx::query("UPDATE disclosures SET deleted_at = ? WHERE session = ? AND deleted_at IS NULL")
                        .bind(now)
                        .bind(session.as_slice())
                        .execute(work.sql())
                        .await?;
                if marked.rows_affected() == 0 {
                    return Ok(false);
                }
                // What is taken out is overwritten, since `secure_delete` is on; the log of writes is emptied after the
                // commit.
                sqlx::query("UPDATE disclosed SET sealed = NULL WHERE session = ?")
                    .bind(session.as_slice())
                    .execute(work.sql())
                    .await?;
                insert_leaf(work, &leaf).await?;
                work.scrub();
                Ok(true)
            })
        })
        .await
    }

    /// Records, at the sender, which columns it offers to a session beside its tags. The first stands.
    ///
    /// # Errors
    /// [`StoreError`]: it was not recorded.
    // PRIVACY: by session, of the whole set: the sender does not know of any row whether it was opened.
    pub async fn record_offered_columns(&self, session: &[u8; 32], columns: &[ColumnName]) -> Result<(), StoreError> {
        let (session, columns) = (*session, joined(columns));
        self.write(move |work| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO offered_columns (session, columns) VALUES (?, ?) ON CONFLICT (session) DO NOTHING",
                )
                .bind(session.as_slice())
                .bind(columns)
                .execute(work.sql())
                .await?;
                Ok(())
            })
        })
        .await
    }
}

fn place(session: &[u8; 32], index: &[u8]) -> Vec<u8> {
    [session.as_slice(), index].concat()
}

/// Names of columns as they are stored: no name has a line feed.
#[must_use]
pub fn joined(columns: &[ColumnName]) -> String {
    columns.iter().map(ColumnName::as_str).collect::<Vec<_>>().join("\n")
}

/// Names of columns that were stored; none for none.
///
/// # Errors
/// [`StoreError::Malformed`] for anything but what [`joined`] writes.
pub fn columns(stored: Option<&str>) -> Result<Vec<ColumnName>, StoreError> {
    let Some(stored) = stored.filter(|stored| !stored.is_empty()) else { return Ok(Vec::new()) };
    let name = |name: &str| ColumnName::new(name).map_err(|_| StoreError::Malformed(WHAT));
    stored.split('\n').map(name).collect()
}

fn read(row: &SqliteRow) -> Result<Disclosure, StoreError> {
    let malformed = |_| StoreError::Malformed(WHAT);
    Ok(Disclosure {
        session: codec::fixed(WHAT, row.try_get(0)?)?,
        agreement: AgreementId::new(row.try_get::<String, _>(1)?).map_err(malformed)?,
        purpose: PurposeId::new(row.try_get::<String, _>(2)?).map_err(malformed)?,
        dataset: DatasetId::new(row.try_get::<String, _>(3)?).map_err(malformed)?,
        columns: columns(Some(row.try_get(4)?))?,
        delete_at: Timestamp::from_secs(row.try_get(5)?),
    })
}

/// A person's values as they are sealed.
pub fn encode(values: &[String]) -> Zeroizing<Vec<u8>> {
    let room = values.iter().fold(16_usize, |sum, value| sum.saturating_add(8).saturating_add(value.len()));
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    out.push(FORMAT);
    out.extend((values.len() as u32).to_be_bytes());
    for value in values {
        put_bytes(&mut out, value.as_bytes());
    }
    out
}

/// Reads what [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<DisclosedValues, StoreError> {
    let mut reader = Reader::new(WHAT, bytes);
    match reader.byte()? {
        FORMAT => {}
        later => return Err(crate::SealError::Format(later).into()),
    }
    let mut values = Zeroizing::new(Vec::new());
    for _ in 0..reader.u32()? {
        let text = String::from_utf8(reader.bytes()?.to_vec()).map_err(|_| StoreError::Malformed(WHAT))?;
        values.push(text);
    }
    reader.end()?;
    Ok(values)
}
