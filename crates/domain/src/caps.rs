//! What the receiver of a match may have in all: its own identifiers evaluated, and the sender's tags.

use crate::{Agreement, MatchKey, MatchKeyName};
use std::fmt;

/// Elements in a chunk of a match: the step in which sets, lists of tags and caps are rounded up.
pub const MATCH_CHUNK: u32 = 4096;

const CHUNK: u64 = MATCH_CHUNK as u64;

/// What a cap counts, padding included: it cannot be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    /// Elements of the receiver's that the sender evaluates.
    Evaluations,
    /// Tags of the sender's that it hands out.
    Tags,
}

/// For how long a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CapPeriod {
    /// A calendar year.
    Year(i32),
    /// The agreement's whole life, all years together.
    Life,
}

/// The most of one thing that a receiver may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapLimits {
    /// In a calendar year.
    pub per_year: u64,
    /// In all years together.
    pub for_life: u64,
}

/// The caps of one key of an agreement's match: never none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchCaps {
    /// On evaluations.
    pub evaluations: CapLimits,
    /// On whole lists of tags, in thousandths of one.
    lists: CapLimits,
}

/// How a cap stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapStanding {
    /// The key of the match that it is of.
    pub key: MatchKeyName,
    /// What it counts.
    pub counted: Counted,
    /// For how long.
    pub period: CapPeriod,
    /// The most.
    pub cap: u64,
    /// What is used of it; `None` where the sender, who alone knows, was not heard.
    pub used: Option<u64>,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Evaluations => "evaluations",
            Self::Tags => "tags",
        })
    }
}

impl fmt::Display for CapPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Year(year) => write!(f, "in {year}"),
            Self::Life => f.write_str("over the agreement's life"),
        }
    }
}

impl MatchCaps {
    /// The caps of a key of that agreement, whose receiver declares a register of so many.
    ///
    /// Where the agreement does not say: as many whole lists of tags a year as the year's evaluations have chunks, so
    /// that whoever has something evaluated in each session is never short of a list; and for life, what the agreement's
    /// calendar years allow together.
    #[must_use]
    pub fn of(agreement: &Agreement, key: &MatchKey, receiver_register: u64) -> Self {
        let years = agreement.years();
        // In whole chunks, because padding is evaluated like everything else.
        let of_register = |permille: u32| whole(receiver_register.saturating_mul(permille.into()) / 1000);
        let a_year = of_register(key.cap_permille);
        let for_life = key.life_cap_permille.map_or(a_year.saturating_mul(years), of_register);
        let lists_a_year = key.tags_permille.map_or((a_year / CHUNK).saturating_mul(1000), u64::from);
        let lists_for_life = key.life_tags_permille.map_or(lists_a_year.saturating_mul(years), u64::from);
        Self {
            evaluations: CapLimits { per_year: a_year, for_life },
            lists: CapLimits { per_year: lists_a_year, for_life: lists_for_life },
        }
    }

    /// The caps on tags where one whole list has `list` of them ([`tags_of`]).
    #[must_use]
    pub const fn tags(&self, list: u64) -> CapLimits {
        CapLimits {
            per_year: list.saturating_mul(self.lists.per_year) / 1000,
            for_life: list.saturating_mul(self.lists.for_life) / 1000,
        }
    }

    /// All of them as they are in a year, for a sender that declares a register of so many.
    #[must_use]
    pub const fn in_year(&self, year: i32, sender_register: u64) -> [(Counted, CapPeriod, u64); 4] {
        let tags = self.tags(tags_of(sender_register));
        [
            (Counted::Evaluations, CapPeriod::Year(year), self.evaluations.per_year),
            (Counted::Evaluations, CapPeriod::Life, self.evaluations.for_life),
            (Counted::Tags, CapPeriod::Year(year), tags.per_year),
            (Counted::Tags, CapPeriod::Life, tags.for_life),
        ]
    }
}

/// Tags in the list of a sender that declares a register of so many, padding included.
#[must_use]
pub const fn tags_of(sender_register: u64) -> u64 {
    let one = if sender_register == 0 { 1 } else { sender_register };
    whole(one)
}

/// The next whole number of chunks.
const fn whole(elements: u64) -> u64 {
    match elements.checked_next_multiple_of(CHUNK) {
        Some(whole) => whole,
        None => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGREEMENT: &str = include_str!("../../../deploy/sample/bundle/agreements/vaccination-round.toml");

    /// The sample, which counts from the beginning of 2025 to the end of 2034, with terms added.
    fn agreement(terms: &str) -> Agreement {
        let text = AGREEMENT.replace("cap_permille = 1050", &format!("cap_permille = 1050\n{terms}"));
        toml::from_str(&text).unwrap()
    }

    fn of(agreement: &Agreement, register: u64) -> MatchCaps {
        MatchCaps::of(agreement, &agreement.matching.as_ref().unwrap().keys[0], register)
    }

    fn caps(terms: &str, register: u64) -> (CapLimits, CapLimits) {
        let caps = of(&agreement(terms), register);
        (caps.evaluations, caps.tags(8192))
    }

    #[test]
    fn an_agreement_without_the_terms_means_what_it_always_meant_and_is_bounded_for_life() {
        // 12,600 elements are four chunks: a list for each, and ten years of it.
        let (evaluations, tags) = caps("", 12_000);
        assert_eq!(evaluations, CapLimits { per_year: 4 * 4096, for_life: 10 * 4 * 4096 });
        assert_eq!(tags, CapLimits { per_year: 4 * 8192, for_life: 10 * 4 * 8192 });
        // A year that is begun counts, because it has evaluations of its own.
        let mut one = agreement("");
        one.start = one.end;
        let caps = of(&one, 12_000);
        assert_eq!(caps.evaluations.for_life, caps.evaluations.per_year);
    }

    #[test]
    fn each_term_bounds_what_it_says() {
        let (evaluations, tags) = caps("life_cap_permille = 2000", 12_000);
        assert_eq!(evaluations, CapLimits { per_year: 4 * 4096, for_life: 6 * 4096 });
        assert_eq!(tags, caps("", 12_000).1, "tags are not a matter of the evaluations' life");
        let (evaluations, tags) = caps("tags_permille = 1000", 12_000);
        assert_eq!(tags, CapLimits { per_year: 8192, for_life: 10 * 8192 });
        assert_eq!(evaluations, caps("", 12_000).0);
        let (_, tags) = caps("tags_permille = 2500\nlife_tags_permille = 3000", 12_000);
        assert_eq!(tags, CapLimits { per_year: 20_480, for_life: 3 * 8192 });
    }

    #[test]
    fn numbers_beyond_their_integers_stay_there() {
        let (evaluations, tags) = caps("life_cap_permille = 4294967295", u64::MAX);
        assert_eq!(
            evaluations,
            CapLimits { per_year: u64::MAX / 1000 / 4096 * 4096 + 4096, for_life: evaluations.per_year }
        );
        assert!(tags.for_life >= tags.per_year);
        assert_eq!((tags_of(0), tags_of(4096), tags_of(4097), tags_of(u64::MAX)), (4096, 4096, 8192, u64::MAX));
    }

    #[test]
    fn each_key_has_caps_of_its_own() {
        let mut two = agreement("");
        let keys = &mut two.matching.as_mut().unwrap().keys;
        let weaker = MatchKey { name: "weaker".parse().unwrap(), cap_permille: 350, ..keys[0].clone() };
        keys.push(weaker.clone());
        assert_eq!(MatchCaps::of(&two, &weaker, 12_000).evaluations.per_year, 2 * 4096);
        assert_eq!(of(&two, 12_000).evaluations.per_year, 4 * 4096);
    }
}
