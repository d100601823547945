//! Conditions whose literals are resolved, for engines over columns of whole numbers.

use crate::Comparison;
use firebreak_domain::ColumnName;
use std::fmt;

/// A condition on one row of a dataset whose columns are encoded as whole numbers.
///
/// A category, month or year is the index of its value in the column's declared order ([`Domain::codes`]); a number
/// is in fixed point with the column's decimals; a day counts from 1970-01-01. Logic is SQL's: a condition on a
/// missing value is unknown, and only rows for which the whole is true count.
///
/// [`Domain::codes`]: firebreak_domain::Domain::codes
#[derive(Clone, PartialEq, Eq)]
pub enum BoundPredicate {
    /// All of them; at least one.
    And(Vec<BoundPredicate>),
    /// Any of them; at least one.
    Or(Vec<BoundPredicate>),
    /// The opposite; unknown stays unknown.
    Not(Box<BoundPredicate>),
    /// Whether a category, month or year is one of these, ascending. An empty list is false for every value.
    Codes {
        /// The column.
        column: ColumnName,
        /// Indices of values.
        codes: Vec<u16>,
    },
    /// A number in fixed point against a constant in the same fixed point.
    Number {
        /// The column.
        column: ColumnName,
        /// How.
        op: Comparison,
        /// The constant.
        value: i64,
    },
    /// A day against a constant.
    Day {
        /// The column.
        column: ColumnName,
        /// How.
        op: Comparison,
        /// Days since 1970-01-01.
        value: i32,
    },
    /// Whether the column is missing; never unknown.
    IsNull {
        /// The column.
        column: ColumnName,
    },
}

/// One encoded value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BoundValue {
    /// Index of a category, month or year.
    Code(u16),
    /// A number in the column's fixed point, or that of an open code.
    Number(i64),
    /// Days since 1970-01-01.
    Day(i32),
}

impl BoundPredicate {
    /// How many columns an engine tests for it.
    #[must_use]
    pub fn parts(&self) -> u64 {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::parts).sum(),
            Self::Not(part) => part.parts(),
            Self::Codes { .. } | Self::Number { .. } | Self::Day { .. } | Self::IsNull { .. } => 1,
        }
    }

    /// Whether it holds on a row, `None` for unknown. `value` gives a column's encoded value, `None` where it is
    /// missing.
    ///
    /// This is the meaning to which every engine is held. A value of another kind than the condition's counts as
    /// missing.
    pub fn holds(&self, value: &dyn Fn(&ColumnName) -> Option<BoundValue>) -> Option<bool> {
        match self {
            Self::And(parts) => junction(parts.iter().map(|part| part.holds(value)), false),
            Self::Or(parts) => junction(parts.iter().map(|part| part.holds(value)), true),
            Self::Not(part) => part.holds(value).map(|holds| !holds),
            Self::Codes { column, codes } => match value(column)? {
                BoundValue::Code(code) => Some(codes.binary_search(&code).is_ok()),
                BoundValue::Number(_) | BoundValue::Day(_) => None,
            },
            Self::Number { column, op, value: constant } => match value(column)? {
                BoundValue::Number(number) => Some(op.holds(&number, constant)),
                BoundValue::Code(_) | BoundValue::Day(_) => None,
            },
            Self::Day { column, op, value: constant } => match value(column)? {
                BoundValue::Day(day) => Some(op.holds(&day, constant)),
                BoundValue::Code(_) | BoundValue::Number(_) => None,
            },
            Self::IsNull { column } => Some(value(column).is_none()),
        }
    }
}

/// AND and OR of Kleene's logic: `decisive` decides at once, otherwise one unknown makes the whole unknown.
fn junction(parts: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut whole = Some(!decisive);
    for part in parts {
        match part {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => whole = None,
        }
    }
    whole
}

/// // PRIVACY: the constants are the caller's words.
impl fmt::Debug for BoundPredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundPredicate(..)")
    }
}

/// // PRIVACY: a value of one person's row.
impl fmt::Debug for BoundValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundValue(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: i64) -> BoundPredicate {
        BoundPredicate::Number { column: ColumnName::new("x").unwrap(), op: Comparison::Eq, value }
    }

    #[test]
    fn unknown_spreads_as_in_sql() {
        let missing = |_: &ColumnName| None;
        let one = |_: &ColumnName| Some(BoundValue::Number(1));
        let null = BoundPredicate::IsNull { column: ColumnName::new("x").unwrap() };
        let not = |p: BoundPredicate| BoundPredicate::Not(Box::new(p));
        assert_eq!(number(1).holds(&missing), None);
        assert_eq!(not(number(1)).holds(&missing), None);
        assert_eq!(null.holds(&missing), Some(true));
        assert_eq!(BoundPredicate::Or(vec![number(1), null.clone()]).holds(&missing), Some(true));
        assert_eq!(BoundPredicate::And(vec![number(1), null.clone()]).holds(&missing), None);
        assert_eq!(BoundPredicate::And(vec![number(1), not(null.clone())]).holds(&missing), Some(false));
        assert_eq!(BoundPredicate::And(vec![number(1), not(null)]).holds(&one), Some(true));
        assert_eq!(BoundPredicate::Or(vec![number(2), number(1)]).holds(&one), Some(true));
    }
}
