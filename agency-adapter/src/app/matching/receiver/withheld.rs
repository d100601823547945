//! Own persons who take no part, as it was decided when the chunk with their place was sent for the first time: by what
//! they chose or what was decided for them, and whom a stronger key has matched.

use super::form::persons;
use crate::app::matching::MatchError;
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_psi::{Normaliser, Shuffle, Slot};
use firebreak_records::{Behind, Stands, WithheldPlaces, read_key};
use firebreak_store::{SessionFiles, Spool};

/// The file in which a program kept the numbers of places that were withheld, so that its length told how many.
const OF_EARLIER_PROGRAMS: &str = "withheld";

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
    ) -> Result<WithheldPlaces, MatchError> {
        if self.holds(chunk) {
            return self.kept(chunk);
        }
        let (mut position, _) = match chunk.checked_sub(1) {
            None => (0, 0),
            Some(before) => self.kept(before)?.head(),
        };
        let first = chunk.saturating_mul(self.chunk_elements);
        let end = u64::from(first).saturating_add(u64::from(self.chunk_elements));
        let mut reader = persons(files)?.read_from(position)?;
        let mut choice = WithheldPlaces::none_of(self.chunk_elements);
        let mut count = 0_u64;
        while let Some(record) = reader.next()? {
            let behind = Behind::read(record).ok_or(MatchError::Failed)?;
            if u64::from(behind.place) >= end {
                break;
            }
            position = position.saturating_add(1);
            // Asked of everybody, so that nobody's match takes time.
            let chose = takes_part(&read_key(behind.key).ok_or(MatchError::Failed)?);
            let matched = behind.stands != Stands::TakesPart;
            if !chose || matched {
                count = count.saturating_add(u64::from(!matched));
                let offset = behind.place.checked_sub(first);
                offset.and_then(|offset| choice.withhold(offset)).ok_or(MatchError::Failed)?;
            }
        }
        choice.set_head(position, count);
        Ok(choice)
    }

    /// Keeps a choice as its chunk is sent for the first time. On the disk before it returns, so that the chunk is the
    /// same whenever it is sent again; of one that is kept the first stays.
    pub(super) fn keep(&mut self, chunk: u32, choice: &WithheldPlaces) -> Result<(), MatchError> {
        Ok(self.decided.keep(chunk as usize, choice.as_bytes())?)
    }

    /// Whether the choice of a chunk was kept.
    pub(super) fn holds(&self, chunk: u32) -> bool {
        (chunk as usize) < self.chunks()
    }

    /// Chunks of which the choice was kept.
    pub(super) fn chunks(&self) -> usize {
        self.decided.len()
    }

    /// The choice that was kept.
    pub(super) fn kept(&self, chunk: u32) -> Result<WithheldPlaces, MatchError> {
        WithheldPlaces::read(self.decided.get(chunk as usize)?, self.chunk_elements).ok_or(MatchError::Failed)
    }

    /// Puts padding into the places of a chunk that are withheld.
    pub(super) fn apply(&self, chunk: u32, choice: &WithheldPlaces, slots: &mut [Slot]) -> Result<(), MatchError> {
        let first = chunk.saturating_mul(self.chunk_elements);
        for (offset, slot) in (0..self.chunk_elements).zip(slots) {
            // Made for every place, so that nobody's match takes time. Counted from the other end: no place of the list
            // holds this padding.
            let place = u64::from(first.saturating_add(offset));
            let padding = self.shuffle.padding(u64::MAX - place, self.normaliser);
            if choice.withholds(offset).ok_or(MatchError::Failed)? {
                *slot = padding;
            }
        }
        Ok(())
    }

    /// How many persons were withheld by their choice.
    pub(super) fn persons(&self) -> Result<u64, MatchError> {
        let count = |chunk| Ok(self.kept(chunk)?.head().1);
        (0..self.decided.len() as u32).map(count).sum()
    }
}
