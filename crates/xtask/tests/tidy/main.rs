//! What holds for the whole tree and no compiler checks: which package may depend on which, where versions stand, how
//! long files are, that every reason for a refusal is explained.
//!
//! Each rule is a function from what it reads to a list of faults. One test finds none in the tree, another finds those
//! that are planted.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "what fails here fails a test")]

mod dependencies;
mod manifests;
mod refusals;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a folder for which `keep` holds, in order, without those of folders named `target` or with a dot.
fn files(folder: &Path, keep: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, keep));
        } else if path.is_file() && keep(&path) {
            found.push(path);
        }
    }
    found
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|found| extensions.iter().any(|e| found == *e))
}

#[track_caller]
fn assert_tidy(faults: &[String]) {
    assert!(faults.is_empty(), "{} untidy:\n  {}\n", faults.len(), faults.join("\n  "));
}
