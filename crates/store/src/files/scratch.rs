//! Files of one piece of work that belongs to no open session.

use super::SessionFiles;
use crate::{SealError, State, StoreError};
use std::{fs, path::PathBuf};
use zeroize::Zeroizing;

/// Files like a session's, under a key that nothing keeps. They are deleted with this; what a killed program leaves is
/// deleted when the state is next opened, and no byte of it opens.
pub struct ScratchFiles {
    files: SessionFiles,
    folder: PathBuf,
}

impl ScratchFiles {
    /// The files; there are none at first.
    #[must_use]
    pub const fn files(&self) -> &SessionFiles {
        &self.files
    }
}

impl Drop for ScratchFiles {
    fn drop(&mut self) {
        // What cannot be deleted now is when the state is next opened: its key is gone.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl State {
    /// Room for one piece of work.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be made, or the system gives no randomness.
    pub fn scratch_files(&self) -> Result<ScratchFiles, StoreError> {
        let (mut name, mut key) = ([0; 32], Zeroizing::new([0; 32]));
        for random in [&mut name, &mut *key] {
            getrandom::fill(random).map_err(|_| SealError::Seal)?;
        }
        let folder = self.shared.sessions.join(hex::encode(name));
        Ok(ScratchFiles { files: SessionFiles::new(folder.clone(), &key)?, folder })
    }
}
