//! The typed question, before any contract is known.

use crate::{Decimal, End, Group, MAX_GROUPING_SETS, MAX_JOINS, MAX_MEASURES};
use chrono::NaiveDate;
use firebreak_domain::{ColumnName, CutId, DatasetId, Rho};
use std::collections::BTreeSet;
use std::fmt;

/// A question over one dataset, as parsed or received. Nothing in it is checked against a contract yet.
///
/// // PRIVACY: it holds literals and names that a caller typed. Its `Debug` shows none of them, and it has no
/// `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct AggregateQuery {
    /// The dataset; of a join, the one whose id comes first; of a union, the logical one.
    pub dataset: DatasetId,
    /// The datasets that are joined to it on the person, in the order of their ids. With any, every column is named
    /// behind its dataset's id: `health.visits.region`.
    pub joins: Vec<Join>,
    /// Whether the one dataset that is joined is another agency's, and persons are joined by an identifier that both
    /// agencies have (`ON PERSON`), so that nobody learns a single match.
    pub on_person: bool,
    /// Over several agencies: whether what some of them give is wanted as well, should others give no answer. Where it
    /// cannot matter it is passed over.
    pub partial: bool,
    /// The version of it; the contract's latest where none is named.
    pub cut: Option<CutId>,
    /// Which rows count at all (`WHERE`).
    pub filter: Option<Predicate>,
    /// By what the answer is split, in the order in which it is shown.
    pub group_by: Vec<Group>,
    /// `GROUPING SETS`, as places in `group_by`: the answer has rows for each set. Empty: for all groups together,
    /// and no other.
    pub grouping_sets: Vec<Vec<usize>>,
    /// What is measured, and paid for. Every one is used by an output.
    pub measures: Vec<Measure>,
    /// What is shown, in order.
    pub outputs: Vec<Output>,
    /// Which rows of the answer are shown, and in what order. It is worked out from released values, and costs nothing.
    pub view: View,
    /// The price that the caller names; the agreement's where none is named.
    pub rho: Option<Rho>,
}

/// A dataset that is joined to others: its rows stand beside every row of theirs that is of the same person.
#[derive(Clone, PartialEq, Eq)]
pub struct Join {
    /// The dataset.
    pub dataset: DatasetId,
    /// The columns that are said to be equal, which are persons' keys or the question is refused.
    pub on: Vec<ColumnName>,
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
    /// `SUM(value)`: the sum over rows, columns clamped to their declared bounds first, a missing value counting
    /// nothing.
    Sum(RowValue),
    /// `AVG(value)`: that sum over the count of values.
    Avg(RowValue),
    /// `VARIANCE(value)` and its kin: the mean squared distance from the mean, or its root.
    Spread(Spread, RowValue),
    /// `QUANTILE(value, rank)`: the value below which that share of the values lies; the rank is above 0 and below 1,
    /// with at most four decimals. `MEDIAN(value)` is that of rank 0.5.
    Quantile(RowValue, Decimal),
}

/// The measures of spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Spread {
    /// `VARIANCE`, `VAR_SAMP`: squared distances over n − 1.
    VarianceSample,
    /// `VAR_POP`: over n.
    VariancePopulation,
    /// `STDDEV`, `STDDEV_SAMP`: the root of the first.
    DeviationSample,
    /// `STDDEV_POP`: the root of the second.
    DeviationPopulation,
}

/// A number on one row: arithmetic over measures and constants, missing where one of its columns is.
///
/// It is total and bounded: there is no division, and bounds follow from those of the columns.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowValue {
    /// A measure.
    Column(ColumnName),
    /// A constant.
    Constant(Decimal),
    /// Two parts joined.
    Binary {
        /// How.
        op: RowArithmetic,
        /// The left part.
        left: Box<RowValue>,
        /// The right part.
        right: Box<RowValue>,
    },
    /// `CLAMP(value, low, high)`: the value, or the end of the range that it is beyond.
    Clamp {
        /// The value.
        of: Box<RowValue>,
        /// The lower end.
        low: Decimal,
        /// The upper end.
        high: Decimal,
    },
}

/// The operators of values on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowArithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
}

/// One column of the answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Output {
    /// Its heading: 1 to 64 characters, none of them a control character.
    pub name: String,
    /// How it follows from the measures.
    pub expression: OutputExpression,
}

/// Which rows of an answer are shown, by their released values: what the noise makes of them, and not what is true.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct View {
    /// `HAVING`: the rows for which it holds.
    pub having: Option<Having>,
    /// `ORDER BY`: the first counts most. Rows that are equal in all stay in the order of the declared values.
    pub order_by: Vec<Order>,
    /// `OFFSET`: so many rows are left out first.
    pub offset: u32,
    /// `LIMIT`: at most so many rows.
    pub limit: Option<u32>,
}

/// A condition on one row of an answer. It is unknown, and the row not shown, where a value is not computable.
#[derive(Clone, PartialEq, Eq)]
pub enum Having {
    /// All of them; at least one.
    And(Vec<Having>),
    /// Any of them; at least one.
    Or(Vec<Having>),
    /// The opposite; unknown stays unknown.
    Not(Box<Having>),
    /// One value against another.
    Compare {
        /// The left side.
        left: OutputExpression,
        /// How.
        op: Comparison,
        /// The right side.
        right: OutputExpression,
    },
}

/// One thing by which rows are sorted. What is not computable comes last either way.
#[derive(Clone, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: OrderKey,
    /// Whether the largest comes first.
    pub descending: bool,
}

/// By what rows are sorted.
#[derive(Clone, PartialEq, Eq)]
pub enum OrderKey {
    /// A group by its heading, in the order of its values.
    Group(String),
    /// A value.
    Value(OutputExpression),
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
    /// `SUM(measure) OVER (PARTITION BY ..)`: the sum of a measure over the rows of the answer that are of the same
    /// grouping set and have the same values in those groups, whatever the view leaves out. Only what adds up has one.
    Total {
        /// Index of [`AggregateQuery::measures`].
        measure: usize,
        /// Groups by their headings; none for all rows.
        within: Vec<String>,
    },
    /// `ROUND(value, decimals)`, halves away from 0. Nothing is worked out further from what is rounded or clipped.
    Round {
        /// What is rounded.
        of: Box<OutputExpression>,
        /// Decimals that are kept; below 0, tens and so on.
        decimals: i8,
    },
    /// `GREATEST(value, bound)` or `LEAST(value, bound)`.
    Clip {
        /// What is clipped.
        of: Box<OutputExpression>,
        /// Which end the bound is.
        end: End,
        /// The bound.
        bound: Decimal,
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
    /// The columns that it names.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<&ColumnName> {
        match self {
            Self::CountRows => BTreeSet::new(),
            Self::CountDistinct(column) | Self::Count(column) => [column].into(),
            Self::Sum(value) | Self::Avg(value) | Self::Spread(_, value) | Self::Quantile(value, _) => value.columns(),
        }
    }
}

impl OutputExpression {
    fn parts(&self) -> usize {
        match self {
            Self::Measure(_) | Self::Constant(_) => 1,
            Self::Total { within, .. } => 1 + within.len(),
            Self::Negate(part) | Self::Round { of: part, .. } | Self::Clip { of: part, .. } => 1 + part.parts(),
            Self::Binary { left, right, .. } => 1 + left.parts() + right.parts(),
        }
    }
}

impl Having {
    fn parts(&self) -> usize {
        match self {
            Self::And(parts) | Self::Or(parts) => 1 + parts.iter().map(Self::parts).sum::<usize>(),
            Self::Not(part) => 1 + part.parts(),
            Self::Compare { left, right, .. } => 1 + left.parts() + right.parts(),
        }
    }
}

impl Spread {
    /// The measure of that name in SQL, in lower case.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "variance" | "var_samp" => Some(Self::VarianceSample),
            "var_pop" => Some(Self::VariancePopulation),
            "stddev" | "stddev_samp" => Some(Self::DeviationSample),
            "stddev_pop" => Some(Self::DeviationPopulation),
            _ => None,
        }
    }

    /// Its name in SQL.
    #[must_use]
    pub const fn as_sql(self) -> &'static str {
        match self {
            Self::VarianceSample => "VARIANCE",
            Self::VariancePopulation => "VAR_POP",
            Self::DeviationSample => "STDDEV",
            Self::DeviationPopulation => "STDDEV_POP",
        }
    }

    /// Whether squared distances are over n − 1.
    #[must_use]
    pub const fn is_of_sample(self) -> bool {
        matches!(self, Self::VarianceSample | Self::DeviationSample)
    }

    /// Whether the root is taken.
    #[must_use]
    pub const fn is_root(self) -> bool {
        matches!(self, Self::DeviationSample | Self::DeviationPopulation)
    }
}

impl RowValue {
    /// The columns that it names.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<&ColumnName> {
        match self {
            Self::Column(column) => [column].into(),
            Self::Constant(_) => BTreeSet::new(),
            Self::Binary { left, right, .. } => left.columns().into_iter().chain(right.columns()).collect(),
            Self::Clamp { of, .. } => of.columns(),
        }
    }
}

impl RowArithmetic {
    /// The operator in SQL.
    #[must_use]
    pub const fn as_sql(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
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

/// The name of a column in its own dataset, of one that is named behind the dataset's id.
#[must_use]
pub fn of_dataset(dataset: &DatasetId, name: &ColumnName) -> Option<ColumnName> {
    let rest = name.as_str().strip_prefix(dataset.as_str())?.strip_prefix('.')?;
    ColumnName::new(rest).ok()
}

/// The most parts of all outputs and of the view together.
const MAX_PARTS: usize = 1024;

impl AggregateQuery {
    /// Whether a question that came as a message has no more parts than any may have: looked at before anything is made
    /// of it.
    #[must_use]
    pub fn is_small(&self) -> bool {
        let most = |length: usize| length <= MAX_MEASURES;
        if self.joins.len() > MAX_JOINS {
            return false;
        }
        let places = self.grouping_sets.iter().map(Vec::len).sum::<usize>();
        if self.grouping_sets.len() > MAX_GROUPING_SETS || places > MAX_PARTS {
            return false;
        }
        if !most(self.measures.len()) || !most(self.outputs.len()) || !most(self.view.order_by.len()) {
            return false;
        }
        let orders = self.view.order_by.iter().map(|order| match &order.by {
            OrderKey::Group(_) => 1,
            OrderKey::Value(value) => value.parts(),
        });
        let outputs = self.outputs.iter().map(|output| output.expression.parts());
        let having = self.view.having.iter().map(Having::parts);
        outputs.chain(orders).chain(having).sum::<usize>() <= MAX_PARTS
    }

    /// The datasets that are read, in the order of their ids.
    pub fn datasets(&self) -> impl Iterator<Item = &DatasetId> {
        std::iter::once(&self.dataset).chain(self.joins.iter().map(|join| &join.dataset))
    }

    /// The columns of one of its datasets that the question names anywhere, the privacy unit included, by the dataset's
    /// own names and before any contract is known.
    pub fn columns_of(&self, dataset: &DatasetId) -> BTreeSet<ColumnName> {
        let own = |name: &ColumnName| match self.joins.as_slice() {
            [] => Some(name.clone()),
            _ => of_dataset(dataset, name),
        };
        self.columns().into_iter().filter_map(own).collect()
    }

    /// The grouping sets, each once and its places ascending; empty where the one of all groups is the only one.
    #[must_use]
    pub fn margins(&self) -> BTreeSet<BTreeSet<usize>> {
        let sets: BTreeSet<BTreeSet<usize>> =
            self.grouping_sets.iter().map(|set| set.iter().copied().collect()).collect();
        match sets.first() {
            Some(only) if sets.len() == 1 && only.len() == self.group_by.len() => BTreeSet::new(),
            _ => sets,
        }
    }

    /// Every column that the question names anywhere, the privacy unit included, before any contract is known.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<&ColumnName> {
        let mut columns: BTreeSet<&ColumnName> = self.group_by.iter().flat_map(|g| g.category.columns()).collect();
        columns.extend(self.measures.iter().flat_map(|m| m.aggregate.columns()));
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

without_contents!(
    AggregateQuery,
    Join,
    View,
    Having,
    Order,
    OrderKey,
    Measure,
    Aggregate,
    RowValue,
    Output,
    OutputExpression,
    Predicate,
    Literal
);
