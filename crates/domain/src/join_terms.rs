use crate::{Charge, ColumnName, DatasetId, Epsilon};
use serde::{Deserialize, Serialize};

/// The most cells of a statistic over a join: pairs of a label of the left side and one of the right.
///
/// Each side draws dummies for each pair, and both send them: more would be dummies above all.
pub const MAX_JOIN_CELLS: usize = 4096;

/// One of the two sides of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JoinSide {
    /// The dataset whose id comes first.
    Left,
    /// The other.
    Right,
}

impl JoinSide {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// The side opposite.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// The terms of statistics over two agencies' join, of which nobody learns a single match (`docs/JOIN_PRIVACY.md`).
///
/// They say on what persons are joined and what each question costs; what may be asked of either dataset is said by the
/// agreement's columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTerms {
    /// The dataset of one agency; its id comes before that of `right`.
    pub left: DatasetId,
    /// The dataset of the other.
    pub right: DatasetId,
    /// The match key of both, on which persons are joined.
    pub field: ColumnName,
    /// The version of the rule by which both sides write it.
    pub normaliser: u32,
    /// What each question loses, to the persons of either register, in units of 10⁻⁹: 0.05 to 1.
    pub epsilon: Epsilon,
    /// That each agency answers for following the protocol. The theorem is about parties that do; one that does not can
    /// take the other's noise off. Without it nothing is joined.
    #[serde(default)]
    pub semi_honest_join: bool,
}

impl JoinTerms {
    /// The least ε, below which a cell would have more than 700 dummies.
    pub const LEAST_EPSILON: Epsilon = Epsilon::from_nano(50_000_000);
    /// The largest ε.
    pub const MOST_EPSILON: Epsilon = Epsilon::from_nano(1_000_000_000);
    /// The rule by which identifiers are written: that of a national number, which is one column.
    pub const NORMALISER: u32 = 1;

    /// The dataset of a side.
    #[must_use]
    pub const fn dataset(&self, side: JoinSide) -> &DatasetId {
        match side {
            JoinSide::Left => &self.left,
            JoinSide::Right => &self.right,
        }
    }

    /// The side of a dataset, if it has one.
    #[must_use]
    pub fn side_of(&self, dataset: &DatasetId) -> Option<JoinSide> {
        JoinSide::BOTH.into_iter().find(|side| self.dataset(*side) == dataset)
    }

    /// Whether these are the datasets that the terms join, in their order.
    #[must_use]
    pub fn joins<'a>(&self, datasets: impl IntoIterator<Item = &'a DatasetId>) -> bool {
        datasets.into_iter().eq([&self.left, &self.right])
    }

    /// The ρ that each question loses to the persons of either register: ε²/2, rounded up. A δ stands beside it, which
    /// follows from the law of the dummies.
    #[must_use]
    pub fn charge(&self) -> Charge {
        Charge::of_rho(self.epsilon.to_rho())
    }

    /// What is wrong with the terms by themselves, and what to do.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        if !self.semi_honest_join {
            return Some(
                "join.semi_honest_join is not true: a join keeps matches from agencies that follow its protocol, and one \
                 that does not can take the other's noise off; join only where each agency answers for following it, \
                 and write it down",
            );
        }
        if self.left >= self.right {
            return Some("join.left and join.right are two datasets, in the order of their ids");
        }
        if self.normaliser != Self::NORMALISER {
            return Some("join.normaliser is 1: a join is on one identifier, written as a national number is");
        }
        if !(Self::LEAST_EPSILON..=Self::MOST_EPSILON).contains(&self.epsilon) {
            return Some("join.epsilon is from 50000000 to 1000000000, in units of 10⁻⁹: an ε of 0.05 to 1");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> JoinTerms {
        JoinTerms {
            left: "education.enrolments".parse().unwrap(),
            right: "health.vaccinations".parse().unwrap(),
            field: "national_number".parse().unwrap(),
            normaliser: 1,
            epsilon: Epsilon::from_nano(500_000_000),
            semi_honest_join: true,
        }
    }

    #[test]
    fn sides_are_those_of_the_datasets() {
        let terms = terms();
        assert_eq!(terms.side_of(&terms.left), Some(JoinSide::Left));
        assert_eq!(terms.side_of(&terms.right), Some(JoinSide::Right));
        assert_eq!(terms.side_of(&"health.visits".parse().unwrap()), None);
        for side in JoinSide::BOTH {
            assert_ne!(side, side.other());
            assert_eq!(terms.side_of(terms.dataset(side)), Some(side));
        }
        assert!(terms.joins([&terms.left, &terms.right]));
        assert!(!terms.joins([&terms.right, &terms.left]) && !terms.joins([&terms.left]));
    }

    #[test]
    fn terms_that_do_not_hold_are_named() {
        assert_eq!(terms().problem(), None);
        type Change = fn(&mut JoinTerms);
        let changes: [(Change, &str); 6] = [
            (|terms| terms.semi_honest_join = false, "semi_honest_join"),
            (|terms| std::mem::swap(&mut terms.left, &mut terms.right), "order of their ids"),
            (|terms| terms.right = terms.left.clone(), "two datasets"),
            (|terms| terms.normaliser = 2, "normaliser"),
            (|terms| terms.epsilon = Epsilon::from_nano(49_999_999), "epsilon"),
            (|terms| terms.epsilon = Epsilon::from_nano(1_000_000_001), "epsilon"),
        ];
        for (change, word) in changes {
            let mut terms = terms();
            change(&mut terms);
            assert!(terms.problem().is_some_and(|problem| problem.contains(word)), "{word}");
        }
    }

    #[test]
    fn a_question_loses_half_of_the_square() {
        assert_eq!(terms().charge().rho.nano(), 125_000_000);
        assert_eq!(terms().charge().epsilon.nano(), 0, "it is not pure");
    }
}
