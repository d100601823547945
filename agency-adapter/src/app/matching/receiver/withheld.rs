//! Own persons who take no part, as it was decided when the chunk with their place was sent for the first time: by what
//! they chose or what was decided for them, and whom a stronger key has matched.

use super::form::{Behind, persons};
use crate::app::matching::MatchError;
use crate::app::matching::records::key;
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_psi::{Normaliser, Shuffle, Slot};
use firebreak_store::{SessionFiles, Spool};
use std::cmp::Ordering;
use zeroize::Zeroizing;

/// Bytes of where the persons of the next chunk begin, and of how many of this one are withheld by their choice.
const HEAD: usize = 16;

/// The file in which a program kept the numbers of places that were withheld, so that its length told how many.
const OF_EARLIER_PROGRAMS: &str = "withheld";

/// Which places of a chunk are sent as padding, behind where the persons of the next chunk begin and how many persons of
/// this one are withheld.
///
/// PRIVACY: a bit for each place, so that its length on the disk tells nothing of how many are withheld.
pub(super) struct Choice(Zeroizing<Vec<u8>>);

/// Of each chunk that was sent, the places that were sent as padding.
///
/// PRIVACY: padding is blinded like an identifier: to the sender, and to whoever counts what matches, a person who takes
/// no part and one whom nobody knows are the same. So how many a stronger key has matched shows nowhere.
pub(super) struct Withheld {
    decided: Spool,
    shuffle: Shuffle,
    normaliser: Normaliser,
    chunk_elements: u32,
}

impl Withheld {
    pub(super) fn open(
        files: &SessionFiles,
        shuffle: Shuffle,
        normaliser: Normaliser,
        chunk_elements: u32,
    ) -> Result<Self, MatchError> {
        if files.holds(OF_EARLIER_PROGRAMS) {
            let refusal = Refusal::new(ReasonCode::SessionMismatch).because("an earlier program began this session");
            return Err(refusal.instead("a match under a new request id").into());
        }
        Ok(Self { decided: files.spool("withheld-places")?, shuffle, normaliser, chunk_elements })
    }

    /// Who of a chunk takes part: as it was kept, or else as `takes_part` says. The chunk before it is kept.
    pub(super) fn choose(
        &self,
        chunk: u32,
        files: &SessionFiles,
        takes_part: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Choice, MatchError> {
        let number = chunk as usize;
        if number < self.decided.len() {
            return self.kept(chunk);
        }
        let (mut position, _) = match number.checked_sub(1) {
            None => (0, 0),
            Some(before) => head(&self.decided.get(before)?)?,
        };
        let first = chunk.saturating_mul(self.chunk_elements);
        let end = u64::from(first).saturating_add(u64::from(self.chunk_elements));
        let mut reader = persons(files)?.read_from(position)?;
        let mut piece = Zeroizing::new(vec![0; HEAD.saturating_add(self.chunk_elements.div_ceil(8) as usize)]);
        let mut count = 0_u64;
        while let Some(record) = reader.next()? {
            let behind = Behind::read(record).ok_or(MatchError::Failed)?;
            if u64::from(behind.place) >= end {
                break;
            }
            position = position.saturating_add(1);
            // Asked of everybody, so that nobody's match takes time.
            let chose = takes_part(&key(behind.key)?);
            if !chose || behind.matched {
                count = count.saturating_add(u64::from(!behind.matched));
                let (byte, bit) = bit_of(behind.place.checked_sub(first).ok_or(MatchError::Failed)?);
                *piece.get_mut(byte).ok_or(MatchError::Failed)? |= bit;
            }
        }
        let head = [position.to_be_bytes(), count.to_be_bytes()].concat();
        piece.get_mut(..HEAD).ok_or(MatchError::Failed)?.copy_from_slice(&head);
        Ok(Choice(piece))
    }

    /// Keeps a choice as its chunk is sent for the first time. On the disk before it returns, so that the chunk is the
    /// same whenever it is sent again; of one that is kept the first stays.
    pub(super) fn keep(&mut self, chunk: u32, choice: &Choice) -> Result<(), MatchError> {
        match (chunk as usize).cmp(&self.decided.len()) {
            Ordering::Less => Ok(()),
            Ordering::Equal => Ok(self.decided.add(&choice.0)?),
            Ordering::Greater => Err(MatchError::Failed),
        }
    }

    /// The choice that was kept.
    pub(super) fn kept(&self, chunk: u32) -> Result<Choice, MatchError> {
        Ok(Choice(self.decided.get(chunk as usize)?))
    }

    /// Puts padding into the places of a chunk that are withheld.
    pub(super) fn apply(&self, chunk: u32, choice: &Choice, slots: &mut [Slot]) -> Result<(), MatchError> {
        let first = chunk.saturating_mul(self.chunk_elements);
        for (offset, slot) in (0..self.chunk_elements).zip(slots) {
            // Made for every place, so that nobody's match takes time. Counted from the other end: no place of the list
            // holds this padding.
            let place = u64::from(first.saturating_add(offset));
            let padding = self.shuffle.padding(u64::MAX - place, self.normaliser);
            let (byte, bit) = bit_of(offset);
            if choice.0.get(byte).ok_or(MatchError::Failed)? & bit != 0 {
                *slot = padding;
            }
        }
        Ok(())
    }

    /// How many persons were withheld by their choice.
    pub(super) fn persons(&self) -> Result<u64, MatchError> {
        let count = |piece| Ok(head(&self.decided.get(piece)?)?.1);
        (0..self.decided.len()).map(count).sum()
    }
}

/// Where the bit of a chunk's place stands, counted from the chunk's first.
const fn bit_of(offset: u32) -> (usize, u8) {
    (HEAD + offset as usize / 8, 1 << (offset % 8))
}

fn head(piece: &[u8]) -> Result<(u64, u64), MatchError> {
    let (position, rest) = piece.split_first_chunk().ok_or(MatchError::Failed)?;
    let count = rest.first_chunk().ok_or(MatchError::Failed)?;
    Ok((u64::from_be_bytes(*position), u64::from_be_bytes(*count)))
}
