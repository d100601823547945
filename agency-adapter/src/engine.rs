//! Exact aggregates over a bounded view, by DataFusion. What comes out is [`Exact`]: it can only be measured.

use crate::bounded::PERSON;
use crate::views::ViewFile;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::{Column as FrameColumn, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::{count, count_distinct, sum};
use datafusion::logical_expr::{ColumnarValue, ExprFunctionExt, ScalarUDF, Volatility, create_udf, when};
use datafusion::prelude::{DataFrame, Expr, ParquetReadOptions, SessionConfig, SessionContext, lit};
use firebreak_domain::ColumnName;
use firebreak_privacy::{Exact, ExactCells};
use firebreak_query::{
    BoundCategory, BoundNumber, BoundPredicate, Candidates, CheckedQuery, Comparison, GroupingSet, Primitive,
    PrimitiveKind,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The engine failed. Its own words can quote values and are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine could not execute the query")]
pub struct EngineError;

impl From<DataFusionError> for EngineError {
    fn from(_: DataFusionError) -> Self {
        Self
    }
}

impl From<datafusion::arrow::error::ArrowError> for EngineError {
    fn from(_: datafusion::arrow::error::ArrowError) -> Self {
        Self
    }
}

/// A bounded view, ready to be asked.
#[derive(Clone)]
pub struct Engine {
    frame: DataFrame,
    /// Kept for as long as anybody may ask.
    _file: Option<Arc<ViewFile>>,
}

impl Engine {
    /// Takes a view, in as many partitions as there are threads to read it.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn over(view: &RecordBatch, threads: usize) -> Result<Self, EngineError> {
        let threads = threads.max(1);
        let config = SessionConfig::new().with_target_partitions(threads);
        let context = SessionContext::new_with_config(config);
        let batch = 64 * 1024;
        let mut partitions = vec![Vec::new(); threads];
        for (number, start) in (0..view.num_rows()).step_by(batch).enumerate() {
            let slice = view.slice(start, batch.min(view.num_rows() - start));
            if let Some(partition) = partitions.get_mut(number % threads) {
                partition.push(slice);
            }
        }
        let table = MemTable::try_new(view.schema(), partitions)?;
        Ok(Self { frame: context.read_table(Arc::new(table))?, _file: None })
    }

    /// Takes a view that is kept as a file, and reads it anew for each question, by so many threads.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn over_file(file: ViewFile, threads: usize) -> Result<Self, EngineError> {
        let config = SessionConfig::new().with_target_partitions(threads.max(1));
        let path = file.path().to_str().ok_or(EngineError)?;
        let frame = SessionContext::new_with_config(config).read_parquet(path, ParquetReadOptions::default()).await?;
        Ok(Self { frame, _file: Some(Arc::new(file)) })
    }

    /// Takes a view that DataFusion reads by whatever way, with the columns of [`crate::bounded::view`].
    #[must_use]
    pub const fn of(frame: DataFrame) -> Self {
        Self { frame, _file: None }
    }

    /// What is asked, for tests alone: an exact value has no way out.
    #[cfg(test)]
    pub(crate) fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// One whole number for each vector and cell, in the query's order; of a quantile, one for each cell and candidate.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn execute(&self, query: &CheckedQuery) -> Result<Exact<ExactCells>, EngineError> {
        let mut frame = self.frame.clone();
        if let Some(filter) = query.filter() {
            frame = frame.filter(condition(filter))?;
        }
        let groups = query.groups().iter().enumerate().map(|(place, group)| grouped(place, &group.category));
        let groups: Vec<Expr> = groups.collect::<Result<_, _>>()?;
        if query.selection().is_some() {
            return by_code(query, frame, groups).await;
        }
        if query.grouping_sets().len() > 1
            && let Some(grouped) = groups.iter().cloned().map(|group| group.unalias().is_not_null()).reduce(Expr::and)
        {
            frame = frame.filter(grouped)?;
        }
        let empty =
            |(primitive, set): (&Primitive, &GroupingSet)| vec![0; set.cells() * primitive.kind().numbers_per_cell()];
        let mut values: Vec<Vec<i64>> = query.vectors().map(empty).collect();
        // The finest first: what adds up is added up from there.
        let mut order: Vec<usize> = (0..query.grouping_sets().len()).collect();
        order.sort_by_key(|set| query.grouping_sets().get(*set).map(|set| std::cmp::Reverse(set.groups().len())));
        let mut done: Vec<usize> = Vec::with_capacity(order.len());
        for place in order {
            let set = query.grouping_sets().get(place).ok_or(EngineError)?;
            let finer = |of: &&usize| query.grouping_sets().get(**of).is_some_and(|of| set.is_within(of));
            let part = Part { query, set, place, groups: &groups };
            part.fill(&frame, done.iter().rev().find(finer).copied(), &mut values).await?;
            done.push(place);
        }
        Ok(Exact::new(ExactCells::new(values)))
    }
}

/// One grouping set of a query.
struct Part<'a> {
    query: &'a CheckedQuery,
    set: &'a GroupingSet,
    /// Its place among the query's.
    place: usize,
    /// What puts a row into a group, by the place of the query's groups.
    groups: &'a [Expr],
}

impl Part<'_> {
    /// Fills in the vectors of the set; `finer` is a set that is done and whose cells are parts of this one's.
    async fn fill(&self, frame: &DataFrame, finer: Option<usize>, values: &mut [Vec<i64>]) -> Result<(), EngineError> {
        let vector = |set: usize, primitive: usize| set * self.query.primitives().len() + primitive;
        let mut aggregates = Vec::with_capacity(self.query.primitives().len());
        let mut places = Vec::with_capacity(self.query.primitives().len());
        for (number, primitive) in self.query.primitives().iter().enumerate() {
            let place = vector(self.place, number);
            if let (Some(finer), true) = (finer, primitive.kind().adds_up()) {
                let parts = std::mem::take(values.get_mut(vector(finer, number)).ok_or(EngineError)?);
                self.add_up(finer, &parts, values.get_mut(place).ok_or(EngineError)?)?;
                *values.get_mut(vector(finer, number)).ok_or(EngineError)? = parts;
                continue;
            }
            let aggregate = match primitive.kind() {
                PrimitiveKind::Quantile { value, candidates, .. } => {
                    let values = values.get_mut(place).ok_or(EngineError)?;
                    let mut frame = frame.clone();
                    if let Some(filter) = primitive.filter() {
                        frame = frame.filter(condition(filter))?;
                    }
                    self.histogram(frame, (value, candidates), values).await?;
                    continue;
                }
                _ => aggregate(primitive)?,
            };
            aggregates.push(aggregate.alias(format!("Primitive{number}")));
            places.push(place);
        }
        if aggregates.is_empty() {
            return Ok(());
        }
        for batch in &frame.clone().aggregate(self.by()?, aggregates)?.collect().await? {
            let cells = self.cells(batch)?;
            for (column, place) in (cells.columns.len()..).zip(&places) {
                let result = integers(batch, column)?;
                let vector = values.get_mut(*place).ok_or(EngineError)?;
                for row in 0..batch.num_rows() {
                    let Some(cell) = cells.at(row) else { continue };
                    // A sum over nothing is missing, and counts as 0.
                    *vector.get_mut(cell).ok_or(EngineError)? = integer(&result, row).unwrap_or(0);
                }
            }
        }
        Ok(())
    }

    /// Adds up the cells of a finer set. No sum over a cut leaves 63 bits, so none over some of its cells does.
    fn add_up(&self, finer: usize, parts: &[i64], sums: &mut [i64]) -> Result<(), EngineError> {
        let finer = self.query.grouping_sets().get(finer).ok_or(EngineError)?;
        for (part, cell) in parts.iter().zip(self.set.cells_of(finer)) {
            let sum = sums.get_mut(cell).ok_or(EngineError)?;
            *sum = sum.checked_add(*part).ok_or(EngineError)?;
        }
        Ok(())
    }

    /// How many values each candidate stands for, cell by cell.
    async fn histogram(
        &self,
        frame: DataFrame,
        (value, candidates): (&BoundNumber, &Candidates),
        counts: &mut [i64],
    ) -> Result<(), EngineError> {
        // No value is below the first candidate.
        let candidate = (number_of(value)? - lit(candidates.low())) / lit(candidates.step());
        let by = self.by()?.into_iter().chain([candidate.alias("Candidate")]).collect();
        for batch in &frame.aggregate(by, vec![count(lit(1_i64)).alias("Values")])?.collect().await? {
            let cells = self.cells(batch)?;
            let (candidate, found) = (integers(batch, cells.columns.len())?, integers(batch, cells.columns.len() + 1)?);
            for row in 0..batch.num_rows() {
                let (Some(cell), Some(place)) = (cells.at(row), integer(&candidate, row)) else { continue };
                let place = usize::try_from(place).map_err(|_| EngineError)?;
                let number = cell * candidates.count() as usize + place;
                *counts.get_mut(number).ok_or(EngineError)? = integer(&found, row).ok_or(EngineError)?;
            }
        }
        Ok(())
    }

    /// The groups by which the set is split.
    fn by(&self) -> Result<Vec<Expr>, EngineError> {
        self.set.groups().iter().map(|place| self.groups.get(*place).cloned().ok_or(EngineError)).collect()
    }

    fn cells(&self, batch: &RecordBatch) -> Result<Cells<'_>, EngineError> {
        let columns = (0..self.set.groups().len()).map(|place| integers(batch, place)).collect::<Result<_, _>>()?;
        Ok(Cells { set: self.set, columns })
    }
}

/// What is counted or added up for a primitive that has one number a cell.
fn aggregate(primitive: &Primitive) -> Result<Expr, EngineError> {
    let aggregate = match primitive.kind() {
        PrimitiveKind::CountRows => count(lit(1_i64)),
        PrimitiveKind::CountPersons => count_distinct(column(PERSON)),
        PrimitiveKind::CountValues { columns } => count(present(columns)?),
        PrimitiveKind::SumCentred { value, centre, .. } => sum_centred(number_of(value)?, *centre),
        PrimitiveKind::Quantile { .. } => return Err(EngineError),
    };
    Ok(match primitive.filter() {
        // DISTINCT under a filter is planned with less ado over a value that is missing where it does not count.
        Some(filter) if matches!(primitive.kind(), PrimitiveKind::CountPersons) => {
            count_distinct(when(condition(filter), column(PERSON)).end()?)
        }
        Some(filter) => aggregate.filter(condition(filter)).build()?,
        None => aggregate,
    })
}

/// The sum of how far whole numbers lie from their centre.
fn sum_centred(value: Expr, centre: i64) -> Expr {
    sum(if centre == 0 { value } else { value - lit(centre) })
}

/// The codes that there are, and for each a number of each primitive.
async fn by_code(query: &CheckedQuery, frame: DataFrame, groups: Vec<Expr>) -> Result<Exact<ExactCells>, EngineError> {
    let named = |(number, primitive)| Ok::<_, EngineError>(aggregate(primitive)?.alias(format!("Primitive{number}")));
    let aggregates: Vec<Expr> = query.primitives().iter().enumerate().map(named).collect::<Result<_, _>>()?;
    let mut found: Vec<(i64, Vec<i64>)> = Vec::new();
    for batch in &frame.aggregate(groups, aggregates)?.collect().await? {
        let columns: Vec<ArrayRef> =
            (0..=query.primitives().len()).map(|column| integers(batch, column)).collect::<Result<_, _>>()?;
        let (codes, numbers) = columns.split_first().ok_or(EngineError)?;
        for row in 0..batch.num_rows() {
            // Rows of no code are in no group; a sum over nothing is missing, and counts as 0.
            let Some(code) = integer(codes, row) else { continue };
            found.push((code, numbers.iter().map(|of| integer(of, row).unwrap_or(0)).collect()));
        }
    }
    found.sort_unstable();
    let vector = |place: usize| found.iter().filter_map(|(_, numbers)| numbers.get(place).copied()).collect();
    let values = (0..query.primitives().len()).map(vector).collect();
    Ok(Exact::new(ExactCells::by_code(found.into_iter().map(|(code, _)| code).collect(), values)))
}

/// The first columns of a batch: the groups that its rows are of.
struct Cells<'a> {
    set: &'a GroupingSet,
    columns: Vec<ArrayRef>,
}

impl Cells<'_> {
    /// The cell of a row; the group of a missing value is in none.
    fn at(&self, row: usize) -> Option<usize> {
        let code = |group: usize| {
            let column = self.set.groups().iter().position(|place| *place == group)?;
            usize::try_from(integer(self.columns.get(column)?, row)?).ok()
        };
        self.set.cell(code)
    }
}

fn integers(batch: &RecordBatch, column: usize) -> Result<ArrayRef, EngineError> {
    Ok(cast(batch.columns().get(column).ok_or(EngineError)?, &DataType::Int64)?)
}

fn integer(array: &ArrayRef, row: usize) -> Option<i64> {
    (!array.is_null(row)).then(|| array.as_primitive::<Int64Type>().value(row))
}

/// The group of a row, as its index.
fn grouped(place: usize, category: &BoundCategory) -> Result<Expr, EngineError> {
    let code = |code: u16| lit(i32::from(code));
    let group = match category {
        BoundCategory::Code(of) | BoundCategory::Open(of) => return Ok(column(of.as_str())),
        BoundCategory::Table { column: of, first, codes } => {
            let value = datafusion::prelude::cast(column(of.as_str()), DataType::Int32);
            table(&format!("Table{place}"), *first, codes).call(vec![value])
        }
        BoundCategory::Bucket { value, low, high, buckets } => {
            let value = number_of(value)?;
            // Within the ends first, so that nothing overflows whichever branch an engine computes.
            let within = clamped(value.clone(), *low, *high)?;
            let part = (within - lit(*low)) * lit(i64::from(*buckets)) / lit(high - low) + lit(1_i64);
            when(value.lt(lit(*low)), lit(0_i64)).otherwise(part)?
        }
        BoundCategory::Case { branches, otherwise } => {
            let mut branches = branches.iter();
            let (first, its) = branches.next().ok_or(EngineError)?;
            let mut case = when(condition(first), code(*its));
            for (next, its) in branches {
                case = case.when(condition(next), code(*its));
            }
            match otherwise {
                Some(its) => case.otherwise(code(*its))?,
                None => case.end()?,
            }
        }
    };
    Ok(group.alias(format!("Group{place}")))
}

/// The entry for a value, counted from `first`.
fn table(name: &str, first: i64, codes: &[u16]) -> ScalarUDF {
    let codes: Arc<[u16]> = codes.into();
    let entry = move |value: i32| {
        let place = usize::try_from(i64::from(value) - first).ok()?;
        codes.get(place).map(|code| i32::from(*code))
    };
    let of_column = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let [values] = arrays.as_slice() else { return datafusion::common::exec_err!("a table takes one column") };
        let found: Int32Array = values.as_primitive::<Int32Type>().iter().map(|value| entry(value?)).collect();
        Ok(ColumnarValue::Array(Arc::new(found)))
    };
    create_udf(name, vec![DataType::Int32], DataType::Int32, Volatility::Immutable, Arc::new(of_column))
}

fn clamped(value: Expr, low: i64, high: i64) -> Result<Expr, EngineError> {
    let mut below = when(value.clone().lt(lit(low)), lit(low));
    Ok(below.when(value.clone().gt(lit(high)), lit(high)).otherwise(value)?)
}

fn column(name: &str) -> Expr {
    Expr::Column(FrameColumn::new_unqualified(name))
}

/// Something that is missing exactly where one of the columns is.
fn present(columns: &BTreeSet<ColumnName>) -> Result<Expr, EngineError> {
    let names = || columns.iter().map(|of| column(of.as_str()));
    match (columns.len(), names().next()) {
        (1, Some(only)) => Ok(only),
        _ => {
            let all = names().map(Expr::is_not_null).reduce(Expr::and).ok_or(EngineError)?;
            Ok(when(all, lit(1_i64)).end()?)
        }
    }
}

/// A number on a row. No part of it overflows: its bounds were worked out when the question was checked.
fn number_of(of: &BoundNumber) -> Result<Expr, EngineError> {
    Ok(match of {
        BoundNumber::Column(of) => column(of.as_str()),
        BoundNumber::Constant(value) => lit(*value),
        BoundNumber::Plus(one, other) => number_of(one)? + number_of(other)?,
        BoundNumber::Minus(one, other) => number_of(one)? - number_of(other)?,
        BoundNumber::Times(one, other) => number_of(one)? * number_of(other)?,
        BoundNumber::Clamp(of, low, high) => clamped(number_of(of)?, *low, *high)?,
    })
}

/// A predicate in DataFusion's terms: true exactly where it is true in SQL's three-valued logic. Where SQL's is unknown
/// this may be false, which passes as little.
pub(crate) fn condition(predicate: &BoundPredicate) -> Expr {
    let fold = |parts: &[BoundPredicate], join: fn(Expr, Expr) -> Expr, empty: bool| {
        parts.iter().map(condition).reduce(join).unwrap_or_else(|| lit(empty))
    };
    match predicate {
        BoundPredicate::And(parts) => fold(parts, Expr::and, true),
        BoundPredicate::Or(parts) => fold(parts, Expr::or, false),
        BoundPredicate::Not(part) => match part.as_ref() {
            BoundPredicate::Not(part) => condition(part),
            // DataFusion takes `x NOT IN (1) OR x NOT IN (2)` for true, also where x is missing (55.2,
            // `inlist_intersection`), and makes such lists of equalities. So unknown is made false here, which says
            // the same: opposites stand innermost in the normal form, and whatever is around them passes both alike.
            part => {
                let opposite = datafusion::prelude::not(condition(part));
                match only_column(part) {
                    Some(of) => opposite.and(column(of.as_str()).is_not_null()),
                    None => opposite,
                }
            }
        },
        BoundPredicate::Codes { column: of, codes } if codes.is_empty() => {
            // False for every value, unknown for a missing one.
            column(of.as_str()).lt(lit(0_i16))
        }
        BoundPredicate::Codes { column: of, codes } => {
            column(of.as_str()).in_list(codes.iter().map(|c| lit(*c as i16)).collect(), false)
        }
        BoundPredicate::Number { column: of, op, value } => compare(column(of.as_str()), *op, lit(*value)),
        BoundPredicate::Day { column: of, op, value } => {
            compare(column(of.as_str()), *op, Expr::Literal(ScalarValue::Int32(Some(*value)), None))
        }
        BoundPredicate::IsNull { column: of } => column(of.as_str()).is_null(),
    }
}

/// The column that all of a predicate compares, so that all of it is unknown where that is missing.
fn only_column(predicate: &BoundPredicate) -> Option<&ColumnName> {
    match predicate {
        BoundPredicate::Codes { column, .. }
        | BoundPredicate::Number { column, .. }
        | BoundPredicate::Day { column, .. } => Some(column),
        BoundPredicate::And(parts) | BoundPredicate::Or(parts) => {
            let first = only_column(parts.first()?)?;
            parts.iter().all(|part| only_column(part) == Some(first)).then_some(first)
        }
        BoundPredicate::Not(part) => only_column(part),
        BoundPredicate::IsNull { .. } => None,
    }
}

fn compare(left: Expr, op: Comparison, right: Expr) -> Expr {
    match op {
        Comparison::Eq => left.eq(right),
        // Unknown is made false, as of every opposite.
        Comparison::Ne => left.clone().not_eq(right).and(left.is_not_null()),
        Comparison::Lt => left.lt(right),
        Comparison::Le => left.lt_eq(right),
        Comparison::Gt => left.gt(right),
        Comparison::Ge => left.gt_eq(right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Int16Array, Int64Array, UInt32Array};

    /// One more than the last whole number before which doubles hold them all: in those, the sum would be one less.
    #[tokio::test]
    async fn a_sum_is_exact_beyond_what_doubles_hold() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1 << 53), Some(1), None]));
        let view = RecordBatch::try_from_iter([("cost", numbers)]).unwrap();
        let engine = Engine::over(&view, 1).unwrap();
        for (centre, expected) in [(0, (1 << 53) + 1), (-1, (1 << 53) + 3)] {
            let sum = sum_centred(column("cost"), centre).alias("Sum");
            let found = engine.frame().clone().aggregate(vec![], vec![sum]).unwrap().collect().await.unwrap();
            let found = integers(found.first().unwrap(), 0).unwrap();
            assert_eq!(integer(&found, 0), Some(expected));
        }
    }

    /// Unknown, as SQL has it, and neither true nor false: whatever the optimizer makes of two lists.
    #[tokio::test]
    async fn a_row_without_a_value_passes_no_condition_on_it() {
        let persons: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..4));
        let regions: ArrayRef = Arc::new(Int16Array::from(vec![Some(0), Some(1), Some(2), None]));
        let costs: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(3), Some(9), None]));
        let view = RecordBatch::try_from_iter([(PERSON, persons), ("region", regions), ("cost", costs)]).unwrap();
        let engine = Engine::over(&view, 1).unwrap();
        let among =
            |codes: &[u16]| BoundPredicate::Codes { column: ColumnName::new("region").unwrap(), codes: codes.to_vec() };
        let not = |part| BoundPredicate::Not(Box::new(part));
        let (and, or) = (BoundPredicate::And, BoundPredicate::Or);
        for (asked, rows) in [
            (or(vec![not(among(&[0])), not(among(&[1]))]), 3),
            (or(vec![not(among(&[0, 1])), not(among(&[2]))]), 3),
            (or(vec![among(&[0]), not(among(&[0]))]), 3),
            (not(not(among(&[0]))), 1),
            (not(not(not(among(&[0])))), 2),
            (not(among(&[])), 3),
            (and(vec![among(&[0]), among(&[1])]), 0),
            (and(vec![not(among(&[0])), not(among(&[1]))]), 1),
        ] {
            let found = engine.frame().clone().filter(condition(&asked)).unwrap().count().await.unwrap();
            assert_eq!(found, rows);
        }
        // Lists of numbers are equalities until the optimizer makes lists of them.
        let number = |op, value| BoundPredicate::Number { column: ColumnName::new("cost").unwrap(), op, value };
        let list = |values: [i64; 2]| or(values.map(|value| number(Comparison::Eq, value)).to_vec());
        let unlike = |values: [i64; 2]| and(values.map(|value| number(Comparison::Ne, value)).to_vec());
        for asked in [
            or(vec![not(list([1, 2])), not(list([3, 4]))]),
            or(vec![unlike([1, 2]), unlike([3, 4])]),
            or(vec![not(list([1, 2])), number(Comparison::Ne, 3)]),
        ] {
            let found = engine.frame().clone().filter(condition(&asked)).unwrap().count().await.unwrap();
            assert_eq!(found, 3);
        }
    }
}
