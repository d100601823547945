//! Tables, and the files in which the adapter reads them.

use super::contracts::{Dataset, Form, Ground, UNIT};
use super::persons::{Person, Value};
use anyhow::{Context, Result};
use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field as FileField, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

/// One table for each stratum: its persons.
pub type Tables = Vec<Vec<Person>>;

impl Ground {
    /// Writes all tables into the file that each binding names, rows in an order that means nothing.
    pub fn write(&self, rng: &mut ChaCha8Rng, tables: &Tables, folder: &Path) -> Result<()> {
        // A key is the same text in every file.
        let prefix = if self.datasets.iter().any(|dataset| dataset.key == Some(Form::Whole)) { "" } else { "P" };
        self.datasets
            .iter()
            .enumerate()
            .try_for_each(|(place, dataset)| dataset.write(rng, tables, place, prefix, folder))
    }
}

impl Dataset {
    fn write(&self, rng: &mut ChaCha8Rng, tables: &Tables, place: usize, prefix: &str, folder: &Path) -> Result<()> {
        let mut rows = Vec::new();
        for person in tables.iter().flatten() {
            for row in person.rows_of(place) {
                rows.push((self.key_in_file(rng, person, prefix), row));
            }
        }
        // Rows of nobody: they cannot be bounded, and are left out.
        let nobody = tables.iter().flatten().flat_map(|person| person.rows_of(place)).next();
        if let (Some(row), Some(Form::Text)) = (nobody, self.key) {
            rows.extend(["", " ", "-"].map(|key| (Value::Text(key.to_owned()), row)));
        }
        rows.shuffle(rng);
        let file = self.binding.cuts.first().context("no file")?.file.clone();
        let columns = self.columns(&rows);
        if self.csv {
            write_csv(&columns, rows.len(), &folder.join(file))
        } else {
            write_parquet(rng, columns, &folder.join(file))
        }
    }

    /// The person's key, as one of the ways in which it may stand in a file.
    fn key_in_file(&self, rng: &mut ChaCha8Rng, person: &Person, prefix: &str) -> Value {
        if self.key == Some(Form::Whole) {
            return Value::Whole(person.key);
        }
        let padding = ["", "", " ", "\t"].choose(rng).copied().unwrap_or_default();
        Value::Text(format!("{padding}{prefix}{}{padding}", person.key))
    }

    fn columns<'a>(&'a self, rows: &'a [(Value, &'a Vec<Value>)]) -> Vec<(&'a str, Form, Vec<&'a Value>)> {
        let of_fields = self.fields.iter().enumerate().map(|(place, field)| {
            let values = rows.iter().filter_map(|(_, row)| row.get(place)).collect();
            (field.name.as_str(), field.form, values)
        });
        let keys = self.key.map(|form| (UNIT, form, rows.iter().map(|(key, _)| key).collect()));
        of_fields.chain(keys).collect()
    }
}

fn write_csv(columns: &[(&str, Form, Vec<&Value>)], rows: usize, file: &Path) -> Result<()> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let line = |cells: Vec<String>| cells.join(",") + "\n";
    let mut text = line(columns.iter().map(|(name, _, _)| quoted(name)).collect());
    for row in 0..rows {
        let cell = |(_, _, values): &(&str, Form, Vec<&Value>)| match values.get(row) {
            Some(Value::Text(text)) => quoted(text),
            _ => String::new(),
        };
        text.push_str(&line(columns.iter().map(cell).collect()));
    }
    Ok(fs::write(file, text)?)
}

fn write_parquet(rng: &mut ChaCha8Rng, columns: Vec<(&str, Form, Vec<&Value>)>, file: &Path) -> Result<()> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (name, form, values) in columns {
        let (kind, array) = array(form, &values);
        fields.push(FileField::new(name, kind, true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let rows_in_a_group = rng.random_range(50..5_000);
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows_in_a_group)).build();
    let mut writer = ArrowWriter::try_new(File::create(file)?, schema.clone(), Some(properties))?;
    writer.write(&RecordBatch::try_new(schema, arrays)?)?;
    writer.close()?;
    Ok(())
}

fn array(form: Form, values: &[&Value]) -> (DataType, ArrayRef) {
    macro_rules! only {
        ($variant:path, $array:ty) => {
            Arc::new(
                values.iter().map(|v| if let $variant(v) = v { Some(v.clone()) } else { None }).collect::<$array>(),
            )
        };
    }
    match form {
        Form::Text => (DataType::Utf8, only!(Value::Text, StringArray)),
        Form::Whole => (DataType::Int64, only!(Value::Whole, Int64Array)),
        Form::Real => (DataType::Float64, only!(Value::Real, Float64Array)),
        Form::Day => (DataType::Date32, only!(Value::Day, Date32Array)),
        Form::Instant => {
            (DataType::Timestamp(TimeUnit::Millisecond, None), only!(Value::Instant, TimestampMillisecondArray))
        }
    }
}
