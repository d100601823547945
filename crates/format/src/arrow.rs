//! Answers as Apache Arrow's columns, in memory.

use crate::{FormatError, STATUS, figures};
use ::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use ::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use firebreak_wire::estimate_status;
use firebreak_wire::query::v1::{Accepted, Row};
use std::sync::Arc;

/// The columns of an answer, in the order of the CSV file: a text for each group, then for each output value, standard
/// error and the ends of the 95 % interval, or of a quantile its error in rank, as double precision numbers, and the
/// SDMX status as text. Every column may be null.
#[must_use]
pub fn schema(accepted: &Accepted) -> SchemaRef {
    let text = |name: String| Field::new(name, DataType::Utf8, true);
    let mut fields: Vec<Field> = accepted.groups.iter().cloned().map(text).collect();
    for output in &accepted.columns {
        let named = |suffix: &str| format!("{}{suffix}", output.name);
        fields.extend(figures(output).iter().map(|(suffix, _)| Field::new(named(suffix), DataType::Float64, true)));
        fields.push(text(named(STATUS)));
    }
    Arc::new(Schema::new(fields))
}

/// The rows of an answer in the columns of [`schema`]; null where nothing is computable.
///
/// # Errors
/// [`FormatError::Arrow`].
pub fn record_batch(accepted: &Accepted, rows: &[Row]) -> Result<RecordBatch, FormatError> {
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
    Ok(RecordBatch::try_new(schema(accepted), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_schema_is_that_of_the_batch_and_names_the_columns_as_the_csv_file_does() {
        let answer = samples::answer();
        let batch = record_batch(&answer.accepted, &answer.rows).unwrap();
        assert_eq!(batch.schema(), schema(&answer.accepted));
        let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        let csv = crate::csv::answer(&answer.accepted, &answer.rows);
        let heading = csv.lines().next().unwrap().replace('"', "");
        assert_eq!(names.join(","), heading);
        assert_eq!(batch.num_rows(), 2);
    }
}
