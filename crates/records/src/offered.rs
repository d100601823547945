//! What a sender offers, and what it has sent: whoever asks again is given the same bytes.

use crate::ITEM;
use crate::fields::Fields;
use firebreak_store::PersonReference;

/// Bytes of a person's reference, by which choices are looked up.
pub const PERSON: usize = size_of::<PersonReference>();

/// An identifier of the set, who stands behind it, and the row that goes with its tag. Ordered by their bytes, those
/// with one identifier stand together.
#[derive(Clone, Copy)]
pub struct OfferedRecord<'a> {
    /// The identifier, as [`item_record`](crate::item_record) writes it.
    pub item: &'a [u8; ITEM],
    /// One who stands behind it.
    pub person: &'a PersonReference,
    /// The row, of no byte without a payload.
    pub row: &'a [u8],
}

impl<'a> OfferedRecord<'a> {
    /// Bytes of the record, where rows have so many.
    #[must_use]
    pub const fn bytes(row_bytes: usize) -> usize {
        (ITEM + PERSON).saturating_add(row_bytes)
    }

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(self.item);
        record.extend_from_slice(self.person);
        record.extend_from_slice(self.row);
    }

    /// Reads it.
    #[must_use]
    #[inline]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        Some(Self { item: fields.array()?, person: fields.array()?, row: fields.rest() })
    }
}

/// An entry of the list: a tag with its sealed row, and one of those who stand behind it.
#[derive(Clone, Copy)]
pub struct OfferedEntry<'a> {
    /// The tag with its row.
    pub entry: &'a [u8],
    /// One who stands behind it.
    pub person: &'a PersonReference,
}

impl<'a> OfferedEntry<'a> {
    /// Bytes of the record, where a tag with its row has so many.
    #[must_use]
    pub const fn bytes(entry_bytes: usize) -> usize {
        entry_bytes.saturating_add(PERSON)
    }

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(self.entry);
        record.extend_from_slice(self.person);
    }

    /// Reads it.
    #[must_use]
    #[inline]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let (entry, person) = record.split_last_chunk()?;
        Some(Self { entry, person })
    }
}

/// A piece of the list that was sent.
#[derive(Clone, Copy)]
pub struct SentPiece<'a> {
    /// How many records of the list were read for it and those before it.
    pub position: u64,
    /// The tags that were sent, each with its row.
    pub entries: &'a [u8],
}

impl<'a> SentPiece<'a> {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.position.to_be_bytes().as_slice(), self.entries].concat()
    }

    /// Reads one of at least one entry, whose entries have so many bytes.
    #[must_use]
    pub fn read(record: &'a [u8], entry_bytes: usize) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (position, entries) = (fields.u64()?, fields.rest());
        let whole = entry_bytes > 0 && !entries.is_empty() && entries.len().is_multiple_of(entry_bytes);
        whole.then_some(Self { position, entries })
    }

    /// The tag that was sent last, where tags have so many bytes and entries so many.
    #[must_use]
    pub fn last_tag(&self, tag_bytes: usize, entry_bytes: usize) -> Option<&'a [u8]> {
        let last = self.entries.len().checked_sub(entry_bytes)?;
        self.entries.get(last..)?.get(..tag_bytes)
    }
}

/// A chunk that was evaluated.
#[derive(Clone, Copy)]
pub struct EvaluatedChunk<'a> {
    /// Its number.
    pub number: u32,
    /// What was sent for it.
    pub evaluated: &'a [u8],
}

impl<'a> EvaluatedChunk<'a> {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.number.to_be_bytes().as_slice(), self.evaluated].concat()
    }

    /// Reads it.
    #[must_use]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        Some(Self { number: fields.u32()?, evaluated: fields.rest() })
    }
}
