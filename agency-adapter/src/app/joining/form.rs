//! The records of a side of a join: an identifier and a label of each person who takes part, formed on the disk.

use crate::app::matching::MatchError;
use crate::app::matching::records::SORTED_IN_MEMORY;
use crate::bounded::RankingKey;
use crate::datasets::RowsToMatch;
use crate::source::{Encoded, EncodedColumn, MISSING, Rows};
use firebreak_domain::ColumnName;
use firebreak_psi::{NormalisedInput, Normaliser};
use firebreak_query::{BoundValue, CheckedSide};
use firebreak_records::{
    ITEM, JoinRecord, JoinRow, KEY, NO_LABEL, VALUE, holds_nothing, is_readable, item, key, put_item, put_key,
};
use firebreak_store::{RecordFile, RecordReader, SessionFiles, Sorted, Sorter};
use std::collections::BTreeMap;
use tokio::task::block_in_place;
use zeroize::Zeroizing;

const NAME: &str = "records";
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
        let (mut sorter, mut columns, mut number) = (None, 0, 0);
        while let Some(batch) = rows.next().await? {
            block_in_place(|| {
                columns = batch.columns.len();
                let sorter = match &mut sorter {
                    Some(sorter) => sorter,
                    none => none.insert(files.sort("rows", JoinRow::bytes(columns), SORTED_IN_MEMORY)?),
                };
                self.add(&batch, &mut number, sorter)
            })?;
        }
        block_in_place(|| {
            let mut persons = files.sort("identifiers", JoinRecord::BYTES, SORTED_IN_MEMORY)?;
            if let Some(sorter) = sorter {
                self.add_persons(sorter.finish()?, columns, &mut persons)?;
            }
            write_alone(persons.finish()?, files)
        })
    }

    /// The rows of a batch, each a [`JoinRow`].
    fn add(&self, rows: &Rows, number: &mut u64, sorter: &mut Sorter) -> Result<(), MatchError> {
        let columns: BTreeMap<&ColumnName, &EncodedColumn> = rows.columns.iter().map(|c| (c.name(), c)).collect();
        let mut record = Zeroizing::new(Vec::with_capacity(JoinRow::bytes(rows.columns.len())));
        let (mut key, mut held) = (Zeroizing::new(Vec::with_capacity(KEY)), Zeroizing::new(Vec::with_capacity(ITEM)));
        let mut values: Zeroizing<Vec<[u8; VALUE]>> = Zeroizing::new(Vec::with_capacity(rows.columns.len()));
        for row in 0..rows.persons.len() {
            *number = number.saturating_add(1);
            key.clear();
            match rows.person_of(row) {
                Some(text) => put_key(&mut key, text),
                // Where every row is a person, its number is all there is to name it by.
                None => put_key(&mut key, &format!("row {number}")),
            }
            values.clear();
            let value = |column: &EncodedColumn| column.values().get(row).copied().unwrap_or(MISSING);
            values.extend(rows.columns.iter().map(|column| value(column).to_be_bytes()));
            let bound = |name: &ColumnName| bound(columns.get(name)?, row);
            let label = self.side.label(&bound).unwrap_or(NO_LABEL);
            let input = self.normaliser.normalise_parts(&rows.match_key_of(row));
            held.clear();
            put_item(&mut held, input.as_ref().map_or(&[], AsRef::as_ref));
            record.clear();
            JoinRow { key: &key, values: &values, label, item: &held }.put(&mut record);
            sorter.push(&record)?;
        }
        Ok(())
    }

    /// The identifier and the label of each person who takes part.
    fn add_persons(&self, mut rows: Sorted, columns: usize, persons: &mut Sorter) -> Result<(), MatchError> {
        let mut person = Person::default();
        while let Some(row) = rows.next()? {
            let row = JoinRow::read(row, columns).ok_or(MatchError::Failed)?;
            if person.key.as_slice() != row.key {
                self.add_person(&person, persons)?;
                person = Person { key: Zeroizing::new(row.key.to_vec()), ..Person::default() };
            }
            person.add(row.values, row.label, row.item, &self.ranking);
        }
        self.add_person(&person, persons)
    }

    fn add_person(&self, person: &Person, persons: &mut Sorter) -> Result<(), MatchError> {
        // Nothing can be recorded of a person whose key cannot be read again, and so no restriction.
        if person.item.is_empty() || !is_readable(&person.key) {
            return Ok(());
        }
        if !(self.takes_part)(&key(&person.key).ok_or(MatchError::Failed)?) {
            return Ok(());
        }
        let label = person.best.as_ref().map_or(NO_LABEL, |(_, label)| *label);
        let mut record = Zeroizing::new(Vec::with_capacity(JoinRecord::BYTES));
        JoinRecord { item: &person.item, label }.put(&mut record);
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
    last: Option<Vec<[u8; VALUE]>>,
    ordinal: u32,
}

impl Person {
    fn add(&mut self, values: &[[u8; VALUE]], label: u16, held: &[u8], ranking: &RankingKey) {
        let again = self.last.as_deref() == Some(values);
        self.ordinal = if again { self.ordinal.saturating_add(1) } else { 0 };
        self.last = Some(values.to_vec());
        let usable = !holds_nothing(held);
        let mut counts = false;
        if label != NO_LABEL {
            let row: Vec<i64> = values.iter().copied().map(i64::from_be_bytes).collect();
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
    let mut written = files.write_records(NAME, JoinRecord::BYTES)?;
    let mut waiting: Option<(Zeroizing<Vec<u8>>, bool)> = None;
    let mut put = |record: &(Zeroizing<Vec<u8>>, bool)| {
        let (record, alone) = record;
        let labelled = JoinRecord::read(record).is_some_and(|record| record.label != NO_LABEL);
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
        let record = JoinRecord::read(record).ok_or(MatchError::Failed)?;
        let input = item(record.item).and_then(|slot| slot.input()).ok_or(MatchError::Failed)?;
        block.push((input, record.label));
    }
    Ok(block)
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
