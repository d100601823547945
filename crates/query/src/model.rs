//! The typed question, before any contract is known.

use crate::Decimal;
use chrono::NaiveDate;
use firebreak_domain::{ColumnName, CutId, DatasetId, Rho};
use std::collections::BTreeSet;
use std::fmt;

/// A question over one dataset, as parsed or received. Nothing in it is checked against a contract yet.
///
/// // PRIVACY: it holds literals and names that a caller typed. Its `Debug` shows none of them, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct AggregateQuery {
    /// The dataset.
    pub dataset: DatasetId,
    /// The version of it; the contract's latest where none is named.
    pub cut: Option<CutId>,
    /// Which rows count at all (`WHERE`).
    pub filter: Option<Predicate>,
    /// The declared categories by which the answer is split, in the order in which they are shown.
    pub group_by: Vec<ColumnName>,
    /// What is measured, and paid for. Every one is used by an output.
    pub measures: Vec<Measure>,
    /// What is shown, in order.
    pub outputs: Vec<Output>,
    /// The price that the caller names; the agreement's where none is named.
    pub rho: Option<Rho>,
}

/// One aggregate, over the rows that the question and its own filter let through.
#[derive(Clone, PartialEq, Eq)]
pub struct Measure {
    /// What is computed.
    pub aggregate: Aggregate,
    /// `FILTER (WHERE ..)`.
    pub filter: Option<Predicate>,
}

/// The aggregates.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aggregate {
    /// `COUNT(*)`: rows.
    CountRows,
    /// `COUNT(DISTINCT column)`: persons. The column must be the contract's privacy unit, by its name; where the
    /// contract has no column `person`, that word stands for it.
    CountDistinct(ColumnName),
    /// `COUNT(column)`: rows in which the column is not missing.
    Count(ColumnName),
    /// `SUM(column)`: the sum of values clamped to the declared bounds, a missing one counting nothing.
    Sum(ColumnName),
    /// `AVG(column)`: that sum over the count of values.
    Avg(ColumnName),
}

/// One column of the answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Output {
    /// Its heading: 1 to 64 characters, none of them a control character.
    pub name: String,
    /// How it follows from the measures.
    pub expression: OutputExpression,
}

/// Arithmetic over measures and constants.
#[derive(Clone, PartialEq, Eq)]
pub enum OutputExpression {
    /// The measure at that index of [`AggregateQuery::measures`].
    Measure(usize),
    /// A constant.
    Constant(Decimal),
    /// The negative.
    Negate(Box<OutputExpression>),
    /// Two parts joined.
    Binary {
        /// How.
        op: Arithmetic,
        /// The left part.
        left: Box<OutputExpression>,
        /// The right part.
        right: Box<OutputExpression>,
    },
}

/// The operators of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; an answer whose denominator is 0 is not computable.
    Divide,
}

/// A condition on one row, in SQL's three-valued logic. It is total: it cannot fail on any row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Predicate {
    /// All of them; at least one.
    And(Vec<Predicate>),
    /// Any of them; at least one.
    Or(Vec<Predicate>),
    /// The opposite; unknown stays unknown.
    Not(Box<Predicate>),
    /// A column against a literal.
    Compare {
        /// The column.
        column: ColumnName,
        /// How.
        op: Comparison,
        /// The literal.
        literal: Literal,
    },
    /// A column among literals; at least one.
    In {
        /// The column.
        column: ColumnName,
        /// The literals.
        literals: Vec<Literal>,
    },
    /// A column from one literal to another, both included.
    Between {
        /// The column.
        column: ColumnName,
        /// The lower end.
        low: Literal,
        /// The upper end.
        high: Literal,
    },
    /// Whether the column is missing; never unknown.
    IsNull {
        /// The column.
        column: ColumnName,
    },
}

/// How a column is compared with a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// A constant in a predicate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Literal {
    /// A number.
    Number(Decimal),
    /// A text.
    Text(String),
    /// A day.
    Date(NaiveDate),
}

impl Aggregate {
    /// The column that it names.
    #[must_use]
    pub const fn column(&self) -> Option<&ColumnName> {
        match self {
            Self::CountRows => None,
            Self::CountDistinct(column) | Self::Count(column) | Self::Sum(column) | Self::Avg(column) => Some(column),
        }
    }
}

impl Comparison {
    /// The comparison that holds where this one does not, missing values aside.
    #[must_use]
    pub const fn negated(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Ge,
            Self::Le => Self::Gt,
            Self::Gt => Self::Le,
            Self::Ge => Self::Lt,
        }
    }

    /// The comparison with its sides exchanged.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Eq => Self::Eq,
            Self::Ne => Self::Ne,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    /// Whether it holds between two values.
    #[must_use]
    pub fn holds<T: Ord>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Lt => left < right,
            Self::Le => left <= right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
        }
    }

    /// The comparison in SQL.
    #[must_use]
    pub const fn as_sql(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "<>",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }
}

impl AggregateQuery {
    /// Every column that the question names anywhere, the privacy unit included, before any contract is known.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<&ColumnName> {
        let mut columns: BTreeSet<&ColumnName> = self.group_by.iter().collect();
        columns.extend(self.measures.iter().filter_map(|m| m.aggregate.column()));
        let filters = self.measures.iter().filter_map(|m| m.filter.as_ref()).chain(&self.filter);
        for filter in filters {
            filter.visit(&mut |column| {
                columns.insert(column);
            });
        }
        columns
    }
}

impl Predicate {
    /// Calls `see` with the column of each condition, in order.
    pub(crate) fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a ColumnName)) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.visit(see)),
            Self::Not(part) => part.visit(see),
            Self::Compare { column, .. }
            | Self::In { column, .. }
            | Self::Between { column, .. }
            | Self::IsNull { column } => see(column),
        }
    }
}

/// // PRIVACY: names and literals of a question are the caller's words; they do not reach a log by way of `{:?}`.
macro_rules! without_contents {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

without_contents!(AggregateQuery, Measure, Aggregate, Output, OutputExpression, Predicate, Literal);
