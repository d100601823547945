//! Answers as Apache Parquet.

use crate::arrow::{record_batch, schema};
use crate::{FormatError, PublishedAnswer, QueryAnswer, stage};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use firebreak_domain::Timestamp;
use std::sync::Arc;

/// The answer as a Parquet file with the columns of the CSV file, typed as [`crate::arrow::schema`] says.
///
/// The file's metadata are those of [`crate::arrow::metadata`].
///
/// # Errors
/// [`FormatError::Arrow`], [`FormatError::Parquet`].
pub fn answer(answer: &QueryAnswer) -> Result<Vec<u8>, FormatError> {
    written(answer, Vec::new())
}

/// A publication as [`answer()`], whose metadata tell `organisation`, `series`, `revision`, `state`, `published`,
/// `address`, `citation`, `controller`, `population`, `intervals` (what they cover) and `receipt` as well.
///
/// # Errors
/// As there.
pub fn published(published: &PublishedAnswer) -> Result<Vec<u8>, FormatError> {
    let PublishedAnswer { answer, publication, citation, intervals } = published;
    let at = Timestamp::from_secs(publication.published).to_string();
    let more = [
        ("organisation", publication.organisation.clone()),
        ("series", publication.series.clone()),
        ("revision", publication.revision.to_string()),
        ("state", stage(publication).to_owned()),
        ("published", if publication.published == 0 { String::new() } else { at }),
        ("address", publication.address.clone()),
        ("citation", crate::citation::text(citation)),
        ("controller", citation.controller.clone()),
        ("population", citation.population.clone()),
        ("intervals", intervals.clone()),
        ("receipt", answer.released.receipt.clone()),
    ];
    written(answer, more.map(|(key, value)| KeyValue::new(key.to_owned(), value)).into())
}

fn written(answer: &QueryAnswer, more: Vec<KeyValue>) -> Result<Vec<u8>, FormatError> {
    let batch = record_batch(Arc::new(schema(&answer.accepted)), &answer.accepted, &answer.rows)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(metadata(answer).into_iter().chain(more).collect()))
        .build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(file)
}

fn metadata(answer: &QueryAnswer) -> Vec<KeyValue> {
    let told = crate::arrow::metadata(&answer.accepted, &answer.released);
    told.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
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
    fn a_publication_is_told_in_the_metadata() {
        let file = ::parquet::file::reader::SerializedFileReader::new(bytes(&samples::published())).unwrap();
        let told = ::parquet::file::reader::FileReader::metadata(&file).file_metadata().key_value_metadata().unwrap();
        let told = |key: &str| told.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.clone());
        for (key, expected) in [("series", "visits"), ("revision", "2"), ("receipt", "text"), ("release_id", "r-1")] {
            assert_eq!(told(key).as_deref(), Some(expected), "{key}");
        }
    }

    fn bytes(answer: &PublishedAnswer) -> File {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &published(answer).unwrap()).unwrap();
        file
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
