use crate::entries::{push_entry, split_entries};
use crate::folder::{CHECKPOINT, CHECKPOINT_NEW, Folder};
use crate::tree::{Edge, FullTile, TileName, WIDTH};
use crate::{Checkpoint, CheckpointError, NoteKey, PublishedLog, SignedLeaf, TextError};
use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tlog_tiles::tlog::record_hash;

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
/// [`Log::append`] numbers leaves in memory; [`Log::publish`] makes them and a checkpoint over them durable, in one
/// go for as many as have come in. A leaf exists once `publish` has returned; before that it is lost with the
/// process.
///
/// Partial tiles and bundles of earlier checkpoints stay until the full one is published, so that somebody who fetched
/// a checkpoint finds its tiles.
pub struct Log {
    folder: Folder,
    key: NoteKey,
    published: Arc<PublishedLog>,
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
        let published = Arc::new(PublishedLog::new(folder.clone(), checkpoint, edge.clone(), bundle.clone()));
        Ok(Self { folder, key, published, edge, bundle, filled: Vec::new(), _lock: lock })
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

    /// Makes every leaf appended so far durable under a new checkpoint; with none, gives the last. Blocks on the disk.
    ///
    /// After an error nothing is lost and it can be called again.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn publish(&mut self) -> Result<&Arc<PublishedLog>, LogError> {
        let published = self.published.checkpoint().size();
        if self.edge.size() == published {
            return Ok(&self.published);
        }
        let path = self.folder.path(CHECKPOINT);
        let new = sign(&self.key, &self.edge, &path)?;
        let number = self.edge.size() / WIDTH;
        let bundle = TileName::in_tree(None, number, self.edge.size()).map(|name| (name, self.bundle.as_slice()));
        let filled = self.filled.iter().map(|tile| (tile.name, tile.bytes.as_slice()));
        // A partial tile that stands as it stood under the last checkpoint is there already.
        let partial = self
            .edge
            .partial_tiles()
            .chain(bundle)
            .filter(|(name, _)| TileName::in_tree(name.level, name.number, published) != Some(*name));
        // INVARIANT: entries and tiles are durable before the checkpoint that commits to them. A crash in between
        // leaves the last checkpoint with all it needs, and files beyond it that the next open removes.
        let tile_folder = self.folder.path("tile");
        self.folder.write_tiles(filled.chain(partial)).map_err(|source| LogError::Io { path: tile_folder, source })?;
        self.folder.write_checkpoint(new.note()).map_err(|source| LogError::Io { path, source })?;
        self.published = Arc::new(PublishedLog::new(self.folder.clone(), new, self.edge.clone(), self.bundle.clone()));
        for tile in self.filled.drain(..) {
            // What stays behind is harmless and goes at the next open: the leaves are published, so this is no error.
            let _ = self.folder.remove_partial_forms(&tile.name);
        }
        Ok(&self.published)
    }

    /// The log under its last checkpoint: what others may read while this one writes on.
    #[must_use]
    pub const fn published(&self) -> &Arc<PublishedLog> {
        &self.published
    }

    /// Leaves appended, published or not.
    #[must_use]
    pub const fn appended(&self) -> u64 {
        self.edge.size()
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
