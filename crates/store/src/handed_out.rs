//! What of its matches a receiver's adapter has handed out: to whom, when, under what, and the hash of it.
//!
//! Entries are numbered without a gap and each is sealed for its number: one that was edited, exchanged or taken from
//! the middle is found when the register is read. It holds no person but the officer, who is in no file in clear.

use crate::{
    SealError, State, StoreError,
    codec::{self, Reader, put_bytes},
};
use firebreak_domain::{AgreementId, CutId, DatasetId, Identity, PurposeId, Timestamp};
use sqlx::Row;
use std::sync::Arc;

/// As what the keys of a match leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOutForm {
    /// One after another.
    List,
    /// A CSV file.
    Csv,
    /// A Parquet file.
    Parquet,
}

impl HandOutForm {
    const ALL: [Self; 3] = [Self::List, Self::Csv, Self::Parquet];

    const fn number(self) -> u8 {
        match self {
            Self::List => 1,
            Self::Csv => 2,
            Self::Parquet => 3,
        }
    }
}

/// A match that the receiver's register holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedMatch {
    /// Under which agreement.
    pub agreement: AgreementId,
    /// For what purpose.
    pub purpose: PurposeId,
    /// The dataset of the receiver's own set and its version; `None` if an earlier program recorded the match.
    pub cut: Option<(DatasetId, CutId)>,
}

/// A handing-out to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHandedOut {
    /// To whom.
    pub officer: Identity,
    /// The match session.
    pub session: [u8; 32],
    /// Under which agreement.
    pub agreement: AgreementId,
    /// For what purpose.
    pub purpose: PurposeId,
    /// As what.
    pub form: HandOutForm,
    /// Persons in it.
    pub rows: u64,
    /// SHA-256 of what leaves.
    pub sha256: [u8; 32],
}

/// A handing-out as the register holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOut {
    /// Its number, from 1.
    pub number: u64,
    /// When it was recorded, which is before anything left.
    pub at: Timestamp,
    /// What was handed out, and to whom.
    pub what: NewHandedOut,
}

const TABLE: &str = "handed_out";
const WHAT: &str = "entry of what was handed out";
const FORMAT: u8 = 1;

impl State {
    /// Records of which version of which of its datasets a receiver formed the set of a session. The first stands.
    ///
    /// # Errors
    /// [`StoreError`]: it was not recorded.
    pub async fn record_match_cut(
        &self,
        session: &[u8; 32],
        dataset: &DatasetId,
        cut: &CutId,
    ) -> Result<(), StoreError> {
        let (session, dataset, cut) = (*session, dataset.as_str().to_owned(), cut.as_str().to_owned());
        self.write(move |work| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO match_cuts (session, dataset, cut) VALUES (?, ?, ?) ON CONFLICT (session) DO NOTHING",
                )
                .bind(session.as_slice())
                .bind(dataset)
                .bind(cut)
                .execute(work.sql())
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// The match of that session, if this program recorded its matches as the receiver.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn recorded_match(&self, session: &[u8; 32]) -> Result<Option<RecordedMatch>, StoreError> {
        let row = sqlx::query(
            "SELECT agreement, purpose, dataset, cut FROM matches LEFT JOIN match_cuts USING (session)
             WHERE session = ? AND matched_at >= 0",
        )
        .bind(session.as_slice())
        .fetch_optional(&self.shared.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let malformed = |_| StoreError::Malformed("register entry");
        let cut = match (row.try_get::<Option<String>, _>(2)?, row.try_get::<Option<String>, _>(3)?) {
            (Some(dataset), Some(cut)) => {
                Some((DatasetId::new(dataset).map_err(malformed)?, CutId::new(cut).map_err(malformed)?))
            }
            _ => None,
        };
        Ok(Some(RecordedMatch {
            agreement: AgreementId::new(row.try_get::<String, _>(0)?).map_err(malformed)?,
            purpose: PurposeId::new(row.try_get::<String, _>(1)?).map_err(malformed)?,
            cut,
        }))
    }

    /// Records a handing-out under the next number. To be called before anything leaves.
    ///
    /// # Errors
    /// [`StoreError`]: it was not recorded, and nothing may leave.
    pub async fn record_handed_out(&self, what: NewHandedOut) -> Result<HandedOut, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |work| {
            Box::pin(async move {
                let last: Option<i64> =
                    sqlx::query_scalar("SELECT max(number) FROM handed_out").fetch_one(work.sql()).await?;
                let number = last.unwrap_or(0).checked_add(1).ok_or(StoreError::Malformed(WHAT))?;
                let entry = HandedOut { number: codec::count(WHAT, number)?, at: work.now(), what };
                let sealed = shared.keys.register.seal(TABLE, &place(entry.number), &encode(&entry))?;
                sqlx::query("INSERT INTO handed_out (number, sealed) VALUES (?, ?)")
                    .bind(number)
                    .bind(sealed)
                    .execute(work.sql())
                    .await?;
                Ok(entry)
            })
        })
        .await
    }

    /// Everything that was handed out, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed; [`StoreError::Malformed`] or [`StoreError::Seal`] if an entry is missing,
    /// was edited or stands in another's place.
    pub async fn handed_out(&self) -> Result<Vec<HandedOut>, StoreError> {
        let rows = sqlx::query("SELECT number, sealed FROM handed_out ORDER BY number")
            .fetch_all(&self.shared.readers)
            .await?;
        let mut entries = Vec::with_capacity(rows.len());
        for (expected, row) in (1..).zip(&rows) {
            // SECURITY: a gap is an entry that somebody took out.
            let number = codec::count(WHAT, row.try_get(0)?)?;
            if number != expected {
                return Err(StoreError::Malformed(WHAT));
            }
            let opened = self.shared.keys.register.open(TABLE, &place(number), row.try_get(1)?)?;
            entries.push(decode(number, &opened)?);
        }
        Ok(entries)
    }
}

fn place(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// An entry as it is sealed: all of it but its number.
pub fn encode(entry: &HandedOut) -> Vec<u8> {
    let HandedOut { at, what, .. } = entry;
    let officer = what.officer.to_string();
    let mut out = vec![FORMAT, what.form.number()];
    out.extend(at.secs().to_be_bytes());
    out.extend(what.rows.to_be_bytes());
    out.extend(what.session);
    out.extend(what.sha256);
    for text in [officer.as_str(), what.agreement.as_str(), what.purpose.as_str()] {
        put_bytes(&mut out, text.as_bytes());
    }
    out
}

/// Reads what [`encode`] wrote of the entry of that number.
pub fn decode(number: u64, bytes: &[u8]) -> Result<HandedOut, StoreError> {
    let mut reader = Reader::new(WHAT, bytes);
    match reader.byte()? {
        FORMAT => {}
        later => return Err(SealError::Format(later).into()),
    }
    let form = reader.byte()?;
    let form = HandOutForm::ALL.into_iter().find(|known| known.number() == form);
    let at = Timestamp::from_secs(reader.i64()?);
    let (rows, session, sha256) = (reader.u64()?, reader.array()?, reader.array()?);
    let mut text = || String::from_utf8(reader.bytes()?.to_vec()).map_err(|_| StoreError::Malformed(WHAT));
    let (officer, agreement, purpose) = (text()?, text()?, text()?);
    reader.end()?;
    let what = NewHandedOut {
        officer: officer.parse().map_err(|_| StoreError::Malformed(WHAT))?,
        session,
        agreement: AgreementId::new(agreement).map_err(|_| StoreError::Malformed(WHAT))?,
        purpose: PurposeId::new(purpose).map_err(|_| StoreError::Malformed(WHAT))?,
        form: form.ok_or(StoreError::Malformed(WHAT))?,
        rows,
        sha256,
    };
    Ok(HandedOut { number, at, what })
}
