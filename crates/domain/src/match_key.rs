//! The keys by which the two sides of a match know a person again.

use crate::{ColumnName, MatchKeyName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most keys of one agreement.
pub const MOST_MATCH_KEYS: usize = 4;

/// The columns of a file of matched persons that say by which key each was matched, and whether that is provisional. No
/// disclosed column has such a name.
pub const MATCHED_BY_COLUMNS: [&str; 2] = ["match_key", "provisional"];

/// The columns that a rule for writing identifiers takes, by its number. `firebreak_psi::Normaliser` has the rules.
const COLUMNS_OF_RULES: [(u32, usize); 2] = [(1, 1), (2, 3)];

/// A key of a match: what both sides compare, and how much of it the receiver may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchKey {
    /// Its name within the agreement.
    pub name: MatchKeyName,
    /// The columns of both datasets that it is made of, in the order in which its rule takes them.
    pub columns: Vec<ColumnName>,
    /// The version of the rule by which both sides write it.
    pub normaliser: u32,
    /// The most evaluations that the sender makes for the receiver in a calendar year, as thousandths of the
    /// receiver's declared register: 1050 is the register and 5 %.
    #[serde(default = "default_cap_permille")]
    pub cap_permille: u32,
    /// The most evaluations over the agreement's whole life, in the same thousandths; without it, what the agreement's
    /// calendar years allow together.
    #[serde(default)]
    pub life_cap_permille: Option<u32>,
    /// The most tags that the sender hands out to the receiver in a calendar year, as thousandths of the sender's whole
    /// padded list: 12000 is twelve lists. Without it, a list for each chunk of the year's evaluations.
    #[serde(default)]
    pub tags_permille: Option<u32>,
    /// The most tags over the agreement's whole life, in the same thousandths; without it, what the agreement's calendar
    /// years allow together.
    #[serde(default)]
    pub life_tags_permille: Option<u32>,
}

const fn default_cap_permille() -> u32 {
    1050
}

impl MatchKey {
    /// The key and its columns in one text, by which the two sides of a session find out that they mean the same:
    /// `names:family_name+given_name+birth_date`. No two keys of an agreement share it.
    #[must_use]
    pub fn field(&self) -> String {
        // INVARIANT: no name holds a colon or a plus sign.
        let columns = self.columns.iter().map(ColumnName::as_str).collect::<Vec<_>>();
        format!("{}:{}", self.name, columns.join("+"))
    }

    /// Whether two keys compare the same, whatever they are called, in whatever order they take the columns, and however
    /// much of it they allow.
    #[must_use]
    pub fn compares_like(&self, other: &Self) -> bool {
        let columns = |key: &Self| key.columns.iter().cloned().collect::<BTreeSet<_>>();
        self.normaliser == other.normaliser && columns(self) == columns(other)
    }

    /// Whether the key's rule is of numbers, which name one person each; names and a birth date may be those of two.
    #[must_use]
    pub fn names_one_person(&self) -> bool {
        self.columns_due() == Some(1)
    }

    /// How many columns the key's rule takes; `None` for a rule that nobody here knows.
    #[must_use]
    pub fn columns_due(&self) -> Option<usize> {
        COLUMNS_OF_RULES.iter().find(|(number, _)| *number == self.normaliser).map(|(_, columns)| *columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, columns: &[&str], normaliser: u32) -> MatchKey {
        let columns: Vec<_> = columns.iter().map(|column| format!("\"{column}\"")).collect();
        let text = format!("name = \"{name}\"\ncolumns = [{}]\nnormaliser = {normaliser}", columns.join(", "));
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn keys_that_differ_in_name_or_columns_share_no_field() {
        let keys = [
            key("number", &["national_number"], 1),
            key("numbers", &["national_number"], 1),
            key("number", &["passport"], 1),
            key("names", &["family_name", "given_name", "birth_date"], 2),
            key("names", &["given_name", "family_name", "birth_date"], 2),
        ];
        let mut fields: Vec<_> = keys.iter().map(MatchKey::field).collect();
        assert_eq!(fields[3], "names:family_name+given_name+birth_date");
        fields.sort_unstable();
        fields.dedup();
        assert_eq!(fields.len(), keys.len());
    }

    #[test]
    fn another_name_another_cap_or_another_order_makes_no_other_key_of_it() {
        let one = key("number", &["national_number"], 1);
        let names = |columns| key("names", columns, 2);
        let ordered = names(&["family_name", "given_name", "birth_date"]);
        assert!(ordered.compares_like(&names(&["given_name", "family_name", "birth_date"])));
        assert!(!ordered.compares_like(&names(&["family_name", "given_name", "arrival_date"])));
        assert!(one.compares_like(&MatchKey { cap_permille: 1, ..key("other", &["national_number"], 1) }));
        assert!(!one.compares_like(&key("number", &["passport"], 1)));
        assert!(!one.compares_like(&key("number", &["national_number"], 2)));
    }
}
