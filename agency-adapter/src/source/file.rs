//! Parquet and CSV files as DataFusion reads them.

use datafusion::arrow::csv::reader::Format;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::common::Column as FrameColumn;
use datafusion::error::DataFusionError;
use datafusion::prelude::{CsvReadOptions, DataFrame, Expr, ParquetReadOptions, SessionConfig, SessionContext};
use firebreak_domain::{Binding, Contract, CutId, FileType, Misfit};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// A cut that cannot be read. For the agency's own log: it may name its files and columns, never a value.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The binding has no file for the cut.
    #[error("the binding has no file for cut {0}; add a [[cut]]")]
    NoFile(CutId),
    /// The file does not exist.
    #[error("cannot read {0}; check data_folder and the binding")]
    Unreadable(PathBuf),
    /// The schema does not fit.
    #[error("the file does not fit its contract: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Misfits(Vec<Misfit>),
    /// The contract was not checked.
    #[error("the contract names no privacy unit")]
    NoPrivacyUnit,
    /// More rows than the declared register can have.
    #[error("the file holds more than four times the register that its contract declares; correct register_size")]
    RegisterTooSmall,
    /// The binding says that each row is a person, so that nothing tells which rows of another dataset are theirs.
    #[error("a dataset whose rows are persons has no key to join by; take row_is_person out of the binding")]
    NoKeyToJoin,
    /// The file changed while it was read.
    #[error("the file changed while it was read; serve a finished file")]
    Changed,
    /// The adapter's own folder.
    #[error("a bounded view could not be kept in the state folder; see to its disk")]
    NotKept,
    /// The engine failed. Its own text can quote values and is dropped.
    #[error("the file could not be decoded; run `firebreak contract check` on it")]
    Undecodable,
}

impl From<DataFusionError> for SourceError {
    fn from(_: DataFusionError) -> Self {
        Self::Undecodable
    }
}

impl From<ArrowError> for SourceError {
    fn from(_: ArrowError) -> Self {
        Self::Undecodable
    }
}

/// Opens the file of a cut and checks its schema.
pub(super) async fn open(
    contract: &Contract,
    binding: &Binding,
    folder: &Path,
    cut: &CutId,
) -> Result<DataFrame, SourceError> {
    let file = binding.file_of(cut).ok_or_else(|| SourceError::NoFile(cut.clone()))?;
    let path = folder.join(&file.file);
    let frame = frame(&path).await?;
    let mut misfits = binding.misfits(contract);
    misfits.extend(binding.misfits_of_file(contract, &kinds(frame.schema().as_arrow())));
    if misfits.is_empty() { Ok(frame) } else { Err(SourceError::Misfits(misfits)) }
}

/// The columns of a file and what each holds. Every column of a CSV file is text.
///
/// # Errors
/// [`SourceError::Unreadable`] and [`SourceError::Undecodable`].
pub async fn file_schema(path: &Path) -> Result<Vec<(String, FileType)>, SourceError> {
    Ok(kinds(frame(path).await?.schema().as_arrow()))
}

async fn frame(path: &Path) -> Result<DataFrame, SourceError> {
    let name = path.to_str().ok_or_else(|| SourceError::Unreadable(path.to_owned()))?;
    if !path.is_file() {
        return Err(SourceError::Unreadable(path.to_owned()));
    }
    // One partition: the reader is not the slow part, and a plain order of batches is easier to follow.
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    if path.extension().is_some_and(|e| e == "csv") {
        // The header alone says what the columns are: nothing that stands in a record may change whether a file is
        // read.
        let header = File::open(path).map_err(|_| SourceError::Unreadable(path.to_owned()))?;
        let (header, _) = Format::default().with_header(true).infer_schema(BufReader::new(header), Some(0))?;
        let fields: Vec<_> = header.fields().iter().map(|f| Field::new(f.name(), DataType::Utf8, true)).collect();
        let schema = Schema::new(fields);
        let options = CsvReadOptions::new().schema(&schema).newlines_in_values(true);
        Ok(context.read_csv(name, options).await?)
    } else {
        Ok(context.read_parquet(name, ParquetReadOptions::default()).await?)
    }
}

/// A column by its exact name, dots and capitals included.
pub(super) fn column(name: &str) -> Expr {
    Expr::Column(FrameColumn::new_unqualified(name))
}

fn kinds(schema: &Schema) -> Vec<(String, FileType)> {
    schema.fields().iter().map(|field| (field.name().clone(), kind(field.data_type()))).collect()
}

fn kind(kind: &DataType) -> FileType {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => FileType::Text,
        DataType::Dictionary(_, value) => self::kind(value),
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => FileType::Date,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            FileType::Binary
        }
        kind if kind.is_integer() => FileType::Integer,
        kind if kind.is_numeric() => FileType::Decimal,
        _ => FileType::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first record says is its own affair.
    #[tokio::test]
    async fn a_csv_file_is_read_whatever_its_first_record_says() {
        let folder = tempfile::tempdir().unwrap();
        for first in ["a", "\"\nb\"", "\"a\nb\"", "\"\"\"\n\"\"\"", "\"a,b\"", "", "\"\n\n\n\""] {
            for rows in [0, 9, 400, 20_000] {
                let path = folder.path().join("cut.csv");
                let mut text = format!("person,month,day,value,a,b,c,d\nt1,2020-07,0,2020-03,1,{first},1289,P1\n");
                text += &"t2,2020-07,0,2020-03,1,x,1289,P1\n".repeat(rows);
                std::fs::write(&path, text).unwrap();
                let columns = file_schema(&path).await.unwrap();
                assert_eq!(columns.len(), 8, "{first:?}");
                let found = frame(&path).await.unwrap().count().await.unwrap();
                assert_eq!(found, rows + 1, "{first:?} before {rows} rows");
            }
        }
    }
}
