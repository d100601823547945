use super::MatchError;
use super::offered::OfferedTags;
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_store::Participation;
use std::sync::{Arc, Mutex, PoisonError};

/// A list that is sent, piece by piece.
pub struct TagPieces {
    list: Arc<Mutex<OfferedTags>>,
    next: usize,
    /// Bytes of the next piece that its receiver has.
    skip: usize,
}

impl TagPieces {
    pub(super) fn of(list: Arc<Mutex<OfferedTags>>, offset: u64) -> Result<Self, MatchError> {
        let refusal = || Refusal::new(ReasonCode::SessionMismatch).because("a list of tags goes on at a whole tag");
        let offset = usize::try_from(offset).map_err(|_| refusal())?;
        let (entry, piece) = {
            let list = list.lock().unwrap_or_else(PoisonError::into_inner);
            (list.entry_bytes(), list.piece_bytes())
        };
        if !offset.is_multiple_of(entry) {
            return Err(refusal().into());
        }
        Ok(Self { list, next: offset / piece, skip: offset % piece })
    }

    pub(super) fn next(&mut self, who: &Participation) -> Result<Option<Vec<u8>>, MatchError> {
        let mut piece = self.list.lock().unwrap_or_else(PoisonError::into_inner).piece(self.next, who)?;
        self.next = self.next.saturating_add(1);
        if let Some(piece) = piece.as_mut() {
            piece.drain(..std::mem::take(&mut self.skip).min(piece.len()));
        }
        Ok(piece.filter(|piece| !piece.is_empty()))
    }
}
