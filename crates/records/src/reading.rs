//! Of what a receiver's set is read.

use firebreak_domain::ColumnName;
use firebreak_psi::{NormalisedInput, Normaliser};

/// Columns that are read together, and the rule by which they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadColumns {
    /// As many columns as the rule takes.
    pub columns: Vec<ColumnName>,
    /// The rule.
    pub normaliser: Normaliser,
}

/// What a receiver's set is read of: a key's columns, and those of a weaker key of names, if there is one, by which the
/// receiver sees that an identifier is that of different persons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The key's own.
    pub own: ReadColumns,
    /// Those that tell persons apart.
    pub apart: Option<ReadColumns>,
}

impl Reading {
    /// All columns, the key's own first.
    #[must_use]
    pub fn columns(&self) -> Vec<ColumnName> {
        self.own.columns.iter().chain(self.apart.iter().flat_map(|apart| &apart.columns)).cloned().collect()
    }

    /// The rule by which identifiers are written.
    #[must_use]
    pub const fn normaliser(&self) -> Normaliser {
        self.own.normaliser
    }

    /// Whether something tells persons apart who share an identifier.
    #[must_use]
    pub const fn tells_apart(&self) -> bool {
        self.apart.is_some()
    }

    /// A row's identifier, and its name where that tells persons apart, from what stands in [`Reading::columns`].
    /// `None` for fewer texts than there are columns of the key's own.
    #[must_use]
    pub fn forms(&self, texts: &[Option<&str>]) -> Option<(Option<NormalisedInput>, Option<NormalisedInput>)> {
        let (own, names) = texts.split_at_checked(self.own.columns.len())?;
        let name = self.apart.as_ref().and_then(|apart| apart.normaliser.normalise_parts(names));
        Some((self.own.normaliser.normalise_parts(own), name))
    }

    /// It in one text: `national_number 1 family_name+given_name+birth_date 2`.
    #[must_use]
    pub fn text(&self) -> String {
        let read = |read: &ReadColumns| {
            let columns = read.columns.iter().map(ColumnName::as_str).collect::<Vec<_>>();
            format!("{} {}", columns.join("+"), read.normaliser.number())
        };
        std::iter::once(&self.own).chain(&self.apart).map(read).collect::<Vec<_>>().join(" ")
    }

    /// What such a text says; `None` if it is none.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split(' ').collect();
        let mut reads = words.chunks(2).map(|words| {
            let [columns, number] = words else { return None };
            let columns = columns.split('+').map(|name| ColumnName::new(name).ok()).collect::<Option<Vec<_>>>()?;
            let normaliser = Normaliser::from_number(number.parse().ok()?)?;
            (normaliser.parts().len() == columns.len()).then_some(ReadColumns { columns, normaliser })
        });
        let own = reads.next()??;
        let apart = reads.next().map_or(Some(None), |apart| apart.map(Some))?;
        let read = reads.next().is_none().then_some(Self { own, apart })?;
        // A number may be written in several ways.
        (read.text() == text).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_set_was_read_of_has_one_text() {
        for text in [
            "national_number 1",
            "family_name+given_name+birth_date 2",
            "national_number 1 family_name+given_name+birth_date 2",
        ] {
            assert_eq!(Reading::of(text).unwrap().text(), text);
        }
        let none =
            ["", "national_number", "national_number 9", "a+b 1", "a 1 b+c 2", "a 1 b 1 c 1", "a 1 ", "a 01", "a +1"];
        for none in none {
            assert_eq!(Reading::of(none), None, "{none}");
        }
    }
}
