//! A copy of the tree, in which faults are planted.

use super::list::Fault;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The copy. What has not changed since the last time keeps its date, so that it is not built anew.
pub struct Copy {
    folder: PathBuf,
}

impl Copy {
    /// Makes `folder` a copy of `root`.
    ///
    /// # Errors
    /// The system.
    pub fn of(root: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let wanted = files(root)?;
        for file in files(folder)?.iter().filter(|file| !wanted.contains(file)) {
            fs::remove_file(folder.join(file))?;
        }
        for file in &wanted {
            let (text, to) = (fs::read(root.join(file))?, folder.join(file));
            if fs::read(&to).ok().as_ref() != Some(&text) {
                to.parent().map(fs::create_dir_all).transpose()?;
                fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Plants a fault until what is returned is dropped.
    ///
    /// # Errors
    /// A fault that does not apply.
    pub fn plant(&self, fault: &Fault) -> Result<Planted> {
        let mut planted = Planted::default();
        for change in &fault.changes {
            let file = self.folder.join(&change.file);
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let changed = change.of(&text).with_context(|| format!("{} does not apply", fault.name))?;
            fs::write(&file, changed)?;
            planted.before.push((file, text));
        }
        Ok(planted)
    }
}

/// A fault while it is there.
#[derive(Default)]
pub struct Planted {
    before: Vec<(PathBuf, String)>,
}

impl Drop for Planted {
    fn drop(&mut self) {
        for (file, text) in self.before.drain(..).rev() {
            // What cannot be put back now is when the next copy is made.
            let _ = fs::write(file, text);
        }
    }
}

/// The files below a folder that belong to the project, without its path: no builds, no tools, no
/// history, no configuration of cargo.
///
/// # Errors
/// The system.
pub fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            // Cargo's configuration holds in every folder below: in the copy it would count twice, and with other flags
            // everything would be compiled anew.
            let left_out = ["target", ".git", ".tools", ".cargo"].iter().any(|left_out| name == *left_out);
            if left_out {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(root)?.to_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_what_the_tree_has_and_a_planted_fault_goes_when_it_is_dropped() {
        let folder = std::env::temp_dir().join(format!("firebreak-faults-{}", std::process::id()));
        let (root, to) = (folder.join("root"), folder.join("copy"));
        for (file, text) in [("a/b.rs", "one two"), ("target/c", "built"), ("d", "three")] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), text).unwrap();
        }
        fs::create_dir_all(to.join("a")).unwrap();
        fs::write(to.join("a/gone.rs"), "of last time").unwrap();
        let copy = Copy::of(&root, &to).unwrap();
        let mut copied = files(&to).unwrap();
        copied.sort();
        assert_eq!(copied, [Path::new("a/b.rs"), Path::new("d")]);
        let text = "breaks = \"x\"\n[[change]]\nfile = \"a/b.rs\"\nfind = \"two\"\nreplace = \"2\"\n\
                    [[change]]\nfile = \"a/b.rs\"\nfind = \"one\"\nreplace = \"1\"\n[caught]\nin = [\"--lib\"]\nby = []\n";
        let planted = copy.plant(&toml::from_str(text).unwrap()).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b.rs")).unwrap(), "1 2");
        drop(planted);
        assert_eq!(fs::read_to_string(to.join("a/b.rs")).unwrap(), "one two");
        assert_eq!(fs::read_to_string(root.join("a/b.rs")).unwrap(), "one two");
        fs::remove_dir_all(folder).unwrap();
    }
}
