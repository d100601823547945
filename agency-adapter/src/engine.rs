//! Exact aggregates over a bounded view, by DataFusion. What comes out is [`Exact`]: it can only be measured.

use crate::bounded::PERSON;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Column as FrameColumn, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::{count, count_distinct, sum};
use datafusion::logical_expr::{ExprFunctionExt, when};
use datafusion::prelude::{DataFrame, Expr, SessionConfig, SessionContext, lit};
use firebreak_domain::ColumnName;
use firebreak_privacy::{Exact, ExactCells};
use firebreak_query::{BoundNumber, BoundPredicate, CheckedQuery, Comparison, PrimitiveKind};
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
        Ok(Self { frame: context.read_table(Arc::new(table))? })
    }

    /// One whole number for each primitive and cell, in the query's order.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn execute(&self, query: &CheckedQuery) -> Result<Exact<ExactCells>, EngineError> {
        let mut frame = self.frame.clone();
        if let Some(filter) = query.filter() {
            frame = frame.filter(condition(filter))?;
        }
        let groups: Vec<Expr> = query.groups().iter().map(|g| column(g.column.as_str())).collect();
        let mut aggregates = Vec::with_capacity(query.primitives().len());
        for (place, primitive) in query.primitives().iter().enumerate() {
            let aggregate = match primitive.kind() {
                PrimitiveKind::CountRows => count(lit(1_i64)),
                PrimitiveKind::CountPersons => count_distinct(column(PERSON)),
                PrimitiveKind::CountValues { columns } => count(present(columns)?),
                PrimitiveKind::SumCentred { value, centre, .. } => {
                    let value = number(value)?;
                    sum(if *centre == 0 { value } else { value - lit(*centre) })
                }
            };
            let aggregate = match primitive.filter() {
                // DISTINCT under a filter is planned with less ado over a value that is missing where it does not count.
                Some(filter) if matches!(primitive.kind(), PrimitiveKind::CountPersons) => {
                    count_distinct(when(condition(filter), column(PERSON)).end()?)
                }
                Some(filter) => aggregate.filter(condition(filter)).build()?,
                None => aggregate,
            };
            aggregates.push(aggregate.alias(format!("Primitive{place}")));
        }
        let batches = frame.aggregate(groups, aggregates)?.collect().await?;
        let mut values = vec![vec![0_i64; query.cells()]; query.primitives().len()];
        for batch in &batches {
            fill(query, batch, &mut values)?;
        }
        Ok(Exact::new(ExactCells::new(values)))
    }
}

/// Puts the groups of a batch into their cells. Groups of a missing value are in no cell.
fn fill(query: &CheckedQuery, batch: &RecordBatch, values: &mut [Vec<i64>]) -> Result<(), EngineError> {
    let integers = |place: usize| Ok::<_, EngineError>(cast(batch.column(place), &DataType::Int64)?);
    let groups = query.groups().iter().enumerate().map(|(place, _)| integers(place)).collect::<Result<Vec<_>, _>>()?;
    let results = (0..values.len()).map(|p| integers(groups.len() + p)).collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        let mut cell = Some(0_usize);
        for (group, codes) in groups.iter().zip(query.groups()) {
            let code = (!group.is_null(row)).then(|| group.as_primitive::<Int64Type>().value(row));
            let code = code.and_then(|c| usize::try_from(c).ok()).filter(|c| *c < codes.codes.len());
            cell = cell.zip(code).map(|(cell, code)| cell * codes.codes.len() + code);
        }
        let Some(cell) = cell else { continue };
        for (primitive, result) in values.iter_mut().zip(&results) {
            // A sum over nothing is missing, and counts as 0.
            let value = if result.is_null(row) { 0 } else { result.as_primitive::<Int64Type>().value(row) };
            *primitive.get_mut(cell).ok_or(EngineError)? = value;
        }
    }
    Ok(())
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
fn number(of: &BoundNumber) -> Result<Expr, EngineError> {
    Ok(match of {
        BoundNumber::Column(of) => column(of.as_str()),
        BoundNumber::Constant(value) => lit(*value),
        BoundNumber::Plus(one, other) => number(one)? + number(other)?,
        BoundNumber::Minus(one, other) => number(one)? - number(other)?,
        BoundNumber::Times(one, other) => number(one)? * number(other)?,
        BoundNumber::Clamp(of, low, high) => {
            let value = number(of)?;
            let mut below = when(value.clone().lt(lit(*low)), lit(*low));
            below.when(value.clone().gt(lit(*high)), lit(*high)).otherwise(value)?
        }
    })
}

/// A predicate as DataFusion evaluates it, in SQL's three-valued logic.
pub(crate) fn condition(predicate: &BoundPredicate) -> Expr {
    let fold = |parts: &[BoundPredicate], join: fn(Expr, Expr) -> Expr, empty: bool| {
        parts.iter().map(condition).reduce(join).unwrap_or_else(|| lit(empty))
    };
    match predicate {
        BoundPredicate::And(parts) => fold(parts, Expr::and, true),
        BoundPredicate::Or(parts) => fold(parts, Expr::or, false),
        BoundPredicate::Not(part) => datafusion::prelude::not(condition(part)),
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

fn compare(left: Expr, op: Comparison, right: Expr) -> Expr {
    match op {
        Comparison::Eq => left.eq(right),
        Comparison::Ne => left.not_eq(right),
        Comparison::Lt => left.lt(right),
        Comparison::Le => left.lt_eq(right),
        Comparison::Gt => left.gt(right),
        Comparison::Ge => left.gt_eq(right),
    }
}
