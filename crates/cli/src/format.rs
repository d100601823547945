//! Answers as other programs read them. Every number is as it came, none is rounded.

pub mod csv;
pub mod json;
pub mod parquet;
pub mod sdmx_csv;

/// The version of what is written, where a file has a place for it.
const FORMAT: u32 = 1;

/// A format that an answer can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table with a heading; for each output value, error and status
    Csv,
    /// One object with the answer and what it is an answer to
    Json,
    /// A columnar table, with what it is an answer to as metadata
    Parquet,
    /// SDMX-CSV 2.0: one line for each figure, with its status and error as attributes
    SdmxCsv,
}

/// An answer that could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// As JSON.
    #[error("the answer cannot be written as JSON: choose another --format")]
    Json(#[from] serde_json::Error),
    /// As Parquet.
    #[error("the answer cannot be written as Parquet: choose another --format")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

#[cfg(test)]
pub(crate) mod samples;
