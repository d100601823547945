//! Answers as Apache Arrow's columns, in memory.

use crate::{FORMAT, FormatError, MARKS, STATUS, figures, is_marked, marks};
use ::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use ::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use firebreak_domain::Epsilon;
use firebreak_wire::query::v1::{Accepted, Estimate, Released, Row};
use firebreak_wire::{charge_from_wire, estimate_status};
use std::sync::Arc;

/// The columns of an answer, in the order of the CSV file: a text for each group, then for each output value, standard
/// error and the ends of the 95 % interval, or of a quantile its error in rank, as double precision numbers, and the
/// SDMX status as text; the marks of what has any ([`is_marked`]). Every column may be null.
#[must_use]
pub fn schema(accepted: &Accepted) -> Schema {
    let text = |name: String| Field::new(name, DataType::Utf8, true);
    let mut fields: Vec<Field> = accepted.groups.iter().cloned().map(text).collect();
    for output in &accepted.columns {
        let named = |suffix: &str| format!("{}{suffix}", output.name);
        fields.extend(figures(output).iter().map(|(suffix, _)| Field::new(named(suffix), DataType::Float64, true)));
        fields.push(text(named(STATUS)));
        fields.extend(is_marked(output).then(|| text(named(MARKS))));
    }
    Schema::new(fields)
}

/// What a table's metadata tell of the answer in it: `format` (1), `dataset`, `cut`, `mechanism`, `cost` as ρ, under a
/// pure mechanism also as `epsilon`, and its `delta`, `estimand`, and once there is one `release_id`.
///
/// Where the contracts tell it, `left_out` is what the bound on a person's rows leaves out, or the question that
/// measures it. Where groups are selected, `threshold` is that of their noisy number of persons, and `all_groups`, with
/// `all_groups_standard_error` and the ends of its 95 % interval `all_groups_lower` and `all_groups_upper`, how many
/// there are, shown or not. Of a union over agencies `registrations` are the outputs that count a person once in each
/// of several registers, `parts` the datasets that it is put together from, and `missing` what is not in it.
#[must_use]
pub fn metadata(accepted: &Accepted, released: &Released) -> Vec<(&'static str, String)> {
    let cost = charge_from_wire(accepted.cost.as_ref());
    let pure = cost.epsilon != Epsilon::default();
    let threshold = accepted.selection.map(|selection| selection.threshold.to_string());
    let of_all_groups = |number: fn(&Estimate) -> Option<f64>| {
        released.all_groups.as_ref().and_then(number).map(|number| number.to_string()).unwrap_or_default()
    };
    let told = [
        ("format", FORMAT.to_string()),
        ("release_id", released.release_id.clone()),
        ("dataset", accepted.dataset.clone()),
        ("cut", accepted.cut.clone()),
        ("mechanism", accepted.mechanism.clone()),
        ("estimand", released.estimand.clone()),
        ("cost", cost.rho.to_string()),
        ("epsilon", if pure { cost.epsilon.to_string() } else { String::new() }),
        ("delta", cost.delta.to_string()),
        ("threshold", threshold.unwrap_or_default()),
        ("all_groups", of_all_groups(|groups| groups.value)),
        ("all_groups_standard_error", of_all_groups(|groups| groups.standard_error)),
        ("all_groups_lower", of_all_groups(|groups| groups.lower)),
        ("all_groups_upper", of_all_groups(|groups| groups.upper)),
        ("left_out", crate::left_out(released)),
        ("registrations", names(accepted.columns.iter().filter(|c| c.registrations).map(|c| c.name.as_str()))),
        ("parts", names(released.parts.iter().map(|part| part.dataset.as_str()))),
        ("missing", crate::missing(released)),
    ];
    told.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The rows of an answer under `schema`, which is [`schema`] with or without metadata; null where nothing is
/// computable, and for a group in a margin over all of its values.
///
/// # Errors
/// [`FormatError::Arrow`] for the schema of another answer.
pub fn record_batch(schema: SchemaRef, accepted: &Accepted, rows: &[Row]) -> Result<RecordBatch, FormatError> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    for place in 0..accepted.groups.len() {
        let codes = rows.iter().map(|row| row.groups.get(place).map(String::as_str).filter(|code| !code.is_empty()));
        columns.push(Arc::new(codes.collect::<StringArray>()));
    }
    for (place, output) in accepted.columns.iter().enumerate() {
        let estimates = || rows.iter().map(move |row| row.estimates.get(place));
        for (_, number) in figures(output) {
            let numbers = estimates().map(|estimate| estimate.and_then(number));
            columns.push(Arc::new(numbers.collect::<Float64Array>()));
        }
        columns.push(Arc::new(estimates().map(|e| e.map(estimate_status)).collect::<StringArray>()));
        if is_marked(output) {
            columns.push(Arc::new(estimates().map(|e| marks(output, e?)).collect::<StringArray>()));
        }
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use firebreak_domain::Charge;
    use firebreak_wire::charge_to_wire;

    #[test]
    fn the_schema_is_that_of_the_batch_and_names_the_columns_as_the_csv_file_does() {
        let answer = samples::answer();
        let batch = record_batch(Arc::new(schema(&answer.accepted)), &answer.accepted, &answer.rows).unwrap();
        let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        let csv = crate::csv::answer(&answer.accepted, &answer.rows);
        let heading = csv.lines().next().unwrap().replace('"', "");
        assert_eq!(names.join(","), heading);
        assert_eq!(batch.num_rows(), 2);
    }

    #[test]
    fn metadata_tell_the_whole_price_and_how_groups_were_selected() {
        let told = |answer: &crate::QueryAnswer| metadata(&answer.accepted, &answer.released);
        let (plain, mut pure) = (samples::answer(), samples::answer());
        let has = |told: &[(&'static str, String)], key: &str| told.iter().any(|(of, _)| *of == key);
        let of_plain = told(&plain);
        assert!(of_plain.contains(&("delta", "0".to_owned())), "{of_plain:?}");
        for key in ["epsilon", "threshold", "all_groups", "left_out"] {
            assert!(!has(&of_plain, key), "{key} in {of_plain:?}");
        }

        pure.accepted.cost = Some(charge_to_wire(Charge::of_epsilon(Epsilon::from_nano(100_000_000))));
        let of_pure = told(&pure);
        assert!(of_pure.contains(&("epsilon", "0.1".to_owned())), "{of_pure:?}");
        assert!(of_pure.contains(&("cost", "0.005".to_owned())), "{of_pure:?}");

        let of_selected = told(&samples::selected());
        for (key, expected) in [
            ("delta", "0.0000000001"),
            ("threshold", "23"),
            ("all_groups", "41.5"),
            ("all_groups_standard_error", "2"),
            ("all_groups_lower", "37.5"),
            ("all_groups_upper", "45.5"),
        ] {
            assert!(of_selected.contains(&(key, expected.to_owned())), "{key}: {expected} not in {of_selected:?}");
        }
    }

    #[test]
    fn a_margin_is_null_in_the_group_that_it_is_over() {
        let mut answer = samples::answer();
        answer.rows[1].groups[0].clear();
        let batch = record_batch(Arc::new(schema(&answer.accepted)), &answer.accepted, &answer.rows).unwrap();
        let nulls: Vec<bool> = (0..2).map(|row| batch.column(0).is_null(row)).collect();
        assert_eq!(nulls, [false, true]);
        let text = crate::json::answer(&answer).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(
            read["rows"][1]["groups"]["region"].is_null() && read["rows"][0]["groups"]["region"].is_string(),
            "{text}"
        );
        let sdmx = crate::sdmx_csv::answer(&answer);
        assert!(sdmx.lines().nth(3).is_some_and(|line| line.contains(",_T,")), "{sdmx}");
    }
}
