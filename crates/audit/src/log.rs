use crate::entries::{push_entry, split_entries};
use crate::folder::{CHECKPOINT, CHECKPOINT_NEW, Folder};
use crate::tree::{Edge, FullTile, TileHashes, TileName, WIDTH};
use crate::{Checkpoint, CheckpointError, Hash, NoteKey, Opening, Receipt, SignedLeaf, TextError};
use std::cell::RefCell;
use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tlog_tiles::tlog::{Error as TreeError, Hash as TreeHash, HashReader, prove_record, prove_tree, record_hash};

/// What a log could not do. Everything before the last checkpoint stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or folder could not be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another program has the folder open.
    #[error("{0} is in use by another program: one program writes a log")]
    InUse(PathBuf),
    /// The folder holds files and no checkpoint.
    #[error("{0} holds files and no checkpoint: restore the checkpoint, or choose an empty folder for a new log")]
    NoCheckpoint(PathBuf),
    /// The checkpoint in the folder is not one of this key.
    #[error("{path}: {source}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CheckpointError,
    },
    /// A file is missing, or is not what the checkpoint commits to.
    #[error("{0} is not what the checkpoint commits to: verify the log and restore it from a copy")]
    Damaged(PathBuf),
    /// A file that is none of a log's.
    #[error("{0} is none of a log's files: move it elsewhere")]
    Foreign(PathBuf),
    /// A leaf that no entry can hold.
    #[error(transparent)]
    Leaf(#[from] TextError),
    /// No such leaf, or no such tree, under the last checkpoint.
    #[error("the log has published {published} leaves; leaf, size or order asked for is beyond that")]
    OutOfRange {
        /// Leaves under the last checkpoint.
        published: u64,
    },
}

/// A log that this program writes, alone.
///
/// [`Log::append`] numbers leaves in memory; [`Log::publish`] makes them and a checkpoint over them durable, in one go for
/// as many as have come in. A leaf exists once `publish` has returned; before that it is lost with the process.
///
/// Partial tiles and bundles of earlier checkpoints stay until the full one is published, so that somebody who fetched
/// a checkpoint finds its tiles.
pub struct Log {
    folder: Folder,
    key: NoteKey,
    checkpoint: Checkpoint,
    edge: Edge,
    /// Entries of the last, not yet full bundle.
    bundle: Vec<u8>,
    /// Full tiles and bundles that wait to be published.
    filled: Vec<FullTile>,
    /// Holds the lock on the folder for as long as the log is open.
    _lock: File,
}

impl Log {
    /// Opens the log in `dir`, or begins one if the folder is missing or empty. Its origin is the key's name.
    ///
    /// What lies beyond the checkpoint, from a publication that a crash cut off, is removed: nobody was told of it.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`LogError`]; a folder with files and no checkpoint is refused, because beginning anew would hide that a log was
    /// lost.
    pub fn open(dir: &Path, key: NoteKey) -> Result<Self, LogError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| LogError::Io { path, source }
        };
        fs::create_dir_all(dir).map_err(at(dir))?;
        let lock = File::open(dir).map_err(at(dir))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::InUse(dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(at(dir)(source)),
        }
        let folder = Folder::new(dir);
        let files = folder.list().map_err(at(dir))?;
        let path = folder.path(CHECKPOINT);
        if !files.contains_key(CHECKPOINT) {
            if files.keys().any(|name| name != CHECKPOINT_NEW) {
                return Err(LogError::NoCheckpoint(dir.to_owned()));
            }
            let empty = sign(&key, &Edge::default(), &path)?;
            folder.write_checkpoint(empty.note()).map_err(at(&path))?;
        }
        let note = folder.read(CHECKPOINT).map_err(at(&path))?;
        let checkpoint =
            key.verifier().open(&note).map_err(|source| LogError::Checkpoint { path: path.clone(), source })?;
        let size = checkpoint.size();

        let damaged = |name: &TileName| LogError::Damaged(folder.path(&name.path()));
        let edge = Edge::load(size, |name| {
            let bytes = folder.read(&name.path()).map_err(|_| damaged(name))?;
            if bytes.len() as u64 == name.width * 32 { Ok(bytes) } else { Err(damaged(name)) }
        })?;
        if edge.root().ok().as_ref() != Some(checkpoint.root()) {
            return Err(LogError::Damaged(path));
        }
        let bundle = match TileName::in_tree(None, size / WIDTH, size) {
            None => Vec::new(),
            Some(name) => {
                let bytes = folder.read(&name.path()).map_err(|_| damaged(&name))?;
                let hashes = edge.partial(0, name.number).unwrap_or_default();
                let fits = split_entries(&bytes, name.width as usize).is_some_and(|entries| {
                    entries.iter().flat_map(|entry| record_hash(entry).0).eq(hashes.iter().copied())
                });
                if !fits {
                    return Err(damaged(&name));
                }
                bytes
            }
        };
        // SECURITY: only once the checkpoint is known to be this log's and to fit its tiles.
        remove_beyond(&folder, size)?;
        Ok(Self { folder, key, checkpoint, edge, bundle, filled: Vec::new(), _lock: lock })
    }

    /// Adds leaves in this order and gives their numbers, which count once [`Log::publish`] has returned.
    ///
    /// # Errors
    /// [`LogError::Leaf`] if one is too large for an entry; then none is added.
    pub fn append(&mut self, leaves: &[SignedLeaf]) -> Result<Range<u64>, LogError> {
        if leaves.iter().any(|leaf| leaf.as_bytes().len() > crate::entries::MAX_ENTRY) {
            return Err(TextError::TooLarge.into());
        }
        let start = self.edge.size();
        for leaf in leaves {
            push_entry(&mut self.bundle, leaf.as_bytes());
            let tiles = self.edge.push(&record_hash(leaf.as_bytes()).0);
            if let Some(tile) = tiles.first() {
                let name = TileName { level: None, ..tile.name };
                self.filled.push(FullTile { name, bytes: std::mem::take(&mut self.bundle) });
            }
            self.filled.extend(tiles);
        }
        Ok(start..self.edge.size())
    }

    /// Makes every leaf appended so far durable under a new checkpoint; with none, gives the last one. Blocks on the disk.
    ///
    /// After an error nothing is lost and it can be called again.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn publish(&mut self) -> Result<&Checkpoint, LogError> {
        if self.edge.size() == self.checkpoint.size() {
            return Ok(&self.checkpoint);
        }
        let path = self.folder.path(CHECKPOINT);
        let new = sign(&self.key, &self.edge, &path)?;
        let number = self.edge.size() / WIDTH;
        let bundle = TileName::in_tree(None, number, self.edge.size()).map(|name| (name, self.bundle.as_slice()));
        let filled = self.filled.iter().map(|tile| (tile.name, tile.bytes.as_slice()));
        // A partial tile that stands as it stood under the last checkpoint is there already.
        let published = self.checkpoint.size();
        let partial = self
            .edge
            .partial_tiles()
            .chain(bundle)
            .filter(|(name, _)| TileName::in_tree(name.level, name.number, published) != Some(*name));
        // INVARIANT: entries and tiles are durable before the checkpoint that commits to them. A crash in between leaves
        // the last checkpoint with all it needs, and files beyond it that the next open removes.
        let tile_folder = self.folder.path("tile");
        self.folder.write_tiles(filled.chain(partial)).map_err(|source| LogError::Io { path: tile_folder, source })?;
        self.folder.write_checkpoint(new.note()).map_err(|source| LogError::Io { path, source })?;
        self.checkpoint = new;
        for tile in self.filled.drain(..) {
            // What stays behind is harmless and goes at the next open: the leaves are published, so this is no error.
            let _ = self.folder.remove_partial_forms(&tile.name);
        }
        Ok(&self.checkpoint)
    }

    /// The last checkpoint published.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Leaves appended, published or not.
    #[must_use]
    pub const fn appended(&self) -> u64 {
        self.edge.size()
    }

    /// The published leaf of that number.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`]; [`LogError::Io`], [`LogError::Damaged`] if its bundle cannot be read.
    pub fn entry(&self, index: u64) -> Result<SignedLeaf, LogError> {
        let published = self.checkpoint.size();
        let out_of_range = LogError::OutOfRange { published };
        if index >= published {
            return Err(out_of_range);
        }
        let name = TileName::in_tree(None, index / WIDTH, self.edge.size()).ok_or(out_of_range)?;
        let damaged = || LogError::Damaged(self.folder.path(&name.path()));
        let bundle = self.stored(&name)?;
        let entries = split_entries(&bundle, name.width as usize).ok_or_else(damaged)?;
        let entry = usize::try_from(index % WIDTH).ok().and_then(|place| entries.get(place)).ok_or_else(damaged)?;
        SignedLeaf::decode(entry).map_err(|_| damaged())
    }

    /// The proof that leaf `index` is in the tree of the first `size` leaves (RFC 6962, section 2.1.1), from the leaf up.
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

    /// The receipt for the published leaf of that number, under the last checkpoint.
    ///
    /// # Errors
    /// As [`Log::entry`].
    pub fn receipt(&self, index: u64, opening: Option<Opening>) -> Result<Receipt, LogError> {
        Ok(Receipt {
            index,
            leaf: self.entry(index)?,
            proof: self.inclusion_proof(index, self.checkpoint.size())?,
            checkpoint: self.checkpoint.note().to_owned(),
            opening,
        })
    }

    const fn in_range(&self, holds: bool) -> Result<(), LogError> {
        if holds { Ok(()) } else { Err(LogError::OutOfRange { published: self.checkpoint.size() }) }
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

    /// A tile or bundle of the tree as appended: from memory what is not yet published or full, else from its file.
    fn stored(&self, name: &TileName) -> Result<Vec<u8>, LogError> {
        if !name.is_full() {
            let edge = name.level.map_or(Some(self.bundle.as_slice()), |level| self.edge.partial(level, name.number));
            return Ok(edge.unwrap_or_default().to_vec());
        }
        if let Some(tile) = self.filled.iter().find(|tile| tile.name == *name) {
            return Ok(tile.bytes.clone());
        }
        let path = self.folder.path(&name.path());
        let bytes = fs::read(&path).map_err(|source| LogError::Io { path: path.clone(), source })?;
        let whole = name.level.is_none() || bytes.len() as u64 == WIDTH * 32;
        if whole { Ok(bytes) } else { Err(LogError::Damaged(path)) }
    }
}

/// The hashes of a log's tree, and why one could not be had.
struct LogHashes<'a> {
    log: &'a Log,
    failed: RefCell<Option<LogError>>,
}

impl HashReader for LogHashes<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<TreeHash>, TreeError> {
        let tile = |level, number| {
            let name = TileName::in_tree(Some(level), number, self.log.edge.size())?;
            self.log.stored(&name).map_err(|error| *self.failed.borrow_mut() = Some(error)).ok()
        };
        TileHashes(tile).read_hashes(indexes)
    }
}

fn sign(key: &NoteKey, edge: &Edge, path: &Path) -> Result<Checkpoint, LogError> {
    let root = edge.root().map_err(|_| LogError::Damaged(path.to_owned()))?;
    key.sign(edge.size(), root).map_err(|source| LogError::Checkpoint { path: path.to_owned(), source })
}

/// Removes what no checkpoint up to `size` commits to, and partial forms of tiles that are full.
fn remove_beyond(folder: &Folder, size: u64) -> Result<(), LogError> {
    let at = |path: PathBuf| move |source| LogError::Io { path, source };
    for (name, path) in folder.list().map_err(at(folder.path("")))? {
        if name == CHECKPOINT {
            continue;
        }
        let stays = match TileName::parse(&name) {
            Some(tile) => TileName::in_tree(tile.level, tile.number, size)
                .is_some_and(|last| tile == last || (tile.width < last.width && !last.is_full())),
            None if name == CHECKPOINT_NEW => false,
            None => return Err(LogError::Foreign(path)),
        };
        if !stays {
            fs::remove_file(&path).map_err(at(path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
