//! Chunks of a session that one side keeps on its disk, by number.

use super::MatchError;
use firebreak_records::KeptChunk;
use firebreak_store::{SessionFiles, Spool};
use std::collections::BTreeMap;

/// Chunks as they were sent or answered: one that is asked for again is the very same bytes.
pub(super) struct KeptChunks {
    spool: Spool,
    places: BTreeMap<u32, usize>,
}

impl KeptChunks {
    /// Those of a session under that name.
    pub(super) fn open(files: &SessionFiles, name: &str) -> Result<Self, MatchError> {
        let spool = files.spool(name)?;
        let number = |place| {
            let chunk = spool.get(place)?;
            Ok((KeptChunk::read(&chunk).ok_or(MatchError::Failed)?.number, place))
        };
        let places = (0..spool.len()).map(number).collect::<Result<_, MatchError>>()?;
        Ok(Self { spool, places })
    }

    /// The chunk of that number, if it was kept.
    pub(super) fn get(&self, chunk: u32) -> Result<Option<Vec<u8>>, MatchError> {
        let Some(place) = self.places.get(&chunk) else { return Ok(None) };
        let kept = self.spool.get(*place)?;
        let kept = KeptChunk::read(&kept).filter(|kept| kept.number == chunk);
        kept.map(|kept| Some(kept.sent.to_vec())).ok_or(MatchError::Failed)
    }

    /// Keeps one, on the disk before this returns. The first of a number stays.
    pub(super) fn keep(&mut self, chunk: u32, sent: &[u8]) -> Result<(), MatchError> {
        if self.places.contains_key(&chunk) {
            return Ok(());
        }
        let place = self.spool.len();
        self.spool.add(&KeptChunk { number: chunk, sent }.encode())?;
        self.places.insert(chunk, place);
        Ok(())
    }
}
