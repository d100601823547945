//! A question over the join of two agencies' datasets, checked against both contracts.

use crate::margins::Weights;
use crate::{Bins, BoundPredicate, BoundValue, CheckedGroup, CheckedQuery, Figures, GroupingSet};
use firebreak_domain::{ColumnName, DatasetId, JoinSide, JoinTerms, OrgId};
use std::fmt;

/// A question over two agencies' datasets, of whose join nobody learns a single match.
///
/// INVARIANT: only [`check_join`](crate::check_join) makes one. No side has more than 65,535 labels, and there are at
/// most [`MAX_JOIN_CELLS`](firebreak_domain::MAX_JOIN_CELLS) pairs of them, each of which is one cell of what is counted.
#[derive(Clone, PartialEq)]
pub struct CheckedJoin {
    pub(crate) whole: CheckedQuery,
    pub(crate) summed: Option<Summed>,
    pub(crate) left: CheckedSide,
    pub(crate) right: CheckedSide,
    pub(crate) terms: JoinTerms,
    /// The cell of `whole` for each pair of labels, row by row of the left side's.
    pub(crate) cells: Vec<usize>,
}

/// A question that adds a value up, worked out from the counts of one that has the value's bins for a group more.
#[derive(Clone, PartialEq)]
pub(crate) struct Summed {
    pub(crate) answered: CheckedQuery,
    pub(crate) bins: Bins,
    /// The place of the bins among the groups of what is counted.
    pub(crate) place: usize,
}

/// What one agency does of a question over a join: which of its rows take part, and the label of each.
#[derive(Clone, PartialEq)]
pub struct CheckedSide {
    pub(crate) side: JoinSide,
    pub(crate) query: CheckedQuery,
}

impl CheckedJoin {
    /// What is answered: groups, outputs, view and canonical form of the question over both.
    ///
    /// It is for released numbers. What an engine reads is each [`CheckedJoin::side`].
    #[must_use]
    pub const fn answered(&self) -> &CheckedQuery {
        match &self.summed {
            None => &self.whole,
            Some(summed) => &summed.answered,
        }
    }

    /// What is counted, and released: the number of persons in each cell, of whom each moves one cell by one. Where a
    /// value is added up, it is split by the value's bins too, and is the same as if it were asked so.
    #[must_use]
    pub const fn counted(&self) -> &CheckedQuery {
        &self.whole
    }

    /// The bins of the value that is added up, if one is.
    #[must_use]
    pub const fn bins(&self) -> Option<&Bins> {
        match &self.summed {
            None => None,
            Some(summed) => Some(&summed.bins),
        }
    }

    /// The numbers of [`CheckedJoin::answered`] from the released counts and the deviation of their noise, each as
    /// [`CheckedQuery::figures`] takes them of [`CheckedJoin::counted`]. It is post-processing, and costs nothing.
    #[must_use]
    pub fn figures(&self, tables: Vec<Vec<f64>>, deviations: &[f64]) -> Figures {
        let Some(Summed { answered, bins, place }) = &self.summed else {
            return self.whole.figures(tables, deviations);
        };
        let kinds = || answered.primitives.iter().map(|primitive| &primitive.kind);
        let weights = Weights {
            each: kinds().map(|kind| bins.weights(kind)).collect(),
            roundings: kinds().map(|kind| bins.roundings(kind)).collect(),
        };
        answered.weighted(&weights, &self.whole, *place, (tables, deviations))
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
    /// [`CheckedJoin::counted`]; `None` unless there is one for each pair.
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
