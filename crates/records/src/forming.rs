//! The rows of which a receiver's set is formed, and the persons among whom it is found whose an identifier is.

use crate::fields::Fields;
use crate::{ITEM, KEY};
use firebreak_psi::NormalisedInput;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a place's rank.
pub const RANK: usize = 16;
/// Bytes of the hash of a name, by which persons with one identifier are told apart.
pub const NAME: usize = 16;
/// In place of that hash: nothing tells the person from others.
const NO_NAME: [u8; NAME] = [0; NAME];
/// Bytes of a row's number.
const ROW: usize = 8;

/// How a row or a person stands to the selection. As bytes in this order: who takes part comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Inside of it, and not matched by a stronger key.
    TakesPart,
    /// Inside of it, and matched by a stronger key.
    Matched,
    /// Outside of it. Whoever shares an identifier with somebody there is not told from them.
    Outside,
}

impl Stands {
    /// Bytes of it.
    pub(crate) const BYTES: usize = 1;

    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::TakesPart => 0,
            Self::Matched => 1,
            Self::Outside => 2,
        }
    }

    #[inline]
    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        match fields.array()? {
            [0] => Some(Self::TakesPart),
            [1] => Some(Self::Matched),
            [2] => Some(Self::Outside),
            _ => None,
        }
    }
}

/// The hash of a name; the one of nobody for none.
#[must_use]
pub fn name_hash(name: Option<&NormalisedInput>) -> [u8; NAME] {
    let hash = name.map(|name| Sha256::digest(name.as_ref()));
    hash.and_then(|hash| hash.first_chunk().copied()).unwrap_or(NO_NAME)
}

/// Bytes of an identifier with its rank.
pub const IDENTIFIER: usize = RANK + ITEM;

/// An identifier with its rank before it, by which places are ordered.
pub type Identifier = [u8; IDENTIFIER];

/// The identifier of that rank.
#[must_use]
pub fn identifier(rank: &[u8; RANK], item: &[u8; ITEM]) -> Zeroizing<Identifier> {
    let mut identifier = Zeroizing::new([0; IDENTIFIER]);
    for (to, from) in identifier.iter_mut().zip(rank.iter().chain(item)) {
        *to = *from;
    }
    identifier
}

/// What a place holds whose identifier it is.
#[must_use]
pub fn item_of(identifier: &Identifier) -> &[u8] {
    let (_rank, item) = identifier.split_at(RANK);
    item
}

/// A row of the dataset. Ordered by their bytes, the rows of a person stand together.
#[derive(Clone, Copy)]
pub struct Selected<'a> {
    /// The person's key, as [`key_record`](crate::key_record) writes it.
    pub key: &'a [u8; KEY],
    /// How the row stands.
    pub stands: Stands,
    /// Its number.
    pub row: u64,
    /// Its identifier, as [`item_record`](crate::item_record) writes it.
    pub item: &'a [u8; ITEM],
    /// [`name_hash`] of its name.
    pub name: &'a [u8; NAME],
}

impl<'a> Selected<'a> {
    /// Bytes of the record.
    pub const BYTES: usize = KEY + Stands::BYTES + ROW + ITEM + NAME;

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(self.key);
        record.push(self.stands.byte());
        record.extend_from_slice(&self.row.to_be_bytes());
        record.extend_from_slice(self.item);
        record.extend_from_slice(self.name);
    }

    /// Reads it.
    #[must_use]
    #[inline]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (key, stands) = (fields.array()?, Stands::read(&mut fields)?);
        let (row, item, name) = (fields.u64()?, fields.array()?, fields.array()?);
        fields.end().map(|()| Self { key, stands, row, item, name })
    }
}

/// A person who has an identifier. Ordered by their bytes, those with one identifier stand together, and who takes part
/// before the others.
#[derive(Clone, Copy)]
pub struct Ranked<'a> {
    /// The identifier.
    pub identifier: &'a Identifier,
    /// How the person stands.
    pub stands: Stands,
    /// The person's key, as [`key_record`](crate::key_record) writes it.
    pub key: &'a [u8; KEY],
}

impl<'a> Ranked<'a> {
    /// Bytes of the record.
    pub const BYTES: usize = IDENTIFIER + Stands::BYTES + KEY;
    /// Bytes of it with the hash of a name behind.
    pub const BYTES_WITH_NAME: usize = Self::BYTES + NAME;

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(self.identifier);
        record.push(self.stands.byte());
        record.extend_from_slice(self.key);
    }

    /// Adds the record with the hash of a name behind it, as [`name_hash`] gives it.
    pub fn put_with_name(&self, name: &[u8; NAME], record: &mut Vec<u8>) {
        self.put(record);
        record.extend_from_slice(name);
    }

    /// Reads it.
    #[must_use]
    #[inline]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (identifier, stands, key) = (fields.array()?, Stands::read(&mut fields)?, fields.array()?);
        fields.end().map(|()| Self { identifier, stands, key })
    }

    /// Reads one with the hash of a name behind it; no hash for the one of nobody.
    #[must_use]
    #[inline]
    pub fn read_with_name(record: &'a [u8]) -> Option<(Self, Option<&'a [u8; NAME]>)> {
        let (record, name) = record.split_last_chunk()?;
        Some((Self::read(record)?, Some(name).filter(|name| **name != NO_NAME)))
    }
}

/// An identifier, and a person who has it. Ordered by their bytes, those with one identifier stand together.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    /// The identifier, as [`item_record`](crate::item_record) writes it.
    pub item: &'a [u8; ITEM],
    /// The person's key, as [`key_record`](crate::key_record) writes it.
    pub key: &'a [u8; KEY],
}

impl<'a> Holder<'a> {
    /// Bytes of the record.
    pub const BYTES: usize = ITEM + KEY;

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(self.item);
        record.extend_from_slice(self.key);
    }

    /// Reads it.
    #[must_use]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (item, key) = (fields.array()?, fields.array()?);
        fields.end().map(|()| Self { item, key })
    }
}
