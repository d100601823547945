//! Where an answer for other programs goes.

use super::Format;
use crate::failure::Failure;
use crate::terminal::Terminal;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where an answer goes. It is opened before the question is asked: nothing is paid for an answer that cannot be kept.
pub(in crate::commands) enum Destination {
    /// Standard output.
    Out,
    /// A file.
    File(Opened),
}

/// A file that can be written. What was in it stays until there is an answer; one that was not there is gone again if
/// there is none.
pub(in crate::commands) struct Opened {
    path: PathBuf,
    file: File,
    /// Whether it was made here and is still empty.
    idle: bool,
}

impl Destination {
    /// Opens it.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a binary format on a terminal, [`Failure::File`].
    pub(in crate::commands) fn open(
        path: Option<&Path>,
        format: Format,
        terminal: &Terminal<'_>,
    ) -> Result<Self, Failure> {
        let Some(path) = path else {
            if format == Format::Parquet && terminal.out_is_terminal {
                return Err(Failure::Usage(
                    "Parquet is binary and is not written to a terminal: add --out FILE, or pass it on with | or >"
                        .to_owned(),
                ));
            }
            return Ok(Self::Out);
        };
        let idle = !path.exists();
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|source| unwritable(path, source))?;
        Ok(Self::File(Opened { path: path.to_owned(), file, idle }))
    }

    /// Writes the answer and says so.
    ///
    /// # Errors
    /// [`Failure::File`], [`Failure::Write`].
    pub(in crate::commands) fn write(self, content: &[u8], terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        match self {
            Self::Out => Ok(terminal.out.write_all(content).and_then(|()| terminal.out.flush())?),
            Self::File(mut opened) => {
                opened.replace(content).map_err(|source| unwritable(&opened.path, source))?;
                terminal.note(format!("Wrote {}.", opened.path.display()));
                Ok(())
            }
        }
    }
}

impl Opened {
    fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        // A pipe or a device has no length.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(content)?;
        self.idle = false;
        Ok(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.idle {
            // An empty file that stays does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn unwritable(path: &Path, source: io::Error) -> Failure {
    Failure::File {
        file: path.to_owned(),
        what: "cannot be written: choose a file in a folder that you may write to",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens and, where there is content, writes; what was told on standard output and beside it.
    fn written(
        path: Option<&Path>,
        format: Format,
        out_is_terminal: bool,
        content: Option<&[u8]>,
    ) -> Result<(Vec<u8>, String), Failure> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal =
            Terminal { out: &mut out, err: &mut err, width: 80, out_is_terminal, err_is_terminal: false };
        let destination = Destination::open(path, format, &terminal)?;
        if let Some(content) = content {
            destination.write(content, &mut terminal)?;
        }
        Ok((out, String::from_utf8(err).unwrap()))
    }

    #[test]
    fn a_file_is_replaced_by_an_answer_and_by_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.csv");
        let kept = || fs::read_to_string(&file).unwrap();
        written(Some(&file), Format::Csv, true, None).unwrap();
        assert!(!file.exists(), "a question without an answer left a file");
        let (out, err) = written(Some(&file), Format::Csv, true, Some(b"a long answer")).unwrap();
        assert_eq!((out.len(), kept().as_str()), (0, "a long answer"));
        assert!(err.contains("Wrote ") && err.contains("a.csv"), "{err}");
        written(Some(&file), Format::Csv, true, None).unwrap();
        assert_eq!(kept(), "a long answer");
        written(Some(&file), Format::Csv, true, Some(b"short")).unwrap();
        assert_eq!(kept(), "short");
    }

    #[test]
    fn what_cannot_be_written_is_said_before_anything_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        for place in [folder.path().to_owned(), folder.path().join("nowhere/a.csv")] {
            let Err(failure) = written(Some(&place), Format::Json, false, None) else { panic!("{}", place.display()) };
            assert!(matches!(failure, Failure::File { .. }));
            assert!(failure.to_string().contains("choose a file in a folder"), "{failure}");
        }
    }

    #[test]
    fn parquet_goes_into_files_and_pipes_and_not_to_a_terminal() {
        let Err(failure) = written(None, Format::Parquet, true, None) else { panic!("opened") };
        assert!(matches!(&failure, Failure::Usage(said) if said.contains("--out FILE")), "{failure}");
        assert_eq!(written(None, Format::Parquet, false, Some(b"PAR1")).unwrap().0, b"PAR1");
        assert_eq!(written(None, Format::Csv, true, Some(b"a")).unwrap().0, b"a");
        assert!(written(Some(Path::new("/dev/null")), Format::Parquet, true, Some(b"PAR1")).is_ok());
        assert!(Path::new("/dev/null").exists());
    }
}
