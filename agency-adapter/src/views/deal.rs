//! From a cut to the file of its view, a part of its persons at a time.

use super::{ViewFile, Views, declared_rows};
use crate::bounded::{PERSON, Part, RankingKey, together, view};
use crate::source::{EncodedColumn, Reader, Rows, SourceError, is_read_from_files, number_of};
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use firebreak_domain::{Binding, Contract, CutId};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};
use std::path::Path;
use std::sync::Arc;

/// Rows of a part, as contracts declare them.
const ROWS: u64 = 1_000_000;
/// The most files that are open while rows are dealt out: each part of each dataset has one.
const MOST_FILES: u64 = 128;
/// Rows that are read before they are dealt out.
const READ: usize = 256 * 1024;

/// A dataset whose cut is read.
pub(crate) struct Source<'a> {
    pub(crate) contract: &'a Contract,
    pub(crate) binding: &'a Binding,
}

/// Makes the view of a cut, or that of several datasets of one unit space joined on the person, as a file.
///
/// # Errors
/// As [`crate::source::read`], [`view`] and [`together`]; [`SourceError::NotKept`].
pub(crate) async fn make(
    views: &Views,
    sources: &[Source<'_>],
    folder: &Path,
    cut: &CutId,
    key: RankingKey,
) -> Result<ViewFile, SourceError> {
    let rows = declared_rows(sources.iter().map(|source| source.contract));
    let parts = rows.div_ceil(ROWS).clamp(1, MOST_FILES / sources.len().max(1) as u64);
    let key = Arc::new(key);
    let mut all = Vec::with_capacity(sources.len());
    for source in sources {
        let dealt = Dealt::new(views, source, parts, Arc::clone(&key))?;
        all.push(dealt.all(Reader::open(source.contract, source.binding, folder, cut, &[]).await?).await?);
    }
    let views = views.clone();
    let bounded = tokio::task::spawn_blocking(move || bound(all, &views));
    bounded.await.map_err(|_| SourceError::NotKept)?
}

/// The rows of a dataset dealt out to parts, each in a file: the person's key, and the columns as integers.
struct Dealt {
    contract: Contract,
    /// Every row is a person.
    alone: bool,
    schema: SchemaRef,
    parts: Vec<StreamWriter<BufWriter<File>>>,
    key: Arc<RankingKey>,
    /// Rows that its view has of the parts bounded so far.
    kept: u64,
}

impl Dealt {
    fn new(views: &Views, source: &Source<'_>, parts: u64, key: Arc<RankingKey>) -> Result<Self, SourceError> {
        let readable = source.contract.columns.iter().filter(|column| is_read_from_files(column));
        let columns = readable.map(|column| Field::new(column.name.as_str(), DataType::Int64, false));
        let fields: Vec<Field> = std::iter::once(Field::new(PERSON, DataType::Utf8, false)).chain(columns).collect();
        let schema = Arc::new(Schema::new(fields));
        let parts = (0..parts).map(|_| {
            let file = BufWriter::new(views.nameless()?);
            StreamWriter::try_new(file, &schema).map_err(|_| SourceError::NotKept)
        });
        let parts = parts.collect::<Result<_, _>>()?;
        Ok(Self { contract: source.contract.clone(), alone: source.binding.row_is_person, schema, parts, key, kept: 0 })
    }

    /// Deals out all rows.
    async fn all(mut self, mut reader: Reader<'_>) -> Result<Self, SourceError> {
        let mut more = true;
        while more {
            let (mut rows, mut numbers) = (reader.nothing(), HashMap::new());
            while more && rows.persons.len() < READ {
                more = reader.append(&mut rows, &mut numbers).await?;
            }
            self = tokio::task::spawn_blocking(move || self.deal(&rows)).await.map_err(|_| SourceError::NotKept)??;
        }
        Ok(self)
    }

    /// Deals out rows. Where every row is a person, they go round.
    fn deal(mut self, rows: &Rows) -> Result<Self, SourceError> {
        let parts = self.parts.len();
        let of_person: Vec<usize> = rows.person_keys.iter().map(|key| self.key.part(key.as_bytes(), parts)).collect();
        let mut own: Vec<Vec<usize>> = vec![Vec::new(); parts];
        for (row, person) in rows.persons.iter().enumerate() {
            let part = of_person.get(*person as usize).copied().unwrap_or(row % parts);
            own.get_mut(part).ok_or(SourceError::NotKept)?.push(row);
        }
        for (part, own) in self.parts.iter_mut().zip(own).filter(|(_, own)| !own.is_empty()) {
            let key = |row: &usize| {
                let person = rows.persons.get(*row).and_then(|person| rows.person_keys.get(*person as usize));
                person.map_or("", String::as_str)
            };
            let keys = StringArray::from_iter_values(own.iter().map(key));
            let mut arrays: Vec<ArrayRef> = vec![Arc::new(keys)];
            for column in &rows.columns {
                let values = own.iter().filter_map(|row| column.values().get(*row).copied());
                arrays.push(Arc::new(values.collect::<Int64Array>()));
            }
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)?;
            part.write(&batch).map_err(|_| SourceError::NotKept)?;
        }
        Ok(self)
    }

    /// The last part that is not bounded yet, bounded, with how many persons it has; `None` after all.
    fn next(&mut self) -> Result<Option<(Part, usize)>, SourceError> {
        let Some(part) = self.parts.pop() else { return Ok(None) };
        let file = part.into_inner().map_err(|_| SourceError::NotKept)?;
        let file = file.into_inner().map_err(|_| SourceError::NotKept)?;
        let rows = read_back(file, &self.contract, self.alone)?;
        let view = view(&self.contract, &rows, &self.key)?;
        self.kept += view.num_rows() as u64;
        if self.kept > self.contract.most_rows() {
            return Err(SourceError::RegisterTooSmall);
        }
        let persons = if self.alone { rows.persons.len() } else { rows.person_keys.len() };
        Ok(Some((Part { dataset: self.contract.id.clone(), view, keys: rows.person_keys }, persons)))
    }
}

/// Bounds part by part, joins what is of several datasets, and writes what is kept.
// PRIVACY: the persons of a part are the same in all datasets, which share the key that deals them out.
fn bound(mut all: Vec<Dealt>, views: &Views) -> Result<ViewFile, SourceError> {
    let (mut written, mut persons) = (None, 0_u32);
    loop {
        let parts: Option<Vec<(Part, usize)>> = all.iter_mut().map(Dealt::next).collect::<Result<_, _>>()?;
        let Some(parts) = parts.filter(|parts| !parts.is_empty()) else { break };
        // A join numbers its persons as the first does.
        let own = parts.first().map_or(0, |(_, persons)| *persons);
        let parts: Vec<Part> = parts.into_iter().map(|(part, _)| part).collect();
        let view = numbered_from(persons, &together(parts)?)?;
        let own = u32::try_from(own).map_err(|_| SourceError::RegisterTooSmall)?;
        persons = persons.checked_add(own).ok_or(SourceError::RegisterTooSmall)?;
        if written.is_none() {
            written = Some(views.write(view.schema())?);
        }
        if let Some(writer) = &mut written {
            writer.append(&view)?;
        }
    }
    written.ok_or(SourceError::NotKept)?.finish()
}

fn read_back(mut file: File, contract: &Contract, alone: bool) -> Result<Rows, SourceError> {
    file.rewind().map_err(|_| SourceError::NotKept)?;
    let readable = contract.columns.iter().filter(|column| is_read_from_files(column));
    let columns = readable.map(|column| EncodedColumn::new(column, None)).collect();
    let mut rows = Rows { persons: Vec::new(), person_keys: Vec::new(), columns, match_keys: Vec::new() };
    let mut numbers = HashMap::new();
    for batch in StreamReader::try_new(BufReader::new(file), None)? {
        let batch = batch?;
        let Some((keys, columns)) = batch.columns().split_first() else { continue };
        if alone {
            let first = rows.persons.len() as u32;
            rows.persons.extend((0..batch.num_rows() as u32).map(|row| first + row));
        } else {
            for key in keys.as_string::<i32>().iter().flatten() {
                rows.persons.push(number_of(key, &mut numbers, &mut rows.person_keys));
            }
        }
        for (column, values) in rows.columns.iter_mut().zip(columns) {
            column.extend_encoded(values.as_primitive::<Int64Type>().values());
        }
    }
    Ok(rows)
}

/// The view of a part whose persons are counted from `first`, so that no two parts have one in common.
fn numbered_from(first: u32, view: &RecordBatch) -> Result<RecordBatch, SourceError> {
    let mut arrays = view.columns().to_vec();
    let persons = view.column_by_name(PERSON).ok_or(SourceError::NotKept)?.as_primitive::<UInt32Type>();
    let numbered: UInt32Array =
        persons.try_unary(|person| person.checked_add(first).ok_or(SourceError::RegisterTooSmall))?;
    *arrays.first_mut().ok_or(SourceError::NotKept)? = Arc::new(numbered);
    Ok(RecordBatch::try_new(view.schema(), arrays)?)
}
