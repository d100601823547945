//! Reading and writing the files that commands are given.

use crate::failure::Failure;
use firebreak_policy::signing::SigningKey;
use serde::de::DeserializeOwned;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zeroize::Zeroizing;

pub(super) fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|source| Failure::File {
        file: file.to_owned(),
        what: "cannot be read: check the path",
        source,
    })
}

/// A statement as given on the command line, where `-` stands for what standard input holds.
pub(super) fn statement(given: String) -> Result<String, Failure> {
    if given == "-" { standard_input() } else { Ok(given) }
}

/// What a file holds, where `-` stands for standard input.
pub(super) fn text_of(file: &str) -> Result<String, Failure> {
    if file == "-" { standard_input() } else { read(Path::new(file)) }
}

fn standard_input() -> Result<String, Failure> {
    io::read_to_string(io::stdin()).map_err(|source| Failure::File {
        file: "standard input".into(),
        what: "cannot be read as text: pass what is asked for to it, for instance by < FILE",
        source,
    })
}

/// Reads TOML; says where in the file it is wrong.
pub(super) fn read_toml<T: DeserializeOwned>(file: &Path) -> Result<T, Failure> {
    let text = read(file)?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let problem = format!("line {}: {}", before.matches('\n').count() + 1, error.message());
        Failure::Content { file: file.to_owned(), problem }
    })
}

pub(super) fn write(file: &Path, content: &[u8]) -> Result<(), Failure> {
    fs::write(file, content).map_err(|source| Failure::File {
        file: file.to_owned(),
        what: "cannot be written: check the folder and its permissions",
        source,
    })
}

/// Writes a file in place of one that may be there, which stays as it is until the new one is whole.
pub(super) fn replace(file: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    write(beside, content)?;
    fs::rename(beside, file).map_err(|source| Failure::File {
        file: file.to_owned(),
        what: "cannot be replaced: check the folder and its permissions",
        source,
    })
}

/// Writes a secret to a new file that only its owner can read. A file that is there already stays as it is.
pub(super) fn write_secret(file: &Path, secret: &str) -> Result<(), Failure> {
    let written = || {
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        opened.write_all(secret.as_bytes())?;
        opened.write_all(b"\n")?;
        opened.sync_all()
    };
    written().map_err(|source| Failure::File {
        file: file.to_owned(),
        what: "cannot be made: choose a new file in a folder that you may write to",
        source,
    })
}

pub(super) fn read_signing_key(file: &Path) -> Result<SigningKey, Failure> {
    let text = Zeroizing::new(read(file)?);
    Ok(SigningKey::parse(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_its_owners_and_never_replaces_another() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        write_secret(&file, "one").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(write_secret(&file, "two"), Err(Failure::File { .. })));
        assert_eq!(fs::read_to_string(&file).unwrap(), "one\n");
    }

    #[test]
    fn wrong_toml_is_named_by_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        fs::write(&file, "format = 1\n\nformat = 2\n").unwrap();
        let error = read_toml::<toml::Table>(&file).unwrap_err().to_string();
        assert!(error.contains("c.toml: line 3"), "{error}");
    }
}
