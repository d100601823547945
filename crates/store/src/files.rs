//! What a match session keeps that is larger than memory: records in sorted order, and pieces in the order in which they
//! came, in a folder of the session's own.
//!
//! Every block is sealed under a key that follows from the session's secret, and bound to its file and its place there.
//! When the session is closed its secret is destroyed, so that from then on no byte of these files opens, also of a copy
//! that somebody kept; then they are deleted.
//!
//! The calls read and write files and so wait: a caller runs them where waiting is allowed.

mod look_up;
mod records;
mod scratch;
mod sorter;
mod spool;
#[cfg(test)]
mod tests;

pub use look_up::{LookUp, LookUpWriter};
pub use records::{RecordFile, RecordReader, RecordWriter};
pub use scratch::ScratchFiles;
pub use sorter::{Sorted, Sorter};
pub use spool::Spool;

use crate::{Fault, Sealer, SessionError, State, StateKey, StoreError};
use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

/// The folder, in the state's own, that holds one folder for each session with files.
pub(crate) const FOLDER: &str = "sessions";

/// The files of one open session. Clones share them.
///
/// Each is known by a name that the caller chooses: letters, digits and hyphens. One name is written by one task.
#[derive(Clone)]
pub struct SessionFiles {
    folder: Arc<PathBuf>,
    sealer: Arc<Sealer>,
}

impl SessionFiles {
    fn new(folder: PathBuf, secret: &[u8; 32]) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let sealer = StateKey::from_bytes(*secret).sealer("session files");
        Ok(Self { folder: Arc::new(folder), sealer: Arc::new(sealer) })
    }

    /// Whether there is a file of that name: one of records that was written to its end, or a spool.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// Deletes a file. One that is not there is deleted already.
    pub fn delete(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn create(path: &Path) -> Result<File, StoreError> {
        Ok(OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?)
    }

    /// Makes the names in the folder last.
    fn sync_folder(&self) -> Result<(), StoreError> {
        Ok(File::open(&*self.folder)?.sync_all()?)
    }
}

impl State {
    /// The files of an open session; there are none at first.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::Closed`] or [`SessionError::Ended`]; [`StoreError`] if the folder cannot
    /// be made, or the session's secret does not have 32 bytes.
    pub async fn session_files(&self, session: &[u8; 32]) -> Result<SessionFiles, SessionError> {
        let secret = self.session_secret(session).await?;
        let secret = secret.first_chunk::<32>().filter(|_| secret.len() == 32);
        let secret = secret.ok_or(StoreError::Malformed("session secret"))?;
        Ok(SessionFiles::new(self.shared.sessions.join(hex::encode(session)), secret)?)
    }

    /// Deletes the files of every session that is not open: at the start, before anybody opens one.
    pub(crate) async fn delete_closed_files(&self) -> Result<(), StoreError> {
        let open = self.open_sessions().await?;
        let open: HashSet<String> = open.into_iter().map(|session| hex::encode(session.session)).collect();
        self.delete_files(move |name| !open.contains(name)).await
    }

    /// Deletes the files of sessions that were closed. What cannot be deleted now is at the next start: no byte of it
    /// opens.
    pub(crate) async fn delete_files_of(&self, closed: &[[u8; 32]]) -> Result<(), StoreError> {
        let closed: HashSet<String> = closed.iter().map(hex::encode).collect();
        self.delete_files(move |name| closed.contains(name)).await
    }

    async fn delete_files(&self, which: impl Fn(&str) -> bool + Send + 'static) -> Result<(), StoreError> {
        let folder = self.shared.sessions.clone();
        let deleted = tokio::task::spawn_blocking(move || {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                if entry.file_name().to_str().is_some_and(&which) {
                    delete_folder(&entry.path())?;
                }
            }
            Ok::<_, io::Error>(())
        });
        Ok(deleted.await.map_err(|_| StoreError::Closed)??)
    }
}

/// How often it is tried, and how long to wait between.
const TRIES: u32 = 50;
const BETWEEN: Duration = Duration::from_millis(20);

/// Deletes a folder with all that is in it, also while a run that has not heard of its session's end still writes there.
fn delete_folder(folder: &Path) -> io::Result<()> {
    for _ in 1..TRIES {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => thread::sleep(BETWEEN),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            deleted => return deleted,
        }
    }
    fs::remove_dir_all(folder)
}

// PRIVACY: of an error of the disk its kind alone goes on, as of one of the database: a path names a session.
impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::File(match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Fault::Full,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound => {
                Fault::Denied
            }
            io::ErrorKind::UnexpectedEof => Fault::Damaged,
            _ => Fault::Disk,
        })
    }
}
