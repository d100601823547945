//! An agency's Parquet files with other rows: without one of its persons, or with persons that were made up.

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

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

/// Writes a file again with so many copies of its first row, of which the columns named have values of their own.
///
/// # Errors
/// A file that is not Parquet, has no row or no such column of text, or cannot be written.
pub fn with_rows(file: &Path, rows: u32, columns: &[(&str, &dyn Fn(u32) -> String)]) -> Result<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
    let first = reader.build()?.next().context("the file is empty")??;
    let copies = take_record_batch(&first, &UInt32Array::from(vec![0; rows as usize]))?;
    let schema = copies.schema();
    let mut arrays = copies.columns().to_vec();
    for (name, value) in columns {
        let values: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(value)));
        let place = schema.index_of(name)?;
        ensure!(*schema.field(place).data_type() == *values.data_type(), "{name} is not a column of text");
        *arrays.get_mut(place).context("no such column")? = values;
    }
    let mut writer = ArrowWriter::try_new(File::create(file)?, schema.clone(), None)?;
    writer.write(&RecordBatch::try_new(schema, arrays)?)?;
    writer.close()?;
    Ok(())
}

/// What stands in a column of a row: from the row's key, and what stood there before.
pub type Written<'a> = &'a dyn Fn(&str, Option<&str>) -> Option<String>;

/// Writes a file again in which the columns named have values of their own, behind the others where they are new.
/// `key` is a column of text.
///
/// # Errors
/// A file that is not Parquet, has no such column of text, or cannot be written.
pub fn with_columns(file: &Path, key: &str, columns: &[(&str, Written<'_>)]) -> Result<()> {
    let mut batches = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
        let batch = batch?;
        let text =
            |name: &str| batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<StringArray>());
        let keys = text(key).with_context(|| format!("{key} is not a column of text"))?;
        let (mut fields, mut arrays) = (batch.schema().fields().to_vec(), batch.columns().to_vec());
        for (name, written) in columns {
            let before = text(name);
            let value = |row: usize| {
                let before = before.filter(|before| !before.is_null(row)).map(|before| before.value(row));
                written(keys.value(row), before)
            };
            let values: ArrayRef = Arc::new((0..keys.len()).map(value).collect::<StringArray>());
            match fields.iter().position(|field| field.name() == name) {
                Some(place) => {
                    ensure!(before.is_some(), "{name} is not a column of text");
                    *arrays.get_mut(place).context("no such column")? = values;
                }
                None => {
                    fields.push(Arc::new(Field::new(*name, DataType::Utf8, true)));
                    arrays.push(values);
                }
            }
        }
        batches.push(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?);
    }
    let schema = batches.first().context("the file is empty")?.schema();
    let mut writer = ArrowWriter::try_new(File::create(file)?, schema, None)?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(())
}
