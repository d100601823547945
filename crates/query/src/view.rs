//! Which rows of an answer are shown, and in what order.

use crate::evaluate::Formula;
use crate::{CheckedQuery, CheckedRow, Comparison};
use std::cmp::Ordering;

/// A question's view, its values as formulas over primitives.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct CheckedView {
    pub(crate) having: Option<CheckedHaving>,
    pub(crate) order_by: Vec<CheckedOrder>,
    pub(crate) offset: usize,
    pub(crate) limit: Option<usize>,
}

#[derive(Clone, PartialEq)]
pub(crate) enum CheckedHaving {
    And(Vec<CheckedHaving>),
    Or(Vec<CheckedHaving>),
    Not(Box<CheckedHaving>),
    Compare(Formula, Comparison, Formula),
}

#[derive(Clone, PartialEq)]
pub(crate) struct CheckedOrder {
    pub(crate) by: CheckedKey,
    pub(crate) descending: bool,
}

#[derive(Clone, PartialEq)]
pub(crate) enum CheckedKey {
    /// Place among the groups as they are shown; a margin over all of them comes last.
    Group(usize),
    Value(Formula),
}

impl CheckedHaving {
    /// In SQL's three-valued logic.
    fn holds(&self, values: &[f64]) -> Option<bool> {
        match self {
            Self::And(parts) => all(parts.iter().map(|part| part.holds(values))),
            Self::Or(parts) => all(parts.iter().map(|part| part.holds(values).map(|holds| !holds))).map(|none| !none),
            Self::Not(part) => part.holds(values).map(|holds| !holds),
            Self::Compare(left, op, right) => {
                let order = left.value(values)?.partial_cmp(&right.value(values)?)?;
                Some(op.holds(&order, &Ordering::Equal))
            }
        }
    }
}

/// False if any is, else unknown if any is.
fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut unknown = false;
    for part in parts {
        match part {
            Some(false) => return Some(false),
            Some(true) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(true)
}

impl CheckedQuery {
    /// The rows that are shown, in their order, out of [`CheckedQuery::rows`]. `values` gives the released values of
    /// the primitives in a row.
    ///
    /// What is compared is released already: this is post-processing and costs nothing.
    pub fn shown(&self, values: impl Fn(&CheckedRow) -> Vec<f64>) -> Vec<CheckedRow> {
        self.shown_of(self.rows(), values)
    }

    /// [`CheckedQuery::shown`] out of other rows: those of the groups that were selected.
    pub fn shown_of(&self, rows: Vec<CheckedRow>, values: impl Fn(&CheckedRow) -> Vec<f64>) -> Vec<CheckedRow> {
        let view = &self.view;
        let keeps =
            |row: &CheckedRow| view.having.as_ref().is_none_or(|having| having.holds(&values(row)) == Some(true));
        let mut kept: Vec<(Vec<Option<f64>>, CheckedRow)> = Vec::with_capacity(rows.len());
        for row in rows.into_iter().filter(keeps) {
            let of_row = if view.order_by.is_empty() { Vec::new() } else { values(&row) };
            let key = |order: &CheckedOrder| match &order.by {
                CheckedKey::Group(place) => row.codes.get(*place).copied().flatten().map(|code| code as f64),
                CheckedKey::Value(formula) => formula.value(&of_row),
            };
            kept.push((view.order_by.iter().map(key).collect(), row));
        }
        // The sort is stable: what is equal stays in the order of the declared values.
        kept.sort_by(|(one, _), (other, _)| {
            let pairs = one.iter().zip(other).zip(&view.order_by);
            pairs
                .map(|((one, other), order)| compare(*one, *other, order.descending))
                .fold(Ordering::Equal, Ordering::then)
        });
        let shown = kept.into_iter().map(|(_, row)| row).skip(view.offset);
        shown.take(view.limit.unwrap_or(usize::MAX)).collect()
    }
}

/// What is not computable comes last, whichever way the others stand.
fn compare(one: Option<f64>, other: Option<f64>, descending: bool) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => {
            let order = one.total_cmp(&other);
            if descending { order.reverse() } else { order }
        }
        (one, other) => other.is_some().cmp(&one.is_some()),
    }
}
