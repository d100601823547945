//! A question over the join of two agencies' datasets, checked against both contracts.

use crate::{BoundPredicate, BoundValue, CheckedGroup, CheckedQuery, GroupingSet};
use firebreak_domain::{ColumnName, DatasetId, JoinSide, JoinTerms, OrgId};
use std::fmt;

/// A question over two agencies' datasets, of whose join nobody learns a single match.
///
/// INVARIANT: only [`check_join`](crate::check_join) makes one. No side has more than 65,535 labels, and there are at
/// most [`MAX_JOIN_CELLS`](firebreak_domain::MAX_JOIN_CELLS) pairs of them, each of which is one cell of the answer.
#[derive(Clone, PartialEq)]
pub struct CheckedJoin {
    pub(crate) whole: CheckedQuery,
    pub(crate) left: CheckedSide,
    pub(crate) right: CheckedSide,
    pub(crate) terms: JoinTerms,
    /// The cell of `whole` for each pair of labels, row by row of the left side's.
    pub(crate) cells: Vec<usize>,
}

/// What one agency does of a question over a join: which of its rows take part, and the label of each.
#[derive(Clone, PartialEq)]
pub struct CheckedSide {
    pub(crate) side: JoinSide,
    pub(crate) query: CheckedQuery,
}

impl CheckedJoin {
    /// What is answered: groups, outputs, view, canonical form and basis of the question over both. Its one number in
    /// each cell is a count of persons, of whom each moves one cell by one.
    ///
    /// It is for released numbers. What an engine reads is each [`CheckedJoin::side`].
    #[must_use]
    pub const fn answered(&self) -> &CheckedQuery {
        &self.whole
    }

    /// One side.
    #[must_use]
    pub const fn side(&self, side: JoinSide) -> &CheckedSide {
        match side {
            JoinSide::Left => &self.left,
            JoinSide::Right => &self.right,
        }
    }

    /// The side whose dataset is that agency's; `None` for an agency that has none of them.
    #[must_use]
    pub fn side_of(&self, agency: &OrgId) -> Option<&CheckedSide> {
        JoinSide::BOTH.into_iter().map(|side| self.side(side)).find(|side| side.agency() == agency)
    }

    /// The terms under which it is asked.
    #[must_use]
    pub const fn terms(&self) -> &JoinTerms {
        &self.terms
    }

    /// Numbers by pairs of labels, row by row of the left side's, in the order of the cells of
    /// [`CheckedJoin::answered`]; `None` unless there is one for each pair.
    #[must_use]
    pub fn arranged(&self, by_labels: &[i64]) -> Option<Vec<i64>> {
        if by_labels.len() != self.cells.len() {
            return None;
        }
        let mut arranged = vec![0; by_labels.len()];
        for (number, cell) in by_labels.iter().zip(&self.cells) {
            *arranged.get_mut(*cell)? = *number;
        }
        Some(arranged)
    }
}

impl CheckedSide {
    /// Which side it is.
    #[must_use]
    pub const fn side(&self) -> JoinSide {
        self.side
    }

    /// Its dataset.
    #[must_use]
    pub const fn dataset(&self) -> &DatasetId {
        self.query.dataset()
    }

    /// The agency whose adapter serves it.
    #[must_use]
    pub const fn agency(&self) -> &OrgId {
        self.query.agency()
    }

    /// The question over this side alone, for an engine: its filter says which rows of the bounded view take part, the
    /// cells of its one grouping set are the labels. It has one count of rows, which nobody measures.
    #[must_use]
    pub const fn query(&self) -> &CheckedQuery {
        &self.query
    }

    /// Which rows of the bounded view take part, those without a label aside.
    #[must_use]
    pub const fn filter(&self) -> Option<&BoundPredicate> {
        self.query.filter()
    }

    /// The groups of this side, in the order in which labels run: the last fastest.
    #[must_use]
    pub fn groups(&self) -> &[CheckedGroup] {
        self.query.groups()
    }

    /// How many labels its records have, counted from 0: the product of the numbers of groups; 1 without groups.
    #[must_use]
    pub fn labels(&self) -> u16 {
        // At most MAX_JOIN_CELLS.
        u16::try_from(self.set().map_or(0, GroupingSet::cells)).unwrap_or(u16::MAX)
    }

    /// The label of a row; `None` where the row takes no part, because the filter does not let it through or because it
    /// is in no group of some category. `value` gives a column's encoded value, `None` where it is missing.
    ///
    /// This is the meaning to which every engine is held.
    pub fn label(&self, value: &dyn Fn(&ColumnName) -> Option<BoundValue>) -> Option<u16> {
        if self.filter().is_some_and(|filter| filter.holds(value) != Some(true)) {
            return None;
        }
        let code = |group: usize| Some(usize::from(self.groups().get(group)?.category.code(value)?));
        u16::try_from(self.set()?.cell(code)?).ok()
    }

    fn set(&self) -> Option<&GroupingSet> {
        self.query.grouping_sets().first()
    }
}

/// // PRIVACY: filters and headings hold the caller's words.
macro_rules! without_contents {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

without_contents!(CheckedJoin, CheckedSide);
