//! The receiver's set: formed once, on the disk, and the same whenever the session goes on.

use crate::app::matching::records::{
    ITEM, KEY, SORTED_IN_MEMORY, distinct, is_readable, item as read_item, put_item, put_key,
};
use crate::app::matching::{CHUNK_ELEMENTS, MatchError};
use crate::datasets::RowsToMatch;
use crate::source::{Encoded, MISSING, Rows};
use firebreak_domain::{ColumnName, CutId, ReasonCode, Refusal};
use firebreak_psi::{Normaliser, Shuffle, padded_size};
use firebreak_query::{BoundValue, CheckedQuery};
use firebreak_store::{RecordFile, RecordReader, RecordWriter, SessionFiles, Sorted, Sorter};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

const SLOTS: &str = "slots";
const PERSONS: &str = "persons";
const SHARED: &str = "shared";
/// Bytes of a place's rank.
const RANK: usize = 16;
/// Bytes of a row's number.
const ROW: usize = 8;
/// Bytes of a place's number.
const PLACE: usize = 4;

/// What was formed, as it is written down when all of it is on the disk.
pub(super) struct Formed {
    /// SHA-256 of what it was formed from.
    terms: [u8; 32],
    /// Own persons who take part.
    pub(super) offered: u64,
    /// Own persons selected whose identifier, or key, is missing or unusable.
    pub(super) unusable: u64,
    /// Places of the list, padding included.
    pub(super) places: u32,
    /// The version of the dataset that it was formed of.
    pub(super) cut: CutId,
}

/// The file of what the places hold, in their order.
pub(super) fn slots(files: &SessionFiles) -> Result<RecordFile, MatchError> {
    Ok(files.records(SLOTS, ITEM)?)
}

/// The file of who stands behind a place, in the order of places: of a place without anybody there is nothing.
pub(super) fn persons(files: &SessionFiles) -> Result<RecordFile, MatchError> {
    Ok(files.records(PERSONS, PLACE + KEY)?)
}

/// The file of the places whose identifier several persons of the dataset have, selected or not; `None` where nobody is
/// disclosed anything, and it was not looked for.
pub(super) fn shared(files: &SessionFiles) -> Result<Option<RecordFile>, MatchError> {
    Ok(if files.holds(SHARED) { Some(files.records(SHARED, PLACE)?) } else { None })
}

/// The place and the person's key of a record of [`persons`].
pub(super) fn place_and_key(record: &[u8]) -> Option<(u32, &[u8])> {
    let (place, key) = record.split_first_chunk()?;
    Some((u32::from_be_bytes(*place), key))
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
        let formed = Self::read(&spool.get(0)?).ok_or(MatchError::Failed)?;
        if formed.terms != terms {
            let refusal = Refusal::new(ReasonCode::SessionMismatch);
            return Err(refusal.because("this request was begun with another selection: send it as a new one").into());
        }
        Ok(Some(formed))
    }

    fn keep(self, files: &SessionFiles) -> Result<Self, MatchError> {
        let (offered, unusable) = (self.offered.to_be_bytes(), self.unusable.to_be_bytes());
        let places = self.places.to_be_bytes();
        let bytes = [self.terms.as_slice(), &offered, &unusable, &places, self.cut.as_str().as_bytes()].concat();
        files.spool("formed")?.add(&bytes)?;
        Ok(self)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (terms, rest) = bytes.split_first_chunk()?;
        let (offered, rest) = rest.split_first_chunk()?;
        let (unusable, rest) = rest.split_first_chunk()?;
        let (places, cut) = rest.split_first_chunk()?;
        let cut = CutId::new(str::from_utf8(cut).ok()?).ok()?;
        let places = u32::from_be_bytes(*places);
        let (offered, unusable) = (u64::from_be_bytes(*offered), u64::from_be_bytes(*unusable));
        Some(Self { terms: *terms, offered, unusable, places, cut })
    }
}

/// How the set is formed.
pub(super) struct Forming<'a> {
    /// Which rows take part; `None` for all.
    pub(super) condition: Option<&'a CheckedQuery>,
    /// How identifiers are written.
    pub(super) normaliser: Normaliser,
    /// Whether columns come of those matched: then it is looked for identifiers of several persons.
    pub(super) disclosed: bool,
}

/// Forms the set of the rows that are selected. Of a person's selected rows the first with a usable identifier
/// counts.
pub(super) async fn form(
    mut rows: RowsToMatch<'_>,
    forming: Forming<'_>,
    shuffle: &Shuffle,
    files: &SessionFiles,
    terms: [u8; 32],
    cut: CutId,
) -> Result<Formed, MatchError> {
    let mut selected = files.sort("selected", KEY + ROW + ITEM, SORTED_IN_MEMORY)?;
    let mut everybody = match forming.disclosed {
        true => Some(files.sort("everybody", ITEM + KEY, SORTED_IN_MEMORY)?),
        false => None,
    };
    let mut row: u64 = 0;
    while let Some(batch) = rows.next().await? {
        tokio::task::block_in_place(|| add_rows(&batch, &forming, &mut row, &mut selected, everybody.as_mut()))?;
    }
    tokio::task::block_in_place(|| {
        let (own, offered, unusable) = by_rank(selected.finish()?, shuffle, files)?;
        let mut shared = match everybody {
            Some(everybody) => Some(Shared::among(everybody.finish()?, shuffle, files)?),
            None => None,
        };
        let places = place(&own, shuffle, forming.normaliser, shared.as_mut(), files)?;
        if let Some(shared) = shared {
            shared.places.finish()?;
        }
        own.delete();
        Formed { terms, offered, unusable, places, cut }.keep(files)
    })
}

/// The selected rows of a batch: the person, the row's number, the identifier. And the identifiers of everybody, with the
/// person, where they are looked for.
fn add_rows(
    rows: &Rows,
    forming: &Forming<'_>,
    number: &mut u64,
    selected: &mut Sorter,
    mut everybody: Option<&mut Sorter>,
) -> Result<(), MatchError> {
    let mut record = Zeroizing::new(Vec::with_capacity(KEY + ROW + ITEM));
    for (row, holds) in select(forming.condition, rows).into_iter().enumerate() {
        *number = number.saturating_add(1);
        if !holds && everybody.is_none() {
            continue;
        }
        record.clear();
        match rows.person_of(row) {
            Some(key) => put_key(&mut record, key),
            // Where every row is a person, its number is all there is to name it by.
            None => put_key(&mut record, &format!("row {number}")),
        }
        let written = rows.match_keys.get(row).and_then(Option::as_ref);
        let input = written.and_then(|text| forming.normaliser.normalise(text));
        if let Some((everybody, input)) = everybody.as_mut().zip(input.as_ref()) {
            let mut named = Zeroizing::new(Vec::with_capacity(ITEM + KEY));
            put_item(&mut named, input.as_ref());
            named.extend_from_slice(&record);
            everybody.push(&named)?;
        }
        if holds {
            record.extend_from_slice(&number.to_be_bytes());
            put_item(&mut record, input.as_ref().map_or(&[], AsRef::as_ref));
            selected.push(&record)?;
        }
    }
    Ok(())
}

/// Identifiers that several persons of the dataset have, in the order of places.
///
/// PRIVACY: they are looked for among all rows: to select one of two persons with one identifier does not make the row that
/// comes that person's.
struct Shared {
    ranked: Sorted,
    next: Option<Record>,
    /// The places at which they stand.
    places: RecordWriter,
}

impl Shared {
    /// Those among identifiers and persons, in the order of their bytes.
    fn among(mut everybody: Sorted, shuffle: &Shuffle, files: &SessionFiles) -> Result<Self, MatchError> {
        let mut ranked = files.sort("shared-ranks", RANK + ITEM, SORTED_IN_MEMORY)?;
        let mut last = Zeroizing::new(Vec::with_capacity(ITEM + KEY));
        let mut counted = false;
        while let Some(record) = everybody.next()? {
            let item = record.get(..ITEM).ok_or(MatchError::Failed)?;
            if last.get(..ITEM) != Some(item) {
                counted = false;
            } else if !counted && last.as_slice() != record {
                counted = true;
                let slot = read_item(item).ok_or(MatchError::Failed)?;
                ranked.push(&Zeroizing::new([shuffle.rank(&slot).as_slice(), item].concat()))?;
            }
            last.clear();
            last.extend_from_slice(record);
        }
        let mut ranked = ranked.finish()?;
        let next = next_padding(&mut ranked)?;
        Ok(Self { ranked, next, places: files.write_records(SHARED, PLACE)? })
    }

    /// Writes a place down if what stands there is one of them. Places come in their order.
    fn note(&mut self, place: u32, ranked: &[u8]) -> Result<(), MatchError> {
        while self.next.as_ref().is_some_and(|next| next.as_slice() < ranked) {
            self.next = next_padding(&mut self.ranked)?;
        }
        if self.next.as_ref().is_some_and(|next| next.as_slice() == ranked) {
            self.places.push(&place.to_be_bytes())?;
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

/// One record for each person who takes part, by the rank of its identifier: rank, identifier, key. With how many there
/// are, and how many cannot take part.
fn by_rank(
    mut selected: Sorted,
    shuffle: &Shuffle,
    files: &SessionFiles,
) -> Result<(RecordFile, u64, u64), MatchError> {
    let mut own = files.sort("own", RANK + ITEM + KEY, SORTED_IN_MEMORY)?;
    let (mut offered, mut unusable): (u64, u64) = (0, 0);
    let mut person = Zeroizing::new(Vec::with_capacity(KEY));
    let mut done = true;
    let mut record = Zeroizing::new(Vec::with_capacity(RANK + ITEM + KEY));
    while let Some(row) = selected.next()? {
        let (key, rest) = row.split_at_checked(KEY).ok_or(MatchError::Failed)?;
        if person.as_slice() != key {
            unusable = unusable.saturating_add(u64::from(!done));
            person.clear();
            person.extend_from_slice(key);
            done = false;
        }
        let item = rest.get(ROW..).ok_or(MatchError::Failed)?;
        let slot = read_item(item).filter(|_| !done && is_readable(key));
        if let Some(slot) = slot {
            record.clear();
            record.extend_from_slice(&*shuffle.rank(&slot));
            record.extend_from_slice(item);
            record.extend_from_slice(key);
            own.push(&record)?;
            (offered, done) = (offered.saturating_add(1), true);
        }
    }
    unusable = unusable.saturating_add(u64::from(!done));
    let mut sorted = own.finish()?;
    let mut written = files.write_records("own", RANK + ITEM + KEY)?;
    while let Some(record) = sorted.next()? {
        written.push(record)?;
    }
    Ok((written.finish()?, offered, unusable))
}

/// Fills the list up, puts every place in its order, and writes down what it holds and who stands behind it. Gives how
/// many places there are.
fn place(
    own: &RecordFile,
    shuffle: &Shuffle,
    normaliser: Normaliser,
    mut shared: Option<&mut Shared>,
    files: &SessionFiles,
) -> Result<u32, MatchError> {
    // Two persons with one and the same identifier share its place.
    let inputs = distinct(own, RANK + ITEM)?;
    let places = padded_size(usize::try_from(inputs).map_err(|_| MatchError::Failed)?, CHUNK_ELEMENTS)?;
    let mut padding = files.sort("padding", RANK + ITEM, SORTED_IN_MEMORY)?;
    let mut record = Zeroizing::new(Vec::with_capacity(RANK + ITEM));
    for number in 0..u64::from(places).saturating_sub(inputs) {
        let slot = shuffle.padding(number, normaliser);
        record.clear();
        record.extend_from_slice(&*shuffle.rank(&slot));
        put_item(&mut record, slot.as_ref());
        padding.push(&record)?;
    }
    let (mut own, mut padding) = (own.read()?, padding.finish()?);
    let mut slots = files.write_records(SLOTS, ITEM)?;
    let mut persons = files.write_records(PERSONS, PLACE + KEY)?;
    let (mut next, mut filler) = (next_own(&mut own)?, next_padding(&mut padding)?);
    let mut last = Zeroizing::new(Vec::new());
    let mut count: u32 = 0;
    loop {
        let ahead = match (&next, &filler) {
            (None, None) => break,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(filler)) => own.get(..RANK + ITEM) <= filler.get(..),
        };
        let record = if ahead { next.take() } else { filler.take() }.ok_or(MatchError::Failed)?;
        let (ranked, key) = record.split_at_checked(RANK + ITEM).ok_or(MatchError::Failed)?;
        if last.as_slice() != ranked {
            slots.push(ranked.get(RANK..).ok_or(MatchError::Failed)?)?;
            if let Some(shared) = shared.as_mut() {
                shared.note(count, ranked)?;
            }
            count = count.checked_add(1).ok_or(MatchError::Failed)?;
            last.clear();
            last.extend_from_slice(ranked);
        }
        if ahead {
            let place = count.saturating_sub(1).to_be_bytes();
            persons.push(&Zeroizing::new([place.as_slice(), key].concat()))?;
            next = next_own(&mut own)?;
        } else {
            filler = next_padding(&mut padding)?;
        }
    }
    slots.finish()?;
    persons.finish()?;
    if count == places { Ok(places) } else { Err(MatchError::Failed) }
}

type Record = Zeroizing<Vec<u8>>;

fn next_own(reader: &mut RecordReader) -> Result<Option<Record>, MatchError> {
    Ok(reader.next()?.map(|record| Zeroizing::new(record.to_vec())))
}

fn next_padding(sorted: &mut Sorted) -> Result<Option<Record>, MatchError> {
    Ok(sorted.next()?.map(|record| Zeroizing::new(record.to_vec())))
}
