//! What a person has said, or what was decided for a person, about taking part in matches: consent to a purpose (GDPR
//! Art. 6(1)(a), 7), and restriction (Art. 18, 21).
//!
//! Everything that was recorded stays; the latest counts. A person is found by a keyed hash alone.

use crate::{State, StoreError, key::prf};
use firebreak_domain::{PurposeId, Timestamp};
use futures::TryStreamExt;
use sqlx::{QueryBuilder, Row, Sqlite};
use std::fmt;
use std::sync::Arc;

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
#[derive(PartialEq, Eq)]
pub struct Participation {
    /// How much had been recorded by then.
    recorded: i64,
    purpose: PurposeId,
    restricted: Persons,
    /// Where the legal basis is consent, who has given it.
    consenting: Option<Persons>,
}

/// Persons in order, each once.
#[derive(PartialEq, Eq)]
struct Persons(Vec<PersonReference>);

impl Persons {
    /// They are put in order here and not by SQLite, which would write what is large to a file of its own, outside the
    /// state's folder.
    fn of(mut persons: Vec<PersonReference>) -> Self {
        persons.sort_unstable();
        // Who is restricted for the purpose and for all purposes was read twice, and who chose twice as well.
        persons.dedup();
        persons.shrink_to_fit();
        Self(persons)
    }

    fn contains(&self, person: &PersonReference) -> bool {
        self.0.binary_search(person).is_ok()
    }

    /// These, but that of those who `chose` since the ones in `now` alone are among them.
    fn since(&self, chose: &Self, now: &Self) -> Self {
        let mut stay = self.0.iter().filter(|person| !chose.contains(person)).peekable();
        let mut come = now.0.iter().peekable();
        let mut persons = Vec::with_capacity(self.0.len().saturating_add(now.0.len()));
        while let Some(next) = stay.peek().into_iter().chain(come.peek()).min().copied() {
            persons.push(*next);
            // Nobody is among both.
            let _ = stay.next_if_eq(&next).or_else(|| come.next_if_eq(&next));
        }
        Self(persons)
    }
}

/// How many there are, and nobody of them.
impl fmt::Debug for Persons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} persons", self.0.len())
    }
}

/// The moment and numbers of persons.
impl fmt::Debug for Participation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (restricted, consenting) = (&self.restricted, &self.consenting);
        write!(f, "at {}, for {}: {restricted:?} restricted, {consenting:?} consenting", self.recorded, self.purpose)
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

/// Choices since the last time of which each is looked at by itself. Beyond them all is read anew, so that what that
/// takes has a bound.
const FEW: usize = if cfg!(test) { 20 } else { 10_000 };

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

    /// Who takes part now, for `purpose`; with `by_consent`, those alone who have consented to it. What is `known` of
    /// that already is given back if it still says so, and otherwise spares reading what was recorded by then.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn participation(
        &self,
        purpose: &PurposeId,
        by_consent: bool,
        known: Option<&Arc<Participation>>,
    ) -> Result<Arc<Participation>, StoreError> {
        let recorded: i64 =
            sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM choices").fetch_one(&self.shared.readers).await?;
        let known = known.filter(|known| known.purpose == *purpose && known.consenting.is_some() == by_consent);
        let Some(known) = known else {
            return Ok(Arc::new(self.participation_at(purpose, by_consent, recorded).await?));
        };
        if known.recorded == recorded {
            return Ok(Arc::clone(known));
        }
        let Some(chose) = self.chose(known.recorded, recorded).await? else {
            return Ok(Arc::new(self.participation_at(purpose, by_consent, recorded).await?));
        };
        let since = Some(known.recorded);
        let restricted = self.latest(purpose, [RESTRICT, LIFT], recorded, since).await?;
        let consenting = match by_consent {
            true => Some(self.latest(purpose, [CONSENT, WITHDRAW], recorded, since).await?),
            false => None,
        };
        let (known, purpose) = (Arc::clone(known), purpose.clone());
        apart(move || {
            let restricted = known.restricted.since(&chose, &restricted);
            let consenting = known.consenting.as_ref().zip(consenting.as_ref());
            let consenting = consenting.map(|(known, now)| known.since(&chose, now));
            Arc::new(Participation { recorded, purpose, restricted, consenting })
        })
        .await
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
        let restricted = self.latest(purpose, [RESTRICT, LIFT], recorded, None).await?;
        let consenting = match by_consent {
            true => Some(self.latest(purpose, [CONSENT, WITHDRAW], recorded, None).await?),
            false => None,
        };
        Ok(Participation { recorded, purpose: purpose.clone(), restricted, consenting })
    }

    /// Of whom something was recorded after the one moment and by the other; `None` if that is much.
    async fn chose(&self, since: i64, recorded: i64) -> Result<Option<Persons>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT person FROM choices WHERE seq > ");
        query.push_bind(since).push(" AND seq <= ").push_bind(recorded);
        query.push(" LIMIT ").push_bind(FEW as i64 + 1);
        let persons = self.persons(query).await?;
        Ok((persons.len() <= FEW).then(|| Persons::of(persons)))
    }

    /// Of whom the first kind was recorded by that moment and afterwards not the other: of everybody, or of those of
    /// whom anything was recorded `since` another moment.
    async fn latest(
        &self,
        purpose: &PurposeId,
        [one, other]: [i64; 2],
        recorded: i64,
        since: Option<i64>,
    ) -> Result<Persons, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT latest.person FROM ");
        if let Some(since) = since {
            // Few, each once. In this order and by this index, or SQLite goes through the choices of everybody.
            query.push("(SELECT DISTINCT person FROM choices WHERE seq > ").push_bind(since);
            query.push(" AND seq <= ").push_bind(recorded);
            query.push(") AS chose CROSS JOIN choices AS latest INDEXED BY choices_by_person");
            query.push(" ON latest.person = chose.person");
        } else {
            query.push("choices AS latest");
        }
        query.push(" WHERE latest.choice = ").push_bind(one).push(" AND latest.seq <= ").push_bind(recorded);
        query.push(" AND (latest.purpose = ").push_bind(purpose.as_str().to_owned());
        query.push(" OR (latest.choice = 3 AND latest.purpose = ''))");
        query.push(" AND NOT EXISTS (SELECT 1 FROM choices AS later WHERE later.person = latest.person");
        query.push(" AND later.purpose = latest.purpose AND later.choice IN (").push_bind(one);
        query.push(", ").push_bind(other).push(") AND later.seq > latest.seq AND later.seq <= ").push_bind(recorded);
        query.push(")");
        let persons = self.persons(query).await?;
        apart(|| Persons::of(persons)).await
    }

    /// The persons that a query finds. Row by row: a register may have millions.
    async fn persons(&self, mut query: QueryBuilder<Sqlite>) -> Result<Vec<PersonReference>, StoreError> {
        let mut rows = query.build().fetch(&self.shared.readers);
        let mut persons = Vec::new();
        while let Some(row) = rows.try_next().await? {
            persons.push(crate::codec::fixed("choice", row.try_get(0)?)?);
        }
        Ok(persons)
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

/// Does what takes a while with millions, in which nothing else would run on this thread.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StateKey;
    use firebreak_domain::SystemClock;

    #[test]
    fn those_who_chose_since_stand_as_they_chose_and_everybody_else_as_before() {
        let persons = |numbers: &[u8]| Persons::of(numbers.iter().map(|number| [*number; 16]).collect());
        let known = persons(&[2, 4, 6, 8]);
        for (chose, now, then) in [
            (&[][..], &[][..], &[2, 4, 6, 8][..]),
            (&[1, 2, 9], &[1, 9], &[1, 4, 6, 8, 9]),
            (&[4, 5, 6], &[4, 5], &[2, 4, 5, 8]),
            (&[2, 4, 6, 8], &[], &[]),
            (&[2, 3, 4, 6, 8], &[2, 3, 4, 6, 8], &[2, 3, 4, 6, 8]),
        ] {
            assert_eq!(known.since(&persons(chose), &persons(now)).0, persons(then).0, "{chose:?}");
        }
        assert_eq!(persons(&[]).since(&persons(&[1]), &persons(&[1])).0, persons(&[1]).0);
        assert_eq!(format!("{known:?}"), "4 persons");
    }

    #[tokio::test]
    async fn as_many_choices_as_are_looked_at_by_themselves_and_more_give_what_reading_everything_gives() {
        let folder = tempfile::tempdir().unwrap();
        let key = StateKey::from_bytes([1; 32]);
        let state = State::open(folder.path(), key, Arc::new(SystemClock)).await.unwrap();
        let purpose = PurposeId::new("schooling").unwrap();
        let all = |number: usize| (0..number).map(|person| person.to_be_bytes());
        for person in all(3 * FEW) {
            state.record_choice(&person, &Choice::Consent(purpose.clone())).await.unwrap();
        }
        let mut known = state.participation(&purpose, true, None).await.unwrap();
        for chose in [1, FEW - 1, FEW, FEW + 1, 2 * FEW] {
            for (choice, left) in
                [(Choice::Withdraw(purpose.clone()), 3 * FEW - chose), (Choice::Consent(purpose.clone()), 3 * FEW)]
            {
                for person in all(chose) {
                    state.record_choice(&person, &choice).await.unwrap();
                }
                known = state.participation(&purpose, true, Some(&known)).await.unwrap();
                let taking = all(3 * FEW).filter(|person| known.allows(&state.person_reference(person)));
                assert_eq!(taking.count(), left, "{chose} chose");
            }
        }
        // One who cannot make up their mind.
        for choice in [Choice::Withdraw(purpose.clone()), Choice::Consent(purpose.clone())].iter().cycle().take(FEW) {
            state.record_choice(&0_usize.to_be_bytes(), choice).await.unwrap();
        }
        let now = state.participation(&purpose, true, Some(&known)).await.unwrap();
        assert_eq!((&now.consenting, now.moment()), (&known.consenting, known.moment() + FEW as i64));
        state.close().await;
    }
}
