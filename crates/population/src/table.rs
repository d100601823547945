use arrow::array::{ArrayRef, BooleanBuilder, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::fs::{File, create_dir_all};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The folder, inside an agency's own, of its registers as they stood at the end of the third quarter of 2024.
const EARLIER_CUT: &str = "2024-Q3";

/// Rows of a batch, and of a row group: what is held in memory at once, for each file.
const BATCH_ROWS: usize = 8_192;
const GROUP_ROWS: usize = 131_072;

/// A population that cannot be made or written.
#[derive(Debug, thiserror::Error)]
pub enum PopulationError {
    /// Nobody, or more persons than the keys have room for.
    #[error("a population has from 1 to {} persons", crate::MOST_PERSONS)]
    Size,
    /// A folder or file cannot be made.
    #[error("a file of the population cannot be written: choose a folder that can be written, with room in it")]
    Io(#[from] io::Error),
    /// A file cannot be written to its end.
    #[error("a Parquet file of the population cannot be written: choose a folder with room in it")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The columns do not fit together.
    #[error("the columns of a file of the population do not fit its schema")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A thread that wrote a file ended early.
    #[error("writing a file of the population was interrupted")]
    Interrupted,
}

/// The columns of a file while a batch of them is filled.
pub(crate) trait Columns: Default {
    /// Names and types, in order.
    const FIELDS: &'static [(&'static str, DataType)];

    /// Takes the filled columns out, in the order of [`Columns::FIELDS`].
    fn finish(&mut self) -> Vec<ArrayRef>;
}

/// A register's file and, if it has one, its earlier cut's, written side by side.
pub(crate) struct Table<C> {
    pub(crate) columns: C,
    schema: SchemaRef,
    stood_earlier: BooleanBuilder,
    filled: usize,
    rows: u64,
    latest: ArrowWriter<File>,
    earlier: Option<ArrowWriter<File>>,
}

impl<C: Columns> Table<C> {
    /// A file with an earlier cut beside it.
    pub(crate) fn with_earlier_cut(folder: &Path, file: &str) -> Result<Self, PopulationError> {
        let mut table = Self::create(folder, file)?;
        table.earlier = Some(writer(&folder.join(EARLIER_CUT), file, &table.schema)?);
        Ok(table)
    }

    /// A file by itself.
    pub(crate) fn create(folder: &Path, file: &str) -> Result<Self, PopulationError> {
        let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), true);
        let schema: SchemaRef = Arc::new(Schema::new(C::FIELDS.iter().map(field).collect::<Vec<_>>()));
        Ok(Self {
            columns: C::default(),
            latest: writer(folder, file, &schema)?,
            schema,
            stood_earlier: BooleanBuilder::new(),
            filled: 0,
            rows: 0,
            earlier: None,
        })
    }

    /// Ends a row whose columns have just been filled; `stood_earlier` says whether the earlier cut has it too.
    pub(crate) fn end_row(&mut self, stood_earlier: bool) -> Result<(), PopulationError> {
        self.stood_earlier.append_value(stood_earlier);
        self.filled += 1;
        if self.filled == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    /// Writes what is left and the footers; gives the rows of the latest cut.
    pub(crate) fn close(mut self) -> Result<u64, PopulationError> {
        self.flush()?;
        self.latest.close()?;
        if let Some(earlier) = self.earlier {
            earlier.close()?;
        }
        Ok(self.rows)
    }

    fn flush(&mut self) -> Result<(), PopulationError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), self.columns.finish())?;
        let stood_earlier = self.stood_earlier.finish();
        self.latest.write(&batch)?;
        if let Some(earlier) = &mut self.earlier {
            earlier.write(&filter_record_batch(&batch, &stood_earlier)?)?;
        }
        self.rows += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

fn writer(folder: &Path, file: &str, schema: &SchemaRef) -> Result<ArrowWriter<File>, PopulationError> {
    create_dir_all(folder)?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    // No two persons share a value of these, so a dictionary would only be filled and thrown away.
    for name in ["person_key", "national_number", "fingerprint", "pupil_no", "nat_id"] {
        properties = properties.set_column_dictionary_enabled(name.into(), false);
    }
    Ok(ArrowWriter::try_new(File::create(folder.join(file))?, Arc::clone(schema), Some(properties.build()))?)
}
