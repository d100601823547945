//! What a person has said, or what was decided for a person, about taking part in matches: consent to a purpose (GDPR
//! Art. 6(1)(a), 7), and restriction (Art. 18, 21).
//!
//! Everything that was recorded stays; the latest counts. A person is found by a keyed hash alone.

use crate::{State, StoreError, key::prf};
use firebreak_domain::{PurposeId, Timestamp};
use futures::TryStreamExt;
use sqlx::Row;

/// A choice. Of one kind and purpose, the latest counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The person consents to one purpose.
    Consent(PurposeId),
    /// The person withdraws that consent.
    Withdraw(PurposeId),
    /// The person's records take part in no match for a purpose, or in none at all.
    Restrict(Option<PurposeId>),
    /// A restriction in the same words ends. One for all purposes and one for a single purpose are two.
    Lift(Option<PurposeId>),
}

/// A choice that was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedChoice {
    /// What it says.
    pub choice: Choice,
    /// When it was recorded.
    pub at: Timestamp,
}

/// A person by a keyed hash, in which nothing can be looked up without the state key.
///
/// 16 bytes of the hash tell persons apart: where ten million are looked up among ten million, any of the 10¹⁴ pairs is
/// equal by chance with odds of 10¹⁴ · 2⁻¹²⁸, below 10⁻²⁴.
pub type PersonReference = [u8; 16];

/// Who takes part in matches for one purpose at one moment.
///
/// It takes the 16 bytes of a [`PersonReference`] for each person who is restricted and, where the legal basis is
/// consent, for each who has given it: 160 MB for ten million. Who asks anew while something is known has both for a
/// while.
#[derive(Debug, Default)]
pub struct Participation {
    /// How much had been recorded by then.
    recorded: i64,
    restricted: Persons,
    /// Where the legal basis is consent, who has given it.
    consenting: Option<Persons>,
}

/// Persons in order, each once.
#[derive(Debug, Default)]
struct Persons(Vec<PersonReference>);

impl Persons {
    /// They are put in order here and not by SQLite, which would write what is large to a file of its own, outside the
    /// state's folder.
    fn of(mut persons: Vec<PersonReference>) -> Self {
        persons.sort_unstable();
        // Who is restricted for the purpose and for all purposes was read twice.
        persons.dedup();
        persons.shrink_to_fit();
        Self(persons)
    }

    fn contains(&self, person: &PersonReference) -> bool {
        self.0.binary_search(person).is_ok()
    }
}

impl Participation {
    /// Whether that person takes part.
    #[must_use]
    pub fn allows(&self, person: &PersonReference) -> bool {
        !self.restricted.contains(person)
            && self.consenting.as_ref().is_none_or(|consenting| consenting.contains(person))
    }

    /// The moment, by which [`State::participation_at`] finds it again.
    #[must_use]
    pub const fn moment(&self) -> i64 {
        self.recorded
    }
}

/// Numbers in the table; they never change.
const CONSENT: i64 = 1;
const WITHDRAW: i64 = 2;
const RESTRICT: i64 = 3;
const LIFT: i64 = 4;

impl Choice {
    const fn parts(&self) -> (i64, Option<&PurposeId>) {
        match self {
            Self::Consent(purpose) => (CONSENT, Some(purpose)),
            Self::Withdraw(purpose) => (WITHDRAW, Some(purpose)),
            Self::Restrict(purpose) => (RESTRICT, purpose.as_ref()),
            Self::Lift(purpose) => (LIFT, purpose.as_ref()),
        }
    }

    fn of(number: i64, purpose: &str) -> Option<Self> {
        let purpose = if purpose.is_empty() { None } else { Some(PurposeId::new(purpose).ok()?) };
        match number {
            CONSENT => purpose.map(Self::Consent),
            WITHDRAW => purpose.map(Self::Withdraw),
            RESTRICT => Some(Self::Restrict(purpose)),
            LIFT => Some(Self::Lift(purpose)),
            _ => None,
        }
    }
}

impl State {
    /// Records a person's choice; on the disk before it returns. It counts for whatever is sent afterwards.
    ///
    /// # Errors
    /// [`StoreError`]: it was not recorded.
    pub async fn record_choice(&self, person: &[u8], choice: &Choice) -> Result<(), StoreError> {
        let person = self.person_reference(person);
        let (number, purpose) = choice.parts();
        let purpose = purpose.map(|purpose| purpose.as_str().to_owned()).unwrap_or_default();
        self.write(move |work| {
            Box::pin(async move {
                let now = work.now().secs();
                sqlx::query("INSERT INTO choices (person, purpose, choice, recorded_at) VALUES (?, ?, ?, ?)")
                    .bind(person.as_slice())
                    .bind(purpose)
                    .bind(number)
                    .bind(now)
                    .execute(work.sql())
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Everything that was recorded of a person, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn choices_of(&self, person: &[u8]) -> Result<Vec<RecordedChoice>, StoreError> {
        let rows = sqlx::query("SELECT choice, purpose, recorded_at FROM choices WHERE person = ? ORDER BY seq")
            .bind(self.person_reference(person).to_vec())
            .fetch_all(&self.shared.readers)
            .await?;
        rows.iter()
            .map(|row| {
                let choice = Choice::of(row.try_get(0)?, row.try_get(1)?);
                let choice = choice.ok_or(StoreError::Malformed("choice"))?;
                Ok(RecordedChoice { choice, at: Timestamp::from_secs(row.try_get(2)?) })
            })
            .collect()
    }

    /// Who takes part now, for `purpose`; with `by_consent`, those alone who have consented to it. `None` where
    /// `known` still says so.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn participation(
        &self,
        purpose: &PurposeId,
        by_consent: bool,
        known: Option<&Participation>,
    ) -> Result<Option<Participation>, StoreError> {
        let recorded: i64 =
            sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM choices").fetch_one(&self.shared.readers).await?;
        if known.is_some_and(|known| known.recorded == recorded) {
            return Ok(None);
        }
        self.participation_at(purpose, by_consent, recorded).await.map(Some)
    }

    /// Who took part at a moment that [`Participation::moment`] told.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn participation_at(
        &self,
        purpose: &PurposeId,
        by_consent: bool,
        recorded: i64,
    ) -> Result<Participation, StoreError> {
        let restricted = self.latest(purpose, RESTRICT, LIFT, recorded).await?;
        let consenting = if by_consent { Some(self.latest(purpose, CONSENT, WITHDRAW, recorded).await?) } else { None };
        Ok(Participation { recorded, restricted, consenting })
    }

    /// Of whom `one` was recorded by that moment and afterwards not `other`. Row by row: a register may have millions.
    async fn latest(&self, purpose: &PurposeId, one: i64, other: i64, recorded: i64) -> Result<Persons, StoreError> {
        let query = sqlx::query(
            "SELECT person FROM choices AS latest WHERE choice = ? AND seq <= ? AND (purpose = ? OR (choice = 3 AND purpose = ''))
             AND NOT EXISTS (SELECT 1 FROM choices AS later WHERE later.person = latest.person
                 AND later.purpose = latest.purpose AND later.choice IN (?, ?) AND later.seq > latest.seq
                 AND later.seq <= ?)",
        );
        let query =
            query.bind(one).bind(recorded).bind(purpose.as_str().to_owned()).bind(one).bind(other).bind(recorded);
        let mut rows = query.fetch(&self.shared.readers);
        let mut persons = Vec::new();
        while let Some(row) = rows.try_next().await? {
            persons.push(crate::codec::fixed("choice", row.try_get(0)?)?);
        }
        drop(rows);
        // Millions take a while to sort, in which nothing else would run on this thread.
        tokio::task::spawn_blocking(|| Persons::of(persons)).await.map_err(|_| StoreError::Closed)
    }

    /// The reference of a person, by the agency's own key.
    #[must_use]
    pub fn person_reference(&self, person: &[u8]) -> PersonReference {
        let mut reference = PersonReference::default();
        for (to, from) in reference.iter_mut().zip(prf(&self.shared.keys.persons, &[b"choices\n", person])) {
            *to = from;
        }
        reference
    }
}
