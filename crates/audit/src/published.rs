use crate::entries::{push_entry, split_entries};
use crate::folder::{CHECKPOINT, Folder};
use crate::tree::{Edge, TileHashes, TileName, WIDTH};
use crate::{Checkpoint, Hash, LogError, Opening, Receipt, SignedLeaf};
use std::cell::RefCell;
use tlog_tiles::tlog::{Error as TreeError, Hash as TreeHash, HashReader, prove_record, prove_tree};

/// A log as it stood under one checkpoint, for proofs and receipts. It never changes: whoever holds one reads on
/// while the log grows.
///
/// The right edge of the tree is in memory, everything left of it in full tiles, which are files that never change.
pub struct PublishedLog {
    folder: Folder,
    checkpoint: Checkpoint,
    edge: Edge,
    /// Entries of the last, not yet full bundle.
    bundle: Vec<u8>,
}

impl PublishedLog {
    /// The tree of `edge`, to which `checkpoint` commits and whose full tiles are in `folder`.
    pub(crate) const fn new(folder: Folder, checkpoint: Checkpoint, edge: Edge, bundle: Vec<u8>) -> Self {
        Self { folder, checkpoint, edge, bundle }
    }

    /// The checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The leaf of that number.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`]; [`LogError::Io`], [`LogError::Damaged`] if its bundle cannot be read.
    pub fn entry(&self, index: u64) -> Result<SignedLeaf, LogError> {
        self.in_range(index < self.checkpoint.size())?;
        let name = self.bundle_name(index / WIDTH)?;
        let damaged = || LogError::Damaged(self.folder.path(&name.path()));
        let bundle = self.stored(&name)?;
        let entries = split_entries(&bundle, name.width as usize).ok_or_else(damaged)?;
        let entry = usize::try_from(index % WIDTH).ok().and_then(|place| entries.get(place)).ok_or_else(damaged)?;
        SignedLeaf::decode(entry).map_err(|_| damaged())
    }

    /// Every leaf in order, with its number, read bundle by bundle.
    ///
    /// # Errors
    /// As [`PublishedLog::entry`]; leaves before the one that cannot be read were given to `each`.
    pub fn for_each_entry(&self, each: impl FnMut(u64, SignedLeaf)) -> Result<(), LogError> {
        self.for_each_bundle(0..self.checkpoint.size().div_ceil(WIDTH), each)
    }

    /// The leaves from number `first` to the end of their bundle; none beyond the last.
    ///
    /// # Errors
    /// As [`PublishedLog::entry`].
    pub fn entries_from(&self, first: u64) -> Result<Vec<SignedLeaf>, LogError> {
        let mut leaves = Vec::new();
        if first < self.checkpoint.size() {
            self.for_each_bundle(first / WIDTH..first / WIDTH + 1, |index, leaf| {
                if index >= first {
                    leaves.push(leaf);
                }
            })?;
        }
        Ok(leaves)
    }

    fn for_each_bundle(
        &self,
        numbers: std::ops::Range<u64>,
        mut each: impl FnMut(u64, SignedLeaf),
    ) -> Result<(), LogError> {
        for number in numbers {
            let name = self.bundle_name(number)?;
            let damaged = || LogError::Damaged(self.folder.path(&name.path()));
            let bundle = self.stored(&name)?;
            let entries = split_entries(&bundle, name.width as usize).ok_or_else(damaged)?;
            for (index, entry) in (number * WIDTH..).zip(entries) {
                each(index, SignedLeaf::decode(entry).map_err(|_| damaged())?);
            }
        }
        Ok(())
    }

    /// The proof that leaf `index` is in the tree of the first `size` leaves (RFC 6962, section 2.1.1), from the leaf
    /// up.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] unless `index < size ≤` leaves published; [`LogError::Io`], [`LogError::Damaged`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        self.in_range(index < size && size <= self.checkpoint.size())?;
        self.prove(|reader| prove_record(size, index, reader))
    }

    /// The proof that the tree of the first `old` leaves is a prefix of that of the first `new` (RFC 6962, section
    /// 2.1.2). Empty if `old` is 0 or equal to `new`.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] unless `old ≤ new ≤` leaves published; [`LogError::Io`], [`LogError::Damaged`].
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        self.in_range(old <= new && new <= self.checkpoint.size())?;
        if old == 0 { Ok(Vec::new()) } else { self.prove(|reader| prove_tree(new, old, reader)) }
    }

    /// The receipt for `leaf`, which was given the number `index`. With any other leaf it will not verify.
    ///
    /// # Errors
    /// As [`PublishedLog::inclusion_proof`].
    pub fn receipt(&self, index: u64, leaf: SignedLeaf, opening: Option<Opening>) -> Result<Receipt, LogError> {
        let proof = self.inclusion_proof(index, self.checkpoint.size())?;
        Ok(Receipt { index, leaf, proof, checkpoint: self.checkpoint.note().to_owned(), opening })
    }

    /// The file at a path of C2SP tlog-tiles, such as `checkpoint`, `tile/0/000.p/17` or `tile/entries/000`, as this
    /// log has it; `None` if it has none there. A tile that has grown since is given at its earlier width too.
    ///
    /// # Errors
    /// [`LogError::Io`], [`LogError::Damaged`].
    pub fn file(&self, path: &str) -> Result<Option<Vec<u8>>, LogError> {
        if path == CHECKPOINT {
            return Ok(Some(self.checkpoint.note().as_bytes().to_vec()));
        }
        let Some(name) = TileName::parse(path) else { return Ok(None) };
        let last = TileName::in_tree(name.level, name.number, self.checkpoint.size());
        let Some(last) = last.filter(|last| name.width <= last.width) else { return Ok(None) };
        let mut bytes = self.stored(&last)?;
        if name.level.is_some() {
            bytes.truncate(name.width as usize * 32);
        } else if name.width < last.width {
            let damaged = || LogError::Damaged(self.folder.path(&last.path()));
            let entries = split_entries(&bytes, last.width as usize).ok_or_else(damaged)?;
            let mut first = Vec::new();
            for entry in entries.iter().take(name.width as usize) {
                push_entry(&mut first, entry);
            }
            bytes = first;
        }
        Ok(Some(bytes))
    }

    const fn in_range(&self, holds: bool) -> Result<(), LogError> {
        if holds { Ok(()) } else { Err(LogError::OutOfRange { published: self.checkpoint.size() }) }
    }

    fn bundle_name(&self, number: u64) -> Result<TileName, LogError> {
        let published = self.checkpoint.size();
        TileName::in_tree(None, number, published).ok_or(LogError::OutOfRange { published })
    }

    fn prove(
        &self,
        proof: impl FnOnce(&LogHashes<'_>) -> Result<Vec<TreeHash>, TreeError>,
    ) -> Result<Vec<Hash>, LogError> {
        let hashes = LogHashes { log: self, failed: RefCell::new(None) };
        match proof(&hashes) {
            Ok(proof) => Ok(proof.into_iter().map(|hash| hash.0).collect()),
            Err(_) => Err(hashes.failed.take().unwrap_or_else(|| LogError::Damaged(self.folder.path("tile")))),
        }
    }

    /// A tile or bundle of the tree: from memory what is not yet full, else from its file.
    fn stored(&self, name: &TileName) -> Result<Vec<u8>, LogError> {
        if !name.is_full() {
            let edge = name.level.map_or(Some(self.bundle.as_slice()), |level| self.edge.partial(level, name.number));
            return Ok(edge.unwrap_or_default().to_vec());
        }
        let path = self.folder.path(&name.path());
        let bytes = self.folder.read(&name.path()).map_err(|source| LogError::Io { path: path.clone(), source })?;
        let whole = name.level.is_none() || bytes.len() as u64 == WIDTH * 32;
        if whole { Ok(bytes) } else { Err(LogError::Damaged(path)) }
    }
}

/// The hashes of a log's tree, and why one could not be had.
struct LogHashes<'a> {
    log: &'a PublishedLog,
    failed: RefCell<Option<LogError>>,
}

impl HashReader for LogHashes<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<TreeHash>, TreeError> {
        let tile = |level, number| {
            let name = TileName::in_tree(Some(level), number, self.log.checkpoint.size())?;
            self.log.stored(&name).map_err(|error| *self.failed.borrow_mut() = Some(error)).ok()
        };
        TileHashes(tile).read_hashes(indexes)
    }
}
