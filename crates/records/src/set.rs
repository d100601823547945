//! The receiver's set as it was formed: of what, who stands behind its places, whom a chunk leaves out, and what opens
//! the commitment to it.

use crate::KEY;
use crate::fields::Fields;
use crate::forming::Stands;
use firebreak_domain::CutId;
use firebreak_psi::{Root, SecretSeed};
use firebreak_store::LeafHash;
use zeroize::Zeroizing;

/// Bytes of a place's number.
pub const PLACE: usize = 4;

/// What a set was formed of, and how large it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormedSet {
    /// SHA-256 of what it was formed from.
    pub terms: [u8; 32],
    /// Own persons who take part.
    pub offered: u64,
    /// Own persons selected whose identifier, or key, is missing or unusable.
    pub unusable: u64,
    /// Places of the list, padding included.
    pub places: u32,
    /// The version of the dataset that it was formed of.
    pub cut: CutId,
}

impl FormedSet {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (offered, unusable) = (self.offered.to_be_bytes(), self.unusable.to_be_bytes());
        let places = self.places.to_be_bytes();
        [self.terms.as_slice(), &offered, &unusable, &places, self.cut.as_str().as_bytes()].concat()
    }

    /// Reads it.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (terms, offered, unusable) = (*fields.array()?, fields.u64()?, fields.u64()?);
        let (places, cut) = (fields.u32()?, str::from_utf8(fields.rest()).ok()?);
        Some(Self { terms, offered, unusable, places, cut: CutId::new(cut).ok()? })
    }
}

/// The epoch in which a set is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InEpoch {
    /// The epoch's number.
    pub number: u64,
    /// The name under which each side keeps what is of it.
    pub name: [u8; 32],
}

impl InEpoch {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.number.to_be_bytes().as_slice(), &self.name].concat()
    }

    /// Reads it.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (number, name) = (fields.u64()?, *fields.array()?);
        fields.end().map(|()| Self { number, name })
    }
}

/// A person who stands behind a place.
#[derive(Clone, Copy)]
pub struct Behind<'a> {
    /// The place.
    pub place: u32,
    /// How the person stands: whom a stronger key has matched takes no part.
    pub stands: Stands,
    /// The person's key, as [`key_record`](crate::key_record) writes it.
    pub key: &'a [u8; KEY],
}

impl<'a> Behind<'a> {
    /// Bytes of the record.
    pub const BYTES: usize = PLACE + Stands::BYTES + KEY;

    /// Adds the record.
    pub fn put(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(&self.place.to_be_bytes());
        record.push(self.stands.byte());
        record.extend_from_slice(self.key);
    }

    /// Reads it.
    #[must_use]
    #[inline]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (place, stands, key) = (fields.u32()?, Stands::read(&mut fields)?, fields.array()?);
        fields.end().map(|()| Self { place, stands, key })
    }
}

/// Which places of a chunk are sent as padding, behind where the persons of the next chunk begin and how many persons
/// of this one are withheld by their choice.
///
/// PRIVACY: a bit for each place, so that its length on the disk tells nothing of how many are withheld.
#[derive(Clone)]
pub struct WithheldPlaces {
    places: u32,
    record: Zeroizing<Vec<u8>>,
}

impl WithheldPlaces {
    /// Bytes of the two numbers.
    const HEAD: usize = 16;

    /// None of so many places.
    #[must_use]
    pub fn none_of(places: u32) -> Self {
        Self { places, record: Zeroizing::new(vec![0; Self::bytes(places)]) }
    }

    const fn bytes(places: u32) -> usize {
        Self::HEAD.saturating_add(places.div_ceil(8) as usize)
    }

    /// Reads those of a chunk of so many places.
    #[must_use]
    pub fn read(record: Zeroizing<Vec<u8>>, places: u32) -> Option<Self> {
        let behind = places % 8;
        let none_behind = behind == 0 || record.last().is_some_and(|last| last >> behind == 0);
        (record.len() == Self::bytes(places) && none_behind).then_some(Self { places, record })
    }

    /// The record.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.record
    }

    /// Where the bit of the place at that offset from the chunk's first stands; `None` behind the last.
    fn bit_of(&self, offset: u32) -> Option<(usize, u8)> {
        (offset < self.places).then(|| (Self::HEAD + offset as usize / 8, 1 << (offset % 8)))
    }

    /// Withholds the place at that offset from the chunk's first; `None` behind the last.
    #[must_use]
    pub fn withhold(&mut self, offset: u32) -> Option<()> {
        let (byte, bit) = self.bit_of(offset)?;
        self.record.get_mut(byte).map(|byte| *byte |= bit)
    }

    /// Whether the place at that offset from the chunk's first is withheld; `None` behind the last.
    #[must_use]
    pub fn withholds(&self, offset: u32) -> Option<bool> {
        let (byte, bit) = self.bit_of(offset)?;
        self.record.get(byte).map(|byte| byte & bit != 0)
    }

    /// Says where the persons of the next chunk begin, and how many of this one are withheld by their choice.
    pub fn set_head(&mut self, next: u64, persons: u64) {
        let head = [next.to_be_bytes(), persons.to_be_bytes()];
        for (to, from) in self.record.iter_mut().zip(head.as_flattened()) {
            *to = *from;
        }
    }

    /// Where the persons of the next chunk begin, and how many of this one are withheld by their choice.
    #[must_use]
    pub fn head(&self) -> (u64, u64) {
        let mut fields = Fields::of(&self.record);
        // INVARIANT: no record is shorter.
        (fields.u64().unwrap_or_default(), fields.u64().unwrap_or_default())
    }
}

/// What a session keeps that opens its commitment: the leaf, the seed of order and padding, and what opens the leaf.
pub struct SetOpening<'a> {
    /// The leaf of the log in which the commitment stands.
    pub leaf: LeafHash,
    /// From which order and padding of the places follow, and neither blind nor key.
    pub seed: SecretSeed,
    /// By which the leaf commits to the payload.
    pub nonce: &'a [u8; 32],
    /// What the leaf commits to. Its last line, with its end, is that [of the root](Self::line).
    pub payload: &'a [u8],
}

impl<'a> SetOpening<'a> {
    /// The line that commits to a set.
    #[must_use]
    pub fn line(root: &Root) -> String {
        format!("set {} {}", root.size, hex::encode(root.hash))
    }

    /// The record.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let parts = [self.leaf.as_bytes().as_slice(), self.seed.expose(), self.nonce, self.payload];
        Zeroizing::new(parts.concat())
    }

    /// Reads it, with the root that is committed to.
    #[must_use]
    pub fn decode(record: &'a [u8]) -> Option<(Self, Root)> {
        let mut fields = Fields::of(record);
        let (leaf, seed) = (LeafHash::from_bytes(*fields.array()?), SecretSeed::from_bytes(*fields.array()?));
        let (nonce, payload) = (fields.array()?, fields.rest());
        let line = str::from_utf8(payload).ok()?.strip_suffix('\n')?.rsplit('\n').next()?;
        let (size, hash) = line.strip_prefix("set ")?.split_once(' ')?;
        let mut root = Root { size: size.parse().ok()?, hash: [0; 32] };
        hex::decode_to_slice(hash, &mut root.hash).ok()?;
        (Self::line(&root) == line).then(|| (Self { leaf, seed, nonce, payload }, root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_withheld_alone_and_none_behind_the_last() {
        for places in [1, 7, 8, 9, 20] {
            let mut withheld = WithheldPlaces::none_of(places);
            withheld.set_head(300, 5);
            withheld.withhold(places - 1).unwrap();
            assert!(withheld.withhold(places).is_none() && withheld.withholds(places).is_none());
            let found: Vec<_> = (0..places).filter(|place| withheld.withholds(*place).unwrap()).collect();
            assert_eq!((found, withheld.head()), (vec![places - 1], (300, 5)));
            let bytes = Zeroizing::new(withheld.as_bytes().to_vec());
            let read = WithheldPlaces::read(bytes.clone(), places).unwrap();
            assert_eq!(read.as_bytes(), withheld.as_bytes());
            assert!(WithheldPlaces::read(bytes.clone(), places + 8).is_none());
            let mut more = bytes;
            *more.last_mut().unwrap() |= 0x80;
            assert_eq!(WithheldPlaces::read(more, places).is_some(), places % 8 == 0, "of {places}");
        }
    }

    #[test]
    fn a_commitment_is_opened_by_one_text_whose_last_line_says_the_root() {
        let root = Root { size: 1024, hash: [0xab; 32] };
        let opening = |line: &str| {
            let (leaf, seed) = (LeafHash::from_bytes([1; 32]), SecretSeed::from_bytes([2; 32]));
            let payload = format!("request\n{line}\n");
            SetOpening { leaf, seed, nonce: &[3; 32], payload: payload.as_bytes() }.encode()
        };
        let line = SetOpening::line(&root);
        let whole = opening(&line);
        let (read, of) = SetOpening::decode(&whole).unwrap();
        assert_eq!((of, read.encode()), (root, whole.clone()));
        let (zero, short, two) = (line.replace("1024", "01024"), &line[..line.len() - 1], format!("{line}\n"));
        for other in ["", "set 1024", &line.to_uppercase(), &zero, short, &two, &format!("{line}\r")] {
            assert!(SetOpening::decode(&opening(other)).is_none(), "{other}");
        }
        assert!(SetOpening::decode(&whole[..whole.len() - 1]).is_none(), "a line without its end");
    }
}
