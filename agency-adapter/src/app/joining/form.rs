//! The records of a side of a join: an identifier and a label of each person who takes part, formed on the disk.

use crate::app::matching::MatchError;
use crate::app::matching::sorting::SORTED_IN_MEMORY;
use crate::bounded::RankingKey;
use crate::datasets::RowsToMatch;
use crate::source::{Encoded, EncodedColumn, MISSING, Rows};
use firebreak_domain::ColumnName;
use firebreak_psi::{NormalisedInput, Normaliser};
use firebreak_query::{BoundValue, CheckedSide};
use firebreak_records::{
    ITEM, JoinRecord, JoinRow, KEY, NO_LABEL, VALUE, holds_nothing, is_readable, item_record, key_record, read_item,
    read_key,
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
        let mut values: Zeroizing<Vec<[u8; VALUE]>> = Zeroizing::new(Vec::with_capacity(rows.columns.len()));
        for row in 0..rows.persons.len() {
            *number = number.saturating_add(1);
            let key = match rows.person_of(row) {
                Some(key) => key_record(key),
                // Where every row is a person, its number is all there is to name it by.
                None => key_record(&format!("row {number}")),
            };
            values.clear();
            let value = |column: &EncodedColumn| column.values().get(row).copied().unwrap_or(MISSING);
            values.extend(rows.columns.iter().map(|column| value(column).to_be_bytes()));
            let bound = |name: &ColumnName| bound(columns.get(name)?, row);
            let label = self.side.label(&bound).unwrap_or(NO_LABEL);
            let input = self.normaliser.normalise_parts(&rows.match_key_of(row));
            let item = item_record(input.as_ref().map_or(&[], AsRef::as_ref));
            record.clear();
            JoinRow { key: &key, values: &values, label, item: &item }.put(&mut record);
            sorter.push(&record)?;
        }
        Ok(())
    }

    /// The identifier and the label of each person who takes part.
    fn add_persons(&self, mut rows: Sorted, columns: usize, persons: &mut Sorter) -> Result<(), MatchError> {
        let mut person: Option<Person> = None;
        while let Some(row) = rows.next()? {
            let row = JoinRow::read(row, columns).ok_or(MatchError::Failed)?;
            if let Some(before) = person.take_if(|person| *person.key != *row.key) {
                self.add_person(&before, persons)?;
            }
            person.get_or_insert_with(|| Person::of(row.key)).add(row.values, row.label, row.item, &self.ranking);
        }
        person.iter().try_for_each(|person| self.add_person(person, persons))
    }

    fn add_person(&self, person: &Person, persons: &mut Sorter) -> Result<(), MatchError> {
        // Nothing can be recorded of a person whose key cannot be read again, and so no restriction.
        let Some(item) = person.item.as_ref().filter(|_| is_readable(&person.key)) else { return Ok(()) };
        if !(self.takes_part)(&read_key(&person.key).ok_or(MatchError::Failed)?) {
            return Ok(());
        }
        let label = person.best.as_ref().map_or(NO_LABEL, |(_, label)| *label);
        let mut record = Zeroizing::new(Vec::with_capacity(JoinRecord::BYTES));
        JoinRecord { item, label }.put(&mut record);
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
struct Person {
    key: Zeroizing<[u8; KEY]>,
    /// The rank and the label of the row that counts: the first by rank among those that have a label.
    best: Option<([u8; 16], u16)>,
    /// The identifier of that row, if it is usable; else another usable one of the person.
    item: Option<Zeroizing<[u8; ITEM]>>,
    last: Option<Zeroizing<Vec<[u8; VALUE]>>>,
    ordinal: u32,
}

impl Person {
    fn of(key: &[u8; KEY]) -> Self {
        Self { key: Zeroizing::new(*key), best: None, item: None, last: None, ordinal: 0 }
    }

    fn add(&mut self, values: &[[u8; VALUE]], label: u16, held: &[u8; ITEM], ranking: &RankingKey) {
        let again = self.last.as_ref().is_some_and(|last| last.as_slice() == values);
        self.ordinal = if again { self.ordinal.saturating_add(1) } else { 0 };
        self.last = Some(Zeroizing::new(values.to_vec()));
        let usable = !holds_nothing(held);
        let mut counts = false;
        if label != NO_LABEL {
            let row = Zeroizing::new(values.iter().copied().map(i64::from_be_bytes).collect::<Vec<_>>());
            let rank = ranking.rank(&read_key(&self.key).unwrap_or_default(), &row, self.ordinal);
            counts = self.best.is_none_or(|(best, _)| rank < best);
            if counts {
                self.best = Some((rank, label));
            }
        }
        if usable && (counts || self.item.is_none()) {
            self.item = Some(Zeroizing::new(*held));
        }
    }
}

/// Writes those whose identifier nobody else has, and that have a label.
fn write_alone(mut persons: Sorted, files: &SessionFiles) -> Result<RecordFile, MatchError> {
    let mut written = files.write_records(NAME, JoinRecord::BYTES)?;
    // An identifier, the label of one who has it, and whether nobody else has.
    let mut waiting: Option<(Zeroizing<[u8; ITEM]>, u16, bool)> = None;
    let mut record = Zeroizing::new(Vec::with_capacity(JoinRecord::BYTES));
    let mut put = |(item, label, alone): &(Zeroizing<[u8; ITEM]>, u16, bool)| {
        if !*alone || *label == NO_LABEL {
            return Ok(());
        }
        record.clear();
        JoinRecord { item, label: *label }.put(&mut record);
        written.push(&record)
    };
    while let Some(person) = persons.next()? {
        let JoinRecord { item, label } = JoinRecord::read(person).ok_or(MatchError::Failed)?;
        match &mut waiting {
            Some((before, _, alone)) if **before == *item => *alone = false,
            _ => {
                let before = waiting.replace((Zeroizing::new(*item), label, true));
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
        let input = read_item(record.item).and_then(|slot| slot.input()).ok_or(MatchError::Failed)?;
        block.push((input, record.label));
    }
    Ok(block)
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
