//! A join: its records while they are formed, and what the other side stated.

use crate::fields::Fields;
use crate::{ITEM, KEY};
use firebreak_psi::join::KEY_WITH_PROOF;

/// Bytes of a column's value.
pub const VALUE: usize = 8;
/// Bytes of a label.
const LABEL: usize = 2;
/// In place of a label: the row, or the person, has none.
pub const NO_LABEL: u16 = u16::MAX;

/// A row of the dataset. Ordered by their bytes, the rows of a person stand together.
#[derive(Clone, Copy)]
pub struct JoinRow<'a> {
    /// The person's key, as [`key_record`](crate::key_record) writes it.
    pub key: &'a [u8; KEY],
    /// The values of its columns, [`VALUE`] bytes each.
    pub values: &'a [[u8; VALUE]],
    /// Its label, or [`NO_LABEL`].
    pub label: u16,
    /// Its identifier, as [`item_record`](crate::item_record) writes it.
    pub item: &'a [u8; ITEM],
}

impl<'a> JoinRow<'a> {
    /// Bytes of the record, where a row has so many columns.
    #[must_use]
    pub const fn bytes(columns: usize) -> usize {
        (KEY + LABEL + ITEM).saturating_add(columns.saturating_mul(VALUE))
    }

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(self.key);
        record.extend_from_slice(self.values.as_flattened());
        record.extend_from_slice(&self.label.to_be_bytes());
        record.extend_from_slice(self.item);
    }

    /// Reads that of a row of so many columns.
    #[must_use]
    #[inline]
    pub fn read(record: &'a [u8], columns: usize) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (key, values) = (fields.array()?, fields.take(columns.checked_mul(VALUE)?)?.as_chunks().0);
        let (label, item) = (fields.u16()?, fields.array()?);
        fields.end().map(|()| Self { key, values, label, item })
    }
}

/// An identifier with a label. Ordered by their bytes, those with one identifier stand together.
#[derive(Clone, Copy)]
pub struct JoinRecord<'a> {
    /// The identifier, as [`item_record`](crate::item_record) writes it.
    pub item: &'a [u8; ITEM],
    /// The label, or [`NO_LABEL`].
    pub label: u16,
}

impl<'a> JoinRecord<'a> {
    /// Bytes of the record.
    pub const BYTES: usize = ITEM + LABEL;

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(self.item);
        record.extend_from_slice(&self.label.to_be_bytes());
    }

    /// Reads it.
    #[must_use]
    #[inline]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (item, label) = (fields.array()?, fields.u16()?);
        fields.end().map(|()| Self { item, label })
    }
}

/// What the other side stated when its list began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinStated {
    /// Its key with its proof, as they were shown.
    pub key: [u8; KEY_WITH_PROOF],
    /// Points of its list, of each of its labels.
    pub sizes: Vec<u64>,
}

impl JoinStated {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let sizes: Vec<_> = self.sizes.iter().copied().map(u64::to_be_bytes).collect();
        [self.key.as_slice(), sizes.as_flattened()].concat()
    }

    /// Reads it.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let key = *fields.array()?;
        let (sizes, rest) = fields.rest().as_chunks();
        let sizes = sizes.iter().copied().map(u64::from_be_bytes).collect();
        rest.is_empty().then_some(Self { key, sizes })
    }
}
