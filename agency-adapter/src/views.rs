//! Bounded views that are too large for memory: made part by part, and kept as files in a folder of the adapter's own.
//!
//! The rows of a cut are dealt out to parts as they are read, all rows of a person to the same one. Each part is then
//! bounded by itself and appended to one Parquet file. Memory holds one part at a time.
//!
//! PRIVACY: it is the same view that would be made of all rows at once, but for their order: which rows of a person
//! are kept follows from that person's own rows and a secret key alone (`bounded`).

mod deal;

pub(crate) use deal::{Source, make};

use crate::source::{SourceError, is_read_by_questions};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use firebreak_domain::Contract;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// The most bytes that a view may take, by what its contract declares, to be held in memory: 256 MB.
const MOST_IN_MEMORY: u64 = 256 << 20;
/// Bytes of a value in a view, at most.
const VALUE: u64 = 8;
/// Rows of a file's row group: what is written and read at a time.
const ROW_GROUP: usize = 128 * 1024;

/// The folder of views.
#[derive(Debug, Clone)]
pub struct Views {
    folder: PathBuf,
    most_in_memory: u64,
}

impl Views {
    /// Makes the folder, private to its owner and empty: what an earlier run left of its views is deleted.
    ///
    /// # Errors
    /// The system.
    pub fn open(folder: &Path) -> io::Result<Self> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_owned(), most_in_memory: MOST_IN_MEMORY })
    }

    /// The same, but for views that may take so many bytes of memory.
    #[must_use]
    pub const fn with_most_in_memory(mut self, bytes: u64) -> Self {
        self.most_in_memory = bytes;
        self
    }

    /// Whether the view of cuts under a contract, or the join of those under several, is held in memory.
    // PRIVACY: follows from the contracts alone. Questions over files take longer, whatever is in them.
    pub(crate) fn in_memory(&self, contracts: &[Contract]) -> bool {
        let columns = contracts.iter().flat_map(|contract| &contract.columns);
        self.has_memory_for(declared_rows(contracts), columns.filter(|column| is_read_by_questions(column)).count())
    }

    /// Whether so many rows of a person and so many columns are held in memory.
    #[must_use]
    pub const fn has_memory_for(&self, rows: u64, columns: usize) -> bool {
        rows.saturating_mul(1 + columns as u64).saturating_mul(VALUE) <= self.most_in_memory
    }

    /// Begins the file of a view.
    ///
    /// # Errors
    /// [`SourceError::NotKept`].
    pub fn write(&self, schema: SchemaRef) -> Result<ViewWriter, SourceError> {
        let file = tempfile::Builder::new().prefix("view").suffix(".parquet").tempfile_in(&self.folder);
        let (file, path) = file.map_err(|_| SourceError::NotKept)?.into_parts();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(ROW_GROUP)).build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|_| SourceError::NotKept)?;
        Ok(ViewWriter { writer, path })
    }

    /// A file without a name, which is gone when it is closed.
    fn nameless(&self) -> Result<File, SourceError> {
        tempfile::tempfile_in(&self.folder).map_err(|_| SourceError::NotKept)
    }
}

/// The rows of a view as its contracts declare them: where they are several, each row of a person in one stands beside
/// each in the others.
fn declared_rows<'a>(contracts: impl IntoIterator<Item = &'a Contract>) -> u64 {
    let (mut persons, mut rows) = (u64::MAX, 1_u64);
    for contract in contracts {
        persons = persons.min(contract.unit_space.register_size);
        rows = rows.saturating_mul(u64::from(contract.contribution.rows_per_person));
    }
    persons.saturating_mul(rows)
}

/// The file of a view that is being written.
pub struct ViewWriter {
    writer: ArrowWriter<File>,
    path: TempPath,
}

impl ViewWriter {
    /// Appends rows.
    ///
    /// # Errors
    /// [`SourceError::NotKept`].
    pub fn append(&mut self, rows: &RecordBatch) -> Result<(), SourceError> {
        self.writer.write(rows).map_err(|_| SourceError::NotKept)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`SourceError::NotKept`].
    pub fn finish(self) -> Result<ViewFile, SourceError> {
        self.writer.close().map_err(|_| SourceError::NotKept)?;
        Ok(ViewFile { path: self.path })
    }
}

/// A view as a file, readable by its owner alone and deleted with its last user.
#[derive(Debug)]
pub struct ViewFile {
    path: TempPath,
}

impl ViewFile {
    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;
