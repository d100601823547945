//! An agency's Parquet files without one of its persons.

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, BooleanArray, StringArray};
use arrow::compute::filter_record_batch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;

/// Writes a file again without the rows in which `column` is `value`; gives how many those were.
///
/// # Errors
/// A file that is not Parquet, has no such column of text, or cannot be written.
pub fn without_rows(file: &Path, column: &str, value: &str) -> Result<usize> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
    let schema = reader.schema().clone();
    let mut kept = Vec::new();
    let mut dropped = 0;
    for batch in reader.build()? {
        let batch = batch?;
        let values = batch.column_by_name(column).with_context(|| format!("no column {column}"))?;
        let values = values.as_any().downcast_ref::<StringArray>().context("not a column of text")?;
        let keep: BooleanArray =
            (0..values.len()).map(|row| Some(values.is_null(row) || values.value(row) != value)).collect();
        dropped += batch.num_rows() - keep.true_count();
        kept.push(filter_record_batch(&batch, &keep)?);
    }
    let mut writer = ArrowWriter::try_new(File::create(file)?, schema, None)?;
    for batch in &kept {
        writer.write(batch)?;
    }
    writer.close()?;
    ensure!(kept.iter().any(|batch| batch.num_rows() > 0), "nobody is left");
    Ok(dropped)
}
