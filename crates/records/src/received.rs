//! What a receiver has of a sender, and how the two lists are brought together.

use crate::fields::Fields;
use crate::{KEY, PLACE};
use firebreak_domain::{PayloadLayout, PayloadRow};
use firebreak_psi::{PAYLOAD_KEY_BYTES, PayloadKey};
use zeroize::Zeroizing;

/// Bytes of a person's place in the register.
const INDEX: usize = 32;

/// What a sender stated when its list began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    /// Its public key.
    pub public_key: [u8; 32],
    /// Tags of its list, padding included.
    pub tags: u32,
}

impl Stated {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.public_key.as_slice(), &self.tags.to_be_bytes()].concat()
    }

    /// Reads it.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (public_key, tags) = (*fields.array()?, fields.u32()?);
        fields.end().map(|()| Self { public_key, tags })
    }
}

/// The tag of a place, and the key that opens a row behind it where the match has a payload.
#[derive(Clone, Copy)]
pub struct OwnTag<'a> {
    /// The tag.
    pub tag: &'a [u8],
    /// The key.
    pub key: Option<&'a [u8; PAYLOAD_KEY_BYTES]>,
}

impl<'a> OwnTag<'a> {
    /// Adds it to those of its chunk.
    pub fn put(&self, chunk: &mut Vec<u8>) {
        chunk.extend_from_slice(self.tag);
        chunk.extend_from_slice(self.key.map_or(&[], |key| key));
    }

    /// Reads those of a chunk, one for each of so many places, whose tags have that length and keys or none.
    #[must_use]
    pub fn read_all(
        chunk: &'a [u8],
        places: u32,
        tag_bytes: usize,
        with_keys: bool,
    ) -> Option<impl Iterator<Item = Self>> {
        let key_bytes = if with_keys { PAYLOAD_KEY_BYTES } else { 0 };
        let bytes = tag_bytes.checked_add(key_bytes).filter(|bytes| *bytes > 0)?;
        let whole = chunk.len() == bytes.checked_mul(places as usize)?;
        let one = move |one: &'a [u8]| {
            let (tag, key) = one.split_at(tag_bytes);
            Self { tag, key: key.first_chunk() }
        };
        whole.then(|| chunk.chunks_exact(bytes).map(one))
    }
}

/// The tag of a place, with its number. Ordered by their bytes they are in the order of the sender's list.
#[derive(Clone, Copy)]
pub struct Compared<'a> {
    /// The tag and what opens a row behind it.
    pub own: OwnTag<'a>,
    /// The place.
    pub place: u32,
}

impl<'a> Compared<'a> {
    /// Bytes of the record.
    #[must_use]
    pub const fn bytes(tag_bytes: usize, with_key: bool) -> usize {
        let key = if with_key { PAYLOAD_KEY_BYTES } else { 0 };
        tag_bytes.saturating_add(PLACE).saturating_add(key)
    }

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(self.own.tag);
        record.extend_from_slice(&self.place.to_be_bytes());
        record.extend_from_slice(self.own.key.map_or(&[], |key| key));
    }

    /// Reads it.
    #[must_use]
    #[inline]
    pub fn read(record: &'a [u8], tag_bytes: usize, with_key: bool) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (tag, place) = (fields.take(tag_bytes)?, fields.u32()?);
        let key = if with_key { Some(fields.array()?) } else { None };
        fields.end().map(|()| Self { own: OwnTag { tag, key }, place })
    }
}

/// A place that matched, and what its row came to. Ordered by their bytes they are in the order of places.
#[derive(Clone, Copy)]
pub struct AtPlace<'a> {
    /// The place.
    pub place: u32,
    /// What the row came to, as [`RowStatus`] reads it; of no byte without a payload.
    pub status: &'a [u8],
}

impl<'a> AtPlace<'a> {
    /// Bytes of the record, where what a row came to has so many.
    #[must_use]
    pub const fn bytes(status: usize) -> usize {
        PLACE.saturating_add(status)
    }

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(&self.place.to_be_bytes());
        record.extend_from_slice(self.status);
    }

    /// Reads it.
    #[must_use]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        Some(Self { place: fields.u32()?, status: fields.rest() })
    }
}

/// A person who matched. Ordered by their bytes they are in the order of the register.
#[derive(Clone, Copy)]
pub struct Matched<'a> {
    /// The person's place in the register.
    pub index: &'a [u8; INDEX],
    /// The person's key, as [`key_record`](crate::key_record) writes it.
    pub key: &'a [u8; KEY],
    /// What the person's row came to.
    pub status: &'a [u8],
}

impl<'a> Matched<'a> {
    /// Bytes of the record, where what a row came to has so many.
    #[must_use]
    pub const fn bytes(status: usize) -> usize {
        (INDEX + KEY).saturating_add(status)
    }

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(self.index);
        record.extend_from_slice(self.key);
        record.extend_from_slice(self.status);
    }

    /// Reads it.
    #[must_use]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        Some(Self { index: fields.array()?, key: fields.array()?, status: fields.rest() })
    }
}

/// What a sealed row came to.
pub enum RowStatus {
    /// The person's values.
    Values(Vec<Option<i64>>),
    /// Nothing is disclosed.
    Undisclosed,
    /// The row does not open, or is none of the agreed form.
    Unreadable,
}

impl RowStatus {
    /// A row that can be read follows.
    const READ: u8 = 1;
    /// It was not sealed as agreed. The row that holds nothing follows.
    const UNREADABLE: u8 = 0;

    /// Bytes of what a row came to; none without a payload.
    #[must_use]
    pub fn bytes(layout: Option<&PayloadLayout>) -> usize {
        layout.map_or(0, |layout| layout.row_bytes().saturating_add(1))
    }

    /// Opens the row behind a tag that matched, and writes down what it comes to.
    #[must_use]
    pub fn open(layout: &PayloadLayout, tag: &[u8], key: &PayloadKey, sealed: &[u8]) -> Zeroizing<Vec<u8>> {
        match key.open(tag, sealed).filter(|row| layout.decode(row).is_some()) {
            Some(row) => Self::written(Self::READ, &row),
            None => Self::written(Self::UNREADABLE, &layout.empty()),
        }
    }

    /// What is written down where nothing is disclosed.
    #[must_use]
    pub fn undisclosed(layout: &PayloadLayout) -> Zeroizing<Vec<u8>> {
        Self::written(Self::READ, &layout.empty())
    }

    fn written(head: u8, row: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut status = Zeroizing::new(Vec::with_capacity(row.len().saturating_add(1)));
        status.push(head);
        status.extend_from_slice(row);
        status
    }

    /// Reads what was written down.
    #[must_use]
    pub fn read(layout: &PayloadLayout, status: &[u8]) -> Option<Self> {
        match status.split_first()? {
            (&Self::UNREADABLE, row) => (row == layout.empty()).then_some(Self::Unreadable),
            (&Self::READ, row) => Some(match layout.decode(row)? {
                PayloadRow::Values(values) => Self::Values(values),
                PayloadRow::Empty => Self::Undisclosed,
            }),
            _ => None,
        }
    }
}
