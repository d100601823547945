use crate::error::BundleError;
use crate::manifest::{MANIFEST, Manifest};
use crate::overseers::SignedText;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

const MAX_BYTES: u64 = 16 << 20;
const MAX_FILES: usize = 4096;
const FOLDERS: [(&str, &[&str]); 4] =
    [("agreements", &["toml"]), ("assessments", &["toml"]), ("contracts", &["toml", "note"]), ("policies", &["cedar"])];

/// A bundle folder as read: its files are those that its manifest lists, byte for byte. Nothing else is known of it
/// yet; only [`crate::Bundle::first`], [`crate::Bundle::succeed`] and [`crate::Bundle::resume`] take it up.
#[derive(Debug)]
pub struct Candidate {
    pub(crate) manifest: Manifest,
    pub(crate) note: SignedText,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    note_bytes: Vec<u8>,
}

impl Candidate {
    /// Reads a folder: `manifest.note`, `endpoints.toml`, `overseers.toml`, `agreements/*.toml`, `assessments/*.toml`,
    /// `contracts/*.toml` with `contracts/*.note`, `policies/*.cedar`, and a `README.md`, signed like the rest. Names
    /// that begin with a dot are passed over.
    ///
    /// # Errors
    /// [`BundleError`]: unreadable, stray, changed, missing or unlisted files, and a manifest that is none.
    pub fn read(folder: &Path) -> Result<Self, BundleError> {
        let mut files = read_files(folder)?;
        let Some(note_bytes) = files.remove(MANIFEST) else {
            return Err(BundleError::FileMissing { file: MANIFEST.to_owned() });
        };
        let note = SignedText::parse(&note_bytes).ok_or(BundleError::Manifest("it is not a C2SP signed note"))?;
        let manifest = Manifest::parse(note.text())?;
        for (file, hash) in &manifest.files {
            match files.get(file) {
                None => return Err(BundleError::FileMissing { file: file.clone() }),
                Some(bytes) if <[u8; 32]>::from(Sha256::digest(bytes)) != *hash => {
                    return Err(BundleError::FileChanged { file: file.clone() });
                }
                Some(_) => {}
            }
        }
        match files.keys().find(|file| !manifest.files.contains_key(*file)) {
            Some(file) => Err(BundleError::FileNotListed { file: file.clone() }),
            None => Ok(Self { manifest, note, files, note_bytes }),
        }
    }

    /// Writes the bundle into an empty folder, for instance the copy that a program keeps of the one in force. It is on
    /// the disk when this returns.
    ///
    /// # Errors
    /// [`BundleError::Unreadable`] with what the system said.
    pub fn write(&self, folder: &Path) -> Result<(), BundleError> {
        let manifest = (MANIFEST, &self.note_bytes);
        for (file, bytes) in self.files.iter().map(|(f, b)| (f.as_str(), b)).chain([manifest]) {
            let path = folder.join(file);
            let parent = path.parent().unwrap_or(folder);
            let written = || {
                fs::create_dir_all(parent)?;
                let mut to = fs::File::create(&path)?;
                to.write_all(bytes)?;
                to.sync_all()?;
                fs::File::open(parent)?.sync_all()
            };
            written().map_err(|e| unreadable(file, &e))?;
        }
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| unreadable("", &e))
    }

    /// Its manifest, not yet believed.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn text(&self, file: &str) -> Result<&str, BundleError> {
        let bytes = self.files.get(file).ok_or_else(|| BundleError::FileMissing { file: file.to_owned() })?;
        std::str::from_utf8(bytes)
            .map_err(|_| BundleError::Syntax { file: file.to_owned(), problem: "it is not UTF-8 text".to_owned() })
    }

    /// The files of a folder with that extension, sorted.
    pub(crate) fn listed(&self, folder: &str, extension: &str) -> Vec<&str> {
        let inside = |file: &&String| {
            file.split_once('/')
                .is_some_and(|(at, name)| at == folder && name.rsplit_once('.').is_some_and(|(_, is)| is == extension))
        };
        self.files.keys().filter(inside).map(String::as_str).collect()
    }
}

/// Every file of a bundle folder by its path inside it, with `/` between the parts.
pub(crate) fn read_files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    let mut files = BTreeMap::new();
    let mut left = MAX_BYTES;
    for (name, is_folder) in entries(folder, "")? {
        if is_folder {
            let Some((_, extensions)) = FOLDERS.iter().find(|(known, _)| *known == name) else {
                return Err(BundleError::Stray(name));
            };
            for (inner, is_folder) in entries(&folder.join(&name), &name)? {
                let path = format!("{name}/{inner}");
                let known = inner.rsplit_once('.').is_some_and(|(_, is)| extensions.contains(&is));
                if is_folder || !known {
                    return Err(BundleError::Stray(path));
                }
                read_one(folder, path, &mut files, &mut left)?;
            }
        } else if ["README.md", "endpoints.toml", "overseers.toml", MANIFEST].contains(&name.as_str()) {
            read_one(folder, name, &mut files, &mut left)?;
        } else {
            return Err(BundleError::Stray(name));
        }
    }
    Ok(files)
}

fn read_one(
    folder: &Path,
    path: String,
    files: &mut BTreeMap<String, Vec<u8>>,
    left: &mut u64,
) -> Result<(), BundleError> {
    let full = folder.join(&path);
    let size = fs::metadata(&full).map_err(|e| unreadable(&path, &e))?.len();
    if size > *left || files.len() == MAX_FILES {
        return Err(BundleError::TooLarge);
    }
    *left -= size;
    let bytes = fs::read(&full).map_err(|e| unreadable(&path, &e))?;
    files.insert(path, bytes);
    Ok(())
}

/// Names in a folder, sorted, each with whether it is a folder; what begins with a dot is passed over, because mounts
/// of configuration keep their own bookkeeping under such names.
fn entries(folder: &Path, inside: &str) -> Result<Vec<(String, bool)>, BundleError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| unreadable(inside, &e))? {
        let entry = entry.map_err(|e| unreadable(inside, &e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            let kind = fs::metadata(entry.path()).map_err(|e| unreadable(&name, &e))?;
            names.push((name, kind.is_dir()));
        }
    }
    names.sort();
    Ok(names)
}

fn unreadable(file: &str, error: &std::io::Error) -> BundleError {
    let file = if file.is_empty() { "the bundle folder" } else { file };
    BundleError::Unreadable { file: file.to_owned(), problem: error.kind().to_string() }
}
