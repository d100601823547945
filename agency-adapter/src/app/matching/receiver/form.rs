//! The receiver's set: formed once, on the disk, and the same whenever the session goes on.

use super::own::{Own, Sharing, own};
use super::shared::{Everybody, Shared};
use crate::app::matching::epoch::SharedEpoch;
use crate::app::matching::sorting::{SORTED_IN_MEMORY, distinct};
use crate::app::matching::{CHUNK_ELEMENTS, MatchError};
use crate::datasets::RowsToMatch;
use crate::source::{Encoded, MISSING, Rows};
use firebreak_domain::{ColumnName, CutId, ReasonCode, Refusal};
use firebreak_psi::{Normaliser, Shuffle, padded_size};
use firebreak_query::{BoundValue, CheckedQuery};
use firebreak_records::{
    Behind, FormedSet, IDENTIFIER, ITEM, Identifier, InEpoch, Ranked, Reading, Selected, Stands, identifier, item_of,
    item_record, key_record, name_hash,
};
use firebreak_store::{RecordFile, RecordReader, SessionFiles, Sorted, Sorter};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

const SLOTS: &str = "slots";
const PERSONS: &str = "persons";
const EPOCH: &str = "epoch";

/// What was formed, as it is written down when all of it is on the disk.
pub(super) struct Formed {
    /// Of what, and how large it is.
    pub(super) set: FormedSet,
    /// The epoch in which it is matched; `None` for a set that has a list of its own.
    pub(super) epoch: Option<InEpoch>,
}

/// How many places a list is to have.
#[derive(Clone, Copy)]
pub(super) enum Places<'a> {
    /// Those of a set in the epoch, if it is small enough; else whole chunks.
    Padded(Option<&'a SharedEpoch>),
    /// As many as were committed to.
    Committed(u32),
}

impl<'a> Places<'a> {
    /// How many, for so many inputs, and the epoch in which they are matched.
    fn of(self, inputs: u64) -> Result<(u32, Option<&'a SharedEpoch>), MatchError> {
        let small = |epoch: &&SharedEpoch| inputs <= u64::from(epoch.elements);
        let inputs = usize::try_from(inputs).map_err(|_| MatchError::Failed)?;
        Ok(match self {
            Self::Padded(epoch) => match epoch.filter(small) {
                Some(epoch) => (epoch.elements, Some(epoch)),
                None => (padded_size(inputs, CHUNK_ELEMENTS)?, None),
            },
            // More inputs than places are another set, of another root.
            Self::Committed(places) => (places.max(padded_size(inputs, 1)?), None),
        })
    }
}

/// The file of what the places hold, in their order.
pub(super) fn slots(files: &SessionFiles) -> Result<RecordFile, MatchError> {
    Ok(files.records(SLOTS, ITEM)?)
}

/// The file of who stands behind a place, in the order of places: of a place without anybody there is nothing.
pub(super) fn persons(files: &SessionFiles) -> Result<RecordFile, MatchError> {
    Ok(files.records(PERSONS, Behind::BYTES)?)
}

impl Formed {
    /// What the session has formed before, if that was finished.
    ///
    /// # Errors
    /// [`MatchError`]; `SESSION_MISMATCH` if it was formed from something else.
    pub(super) fn kept(files: &SessionFiles, terms: [u8; 32]) -> Result<Option<Self>, MatchError> {
        let spool = files.spool("formed")?;
        if spool.is_empty() {
            return Ok(None);
        }
        let set = FormedSet::decode(&spool.get(0)?).ok_or(MatchError::Failed)?;
        if set.terms != terms {
            let refusal = Refusal::new(ReasonCode::SessionMismatch);
            return Err(refusal
                .because("this request was begun with another selection or key: send it as a new one")
                .into());
        }
        let epoch = match files.holds(EPOCH) {
            true => Some(InEpoch::decode(&files.spool(EPOCH)?.get(0)?).ok_or(MatchError::Failed)?),
            false => None,
        };
        Ok(Some(Self { set, epoch }))
    }

    fn keep(self, files: &SessionFiles) -> Result<Self, MatchError> {
        files.delete(EPOCH);
        if let Some(epoch) = &self.epoch {
            files.spool(EPOCH)?.add(&epoch.encode())?;
        }
        // INVARIANT: last, since what is written down here is whole.
        files.spool("formed")?.add(&self.set.encode())?;
        Ok(self)
    }
}

/// What a set is formed by.
pub(super) struct Forming<'a> {
    /// Who is selected; everybody for `None`.
    pub(super) condition: Option<&'a CheckedQuery>,
    pub(super) reading: &'a Reading,
    pub(super) shuffle: &'a Shuffle,
    pub(super) files: &'a SessionFiles,
    /// SHA-256 of all that it is formed from.
    pub(super) terms: [u8; 32],
    pub(super) cut: CutId,
    pub(super) places: Places<'a>,
    /// Whether columns come of those matched: then it is looked for identifiers of several persons.
    pub(super) disclosed: bool,
}

impl Forming<'_> {
    /// Forms the set of the rows that are selected. The persons `matched` by stronger keys are in it, and take no part.
    pub(super) async fn form(self, mut rows: RowsToMatch<'_>, matched: Option<Sorted>) -> Result<Formed, MatchError> {
        let mut selected = self.files.sort("selected", Selected::BYTES, SORTED_IN_MEMORY)?;
        let mut everybody = if self.disclosed { Some(Everybody::new(self.files)?) } else { None };
        let mut row: u64 = 0;
        while let Some(batch) = rows.next().await? {
            tokio::task::block_in_place(|| self.add_rows(&batch, &mut row, &mut selected, everybody.as_mut()))?;
        }
        tokio::task::block_in_place(|| {
            let own = own(selected.finish()?, matched, Sharing::of(self.reading), self.shuffle, self.files)?;
            let mut shared = everybody.map(|everybody| everybody.shared(self.shuffle, self.files)).transpose()?;
            // Two persons with one and the same identifier share its place.
            let inputs = distinct(&own.records, IDENTIFIER)?;
            let (places, epoch) = self.places.of(inputs)?;
            let size = (inputs, places);
            place(&own.records, size, self.shuffle, self.reading.normaliser(), shared.as_mut(), self.files)?;
            if let Some(shared) = shared {
                shared.finish()?;
            }
            own.records.delete();
            let Own { offered, unusable, .. } = own;
            let epoch = epoch.map(|epoch| InEpoch { number: epoch.epoch.number, name: epoch.name });
            let set = FormedSet { terms: self.terms, offered, unusable, places, cut: self.cut.clone() };
            Formed { set, epoch }.keep(self.files)
        })
    }

    /// The rows of a batch: the person, whether inside of the selection, the row's number, the identifier, and the hash of
    /// the name where that tells persons apart. And the identifiers of everybody, where they are looked for.
    fn add_rows(
        &self,
        rows: &Rows,
        number: &mut u64,
        selected: &mut Sorter,
        mut everybody: Option<&mut Everybody>,
    ) -> Result<(), MatchError> {
        let mut record = Zeroizing::new(Vec::with_capacity(Selected::BYTES));
        let sharing = Sharing::of(self.reading);
        for (row, holds) in select(self.condition, rows).into_iter().enumerate() {
            *number = number.saturating_add(1);
            // Who is outside counts where somebody inside may share an identifier with them.
            let counts = holds || sharing != Sharing::Together;
            if !counts && everybody.is_none() {
                continue;
            }
            let key = match rows.person_of(row) {
                Some(key) => key_record(key),
                // Where every row is a person, its number is all there is to name it by.
                None => key_record(&format!("row {number}")),
            };
            let texts = rows.match_key_of(row);
            let (input, name) = self.reading.forms(&texts).ok_or(MatchError::Failed)?;
            let item = item_record(input.as_ref().map_or(&[], AsRef::as_ref));
            if let Some(everybody) = everybody.as_mut().filter(|_| input.is_some()) {
                everybody.add(&item, &key)?;
            }
            if counts {
                let stands = if holds { Stands::TakesPart } else { Stands::Outside };
                record.clear();
                Selected { key: &key, stands, row: *number, item: &item, name: &name_hash(name.as_ref()) }
                    .put(&mut record);
                selected.push(&record)?;
            }
        }
        Ok(())
    }
}

/// The rows for which the selection is true.
fn select(condition: Option<&CheckedQuery>, rows: &Rows) -> Vec<bool> {
    let Some(filter) = condition.and_then(CheckedQuery::filter) else { return vec![true; rows.persons.len()] };
    let columns: BTreeMap<&ColumnName, _> = rows.columns.iter().map(|c| (c.name(), c)).collect();
    let holds = |row: usize| {
        let value = |name: &ColumnName| {
            let column = columns.get(name)?;
            let value = column.values().get(row).copied().filter(|v| *v != MISSING)?;
            match column.encoded() {
                Encoded::Code => u16::try_from(value).ok().map(BoundValue::Code),
                Encoded::Number => Some(BoundValue::Number(value)),
                Encoded::Day => i32::try_from(value).ok().map(BoundValue::Day),
            }
        };
        filter.holds(&value) == Some(true)
    };
    (0..rows.persons.len()).map(holds).collect()
}

/// Fills the list of so many inputs up to so many places, puts every place in its order, and writes down what it holds and
/// who stands behind it.
fn place(
    own: &RecordFile,
    (inputs, places): (u64, u32),
    shuffle: &Shuffle,
    normaliser: Normaliser,
    mut shared: Option<&mut Shared>,
    files: &SessionFiles,
) -> Result<(), MatchError> {
    let mut padding = files.sort("padding", IDENTIFIER, SORTED_IN_MEMORY)?;
    for number in 0..u64::from(places).saturating_sub(inputs) {
        let slot = shuffle.padding(number, normaliser);
        padding.push(&*identifier(&shuffle.rank(&slot), &item_record(slot.as_ref())))?;
    }
    let (mut own, mut padding) = (own.read()?, padding.finish()?);
    let mut slots = files.write_records(SLOTS, ITEM)?;
    let mut persons = files.write_records(PERSONS, Behind::BYTES)?;
    let (mut next, mut filler) = (next_own(&mut own)?, next_padding(&mut padding)?);
    let mut last: Option<Zeroizing<Identifier>> = None;
    let mut behind = Zeroizing::new(Vec::with_capacity(Behind::BYTES));
    let mut count: u32 = 0;
    loop {
        let ahead = match (&next, &filler) {
            (None, None) => break,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(filler)) => own.get(..IDENTIFIER) <= filler.get(..),
        };
        let record = if ahead { next.take() } else { filler.take() }.ok_or(MatchError::Failed)?;
        let ranked: &Identifier = record.first_chunk().ok_or(MatchError::Failed)?;
        if last.as_deref() != Some(ranked) {
            slots.push(item_of(ranked))?;
            if let Some(shared) = shared.as_mut() {
                shared.note(count, ranked)?;
            }
            count = count.checked_add(1).ok_or(MatchError::Failed)?;
            last = Some(Zeroizing::new(*ranked));
        }
        if ahead {
            let Ranked { stands, key, .. } = Ranked::read(&record).ok_or(MatchError::Failed)?;
            behind.clear();
            Behind { place: count.saturating_sub(1), stands, key }.put(&mut behind);
            persons.push(&behind)?;
            next = next_own(&mut own)?;
        } else {
            filler = next_padding(&mut padding)?;
        }
    }
    slots.finish()?;
    persons.finish()?;
    if count == places { Ok(()) } else { Err(MatchError::Failed) }
}

type Record = Zeroizing<Vec<u8>>;

fn next_own(reader: &mut RecordReader) -> Result<Option<Record>, MatchError> {
    Ok(reader.next()?.map(|record| Zeroizing::new(record.to_vec())))
}

fn next_padding(sorted: &mut Sorted) -> Result<Option<Record>, MatchError> {
    Ok(sorted.next()?.map(|record| Zeroizing::new(record.to_vec())))
}
