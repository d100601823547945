//! From an agency's files to columns of integers in the contract's domains.
//!
//! A file is refused for its schema alone. A value outside its domain becomes the declared other code, missing, or
//! the bound; nothing can fail on one person's row, and no value is ever quoted.

mod encode;
mod file;

pub use encode::{Encoded, EncodedColumn, MISSING};
pub use file::{SourceError, file_schema};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::execution::SendableRecordBatchStream;
use encode::within_calendar;
use firebreak_domain::{Binding, Column, ColumnName, ColumnRole, Contract, CutId, Domain};
use futures::StreamExt;
use std::collections::HashMap;
use std::path::Path;

/// The rows of one cut: who, and the columns that a question may read, as integers.
pub struct Rows {
    /// Row → person, numbered from 0 in order of appearance.
    pub persons: Vec<u32>,
    /// The agency's key of each person, by number. Empty where every row is a person.
    pub person_keys: Vec<String>,
    /// The columns, each as long as `persons`.
    pub columns: Vec<EncodedColumn>,
    /// The columns of a match key that were asked for, in that order: of each row what the register writes there.
    pub match_keys: Vec<Vec<Option<String>>>,
}

impl Rows {
    /// The key of the person of a row; `None` where every row is a person.
    #[must_use]
    pub fn person_of(&self, row: usize) -> Option<&str> {
        let person = self.persons.get(row)?;
        self.person_keys.get(*person as usize).map(String::as_str)
    }

    /// What the register writes in a row's columns of the match key.
    #[must_use]
    pub fn match_key_of(&self, row: usize) -> Vec<Option<&str>> {
        self.match_keys.iter().map(|column| column.get(row).and_then(Option::as_deref)).collect()
    }
}

/// Reads a cut.
///
/// Rows without a person's key are left out: they cannot be bounded.
///
/// # Errors
/// [`SourceError`] if the cut has no file, the file cannot be read, or its schema does not fit.
pub async fn read(contract: &Contract, binding: &Binding, folder: &Path, cut: &CutId) -> Result<Rows, SourceError> {
    let mut reader = Reader::open(contract, binding, folder, cut, &[]).await?;
    let (mut rows, mut numbers) = (reader.nothing(), HashMap::new());
    while reader.append(&mut rows, &mut numbers).await? {}
    Ok(rows)
}

/// A cut that is read batch by batch.
pub(crate) struct Reader<'a> {
    binding: &'a Binding,
    unit: &'a Column,
    readable: Vec<&'a Column>,
    match_key: Vec<&'a Column>,
    stream: SendableRecordBatchStream,
}

impl<'a> Reader<'a> {
    /// As [`read`]. `match_key` asks for the text of a match key's columns beside the columns that questions read.
    pub(crate) async fn open(
        contract: &'a Contract,
        binding: &'a Binding,
        folder: &Path,
        cut: &CutId,
        match_key: &[ColumnName],
    ) -> Result<Self, SourceError> {
        let frame = file::open(contract, binding, folder, cut).await?;
        let unit = contract.privacy_unit().ok_or(SourceError::NoPrivacyUnit)?;
        let readable: Vec<&Column> = contract.columns.iter().filter(|c| is_read_from_files(c)).collect();
        let mut wanted: Vec<&str> = readable.iter().map(|c| binding.file_column(&c.name)).collect();
        if !binding.row_is_person {
            wanted.push(binding.file_column(&unit.name));
        }
        let of_contract = |name: &ColumnName| contract.column(name.as_str()).ok_or(SourceError::Changed);
        let match_key = match_key.iter().map(of_contract).collect::<Result<Vec<_>, _>>()?;
        wanted.extend(match_key.iter().map(|column| binding.file_column(&column.name)));
        wanted.sort_unstable();
        wanted.dedup();
        let frame = frame.select(wanted.iter().map(|name| file::column(name)).collect::<Vec<_>>())?;
        let stream = frame.execute_stream().await?;
        Ok(Self { binding, unit, readable, match_key, stream })
    }

    /// No rows yet.
    pub(crate) fn nothing(&self) -> Rows {
        let column = |column: &&Column| EncodedColumn::new(column, self.binding.recodes.get(&column.name));
        let columns = self.readable.iter().map(column).collect();
        let match_keys = vec![Vec::new(); self.match_key.len()];
        Rows { persons: Vec::new(), person_keys: Vec::new(), columns, match_keys }
    }

    /// Appends the next batch to `rows`, whose persons' `numbers` are by their keys. False if there was none.
    pub(crate) async fn append(
        &mut self,
        rows: &mut Rows,
        numbers: &mut HashMap<String, u32>,
    ) -> Result<bool, SourceError> {
        let Some(batch) = self.stream.next().await else { return Ok(false) };
        let batch = batch?;
        let kept = if self.binding.row_is_person {
            let first = rows.persons.len() as u32;
            rows.persons.extend((0..batch.num_rows() as u32).map(|row| first + row));
            None
        } else {
            let keys = text(&batch, self.binding.file_column(&self.unit.name))?;
            let keys = keys.as_string::<i32>();
            let mut kept = Vec::with_capacity(keys.len());
            for key in keys {
                let key = key.map(str::trim).filter(|k| !k.is_empty() && !stands_for_missing(self.unit, k));
                kept.push(key.is_some());
                if let Some(key) = key {
                    let number = number_of(key, numbers, &mut rows.person_keys);
                    rows.persons.push(number);
                }
            }
            Some(kept)
        };
        let keeps = |row: usize| kept.as_ref().is_none_or(|k| k.get(row).copied().unwrap_or(false));
        for column in &mut rows.columns {
            let name = self.binding.file_column(column.name());
            let array = batch.column_by_name(name).ok_or(SourceError::Changed)?;
            column.extend(array, &keeps)?;
        }
        for (column, held) in self.match_key.iter().zip(&mut rows.match_keys) {
            let texts = text(&batch, self.binding.file_column(&column.name))?;
            let texts = texts.as_string::<i32>().iter().enumerate().filter(|(row, _)| keeps(*row));
            let known = |value: &&str| !stands_for_missing(column, value.trim());
            held.extend(texts.map(|(_, value)| value.filter(known).map(str::to_owned)));
        }
        Ok(true)
    }
}

fn stands_for_missing(column: &Column, value: &str) -> bool {
    column.missing.iter().any(|missing| missing == value)
}

/// The number of a person: the next one if they are new.
pub(crate) fn number_of(key: &str, numbers: &mut HashMap<String, u32>, keys: &mut Vec<String>) -> u32 {
    if let Some(number) = numbers.get(key) {
        return *number;
    }
    let number = keys.len() as u32;
    keys.push(key.to_owned());
    numbers.insert(key.to_owned(), number);
    number
}

/// Whether a question may read the column: not the person's key, no identifier, nothing withheld.
pub(crate) fn is_read_by_questions(column: &Column) -> bool {
    match column.role {
        ColumnRole::Category | ColumnRole::Measure | ColumnRole::Filter => true,
        ColumnRole::PrivacyUnit | ColumnRole::MatchKey | ColumnRole::Identifier | ColumnRole::Withheld => false,
    }
}

/// Whether a file holds the column, and a question may read it.
pub(crate) fn is_read_from_files(column: &Column) -> bool {
    is_read_by_questions(column) && column.domain != Domain::LeftOut
}

// PRIVACY: a value that no calendar has is missing here as well, and keeps no other from being read.
fn text(batch: &RecordBatch, name: &str) -> Result<ArrayRef, SourceError> {
    Ok(cast(&within_calendar(batch.column_by_name(name).ok_or(SourceError::Changed)?)?, &DataType::Utf8)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Date32Array;
    use std::sync::Arc;

    #[test]
    fn a_key_that_is_a_day_beyond_every_calendar_keeps_no_other_from_being_read() {
        let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(18_321), Some(i32::MAX), None]));
        let batch = RecordBatch::try_from_iter([("born", days)]).unwrap();
        let read = text(&batch, "born").unwrap();
        assert_eq!(read.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("2020-02-29"), None, None]);
    }
}
