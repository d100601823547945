//! The list: a file for each fault, whose name is the fault's.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// Where the faults are.
pub const FOLDER: &str = "tests/faults";

/// A small change of the program's own source that breaks what it promises.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The name of its file.
    #[serde(skip)]
    pub name: String,
    /// What it breaks, in a sentence.
    #[cfg_attr(not(test), expect(dead_code, reason = "for who reads the file; a test holds that it is there"))]
    pub breaks: String,
    /// What is changed, in this order.
    #[serde(rename = "change")]
    pub changes: Vec<Change>,
    /// What finds it.
    pub caught: Caught,
}

/// A text that stands once in a file, and what is put in its place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The file, from the root.
    pub file: String,
    find: String,
    replace: String,
}

/// The tests that find a fault.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caught {
    /// Where they are, in the words of `cargo test`: `-p firebreak-store --test store`.
    r#in: Vec<String>,
    /// Their names, without their modules.
    by: Vec<String>,
}

impl Fault {
    /// The files that it changes.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().map(|change| change.file.as_str())
    }
}

impl Caught {
    /// Where the tests are.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.r#in.iter().map(String::as_str)
    }

    /// What they are called.
    pub fn tests(&self) -> impl Iterator<Item = &str> {
        self.by.iter().map(String::as_str)
    }
}

impl Change {
    /// The file's text with the change.
    ///
    /// # Errors
    /// A text in which what is to be replaced does not stand exactly once.
    pub fn of(&self, text: &str) -> Result<String> {
        let (found, Self { file, find, replace }) = (text.matches(self.find.as_str()).count(), self);
        ensure!(found == 1, "what is to be replaced stands {found} times in {file}, and must stand once: {find}");
        ensure!(find != replace, "nothing is changed in {file}");
        Ok(text.replacen(find.as_str(), replace, 1))
    }
}

/// Every fault of a folder, by name.
///
/// # Errors
/// A file that is no fault.
pub fn read(folder: &Path) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".toml")) else { continue };
        let text = fs::read_to_string(&path)?;
        let fault: Fault = toml::from_str(&text).with_context(|| format!("{} is no fault", path.display()))?;
        faults.push(Fault { name: name.to_owned(), ..fault });
    }
    faults.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::copy;
    use std::collections::HashMap;

    fn of(text: &str) -> Fault {
        toml::from_str(text).unwrap()
    }

    /// The fault's own text of each file that it changes.
    fn planted(fault: &Fault, root: &Path) -> Result<HashMap<String, String>> {
        let mut texts: HashMap<String, String> = HashMap::new();
        for change in &fault.changes {
            let text = match texts.get(&change.file) {
                Some(text) => text.clone(),
                None => fs::read_to_string(root.join(&change.file)).with_context(|| change.file.clone())?,
            };
            texts.insert(change.file.clone(), change.of(&text)?);
        }
        Ok(texts)
    }

    /// The list cannot rot: a source or a test that moves fails here, and not only when the faults are replayed.
    #[test]
    fn every_planted_fault_still_applies_and_is_caught_by_tests_that_exist() {
        let root = crate::root();
        let faults = read(&root.join(FOLDER)).unwrap();
        assert!(faults.len() >= 32, "{} faults", faults.len());
        let sources: Vec<String> = copy::files(&root)
            .unwrap()
            .iter()
            .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
            .map(|file| fs::read_to_string(root.join(file)).unwrap())
            .collect();
        let page = fs::read_to_string(root.join("docs/PRIVACY.md")).unwrap();
        let mut wrong = Vec::new();
        for fault in &faults {
            let name = &fault.name;
            if let Err(error) = planted(fault, &root) {
                wrong.push(format!("{name}: {error:#}"));
            }
            if fault.breaks.trim().is_empty() || fault.caught.places().next().is_none() || fault.changes.is_empty() {
                wrong.push(format!("{name}: what it changes, what that breaks, or where that is found is not said"));
            }
            for test in fault.caught.tests() {
                let found = format!("fn {test}(");
                if !sources.iter().any(|source| source.contains(&found)) {
                    wrong.push(format!("{name}: there is no test {test}"));
                }
            }
            if !page.contains(&format!("| `{name}` |")) {
                wrong.push(format!("{name}: docs/PRIVACY.md does not list it"));
            }
        }
        assert!(wrong.is_empty(), "{:#?}", wrong);
    }

    #[test]
    fn a_change_applies_where_its_text_stands_exactly_once() {
        let fault = of("breaks = \"x\"\n[[change]]\nfile = \"a.rs\"\nfind = \"1.0\"\nreplace = \"1.1\"\n\
                        [caught]\nin = [\"-p a --lib\"]\nby = [\"t\"]\n");
        let [change] = fault.changes.as_slice() else { panic!("one change") };
        assert_eq!(change.of("let a = 1.0;").unwrap(), "let a = 1.1;");
        assert!(change.of("let a = 2.0;").unwrap_err().to_string().contains("stands 0 times in a.rs"));
        assert!(change.of("let a = 1.0 + 1.0;").is_err());
        assert!(toml::from_str::<Fault>("breaks = \"x\"\nchange = []\n").is_err(), "what finds it is not said");
    }
}
