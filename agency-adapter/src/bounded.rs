//! The bounded view: at most m rows of each person, made once per cut.
//!
//! PRIVACY: which rows of a person are kept depends on that person's own rows and on a secret key alone, never on
//! where a row stands or on anybody else. Adding or removing one person therefore adds or removes at most m rows of
//! the view and leaves every other row as it was: the fact on which each sensitivity in `firebreak-query` rests.

use crate::source::{Encoded, EncodedColumn, MISSING, Rows, SourceError};
use datafusion::arrow::array::{ArrayRef, AsArray, Int16Array, Int32Array, Int64Array, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use firebreak_domain::{Contract, DatasetId, UnitSpaceId};
use std::collections::HashMap;
use std::sync::Arc;

/// The name under which a view holds its persons. Not a name that a contract can give.
pub const PERSON: &str = "Person";

/// The secret by which rows are ranked: one for each unit space, held by the agency alone.
pub struct RankingKey([u8; 32]);

impl RankingKey {
    /// Wraps 32 secret random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key of a unit space: one for each, so that a person's rows are ranked alike wherever they are asked.
    #[must_use]
    pub fn of(secret: &[u8; 32], space: &UnitSpaceId) -> Self {
        Self::new(*blake3::Hasher::new_keyed(secret).update(space.as_str().as_bytes()).finalize().as_bytes())
    }

    /// Which of so many parts a person belongs to: a pseudo-random function of the person under a key of its own.
    pub(crate) fn part(&self, person: &[u8], parts: usize) -> usize {
        let key = blake3::derive_key("firebreak 2026 parts of a bounded view", &self.0);
        let hash = blake3::keyed_hash(&key, person);
        let number = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        (number % parts.max(1) as u64) as usize
    }

    /// The rank of a person's row: a pseudo-random function of the person, the row's values and which of the
    /// person's equal rows it is (BLAKE3 keyed mode).
    pub(crate) fn rank(&self, person: &[u8], row: &[i64], ordinal: u32) -> [u8; 16] {
        let mut state = blake3::Hasher::new_keyed(&self.0);
        state.update(&(person.len() as u64).to_le_bytes());
        state.update(person);
        for value in row {
            state.update(&value.to_le_bytes());
        }
        state.update(&ordinal.to_le_bytes());
        let mut rank = [0; 16];
        state.finalize_xof().fill(&mut rank);
        rank
    }
}

/// Which rows of `rows` enter the view, in order.
#[must_use]
pub fn kept_rows(rows: &Rows, most: u32, key: &RankingKey) -> Vec<u32> {
    kept(rows, most, key).into_iter().map(|(row, _)| row).collect()
}

/// Which rows of `rows` enter the view, in order, and whether each stands for one of the same person that does not:
/// as many of them as do not, or all.
fn kept(rows: &Rows, most: u32, key: &RankingKey) -> Vec<(u32, bool)> {
    let most = most as usize;
    let persons = rows.persons.iter().max().map_or(0, |p| *p as usize + 1);
    // Counting sort of row numbers by person.
    let mut starts = vec![0_usize; persons + 1];
    for person in &rows.persons {
        if let Some(count) = starts.get_mut(*person as usize + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let mut next = starts.clone();
    let mut by_person = vec![0_u32; rows.persons.len()];
    for (row, person) in rows.persons.iter().enumerate() {
        if let Some(place) = next.get_mut(*person as usize) {
            if let Some(slot) = by_person.get_mut(*place) {
                *slot = row as u32;
            }
            *place += 1;
        }
    }
    let mut kept = Vec::with_capacity(rows.persons.len());
    for (person, bounds) in starts.windows(2).enumerate() {
        let [start, end] = bounds else { continue };
        let own = by_person.get(*start..*end).unwrap_or_default();
        if own.len() <= most {
            kept.extend(own.iter().map(|row| (*row, false)));
        } else {
            let left_out = own.len().saturating_sub(most);
            let ranked = ranked(rows, person, own, key).into_iter().take(most).enumerate();
            kept.extend(ranked.map(|(place, row)| (row, place < left_out)));
        }
    }
    kept.sort_unstable();
    kept
}

/// A person's rows by rank.
fn ranked(rows: &Rows, person: usize, own: &[u32], key: &RankingKey) -> Vec<u32> {
    let name = rows.person_keys.get(person).map(String::as_bytes).unwrap_or_default();
    let mut own: Vec<(Vec<i64>, u32)> = own
        .iter()
        .map(|row| {
            (rows.columns.iter().map(|c| c.values().get(*row as usize).copied().unwrap_or(MISSING)).collect(), *row)
        })
        .collect();
    // Equal rows stand together; which of them is which does not matter, for they are equal.
    own.sort_unstable();
    let mut ranks = Vec::with_capacity(own.len());
    let mut ordinal = 0;
    let mut before: Option<&Vec<i64>> = None;
    for (values, row) in &own {
        ordinal = if before == Some(values) { ordinal + 1 } else { 0 };
        before = Some(values);
        ranks.push((key.rank(name, values, ordinal), *row));
    }
    ranks.sort_unstable();
    ranks.into_iter().map(|(_, row)| row).collect()
}

/// The bounded view of a cut as Arrow columns: `Person` and each column that a question may read.
///
/// # Errors
/// [`SourceError::RegisterTooSmall`] if the file has more rows than [`Contract::most_rows`].
pub fn view(contract: &Contract, rows: &Rows, key: &RankingKey) -> Result<RecordBatch, SourceError> {
    let kept = kept(rows, contract.contribution.rows_per_person, key);
    if kept.len() as u64 > contract.most_rows() {
        return Err(SourceError::RegisterTooSmall);
    }
    let persons = kept.iter().filter_map(|(row, _)| rows.persons.get(*row as usize).copied());
    let mut fields = vec![Field::new(PERSON, DataType::UInt32, false)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(persons.collect::<UInt32Array>())];
    for column in &rows.columns {
        let (kind, array) = arrow_column(column, &kept);
        fields.push(Field::new(column.name().as_str(), kind, true));
        arrays.push(array);
    }
    if let Some(column) = contract.left_out() {
        fields.push(Field::new(column.name.as_str(), DataType::Int16, true));
        let codes = kept.iter().map(|(_, stands_for_another)| i16::from(*stands_for_another));
        arrays.push(Arc::new(codes.collect::<Int16Array>()));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// A dataset's bounded view, and the key of each of its persons by number.
pub struct Part {
    /// The dataset.
    pub dataset: DatasetId,
    /// Its view.
    pub view: RecordBatch,
    /// Of each person, by the number in the view.
    pub keys: Vec<String>,
}

/// The view of the only dataset, or the join of several.
///
/// # Errors
/// As [`joined`].
pub fn together(mut parts: Vec<Part>) -> Result<RecordBatch, SourceError> {
    match parts.pop() {
        Some(alone) if parts.is_empty() => Ok(alone.view),
        last => joined(&parts.into_iter().chain(last).collect::<Vec<_>>()),
    }
}

/// The bounded views of several datasets joined on the person: each row of a person in one beside each of the same
/// person in the others, with every column behind its dataset's id.
///
/// PRIVACY: which rows there are of a person follows from that person's own rows in each view. With at most m and l
/// rows in two of them there are at most m·l in the join, and nobody else's change.
///
/// # Errors
/// [`SourceError::NoKeyToJoin`] if the persons of one of them have no key.
pub fn joined(parts: &[Part]) -> Result<RecordBatch, SourceError> {
    let mut persons: Vec<u32> = Vec::new();
    // Of each dataset so far, the row that stands in each row of the join.
    let mut chosen: Vec<Vec<u32>> = Vec::new();
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    for (place, part) in parts.iter().enumerate() {
        let own = persons_of(part).ok_or(SourceError::NoKeyToJoin)?;
        if place == 0 {
            numbers = part.keys.iter().map(String::as_str).zip(0..).collect();
            persons.extend_from_slice(own);
            chosen.push((0..own.len() as u32).collect());
            continue;
        }
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); numbers.len()];
        for (row, person) in (0_u32..).zip(own) {
            let number = part.keys.get(*person as usize).and_then(|key| numbers.get(key.as_str()));
            if let Some(rows) = number.and_then(|number| rows.get_mut(*number as usize)) {
                rows.push(row);
            }
        }
        let beside = |person: &u32| rows.get(*person as usize).map_or(&[][..], Vec::as_slice);
        let repeated = |of: &[u32]| -> Vec<u32> {
            let each = of.iter().zip(&persons);
            each.flat_map(|(value, person)| std::iter::repeat_n(*value, beside(person).len())).collect()
        };
        let more: Vec<u32> = persons.iter().flat_map(|person| beside(person).iter().copied()).collect();
        chosen = chosen.iter().map(|rows| repeated(rows)).collect();
        chosen.push(more);
        persons = repeated(&persons);
    }
    let mut fields = vec![Field::new(PERSON, DataType::UInt32, false)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(persons))];
    for (part, rows) in parts.iter().zip(chosen) {
        let rows = UInt32Array::from(rows);
        for (field, array) in part.view.schema().fields().iter().zip(part.view.columns()) {
            if field.name() != PERSON {
                let name = format!("{}.{}", part.dataset, field.name());
                fields.push(Field::new(name, field.data_type().clone(), true));
                arrays.push(take(array, &rows, None)?);
            }
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// The persons of a view, by number, where each has a key.
fn persons_of(part: &Part) -> Option<&[u32]> {
    let persons = part.view.column_by_name(PERSON)?.as_primitive_opt::<UInt32Type>()?.values();
    persons.iter().all(|person| (*person as usize) < part.keys.len()).then_some(persons)
}

fn arrow_column(column: &EncodedColumn, kept: &[(u32, bool)]) -> (DataType, ArrayRef) {
    let values = kept.iter().map(|(row, _)| column.values().get(*row as usize).copied().filter(|v| *v != MISSING));
    match column.encoded() {
        Encoded::Code => (DataType::Int16, Arc::new(values.map(|v| v.map(|v| v as i16)).collect::<Int16Array>())),
        Encoded::Day => (DataType::Int32, Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Int32Array>())),
        Encoded::Number => (DataType::Int64, Arc::new(values.collect::<Int64Array>())),
    }
}

#[cfg(test)]
mod tests;
