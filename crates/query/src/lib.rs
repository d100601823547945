//! The question: SQL or a message, turned into one typed [`AggregateQuery`] and checked against a contract.
//!
//! ```text
//! SQL text ──parse_sql──► AggregateQuery ──check(contract)──► CheckedQuery ──evaluate(released)──► values and errors
//! message  ──────────────►      │  ▲                               │
//!                        canonical()  to_sql()              primitives, sensitivity
//! ```
//!
//! A question has two parts. Its *measures* are what costs: each is one or two noisy vectors of whole numbers, the
//! [`Primitive`]s, with one number per cell. Its *outputs* are arithmetic over measures and constants; they are worked
//! out from released numbers alone, cost nothing, and carry the error that follows from the noise.
//!
//! # What a question may say
//!
//! ```sql
//! SELECT region, AVG(cost) AS mean_cost, COUNT(*) FILTER (WHERE kind = 'emergency') / COUNT(*) AS share
//! FROM health.visits FOR SYSTEM_TIME AS OF '2024-Q4'
//! WHERE visit_year BETWEEN 2020 AND 2023
//! GROUP BY region
//! SETTINGS rho = 0.005
//! ```
//!
//! Inside an aggregate stands a column, or arithmetic over columns and numbers (`SUM(hours * 0.5 + extra)`,
//! `AVG(CLAMP(cost, 0, 1000))`), whose bounds follow from those of the columns. `CASE WHEN c THEN v END` in an
//! aggregate is `FILTER (WHERE c)` after it. `HAVING`, `ORDER BY` and `LIMIT` choose among released values and cost
//! nothing.
//!
//! An answer is split by declared categories, and by what follows from columns: parts of dates (`EXTRACT(YEAR FROM
//! day)`, `DATE_TRUNC('month', day)`), `WIDTH_BUCKET(value, low, high, n)`, and `CASE WHEN condition THEN 'label' ..
//! END`.
//!
//! A total over the answer is `SUM(COUNT(*)) OVER ()`, or `OVER (PARTITION BY region)`: `COUNT(*) / SUM(COUNT(*)) OVER
//! ()` is a share. `ROUND(value, decimals)`, `GREATEST(value, 0)` and `LEAST(value, 100)` stand around a whole output,
//! and the answer marks what they have changed; `HAVING` and `ORDER BY` see an output by its heading as it is shown.
//!
//! A column of open codes, of which the contract declares no list, may be the only group. Which of its groups are in
//! the answer is decided by a noisy count of their persons.
//!
//! `GROUP BY ROLLUP (..)`, `CUBE (..)` and `GROUPING SETS (..)` add the margins to an answer; they add up.
//!
//! Datasets of one agency are joined on the person: `FROM health.visits v JOIN health.vaccinations c ON v.person =
//! c.person`. Then each column is written behind the name of its dataset. A person's contribution is bounded by the
//! product of the bounds.
//!
//! Datasets of two agencies are joined `ON PERSON`, where an agreement has the terms of a join ([`check_join`]): `FROM
//! education.enrolments e JOIN health.vaccinations v ON PERSON`. Each person of both registers counts once, and each
//! condition and group is of one side's columns. What is asked is `COUNT(*)`, or `SUM` and `AVG` of one value of one side,
//! which are worked out from counts of persons in at most 16 bins of it ([`Bins`]).
//!
//! A logical dataset, which several agencies hold together, stands in `FROM` by its own id. Over it a question is the
//! same question over each part; what is counted and added up is added up over them.
//!
//! The dataset's id is written as a compound name or in double quotes. `FOR SYSTEM_TIME AS OF` (SQL:2011) names a
//! cut, the latest one being asked without it; `SETTINGS rho` names a price. Every declared group is in the answer,
//! empty ones too; a row whose group column is missing is in no group.
//!
//! // PRIVACY: a refusal never repeats what a caller typed: a literal or a name typed by mistake can be somebody's
//! // national number. Positions are line and column; names are the contract's.

mod basis;
mod bins;
mod canonical;
mod category;
mod check;
mod checked;
mod decimal;
mod evaluate;
mod finish;
mod joined;
mod margins;
mod model;
mod number;
mod parse;
mod plan;
mod predicate;
mod quantile;
mod roll_up;
mod selection;
mod suggest;
mod to_sql;
mod view;

pub use basis::Basis;
pub use bins::Bins;
pub use canonical::Canonical;
pub use category::{BoundCategory, Category, DatePart, Group};
pub use check::{LogicalDataset, Part, check, check_join, check_over, check_parts};
pub use checked::{CheckedGroup, CheckedOutput, CheckedQuery, CheckedRow, Primitive, PrimitiveKind, Reads};
pub use decimal::{Decimal, InvalidDecimal};
pub use evaluate::{INTERVAL_95, Noise, OutputValue, combined};
pub use finish::{End, MAX_ROUNDING};
pub use joined::{CheckedJoin, CheckedSide};
pub use margins::{Figures, GroupingSet};
pub use model::{
    Aggregate, AggregateQuery, Arithmetic, Comparison, Having, Join, Literal, Measure, Order, OrderKey, Output,
    OutputExpression, Predicate, RowArithmetic, RowValue, Spread, View, of_dataset,
};
pub use number::BoundNumber;
pub use parse::{parse_sql, too_large};
pub use plan::{Contracts, plan, plan_query};
pub use predicate::{BoundPredicate, BoundValue};
pub use quantile::Candidates;
pub use roll_up::NotRolledUp;
pub use selection::selection;
pub use suggest::{counts_and_sums, default_sql, left_out};
pub use to_sql::to_sql;

/// The version of the canonical form. It stands in its first line.
pub const CANONICAL_FORMAT: u32 = 1;

/// The longest question, in bytes of SQL. A message is bounded by the SQL that says the same.
pub const MAX_SQL_BYTES: usize = 16 * 1024;

/// The most cells that one answer has.
pub const MAX_CELLS: usize = 100_000;

/// The most groups of open codes that an answer shows.
pub const MAX_OPEN_GROUPS: usize = 10_000;

/// The most measures of one question, and the most outputs.
pub const MAX_MEASURES: usize = 32;

/// The most datasets that are joined to one.
pub const MAX_JOINS: usize = 3;

/// The most rows of a join: the declared size of the register times the product of the bounds on a person's rows. A
/// tick is made for so many.
pub const MAX_JOINED_ROWS: u64 = 50_000_000;

/// The most grouping sets of one question: those of a CUBE over six groups.
pub const MAX_GROUPING_SETS: usize = 64;

/// The most values among which a quantile is chosen: the ends of a thousand steps.
pub const MAX_QUANTILE_CANDIDATES: u32 = 1_001;

/// The most cells of an answer with quantiles, each times the candidates of all of its quantiles.
pub const MAX_QUANTILE_NUMBERS: usize = 2_000_000;

/// The most parts of a WIDTH_BUCKET.
pub const MAX_BUCKETS: u16 = 10_000;

/// The most bins of a value that a question over a join adds up.
pub const MAX_BINS: u16 = 16;

/// The most nested brackets in the SQL of a question.
pub const MAX_NESTING: usize = 12;

/// The deepest expression or predicate.
pub(crate) const MAX_DEPTH: usize = 64;
