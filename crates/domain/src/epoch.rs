//! Epochs of a match: for some hours, one key and one list of tags serve every small set of its receiver.

use crate::{LegalBasis, MATCH_CHUNK, MatchTerms, Timestamp};
use serde::{Deserialize, Serialize};

/// The terms on which small sets are matched against the list of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochTerms {
    /// Hours of an epoch, 1 to 24. Epochs follow each other from 1970 on.
    pub hours: u32,
    /// Hours from the beginning of an epoch after which its receiver has deleted the list, from `hours` to 48.
    pub hold_hours: u32,
    /// Elements of a small set, padding included: a set of at most so many is matched in the epoch, in one chunk of
    /// exactly so many. 64 to 4,096.
    pub elements: u32,
}

/// One epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Its number: whole epochs from 1970 to its beginning. Never 0.
    pub number: u64,
    /// When its key is destroyed.
    pub ends: Timestamp,
    /// When its receiver has deleted the list.
    pub held_until: Timestamp,
}

const HOUR: i64 = 3600;

impl EpochTerms {
    /// Hours of an epoch at most: a person who is restricted is in no list that is made a day later.
    pub const MOST_HOURS: u32 = 24;
    /// Hours for which a list may be held at most.
    pub const MOST_HOLD_HOURS: u32 = 48;
    /// Elements of a small set at least: below, padding would hide little.
    pub const LEAST_ELEMENTS: u32 = 64;

    /// What is wrong with them in the match `of` an agreement on that legal basis; `None` for good ones.
    #[must_use]
    pub fn wrong(&self, basis: LegalBasis, of: &MatchTerms) -> Option<&'static str> {
        // PRIVACY: tags that were handed out cannot be taken back for as long as they are held.
        if basis == LegalBasis::Consent {
            return Some(
                "match.epoch is not for consent as the legal basis: who withdraws it would stay in the list to its end",
            );
        }
        // SECURITY: what opens a person's row follows from the key that the list is made under. Held for hours, the rows of
        // all would be opened one by one by whatever is evaluated after they came.
        if of.payload.is_some() {
            return Some(
                "match.epoch and match.payload do not go together: the evaluations of a later session would open the rows \
                 that came with an earlier one's list",
            );
        }
        // A weaker key runs for whom a stronger one has left, and a set that is small by one may not be by the other.
        if of.keys.len() != 1 {
            return Some(
                "match.epoch is for an agreement with one match key: each key would have a list of its own held",
            );
        }
        if !(1..=Self::MOST_HOURS).contains(&self.hours) {
            return Some("match.epoch.hours is 1 to 24");
        }
        if !(self.hours..=Self::MOST_HOLD_HOURS).contains(&self.hold_hours) {
            return Some("match.epoch.hold_hours is match.epoch.hours at least and 48 at most");
        }
        let elements = Self::LEAST_ELEMENTS..=MATCH_CHUNK;
        (!elements.contains(&self.elements)).then_some("match.epoch.elements is 64 to 4096")
    }

    /// The epoch of that moment.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Epoch {
        self.numbered(u64::try_from(now.secs().max(0) / self.length()).unwrap_or_default())
    }

    /// The epoch of that number.
    #[must_use]
    pub fn numbered(&self, number: u64) -> Epoch {
        let begins = i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(self.length());
        let after = |hours: i64| Timestamp::from_secs(begins.saturating_add(hours.saturating_mul(HOUR)));
        Epoch { number, ends: after(self.length() / HOUR), held_until: after(i64::from(self.hold_hours)) }
    }

    /// Seconds of an epoch.
    fn length(&self) -> i64 {
        i64::from(self.hours.max(1)).saturating_mul(HOUR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: EpochTerms = EpochTerms { hours: 24, hold_hours: 30, elements: 1024 };
    const KEY: &str = "[[key]]\nname = \"number\"\ncolumns = [\"number\"]\nnormaliser = 1\n";

    /// Those of a match by one key that discloses nothing, with `more` behind.
    fn of(more: &str) -> MatchTerms {
        let sides =
            "receiver = \"a\"\nsender = \"b\"\nreceiver_dataset = \"a.persons\"\nsender_dataset = \"b.persons\"";
        toml::from_str(&format!("{sides}\n{KEY}{more}")).unwrap()
    }

    #[test]
    fn epochs_follow_each_other_without_a_gap_and_a_list_is_held_for_its_hours() {
        for hours in [1, 7, 24] {
            let terms = EpochTerms { hours, ..TERMS };
            let now = Timestamp::from_secs(1_750_000_000);
            let epoch = terms.at(now);
            assert!(now < epoch.ends && epoch.ends <= now.plus_secs(i64::from(hours) * HOUR));
            assert_eq!(terms.at(epoch.ends.plus_secs(-1)), epoch);
            let next = terms.at(epoch.ends);
            assert_eq!((next.number, next.ends), (epoch.number + 1, epoch.ends.plus_secs(i64::from(hours) * HOUR)));
            assert_eq!(terms.numbered(epoch.number), epoch);
            assert_eq!(epoch.held_until, epoch.ends.plus_secs(i64::from(30 - hours) * HOUR));
        }
        assert!(TERMS.numbered(u64::MAX).ends.secs() > 0);
    }

    #[test]
    fn terms_beyond_their_bounds_are_wrong_and_so_are_any_under_consent_with_a_payload_or_with_several_keys() {
        let wrong = |terms: EpochTerms| terms.wrong(LegalBasis::PublicTask, &of(""));
        assert_eq!(wrong(TERMS), None);
        assert_eq!(wrong(EpochTerms { hours: 1, hold_hours: 1, elements: 64 }), None);
        assert_eq!(wrong(EpochTerms { hours: 24, hold_hours: 48, elements: 4096 }), None);
        assert!(TERMS.wrong(LegalBasis::Consent, &of("")).unwrap().contains("consent"));
        let payload = of("[payload]\ncolumns = [\"level\"]\nretention_days = 7\n");
        assert!(TERMS.wrong(LegalBasis::PublicTask, &payload).unwrap().contains("match.payload"));
        let several = of(&KEY.replace("number", "passport"));
        assert!(TERMS.wrong(LegalBasis::PublicTask, &several).unwrap().contains("one match key"));
        for (terms, what) in [
            (EpochTerms { hours: 0, ..TERMS }, "hours"),
            (EpochTerms { hours: 25, ..TERMS }, "hours"),
            (EpochTerms { hold_hours: 23, ..TERMS }, "hold_hours"),
            (EpochTerms { hold_hours: 49, ..TERMS }, "hold_hours"),
            (EpochTerms { elements: 63, ..TERMS }, "elements"),
            (EpochTerms { elements: 4097, ..TERMS }, "elements"),
        ] {
            assert!(wrong(terms).is_some_and(|wrong| wrong.contains(what)), "{terms:?}");
        }
    }
}
