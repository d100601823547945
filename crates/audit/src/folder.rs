//! A log's folder on disk: durable writes, and a listing in which nothing is overlooked.

use crate::tree::TileName;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Name of the file that everything else hangs on.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Name under which a checkpoint is written before it takes the place of the last.
pub(crate) const CHECKPOINT_NEW: &str = "checkpoint.tmp";

/// A log's folder.
#[derive(Clone)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The path of a name within the log.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    /// Every file, by its name within the log. What is neither a file nor a folder, or has a name that is not UTF-8, is
    /// listed as well, as something that no log contains.
    pub(crate) fn list(&self) -> io::Result<BTreeMap<String, PathBuf>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![(String::new(), self.root.clone())];
        while let Some((prefix, folder)) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push((format!("{name}/"), entry.path()));
                } else if kind.is_file() {
                    files.insert(name, entry.path());
                } else {
                    files.insert(format!("{name} (not a file)"), entry.path());
                }
            }
        }
        Ok(files)
    }

    /// Writes tiles and bundles and makes them durable, their names included.
    ///
    /// They lie beyond the checkpoint: nobody reads them yet, and a half-written one is written again.
    pub(crate) fn write_tiles<'a>(&self, tiles: impl Iterator<Item = (TileName, &'a [u8])>) -> io::Result<()> {
        let mut touched = BTreeSet::new();
        for (name, bytes) in tiles {
            let path = self.path(&name.path());
            self.make_parents(&path, &mut touched)?;
            let mut file = File::create(&path)?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        touched.iter().try_for_each(|folder| File::open(folder)?.sync_all())
    }

    /// Replaces the checkpoint in one step that survives a crash.
    pub(crate) fn write_checkpoint(&self, note: &str) -> io::Result<()> {
        let new = self.path(CHECKPOINT_NEW);
        let mut file = File::create(&new)?;
        file.write_all(note.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.path(CHECKPOINT))?;
        File::open(&self.root)?.sync_all()
    }

    /// Removes the partial forms of a tile that has become full.
    pub(crate) fn remove_partial_forms(&self, full: &TileName) -> io::Result<()> {
        match fs::remove_dir_all(self.path(&format!("{}.p", full.path()))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes the folders above `path` and notes each whose list of names changes.
    fn make_parents(&self, path: &Path, touched: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        for folder in path.ancestors().skip(1) {
            let known = !touched.insert(folder.to_owned());
            if known || folder == self.root || folder.exists() {
                break;
            }
        }
        path.parent().map_or(Ok(()), fs::create_dir_all)
    }
}
