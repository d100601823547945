//! Taking the matched keys out as a file: what `firebreak match --out` and `firebreak matched --out` do alike.

use super::matching::of_key;
use super::new_file::NewFile;
use crate::client::{Connection, HandOutPart, hand_out};
use crate::failure::Failure;
use crate::number::count;
use crate::terminal::Terminal;
use clap::{Args, ValueEnum};
use firebreak_wire::local::v1::{HandOutForm, HandedOut};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct OutOptions {
    /// Writes the keys of the matched records, with the columns that the agreement discloses of them, to a new file that
    /// you alone can read. For an officer; your agency's register says who took them
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The file's format [default: Parquet for a name that ends in .parquet, else CSV]
    #[arg(long, requires = "out", value_enum)]
    format: Option<FileFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// RFC 4180 with a heading, every key as it is
    Csv,
    /// Apache Parquet, with session, agreement, purpose and cut as metadata
    Parquet,
}

/// A file that the matched keys are to go to.
#[derive(Clone)]
pub(super) struct Out {
    place: PathBuf,
    form: HandOutForm,
}

impl OutOptions {
    /// The file that was named, if any. It is looked at now: nothing is asked for what could not be kept.
    ///
    /// # Errors
    /// [`Failure::Content`] for a file that is there already, [`Failure::File`].
    pub(super) fn open(self) -> Result<Option<Out>, Failure> {
        let Some(place) = self.out else { return Ok(None) };
        let form = form(self.format, &place);
        Out { place, form }.checked().map(Some)
    }
}

fn form(named: Option<FileFormat>, place: &Path) -> HandOutForm {
    let by_name = || place.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    match named {
        Some(FileFormat::Csv) => HandOutForm::Csv,
        Some(FileFormat::Parquet) => HandOutForm::Parquet,
        None if by_name() => HandOutForm::Parquet,
        None => HandOutForm::Csv,
    }
}

impl Out {
    /// The file beside this one for the matches by a further key. It is looked at like the first.
    ///
    /// # Errors
    /// As [`OutOptions::open`].
    pub(super) fn of_key(&self, key: &str) -> Result<Self, Failure> {
        Self { place: of_key(&self.place, key), form: self.form }.checked()
    }

    fn checked(self) -> Result<Self, Failure> {
        drop(NewFile::open(&self.place)?);
        Ok(self)
    }

    /// Takes the keys of a session out into the file, and says so. Whatever fails leaves no file.
    ///
    /// # Errors
    /// [`Failure::Client`], refused to all but officers; [`Failure::Content`], [`Failure::File`].
    pub(super) async fn take(
        &self,
        connection: &Connection,
        session: &[u8],
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let mut file = NewFile::open(&self.place)?;
        let entry = tokio::select! {
            whole = receive(connection, session, self.form, &mut file) => whole?,
            // The part that came is taken away as this returns.
            _ = tokio::signal::ctrl_c() => return Err(interrupted(&self.place)),
        };
        file.keep()?;
        terminal.note(said(&self.place, &entry));
        Ok(())
    }
}

async fn receive(
    connection: &Connection,
    session: &[u8],
    form: HandOutForm,
    file: &mut NewFile,
) -> Result<HandedOut, Failure> {
    let mut parts = hand_out(connection, session, form).await?;
    loop {
        match parts.part().await? {
            HandOutPart::Piece(piece) => file.write(&piece)?,
            HandOutPart::Whole(entry) => return Ok(entry),
        }
    }
}

fn interrupted(place: &Path) -> Failure {
    let problem = "was not made: Ctrl-C ended it; ask again, the register may list both".to_owned();
    Failure::Content { file: place.to_owned(), problem }
}

fn said(place: &Path, entry: &HandedOut) -> String {
    format!(
        "Wrote {}: {} records, SHA-256 {}. It is number {} in the register of what was handed out.",
        place.display(),
        count(entry.rows),
        hex::encode(&entry.sha256),
        entry.number
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_named_or_follows_from_the_name() {
        for (named, place, expected) in [
            (None, "a.parquet", HandOutForm::Parquet),
            (None, "a.PARQUET", HandOutForm::Parquet),
            (None, "a.csv", HandOutForm::Csv),
            (None, "parquet", HandOutForm::Csv),
            (Some(FileFormat::Csv), "a.parquet", HandOutForm::Csv),
            (Some(FileFormat::Parquet), "a.csv", HandOutForm::Parquet),
        ] {
            assert_eq!(form(named, Path::new(place)), expected, "{named:?} {place}");
        }
    }

    #[test]
    fn a_file_that_is_there_is_said_before_anything_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a.csv");
        std::fs::write(&place, "mine").unwrap();
        let options = OutOptions { out: Some(place.clone()), format: None };
        assert!(matches!(options.open(), Err(Failure::Content { file, .. }) if file == place));
        assert!(matches!(OutOptions { out: None, format: None }.open(), Ok(None)));
    }
}
