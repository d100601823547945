//! A file that its owner alone reads, that replaces no other, and that is there whole or not at all.

use crate::failure::Failure;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A new file in the making, under another name beside its place (mode 0600). It is gone unless it is kept.
pub(super) struct NewFile {
    place: PathBuf,
    made: NamedTempFile,
}

impl NewFile {
    /// Begins a file that will lie at `place`.
    ///
    /// # Errors
    /// [`Failure::Content`] where something lies already, [`Failure::File`].
    pub(super) fn open(place: &Path) -> Result<Self, Failure> {
        if fs::symlink_metadata(place).is_ok() {
            return Err(taken(place));
        }
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = tempfile::Builder::new().prefix(".firebreak-").suffix(".part").tempfile_in(folder);
        let made = made.map_err(|source| unwritable(place, source))?;
        Ok(Self { place: place.to_owned(), made })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.made.write_all(bytes).map_err(|source| unwritable(&self.place, source))
    }

    /// Puts it, whole and on the disk, in its place, unless something came to lie there meanwhile.
    ///
    /// # Errors
    /// As [`NewFile::open`]: it is gone.
    pub(super) fn keep(self) -> Result<(), Failure> {
        let Self { place, made } = self;
        made.as_file().sync_all().map_err(|source| unwritable(&place, source))?;
        match made.persist_noclobber(&place) {
            Ok(_) => Ok(()),
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => Err(taken(&place)),
            Err(failed) => Err(unwritable(&place, failed.error)),
        }
    }
}

fn taken(place: &Path) -> Failure {
    let problem = "is there already and is not replaced: name another file, or move this one away".to_owned();
    Failure::Content { file: place.to_owned(), problem }
}

fn unwritable(place: &Path, source: io::Error) -> Failure {
    Failure::File {
        file: place.to_owned(),
        what: "cannot be made: choose a new file in a folder that you may write to",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_its_owners_and_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("keys.csv");
        let mut given_up = NewFile::open(&place).unwrap();
        given_up.write(b"half").unwrap();
        assert!(!place.exists());
        drop(given_up);
        assert!(names(folder.path()).is_empty(), "a part stayed");
        let mut file = NewFile::open(&place).unwrap();
        file.write(b"one ").unwrap();
        file.write(b"two").unwrap();
        file.keep().unwrap();
        assert_eq!(
            (fs::read(&place).unwrap().as_slice(), names(folder.path())),
            (&b"one two"[..], vec!["keys.csv".into()])
        );
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn nothing_that_lies_there_is_replaced_not_even_what_came_meanwhile_or_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let [place, link] = ["keys.csv", "link"].map(|name| folder.path().join(name));
        let mut late = NewFile::open(&place).unwrap();
        late.write(b"late").unwrap();
        fs::write(&place, "first").unwrap();
        for failure in [late.keep().err(), NewFile::open(&place).err()] {
            assert!(failure.unwrap().to_string().contains("is there already"));
        }
        assert_eq!((fs::read_to_string(&place).unwrap().as_str(), names(folder.path()).len()), ("first", 1));
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).unwrap();
        assert!(NewFile::open(&link).is_err());
    }

    #[test]
    fn a_folder_that_is_none_is_said_before_anything_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let failure = NewFile::open(&folder.path().join("nowhere/keys.csv")).err().unwrap();
        assert!(failure.to_string().contains("choose a new file in a folder"), "{failure}");
    }
}
