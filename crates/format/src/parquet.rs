//! Answers as Apache Parquet.

use crate::arrow::record_batch;
use crate::{FORMAT, FormatError, QueryAnswer};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use firebreak_wire::charge_from_wire;

/// The answer as a Parquet file with the columns of the CSV file, typed as [`crate::arrow::schema`] says.
///
/// The file's metadata tell `format` (1), `release_id`, `dataset`, `cut`, `mechanism`, `estimand`, and `cost` as ρ.
///
/// # Errors
/// [`FormatError::Arrow`], [`FormatError::Parquet`].
pub fn answer(answer: &QueryAnswer) -> Result<Vec<u8>, FormatError> {
    let batch = record_batch(&answer.accepted, &answer.rows)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(metadata(answer)))
        .build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(file)
}

fn metadata(answer: &QueryAnswer) -> Vec<KeyValue> {
    let (accepted, released) = (&answer.accepted, &answer.released);
    let entry = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
    vec![
        entry("format", &FORMAT.to_string()),
        entry("release_id", &released.release_id),
        entry("dataset", &accepted.dataset),
        entry("cut", &accepted.cut),
        entry("mechanism", &accepted.mechanism),
        entry("estimand", &released.estimand),
        entry("cost", &charge_from_wire(accepted.cost.as_ref()).rho.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use ::arrow::array::{Array, AsArray};
    use ::arrow::datatypes::Float64Type;
    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use std::fs::File;

    #[test]
    fn what_is_written_is_read_back_with_its_types_and_metadata() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.parquet");
        std::fs::write(&file, answer(&samples::answer()).unwrap()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file).unwrap()).unwrap();
        let told = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
        let told = |key: &str| told.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.clone());
        for (key, expected) in [
            ("format", "1"),
            ("release_id", "r-1"),
            ("dataset", "health.visits"),
            ("cut", "2024-Q4"),
            ("mechanism", "discrete_gaussian"),
            ("estimand", "rows of the bounded view"),
            ("cost", "0.005"),
        ] {
            assert_eq!(told(key).as_deref(), Some(expected), "{key}");
        }
        let batch = reader.build().unwrap().next().unwrap().unwrap();
        let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names[..4], ["region", "visit_year", "visits", "visits_standard_error"]);
        assert_eq!((names.len(), names[11].as_str()), (12, "mean, cost_status"));
        assert_eq!(batch.column(0).as_string::<i32>().value(1), "=2");
        let visits = batch.column(2).as_primitive::<Float64Type>();
        assert_eq!(visits.values().to_vec(), [1234.0625, 1234.0625]);
        for (name, column) in names.iter().zip(batch.columns()).skip(7).take(4) {
            assert!(name.starts_with("mean, cost"), "{name}");
            assert!(column.as_primitive::<Float64Type>().is_valid(0) && column.is_null(1), "{name}");
        }
        assert_eq!(batch.column(11).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("A"), Some("O")]);
    }

    #[test]
    fn an_answer_without_groups_or_rows_is_a_file_too() {
        let mut none = samples::answer();
        none.rows.clear();
        none.accepted.groups.clear();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.parquet");
        std::fs::write(&file, answer(&none).unwrap()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file).unwrap()).unwrap();
        assert_eq!((reader.schema().fields().len(), reader.metadata().file_metadata().num_rows()), (10, 0));
    }
}
