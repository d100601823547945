//! The formats of `--format`.

use crate::client::QueryAnswer;
use firebreak_format::{FormatError, csv, json, parquet, sdmx_csv};

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

impl Format {
    /// The answer in this format.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn content(self, answer: &QueryAnswer) -> Result<Vec<u8>, FormatError> {
        Ok(match self {
            Self::Csv => csv::answer(&answer.accepted, &answer.rows).into_bytes(),
            Self::Json => json::answer(answer)?.into_bytes(),
            Self::Parquet => parquet::answer(answer)?,
            Self::SdmxCsv => sdmx_csv::answer(answer).into_bytes(),
        })
    }
}
