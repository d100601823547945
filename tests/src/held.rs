//! A file that is read slowly.

use anyhow::{Context, Result, ensure};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A file whose next reader waits until this is dropped, as on a slow disk, and finds no byte in it then.
///
/// What stands in its place is a pipe: whoever opens one to read waits for somebody who writes.
pub struct HeldFile {
    // Keeps the pipe at hand when its other name is deleted.
    folder: TempDir,
}

impl HeldFile {
    /// Holds that file, which lies two folders deep in a state.
    ///
    /// # Errors
    /// There is no such file, or the system makes no pipe.
    pub fn at(file: &Path) -> Result<Self> {
        let state = file.ancestors().nth(3).context("not in a state")?;
        let held = Self { folder: tempfile::tempdir_in(state)? };
        ensure!(Command::new("mkfifo").arg(held.pipe()).status()?.success(), "no pipe can be made");
        fs::remove_file(file).with_context(|| format!("there is no {}", file.display()))?;
        fs::hard_link(held.pipe(), file)?;
        Ok(held)
    }

    fn pipe(&self) -> PathBuf {
        self.folder.path().join("pipe")
    }
}

impl Drop for HeldFile {
    fn drop(&mut self) {
        // Both ways, so that this itself waits for nobody; on Linux it lets go of whoever waits to read.
        let _ = OpenOptions::new().read(true).write(true).open(self.pipe());
    }
}
