//! An agency's own records as a file for its own staff: columns of text, written page by page.

use crate::FormatError;
use crate::csv::quoted;
use ::arrow::array::{ArrayRef, RecordBatch, StringArray};
use ::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use std::sync::Arc;

/// As what records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFormat {
    /// RFC 4180 in UTF-8 with a heading. Every field is as it is, also one that a spreadsheet would take for a formula:
    /// a key that was changed is no key. There is no place for metadata.
    Csv,
    /// Apache Parquet: columns of strings, none of them null, and the metadata.
    Parquet,
}

/// A file of records in the making. The same columns, metadata and pages of rows give the same bytes.
pub struct RecordFile {
    schema: SchemaRef,
    body: Body,
}

enum Body {
    Csv(String),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl RecordFile {
    /// Begins a file with the columns of those names.
    ///
    /// # Errors
    /// [`FormatError::Parquet`].
    pub fn new(format: RecordFormat, columns: &[&str], metadata: &[(&str, &str)]) -> Result<Self, FormatError> {
        let fields: Vec<Field> = columns.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
        let schema = Arc::new(Schema::new(fields));
        let body = match format {
            RecordFormat::Csv => {
                let mut text = String::new();
                push_line(&mut text, columns.iter().copied());
                Body::Csv(text)
            }
            RecordFormat::Parquet => {
                let told = metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned()));
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_key_value_metadata(Some(told.collect()))
                    .build();
                let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
                Body::Parquet(Box::new(writer))
            }
        };
        Ok(Self { schema, body })
    }

    /// Adds rows: for each column its values, as many in each.
    ///
    /// # Errors
    /// [`FormatError::Arrow`] for other columns than the file has, or of several lengths; [`FormatError::Parquet`].
    pub fn push(&mut self, columns: &[Vec<&str>]) -> Result<(), FormatError> {
        let arrays = columns.iter().map(|column| Arc::new(StringArray::from_iter_values(column)) as ArrayRef);
        // What does not fit together is found here for either format.
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays.collect())?;
        match &mut self.body {
            Body::Csv(text) => {
                for row in 0..batch.num_rows() {
                    push_line(text, columns.iter().map(|column| column.get(row).copied().unwrap_or_default()));
                }
            }
            Body::Parquet(writer) => writer.write(&batch)?,
        }
        Ok(())
    }

    /// The whole file.
    ///
    /// # Errors
    /// [`FormatError::Parquet`].
    pub fn finish(self) -> Result<Vec<u8>, FormatError> {
        Ok(match self.body {
            Body::Csv(text) => text.into_bytes(),
            Body::Parquet(writer) => writer.into_inner()?,
        })
    }
}

fn push_line<'a>(text: &mut String, fields: impl Iterator<Item = &'a str>) {
    for (place, field) in fields.enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&quoted(field));
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::arrow::array::{Array, AsArray};
    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use std::io::Write;

    const KEYS: [&str; 5] = ["HE-1", "=2", "a,\"b\"", "two\r\nlines", ""];
    const TOLD: [(&str, &str); 2] = [("format", "1"), ("session", "ab")];

    fn written(format: RecordFormat, pages: &[&[&str]]) -> Vec<u8> {
        let mut file = RecordFile::new(format, &["person_key", "a \"b\""], &TOLD).unwrap();
        for page in pages {
            file.push(&[page.to_vec(), page.iter().rev().copied().collect()]).unwrap();
        }
        file.finish().unwrap()
    }

    type Told = Vec<(String, Option<String>)>;

    fn read(parquet: &[u8]) -> (Vec<[String; 2]>, Told) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(parquet).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let told = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
        let mut rows = Vec::new();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let column = |at: usize| batch.column(at).as_string::<i32>().clone();
            let (keys, others) = (column(0), column(1));
            assert_eq!((keys.null_count(), batch.schema().field(0).is_nullable()), (0, false));
            rows.extend(keys.iter().zip(&others).map(|(key, other)| [key, other].map(|t| t.unwrap().to_owned())));
        }
        (rows, told.into_iter().map(|entry| (entry.key, entry.value)).collect())
    }

    #[test]
    fn csv_keeps_every_key_as_it_is() {
        let text = String::from_utf8(written(RecordFormat::Csv, &[&KEYS])).unwrap();
        let expected = "person_key,\"a \"\"b\"\"\"\r\nHE-1,\r\n=2,\"two\r\nlines\"\r\n\
                        \"a,\"\"b\"\"\",\"a,\"\"b\"\"\"\r\n\"two\r\nlines\",=2\r\n,HE-1\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn parquet_holds_the_same_rows_and_the_metadata() {
        let (rows, told) = read(&written(RecordFormat::Parquet, &[&KEYS]));
        let expected: Vec<_> =
            KEYS.iter().zip(KEYS.iter().rev()).map(|(a, b)| [a, b].map(|t| (*t).to_owned())).collect();
        assert_eq!(rows, expected);
        for (key, value) in TOLD {
            assert!(told.contains(&(key.to_owned(), Some(value.to_owned()))), "{key}: {told:?}");
        }
    }

    #[test]
    fn pages_leave_no_trace_and_no_rows_are_a_file_too() {
        let (whole, cut): ([&[&str]; 1], [&[&str]; 3]) = ([&["a"; 4]], [&["a"], &["a"; 3], &[]]);
        assert_eq!(written(RecordFormat::Csv, &whole), written(RecordFormat::Csv, &cut));
        let parquet = |pages| written(RecordFormat::Parquet, pages);
        assert_eq!(read(&parquet(&whole)).0, read(&parquet(&cut)).0);
        assert_eq!(parquet(&cut), parquet(&cut));
        assert_eq!(written(RecordFormat::Csv, &[]), b"person_key,\"a \"\"b\"\"\"\r\n");
        assert_eq!(read(&written(RecordFormat::Parquet, &[])).0.len(), 0);
    }

    #[test]
    fn columns_that_do_not_fit_are_refused_in_either_format() {
        for format in [RecordFormat::Csv, RecordFormat::Parquet] {
            let mut file = RecordFile::new(format, &["person_key"], &[]).unwrap();
            for wrong in [vec![], vec![vec!["a"], vec!["b"]]] {
                assert!(matches!(file.push(&wrong), Err(FormatError::Arrow(_))));
            }
        }
        let mut file = RecordFile::new(RecordFormat::Csv, &["a", "b"], &[]).unwrap();
        assert!(matches!(file.push(&[vec!["a"], vec![]]), Err(FormatError::Arrow(_))));
    }
}
