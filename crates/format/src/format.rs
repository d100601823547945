use crate::{FormatError, PublishedAnswer, QueryAnswer, csv, json, parquet, sdmx_csv};

/// A format that figures can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [`csv`].
    Csv,
    /// [`json`].
    Json,
    /// [`parquet`].
    Parquet,
    /// [`sdmx_csv`].
    SdmxCsv,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Json, Self::Parquet, Self::SdmxCsv];

    /// The answer in this format.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn answer(self, answer: &QueryAnswer) -> Result<Vec<u8>, FormatError> {
        Ok(match self {
            Self::Csv => csv::answer(&answer.accepted, &answer.rows).into_bytes(),
            Self::Json => json::answer(answer)?.into_bytes(),
            Self::Parquet => parquet::answer(answer)?,
            Self::SdmxCsv => sdmx_csv::answer(answer).into_bytes(),
        })
    }

    /// The publication in this format; of CSV, which has no place for more, its figures.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn published(self, published: &PublishedAnswer) -> Result<Vec<u8>, FormatError> {
        Ok(match self {
            Self::Csv => return self.answer(&published.answer),
            Self::Json => json::published(published)?.into_bytes(),
            Self::Parquet => parquet::published(published)?,
            Self::SdmxCsv => sdmx_csv::published(published).into_bytes(),
        })
    }
}
