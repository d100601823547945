//! The keys of an agreement's match, as one side of it works with them.

use super::MatchError;
use firebreak_domain::{MatchKey, MatchKeyName, MatchTerms, ReasonCode, Refusal, RequestId};
use firebreak_psi::Normaliser;
use firebreak_records::{ReadColumns, Reading};
use firebreak_store::SessionFiles;
use sha2::{Digest, Sha256};
use std::ops::Deref;

/// Which of the receiver's own persons are to be matched, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The condition by which they are selected, as it stands behind WHERE; empty for all.
    pub selection: &'a str,
    /// The key's name in the agreement; empty for the strongest.
    pub key: &'a str,
    /// For any but the strongest key: the request whose match by the next stronger one is finished. Whom it matched
    /// takes no part.
    pub after: Option<RequestId>,
}

/// A selection that is matched by the agreement's strongest key.
impl<'a> From<&'a str> for Asked<'a> {
    fn from(selection: &'a str) -> Self {
        Self { selection, key: "", after: None }
    }
}

/// A key of the agreement's, with its rule.
#[derive(Clone)]
pub(super) struct Key {
    terms: MatchKey,
    /// The rule by which both sides write it.
    pub(super) normaliser: Normaliser,
    /// Whether its matches are to be looked at by people before anything follows from them.
    pub(super) provisional: bool,
    /// What tells persons apart who share an identifier by this key.
    apart: Option<ReadColumns>,
}

impl Deref for Key {
    type Target = MatchKey;

    fn deref(&self) -> &MatchKey {
        &self.terms
    }
}

impl Key {
    /// All keys of a match, the strongest first.
    pub(super) fn all(terms: &MatchTerms) -> Result<Vec<Self>, Refusal> {
        let keys = terms.keys.iter().enumerate().map(|(stronger, key)| Self::of(key, stronger));
        let mut keys = keys.collect::<Result<Vec<_>, _>>()?;
        let mut names = None;
        for key in keys.iter_mut().rev() {
            if key.normaliser.names_one_person() {
                key.apart.clone_from(&names);
            } else {
                names = Some(ReadColumns { columns: key.columns.clone(), normaliser: key.normaliser });
            }
        }
        Ok(keys)
    }

    /// A key that so many stronger ones stand before.
    fn of(key: &MatchKey, stronger: usize) -> Result<Self, Refusal> {
        let unknown =
            || Refusal::new(ReasonCode::NormaliserMismatch).because("the agreement's version is not known here");
        let normaliser = Normaliser::from_number(key.normaliser).ok_or_else(unknown)?;
        if normaliser.parts().len() != key.columns.len() {
            let refusal = Refusal::new(ReasonCode::NormaliserMismatch);
            return Err(refusal.because("the agreement's version takes another number of columns"));
        }
        let provisional = stronger > 0 || !normaliser.names_one_person();
        Ok(Self { terms: key.clone(), normaliser, provisional, apart: None })
    }

    /// How a receiver reads its identifiers.
    pub(super) fn reading(&self) -> Reading {
        let own = ReadColumns { columns: self.columns.clone(), normaliser: self.normaliser };
        Reading { own, apart: self.apart.clone() }
    }

    /// SHA-256 of all that it compares. It is another key by another hash, whatever its name.
    pub(super) fn compares(&self) -> [u8; 32] {
        let text = format!("firebreak match key compares 1\n{}\n{}", self.field(), self.normaliser.number());
        Sha256::digest(text.as_bytes()).into()
    }
}

/// The key that is asked for, and those that stand before and behind it in the agreement.
pub(super) struct Chosen {
    pub(super) key: Key,
    pub(super) stronger: Option<Key>,
    pub(super) next: Option<MatchKeyName>,
}

impl Chosen {
    /// # Errors
    /// `SESSION_MISMATCH` for a key that the agreement has not, and says which it has; `NORMALISER_MISMATCH`.
    pub(super) fn of(terms: &MatchTerms, name: &str) -> Result<Self, Refusal> {
        let keys = Key::all(terms)?;
        let place = if name.is_empty() { Some(0) } else { keys.iter().position(|key| key.name.as_str() == name) };
        let chosen = place.and_then(|place| keys.get(place).map(|key| (place, key)));
        let Some((place, key)) = chosen else {
            let names: Vec<_> = keys.iter().map(|key| key.name.as_str()).collect();
            // What was typed is not repeated: it may be anything.
            return Err(Refusal::new(ReasonCode::SessionMismatch)
                .because("the agreement has no match key of that name")
                .instead(format!("one of its keys: {}", names.join(", "))));
        };
        let stronger = place.checked_sub(1).and_then(|before| keys.get(before)).cloned();
        let next = place.checked_add(1).and_then(|behind| keys.get(behind)).map(|key| key.name.clone());
        Ok(Self { key: key.clone(), stronger, next })
    }
}

/// Keeps by which key a session is opened, the first time; afterwards it is that one.
///
/// SECURITY: each key has caps of its own, and the session's set is of one. What was evaluated and charged under a key
/// goes on under no other.
pub(super) fn keep_key(files: &SessionFiles, key: &Key) -> Result<(), MatchError> {
    let mut spool = files.spool("key")?;
    if spool.is_empty() {
        return Ok(spool.add(&key.compares())?);
    }
    if spool.get(0)?.as_slice() == key.compares() { Ok(()) } else { Err(MatchError::Fault(another_key())) }
}

/// The refusal of a session that goes on by another key than it was begun by.
pub(super) fn another_key() -> Refusal {
    Refusal::new(ReasonCode::SessionMismatch).because("this request was begun by another key: send it as a new one")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: &str = r#"
receiver = "health"
sender = "education"
receiver_dataset = "health.patients"
sender_dataset = "education.pupils"
[[key]]
name = "number"
columns = ["national_number"]
normaliser = 1
[[key]]
name = "names"
columns = ["family_name", "given_name", "birth_date"]
normaliser = 2
"#;

    fn terms() -> MatchTerms {
        toml::from_str(TERMS).unwrap()
    }

    #[test]
    fn the_strongest_key_is_chosen_where_none_is_named_and_another_by_its_name() {
        let strongest = Chosen::of(&terms(), "").unwrap();
        assert!(strongest.stronger.is_none() && !strongest.key.provisional);
        assert_eq!((strongest.key.name.as_str(), strongest.next.unwrap().as_str()), ("number", "names"));
        let names = Chosen::of(&terms(), "names").unwrap();
        assert!(names.key.provisional && names.next.is_none());
        assert_eq!((names.stronger.unwrap().name.as_str(), names.key.normaliser), ("number", Normaliser::V2));
    }

    #[test]
    fn a_key_that_the_agreement_has_not_is_refused_with_those_that_it_has_and_nothing_that_was_typed() {
        let refusal = Chosen::of(&terms(), "AB123456C").map(|_| ()).unwrap_err();
        assert_eq!(refusal.reason, ReasonCode::SessionMismatch);
        let said = refusal.to_string();
        assert!(said.contains("number, names") && !said.contains("AB123456C"), "{said}");
    }

    #[test]
    fn a_match_by_what_two_persons_may_share_is_provisional_also_where_no_key_is_stronger() {
        let mut terms = terms();
        terms.keys.remove(0);
        assert!(Chosen::of(&terms, "").unwrap().key.provisional);
        // And by a number, where one is.
        let mut terms = self::terms();
        terms.keys.swap(0, 1);
        assert!(Chosen::of(&terms, "number").unwrap().key.provisional);
    }

    #[test]
    fn persons_with_one_number_are_told_apart_by_the_next_key_of_names_and_by_none_of_another_agreement() {
        let keys = Key::all(&terms()).unwrap();
        let reading = keys[0].reading();
        assert_eq!(reading.text(), "national_number 1 family_name+given_name+birth_date 2");
        assert_eq!(reading.columns().len(), 4);
        assert!(reading.tells_apart() && !keys[1].reading().tells_apart());
        let mut alone = terms();
        alone.keys.truncate(1);
        let alone = Key::all(&alone).unwrap();
        assert_eq!(alone[0].reading().text(), "national_number 1");
        assert_eq!(alone[0].compares(), keys[0].compares());
        // What a set was read of is kept as text, whatever becomes of the agreement.
        for reading in [reading, keys[1].reading(), alone[0].reading()] {
            assert_eq!(Reading::of(&reading.text()), Some(reading));
        }
    }

    #[test]
    fn agreements_take_as_many_columns_as_the_rules_that_there_are() {
        let mut key = terms().keys.remove(0);
        for number in 0..100 {
            key.normaliser = number;
            let due = Normaliser::from_number(number).map(|rule| rule.parts().len());
            assert_eq!(key.columns_due(), due, "rule {number}");
        }
    }

    #[test]
    fn a_rule_that_is_unknown_or_takes_other_columns_is_refused() {
        for (number, detail) in [(0, "not known here"), (2, "another number of columns"), (3, "not known here")] {
            let mut terms = terms();
            terms.keys[0].normaliser = number;
            let refusal = Chosen::of(&terms, "names").map(|_| ()).unwrap_err();
            assert_eq!(refusal.reason, ReasonCode::NormaliserMismatch);
            assert!(refusal.detail.contains(detail), "{}", refusal.detail);
        }
    }
}
