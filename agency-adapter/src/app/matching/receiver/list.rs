//! The sender's list as it has arrived, on the disk.

use crate::app::matching::MatchError;
use crate::app::matching::fault::of_peer;
use firebreak_psi::{MatchParams, TagStream};
use firebreak_store::{SessionFiles, Spool, StoreError};
use zeroize::Zeroizing;

/// Tags in the order in which they came, which is theirs.
pub(super) struct List {
    spool: Spool,
    stream: TagStream,
}

impl List {
    /// The name of its file.
    pub(super) const NAME: &str = "list";

    /// What has arrived so far.
    pub(super) fn open(files: &SessionFiles, params: MatchParams) -> Result<Self, MatchError> {
        let (spool, mut stream) = (files.spool(Self::NAME)?, TagStream::new(params));
        for piece in 0..spool.len() {
            stream.check(&spool.get(piece)?)?;
        }
        Ok(Self { spool, stream })
    }

    /// Checks and keeps the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), MatchError> {
        self.stream.check(piece).map_err(of_peer)?;
        Ok(self.spool.add(piece)?)
    }

    /// Bytes that have arrived.
    pub(super) const fn bytes(&self) -> u64 {
        self.stream.bytes()
    }

    /// Whether all of it has.
    pub(super) const fn is_complete(&self) -> bool {
        self.stream.is_complete()
    }

    /// Each tag with its sealed row, `length` bytes together, by the tags' ascending order.
    pub(super) fn entries(&self, length: usize) -> impl Iterator<Item = Result<Zeroizing<Vec<u8>>, StoreError>> {
        (0..self.spool.len()).flat_map(move |piece| {
            let (piece, error) = match self.spool.get(piece) {
                Ok(piece) => (piece, None),
                Err(error) => (Zeroizing::default(), Some(Err(error))),
            };
            let entries = piece.chunks_exact(length).map(|one| Ok(Zeroizing::new(one.to_vec()))).collect::<Vec<_>>();
            error.into_iter().chain(entries)
        })
    }
}
