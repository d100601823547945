//! Identifiers that several of the receiver's persons have, where columns come of those matched.
//!
//! PRIVACY: they are looked for among all rows: to select one of two persons with one identifier does not make the row that
//! comes that person's.

use crate::app::matching::MatchError;
use crate::app::matching::sorting::SORTED_IN_MEMORY;
use firebreak_psi::Shuffle;
use firebreak_records::{Holder, IDENTIFIER, ITEM, Identifier, KEY, PLACE, identifier, read_item};
use firebreak_store::{RecordReader, RecordWriter, SessionFiles, Sorted, Sorter};
use std::cmp::Ordering;
use zeroize::Zeroizing;

const SHARED: &str = "shared";

/// The identifiers of everybody, selected or not, with the person.
pub(super) struct Everybody(Sorter);

impl Everybody {
    pub(super) fn new(files: &SessionFiles) -> Result<Self, MatchError> {
        Ok(Self(files.sort("everybody", Holder::BYTES, SORTED_IN_MEMORY)?))
    }

    /// Adds the identifier of a row and its person, as records have them.
    pub(super) fn add(&mut self, item: &[u8; ITEM], key: &[u8; KEY]) -> Result<(), MatchError> {
        let mut record = Zeroizing::new(Vec::with_capacity(Holder::BYTES));
        Holder { item, key }.put(&mut record);
        Ok(self.0.push(&record)?)
    }

    /// Those identifiers that several persons have.
    pub(super) fn shared(self, shuffle: &Shuffle, files: &SessionFiles) -> Result<Shared, MatchError> {
        let mut everybody = self.0.finish()?;
        let mut ranked = files.sort("shared-ranks", IDENTIFIER, SORTED_IN_MEMORY)?;
        let mut last = Zeroizing::new(Vec::with_capacity(Holder::BYTES));
        let mut counted = false;
        while let Some(record) = everybody.next()? {
            let Holder { item, .. } = Holder::read(record).ok_or(MatchError::Failed)?;
            if Holder::read(&last).is_none_or(|before| before.item != item) {
                counted = false;
            } else if !counted && last.as_slice() != record {
                counted = true;
                let slot = read_item(item).ok_or(MatchError::Failed)?;
                ranked.push(&*identifier(&shuffle.rank(&slot), item))?;
            }
            last.clear();
            last.extend_from_slice(record);
        }
        let mut shared = Shared { ranked: ranked.finish()?, next: None, places: files.write_records(SHARED, PLACE)? };
        shared.advance()?;
        Ok(shared)
    }
}

/// Identifiers that several persons of the dataset have, in the order of places.
pub(super) struct Shared {
    ranked: Sorted,
    next: Option<Zeroizing<Vec<u8>>>,
    /// The places at which they stand.
    places: RecordWriter,
}

impl Shared {
    fn advance(&mut self) -> Result<(), MatchError> {
        self.next = self.ranked.next()?.map(|record| Zeroizing::new(record.to_vec()));
        Ok(())
    }

    /// Writes a place down if what stands there is one of them. Places come in their order.
    pub(super) fn note(&mut self, place: u32, ranked: &Identifier) -> Result<(), MatchError> {
        while let Some(next) = &self.next {
            match next.as_slice().cmp(ranked) {
                Ordering::Less => self.advance()?,
                Ordering::Equal => return Ok(self.places.push(&place.to_be_bytes())?),
                Ordering::Greater => break,
            }
        }
        Ok(())
    }

    /// Ends what was written down.
    pub(super) fn finish(self) -> Result<(), MatchError> {
        self.places.finish()?;
        Ok(())
    }
}

/// The places whose identifier several persons of the dataset have, read in their order. None where nothing of anybody is
/// disclosed: they were not looked for.
pub(super) struct SharedPlaces {
    reader: Option<RecordReader>,
    next: Option<u32>,
}

impl SharedPlaces {
    pub(super) fn of(files: &SessionFiles) -> Result<Self, MatchError> {
        let reader = if files.holds(SHARED) { Some(files.records(SHARED, PLACE)?.read()?) } else { None };
        let mut places = Self { reader, next: None };
        places.advance()?;
        Ok(places)
    }

    fn advance(&mut self) -> Result<(), MatchError> {
        let next = match &mut self.reader {
            Some(reader) => reader.next()?,
            None => None,
        };
        let place = next.map(|record| record.first_chunk().copied().ok_or(MatchError::Failed)).transpose()?;
        self.next = place.map(u32::from_be_bytes);
        Ok(())
    }

    /// Whether that place is one of them. To be asked of places in their order.
    pub(super) fn hold(&mut self, place: u32) -> Result<bool, MatchError> {
        while self.next.is_some_and(|next| next < place) {
            self.advance()?;
        }
        Ok(self.next == Some(place))
    }
}
