//! What a question's exact vectors are, row by row: the meaning to which the engine is held.

use crate::bounded::PERSON;
use crate::opened::Vectors;
use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type, UInt32Type};
use firebreak_domain::ColumnName;
use firebreak_query::{BoundPredicate, BoundValue, CheckedQuery, GroupingSet, Primitive, PrimitiveKind};
use std::collections::{BTreeMap, BTreeSet};

/// The vectors over a bounded view, in the query's order.
pub fn vectors(query: &CheckedQuery, view: &RecordBatch) -> Result<Vectors> {
    match query.selection() {
        None => Ok(Vectors { codes: Vec::new(), values: of_cells(query, view)? }),
        Some((column, _)) => by_code(query, column, view),
    }
}

/// By the codes that there are, ascending.
fn by_code(query: &CheckedQuery, column: &ColumnName, view: &RecordBatch) -> Result<Vectors> {
    let persons = view.column_by_name(PERSON).context("no persons")?.as_primitive::<UInt32Type>();
    let primitives = query.primitives();
    let mut totals: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for row in 0..view.num_rows() {
        let value = |column: &ColumnName| encoded(view.column_by_name(column.as_str())?, row);
        let holds = |filter: Option<&BoundPredicate>| filter.is_none_or(|filter| filter.holds(&value) == Some(true));
        let Some(BoundValue::Number(code)) = value(column).filter(|_| holds(query.filter())) else { continue };
        let of_code = totals.entry(code).or_insert_with(|| vec![0; primitives.len()]);
        for (place, (primitive, total)) in primitives.iter().zip(of_code).enumerate() {
            if holds(primitive.filter()) {
                *total += match primitive.kind() {
                    PrimitiveKind::CountPersons => i64::from(seen.insert((place, code, persons.value(row)))),
                    kind => of_row(kind, &value)?,
                };
            }
        }
    }
    let vector = |place: usize| totals.values().filter_map(|of_code| of_code.get(place).copied()).collect();
    let values = (0..primitives.len()).map(vector).collect();
    Ok(Vectors { codes: totals.into_keys().collect(), values })
}

/// What a row adds to what is counted or added up.
fn of_row(kind: &PrimitiveKind, value: &dyn Fn(&ColumnName) -> Option<BoundValue>) -> Result<i64> {
    Ok(match kind {
        PrimitiveKind::CountRows => 1,
        PrimitiveKind::CountValues { columns } => i64::from(columns.iter().all(|column| value(column).is_some())),
        PrimitiveKind::SumCentred { value: number, centre, .. } => {
            number.value(value).map_or(0, |number| number - centre)
        }
        PrimitiveKind::CountPersons | PrimitiveKind::Quantile { .. } => bail!("not of a row alone"),
    })
}

fn of_cells(query: &CheckedQuery, view: &RecordBatch) -> Result<Vec<Vec<i64>>> {
    let persons = view.column_by_name(PERSON).context("no persons")?.as_primitive::<UInt32Type>();
    let vectors: Vec<(&Primitive, &GroupingSet)> = query.vectors().collect();
    let empty =
        |(primitive, set): &(&Primitive, &GroupingSet)| vec![0_i64; set.cells() * primitive.kind().numbers_per_cell()];
    let mut totals: Vec<Vec<i64>> = vectors.iter().map(empty).collect();
    let mut seen = vec![BTreeSet::new(); vectors.len()];
    for row in 0..view.num_rows() {
        let value = |column: &ColumnName| encoded(view.column_by_name(column.as_str())?, row);
        let holds = |filter: Option<&BoundPredicate>| filter.is_none_or(|filter| filter.holds(&value) == Some(true));
        // A row that has no group in one of the categories is in no cell, of no grouping set.
        let codes: Option<Vec<u16>> = query.groups().iter().map(|group| group.category.code(&value)).collect();
        let Some(codes) = codes.filter(|_| holds(query.filter())) else { continue };
        for (((primitive, set), totals), seen) in vectors.iter().zip(&mut totals).zip(&mut seen) {
            if !holds(primitive.filter()) {
                continue;
            }
            let cell = set.cell(|group| codes.get(group).map(|code| usize::from(*code))).context("no cell")?;
            let mut place = cell;
            let more = match primitive.kind() {
                PrimitiveKind::CountPersons => i64::from(seen.insert((cell, persons.value(row)))),
                PrimitiveKind::Quantile { value: number, candidates, .. } => {
                    let Some(number) = number.value(&value) else { continue };
                    place = cell * candidates.count() as usize + usize::try_from(candidates.place(number))?;
                    1
                }
                kind => of_row(kind, &value)?,
            };
            *totals.get_mut(place).context("a row in no cell")? += more;
        }
    }
    Ok(totals)
}

fn encoded(array: &dyn Array, row: usize) -> Option<BoundValue> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Int16 => Some(BoundValue::Code(array.as_primitive::<Int16Type>().value(row) as u16)),
        DataType::Int32 => Some(BoundValue::Day(array.as_primitive::<Int32Type>().value(row))),
        DataType::Int64 => Some(BoundValue::Number(array.as_primitive::<Int64Type>().value(row))),
        _ => None,
    }
}
