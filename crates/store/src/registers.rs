//! What each side of a match writes down: the receiver whom it matched, the sender that it offered a set.
//!
//! The two are made by different parties. The sender's has no row about a person, because the sender never learns which
//! of its records matched.

use crate::{State, StoreError, key::prf, match_keys};
use firebreak_domain::{AgreementId, ColumnName, MatchKeyName, PurposeId, Timestamp};
use sqlx::{QueryBuilder, Row, Sqlite, sqlite::SqliteRow};
use zeroize::Zeroizing;

/// A match in which a person of the receiver's took part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedEntry {
    /// The match session.
    pub session: [u8; 32],
    /// For what purpose.
    pub purpose: PurposeId,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// By which of the agreement's keys; `None` if an earlier program recorded it.
    pub key: Option<MatchKeyName>,
    /// Whether it is to be looked at by people before anything follows from it.
    pub provisional: bool,
    /// When it was recorded.
    pub at: Timestamp,
    /// The sender's columns that were received of the person, whether or not they are deleted by now.
    pub disclosed: Vec<ColumnName>,
}

/// A match to which the sender offered its set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedEntry {
    /// The match session.
    pub session: [u8; 32],
    /// Under which agreement.
    pub agreement: AgreementId,
    /// For what purpose.
    pub purpose: PurposeId,
    /// When it was recorded.
    pub at: Timestamp,
    /// The columns that were offered beside the tags, of whoever would match.
    pub columns: Vec<ColumnName>,
}

/// Some of the persons whom a session matched.
pub struct MatchedPage {
    /// The receiver's own keys of them.
    pub persons: Vec<Zeroizing<Vec<u8>>>,
    /// Behind what the next page begins; `None` if nobody is left.
    pub last: Option<[u8; 32]>,
}

const MATCHED: &str = "matched";
/// In place of the time at which a match was recorded, as long as not all of it is.
const INCOMPLETE: i64 = -1;
/// Rows in one statement: three values each, of the 32,766 that SQLite takes.
const ROWS: usize = 1000;

/// A person's index, and the person sealed for the row.
struct SealedPerson {
    index: [u8; 32],
    sealed: Vec<u8>,
}

impl State {
    /// Records, at the receiver, persons whom a session matched. `persons` are the receiver's own keys of them: all of
    /// them, or some, of many at a time, which is done soonest in the order of [`State::place_in_register`]. None is in the
    /// register before [`State::complete_matched`]; recording one again adds nothing.
    ///
    /// # Errors
    /// [`StoreError`]: none of these was recorded.
    pub async fn record_matched<P: AsRef<[u8]> + Sync>(
        &self,
        session: &[u8; 32],
        purpose: &PurposeId,
        agreement: &AgreementId,
        persons: &[P],
    ) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(persons.len());
        for some in persons.chunks(ROWS) {
            for person in some {
                rows.push(self.seal_person(session, person.as_ref())?);
            }
            // Sealing takes microseconds a person: others get their turn in between.
            tokio::task::yield_now().await;
        }
        let (session, purpose, agreement) = (*session, purpose.as_str().to_owned(), agreement.as_str().to_owned());
        self.write(move |work| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO matches (session, purpose, agreement, matched_at) VALUES (?, ?, ?, ?)
                     ON CONFLICT (session) DO NOTHING",
                )
                .bind(session.as_slice())
                .bind(purpose)
                .bind(agreement)
                .bind(INCOMPLETE)
                .execute(work.sql())
                .await?;
                for some in rows.chunks(ROWS) {
                    let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO matched (person, session, sealed) ");
                    insert.push_values(some, |mut values, row| {
                        values.push_bind(row.index.to_vec()).push_bind(session.to_vec()).push_bind(row.sealed.clone());
                    });
                    insert.push(" ON CONFLICT (person, session) DO NOTHING");
                    insert.build().persistent(false).execute(work.sql()).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Takes back what was recorded for a session that was not completed, and what was disclosed of those persons: whoever
    /// records them again decides anew who takes part.
    ///
    /// # Errors
    /// [`StoreError`]: all of it is there.
    pub async fn forget_incomplete(&self, session: &[u8; 32]) -> Result<(), StoreError> {
        let session = *session;
        self.write(move |work| {
            Box::pin(async move {
                for statement in [
                    "DELETE FROM disclosed WHERE session = ?1 AND EXISTS
                     (SELECT 1 FROM matches WHERE session = ?1 AND matched_at = ?2)",
                    "DELETE FROM matched WHERE session = ?1 AND EXISTS
                     (SELECT 1 FROM matches WHERE session = ?1 AND matched_at = ?2)",
                ] {
                    sqlx::query(statement).bind(session.as_slice()).bind(INCOMPLETE).execute(work.sql()).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Puts into the register, now, the persons who were recorded for a session. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]: none of them is in the register.
    pub async fn complete_matched(&self, session: &[u8; 32]) -> Result<(), StoreError> {
        let session = *session;
        self.write(move |work| {
            Box::pin(async move {
                let now = work.now().secs();
                sqlx::query("UPDATE matches SET matched_at = ? WHERE session = ? AND matched_at = ?")
                    .bind(now)
                    .bind(session.as_slice())
                    .bind(INCOMPLETE)
                    .execute(work.sql())
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// The matches in which a person took part, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn matches_of(&self, person: &[u8]) -> Result<Vec<MatchedEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT matches.session, matches.purpose, matches.agreement, matched_at, name, provisional, columns
             FROM matched JOIN matches ON matches.session = matched.session
             LEFT JOIN match_keys ON match_keys.session = matched.session
             LEFT JOIN disclosed ON disclosed.person = matched.person AND disclosed.session = matched.session
             LEFT JOIN disclosures ON disclosures.session = disclosed.session
             WHERE matched.person = ? AND matched_at > ? ORDER BY matched_at, matches.session",
        )
        .bind(self.person_index(person).to_vec())
        .bind(INCOMPLETE)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let Shared { session, purpose, agreement, at } = read(row)?;
                let key = row.try_get::<Option<String>, _>(4)?.map(match_keys::name).transpose()?;
                let provisional = row.try_get::<Option<bool>, _>(5)?.unwrap_or_default();
                let disclosed = crate::disclosed::columns(row.try_get(6)?)?;
                Ok(MatchedEntry { session, purpose, agreement, key, provisional, at, disclosed })
            })
            .collect()
    }

    /// The persons whom a session matched, in no order that tells anything.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed or a row does not open.
    pub async fn matched_persons(&self, session: &[u8; 32]) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
        let (mut persons, mut last) = (Vec::new(), None);
        loop {
            let page = self.matched_page(session, last).await?;
            persons.extend(page.persons);
            last = page.last;
            if last.is_none() {
                return Ok(persons);
            }
        }
    }

    /// The next of the persons whom a session matched, at most 1,000: the first for `None`, else those behind the page
    /// whose [`MatchedPage::last`] is given. All pages together are in the order of [`State::matched_persons`], each
    /// time the same.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed or a row does not open.
    // PRIVACY: the order is that of a keyed hash of the person.
    pub async fn matched_page(&self, session: &[u8; 32], last: Option<[u8; 32]>) -> Result<MatchedPage, StoreError> {
        let behind = last.map_or_else(Vec::new, Vec::from);
        let rows = sqlx::query(
            "SELECT person, sealed FROM matched JOIN matches USING (session)
             WHERE session = ? AND person > ? AND matched_at > ? ORDER BY person LIMIT ?",
        )
        .bind(session.as_slice())
        .bind(behind)
        .bind(INCOMPLETE)
        .bind(ROWS as i64)
        .fetch_all(&self.shared.readers)
        .await?;
        let mut page = MatchedPage { persons: Vec::with_capacity(rows.len()), last: None };
        for row in &rows {
            let index: [u8; 32] = crate::codec::fixed("register entry", row.try_get(0)?)?;
            let person = self.shared.keys.register.open(MATCHED, &place(session, &index), row.try_get(1)?)?;
            page.persons.push(person);
            page.last = Some(index);
        }
        Ok(page)
    }

    /// Records, at the sender, that its set was offered to a session. Recording it again adds nothing.
    ///
    /// # Errors
    /// [`StoreError`]: it was not recorded.
    // PRIVACY: the sender's register has nothing in it about any one of its records, nor how many there are.
    pub async fn record_offered(
        &self,
        session: &[u8; 32],
        agreement: &AgreementId,
        purpose: &PurposeId,
    ) -> Result<(), StoreError> {
        let (session, purpose, agreement) = (*session, purpose.as_str().to_owned(), agreement.as_str().to_owned());
        self.write(move |work| {
            Box::pin(async move {
                let now = work.now().secs();
                sqlx::query(
                    "INSERT INTO offered (session, agreement, purpose, offered_at) VALUES (?, ?, ?, ?)
                     ON CONFLICT (session) DO NOTHING",
                )
                .bind(session.as_slice())
                .bind(agreement)
                .bind(purpose)
                .bind(now)
                .execute(work.sql())
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Every match to which this sender offered its set, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn offered(&self) -> Result<Vec<OfferedEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT session, purpose, agreement, offered_at, columns FROM offered LEFT JOIN offered_columns USING (session)
             ORDER BY offered_at, session",
        )
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let Shared { session, purpose, agreement, at } = read(row)?;
                let columns = crate::disclosed::columns(row.try_get(4)?)?;
                Ok(OfferedEntry { session, agreement, purpose, at, columns })
            })
            .collect()
    }

    /// Where a person's rows stand in the register: the keyed hash by which they are found, in the order of its bytes.
    #[must_use]
    pub fn place_in_register(&self, person: &[u8]) -> [u8; 32] {
        self.person_index(person)
    }

    // PRIVACY: a row is found by a keyed hash; without the state key nobody can try out identifiers on the table.
    fn person_index(&self, person: &[u8]) -> [u8; 32] {
        prf(&self.shared.keys.persons, &[person])
    }

    fn seal_person(&self, session: &[u8; 32], person: &[u8]) -> Result<SealedPerson, StoreError> {
        let index = self.person_index(person);
        let sealed = self.shared.keys.register.seal(MATCHED, &place(session, &index), person)?;
        Ok(SealedPerson { index, sealed })
    }
}

fn place(session: &[u8; 32], index: &[u8]) -> Vec<u8> {
    [session.as_slice(), index].concat()
}

struct Shared {
    session: [u8; 32],
    purpose: PurposeId,
    agreement: AgreementId,
    at: Timestamp,
}

fn read(row: &SqliteRow) -> Result<Shared, StoreError> {
    let malformed = |_| StoreError::Malformed("register entry");
    Ok(Shared {
        session: crate::codec::fixed("register entry", row.try_get(0)?)?,
        purpose: PurposeId::new(row.try_get::<String, _>(1)?).map_err(malformed)?,
        agreement: AgreementId::new(row.try_get::<String, _>(2)?).map_err(malformed)?,
        at: Timestamp::from_secs(row.try_get(3)?),
    })
}
