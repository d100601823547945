//! An answer as a table: one shape for every program that writes or sends one.

use crate::query::v1::{Accepted, Estimate, OutputColumn, Released, Row};
use crate::{charge_from_wire, estimate_status};
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use std::sync::Arc;

/// The version of these columns and metadata.
const FORMAT: u32 = 1;

/// A number of an estimate, and what stands behind the output's name in the heading of its column.
pub type Figure = (&'static str, fn(&Estimate) -> Option<f64>);

/// The numbers of an output.
const FIGURES: &[Figure] = &[
    ("", |estimate| estimate.value),
    ("_standard_error", |estimate| estimate.standard_error),
    ("_lower", |estimate| estimate.lower),
    ("_upper", |estimate| estimate.upper),
];

/// Those of a quantile, whose error is in rank.
const FIGURES_IN_RANK: &[Figure] = &[("", |estimate| estimate.value), ("_rank_error", |estimate| estimate.rank_error)];

/// What stands behind an output's name in the heading of the column of statuses, its last.
pub const STATUS_SUFFIX: &str = "_status";

/// The columns of numbers that an output has.
#[must_use]
pub const fn figures(column: &OutputColumn) -> &'static [Figure] {
    if column.in_rank { FIGURES_IN_RANK } else { FIGURES }
}

/// The columns of an answer, all nullable: a text for each group, then for each output value, standard error and the
/// ends of the 95 % interval, or of a quantile its error in rank, as double precision numbers, and the SDMX status as
/// text.
#[must_use]
pub fn answer_schema(accepted: &Accepted) -> Schema {
    let field = |name: String, kind: DataType| Field::new(name, kind, true);
    let mut fields: Vec<Field> = accepted.groups.iter().map(|name| field(name.clone(), DataType::Utf8)).collect();
    for column in &accepted.columns {
        let numbers = figures(column).iter();
        fields.extend(numbers.map(|(suffix, _)| field(format!("{}{suffix}", column.name), DataType::Float64)));
        fields.push(field(format!("{}{STATUS_SUFFIX}", column.name), DataType::Utf8));
    }
    Schema::new(fields)
}

/// The rows of an answer under `schema`, which is [`answer_schema`] with or without metadata; null where nothing is
/// computable.
///
/// # Errors
/// A schema of another answer.
pub fn answer_batch(schema: SchemaRef, accepted: &Accepted, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    for place in 0..accepted.groups.len() {
        let codes = rows.iter().map(|row| row.groups.get(place).map(String::as_str));
        columns.push(Arc::new(codes.collect::<StringArray>()));
    }
    for (place, output) in accepted.columns.iter().enumerate() {
        let estimates = || rows.iter().map(move |row| row.estimates.get(place));
        for (_, number) in figures(output) {
            let numbers = estimates().map(|estimate| estimate.and_then(number));
            columns.push(Arc::new(numbers.collect::<Float64Array>()));
        }
        columns.push(Arc::new(estimates().map(|e| e.map(estimate_status)).collect::<StringArray>()));
    }
    RecordBatch::try_new(schema, columns)
}

/// What a table's metadata tell of the answer in it: `format` (1), `dataset`, `cut`, `mechanism`, `cost` as ρ,
/// `estimand`, and once there is one `release_id`.
#[must_use]
pub fn answer_metadata(accepted: &Accepted, released: &Released) -> Vec<(&'static str, String)> {
    let told = [
        ("format", FORMAT.to_string()),
        ("release_id", released.release_id.clone()),
        ("dataset", accepted.dataset.clone()),
        ("cut", accepted.cut.clone()),
        ("mechanism", accepted.mechanism.clone()),
        ("estimand", released.estimand.clone()),
        ("cost", charge_from_wire(accepted.cost.as_ref()).rho.to_string()),
    ];
    told.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}
