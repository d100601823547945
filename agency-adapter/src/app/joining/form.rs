//! The records of a side of a join: an identifier and a label of each person who takes part, formed on the disk.

use crate::app::matching::MatchError;
use crate::app::matching::records::{ITEM, KEY, SORTED_IN_MEMORY, is_readable, item, key, put_item, put_key};
use crate::bounded::RankingKey;
use crate::datasets::RowsToMatch;
use crate::source::{Encoded, EncodedColumn, MISSING, Rows};
use firebreak_domain::ColumnName;
use firebreak_psi::{NormalisedInput, Normaliser};
use firebreak_query::{BoundValue, CheckedSide};
use firebreak_store::{RecordFile, RecordReader, SessionFiles, Sorted, Sorter};
use std::collections::BTreeMap;
use tokio::task::block_in_place;
use zeroize::Zeroizing;

const NAME: &str = "records";
/// Bytes of a label.
const LABEL: usize = 2;
/// In place of a label: the row, or the person, has none.
const NONE: u16 = u16::MAX;
/// Bytes of a column's value.
const VALUE: usize = 8;
/// Records that are blinded at once.
const BLOCK: usize = 4096;

/// How rows become records.
pub(super) struct Forming<'a> {
    pub(super) side: &'a CheckedSide,
    pub(super) normaliser: Normaliser,
    pub(super) ranking: RankingKey,
    /// Whether the person of that key takes part.
    pub(super) takes_part: &'a (dyn Fn(&[u8]) -> bool + Sync),
}

impl Forming<'_> {
    /// The records of the rows of a cut.
    ///
    /// PRIVACY: one record for each person at most, which follows from that person's own rows and the ranking key. An
    /// identifier that several persons have takes no part: if one stood in for another, a person less would move two
    /// counts.
    pub(super) async fn records(
        &self,
        mut rows: RowsToMatch<'_>,
        files: &SessionFiles,
    ) -> Result<RecordFile, MatchError> {
        let (mut sorter, mut width, mut number) = (None, 0, 0);
        while let Some(batch) = rows.next().await? {
            block_in_place(|| {
                width = batch.columns.len().saturating_mul(VALUE);
                let sorter = match &mut sorter {
                    Some(sorter) => sorter,
                    none => none.insert(files.sort("rows", KEY + width + LABEL + ITEM, SORTED_IN_MEMORY)?),
                };
                self.add(&batch, &mut number, sorter)
            })?;
        }
        block_in_place(|| {
            let mut persons = files.sort("identifiers", ITEM + LABEL, SORTED_IN_MEMORY)?;
            if let Some(sorter) = sorter {
                self.add_persons(sorter.finish()?, width, &mut persons)?;
            }
            write_alone(persons.finish()?, files)
        })
    }

    /// The rows of a batch: person, values, label, identifier.
    fn add(&self, rows: &Rows, number: &mut u64, sorter: &mut Sorter) -> Result<(), MatchError> {
        let columns: BTreeMap<&ColumnName, &EncodedColumn> = rows.columns.iter().map(|c| (c.name(), c)).collect();
        let mut record = Zeroizing::new(Vec::new());
        for row in 0..rows.persons.len() {
            *number = number.saturating_add(1);
            record.clear();
            match rows.person_of(row) {
                Some(key) => put_key(&mut record, key),
                // Where every row is a person, its number is all there is to name it by.
                None => put_key(&mut record, &format!("row {number}")),
            }
            for column in &rows.columns {
                let value = column.values().get(row).copied().unwrap_or(MISSING);
                record.extend_from_slice(&value.to_be_bytes());
            }
            let value = |name: &ColumnName| bound(columns.get(name)?, row);
            let label = self.side.label(&value).unwrap_or(NONE);
            record.extend_from_slice(&label.to_be_bytes());
            let input = self.normaliser.normalise_parts(&rows.match_key_of(row));
            put_item(&mut record, input.as_ref().map_or(&[], AsRef::as_ref));
            sorter.push(&record)?;
        }
        Ok(())
    }

    /// The identifier and the label of each person who takes part.
    fn add_persons(&self, mut rows: Sorted, width: usize, persons: &mut Sorter) -> Result<(), MatchError> {
        let mut person = Person::default();
        while let Some(row) = rows.next()? {
            let (key, rest) = row.split_at_checked(KEY).ok_or(MatchError::Failed)?;
            if person.key.as_slice() != key {
                self.add_person(&person, persons)?;
                person = Person { key: Zeroizing::new(key.to_vec()), ..Person::default() };
            }
            let (values, rest) = rest.split_at_checked(width).ok_or(MatchError::Failed)?;
            let (label, item) = rest.split_first_chunk().ok_or(MatchError::Failed)?;
            person.add(values, u16::from_be_bytes(*label), item, &self.ranking);
        }
        self.add_person(&person, persons)
    }

    fn add_person(&self, person: &Person, persons: &mut Sorter) -> Result<(), MatchError> {
        // Nothing can be recorded of a person whose key cannot be read again, and so no restriction.
        if person.item.is_empty() || !is_readable(&person.key) || !(self.takes_part)(&key(&person.key)?) {
            return Ok(());
        }
        let label = person.best.as_ref().map_or(NONE, |(_, label)| *label);
        let record = Zeroizing::new([person.item.as_slice(), &label.to_be_bytes()].concat());
        Ok(persons.push(&record)?)
    }
}

/// A column's value in a row; `None` where it is missing.
fn bound(column: &EncodedColumn, row: usize) -> Option<BoundValue> {
    let value = column.values().get(row).copied().filter(|value| *value != MISSING)?;
    match column.encoded() {
        Encoded::Code => u16::try_from(value).ok().map(BoundValue::Code),
        Encoded::Number => Some(BoundValue::Number(value)),
        Encoded::Day => i32::try_from(value).ok().map(BoundValue::Day),
    }
}

/// What is known of a person whose rows are read one after another.
#[derive(Default)]
struct Person {
    key: Zeroizing<Vec<u8>>,
    /// The rank and the label of the row that counts: the first by rank among those that have a label.
    best: Option<([u8; 16], u16)>,
    /// The identifier of that row, if it is usable; else another usable one of the person.
    item: Zeroizing<Vec<u8>>,
    last: Option<Vec<u8>>,
    ordinal: u32,
}

impl Person {
    fn add(&mut self, values: &[u8], label: u16, held: &[u8], ranking: &RankingKey) {
        let again = self.last.as_deref() == Some(values);
        self.ordinal = if again { self.ordinal.saturating_add(1) } else { 0 };
        self.last = Some(values.to_vec());
        let usable = item(held).is_some();
        let mut counts = false;
        if label != NONE {
            let row: Vec<i64> = values.as_chunks().0.iter().map(|value| i64::from_be_bytes(*value)).collect();
            let rank = ranking.rank(&key(&self.key).unwrap_or_default(), &row, self.ordinal);
            counts = self.best.is_none_or(|(best, _)| rank < best);
            if counts {
                self.best = Some((rank, label));
            }
        }
        if usable && (counts || self.item.is_empty()) {
            self.item = Zeroizing::new(held.to_vec());
        }
    }
}

/// Writes those whose identifier nobody else has, and that have a label.
fn write_alone(mut persons: Sorted, files: &SessionFiles) -> Result<RecordFile, MatchError> {
    let mut written = files.write_records(NAME, ITEM + LABEL)?;
    let mut waiting: Option<(Zeroizing<Vec<u8>>, bool)> = None;
    let mut put = |record: &(Zeroizing<Vec<u8>>, bool)| {
        let (record, alone) = record;
        let labelled = record.get(ITEM..) != Some(&NONE.to_be_bytes());
        if *alone && labelled { written.push(record) } else { Ok(()) }
    };
    while let Some(record) = persons.next()? {
        match &mut waiting {
            Some((before, alone)) if before.get(..ITEM) == record.get(..ITEM) => *alone = false,
            _ => {
                let before = waiting.replace((Zeroizing::new(record.to_vec()), true));
                before.iter().try_for_each(&mut put)?;
            }
        }
    }
    waiting.iter().try_for_each(&mut put)?;
    Ok(written.finish()?)
}

/// The next records; none after the last.
pub(super) fn block(reader: &mut RecordReader) -> Result<Vec<(NormalisedInput, u16)>, MatchError> {
    let mut block = Vec::with_capacity(BLOCK);
    while block.len() < BLOCK
        && let Some(record) = reader.next()?
    {
        let (held, label) = record.split_at_checked(ITEM).ok_or(MatchError::Failed)?;
        let input = item(held).and_then(|slot| slot.input()).ok_or(MatchError::Failed)?;
        block.push((input, u16::from_be_bytes(label.try_into().map_err(|_| MatchError::Failed)?)));
    }
    Ok(block)
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
