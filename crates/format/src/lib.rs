//! Answers as other programs read them. Every number is as it came; what the question had rounded or clipped is marked,
//! and so is what counts registrations.
//!
//! ```text
//! QueryAnswer ──┬─► csv        RFC 4180
//!               ├─► sdmx_csv   SDMX-CSV 2.0
//!               ├─► json       one object
//!               └─► arrow ──► parquet
//! ```
//!
//! [`records`] are no answers: an agency's own records, for its own staff.

pub mod arrow;
pub mod citation;
pub mod csv;
mod format;
pub mod json;
pub mod parquet;
pub mod records;
pub mod sdmx_csv;

pub use format::Format;

use firebreak_wire::publication::v1::{Publication, PublicationHead, publication::State};
use firebreak_wire::query::v1::{Accepted, Citation, Estimate, LeftOut, MissingPart, OutputColumn, Released, Row};

/// The version of what is written, where a file has a place for it.
const FORMAT: u32 = 1;

/// An answer as it comes over the wire.
#[derive(Debug, Clone)]
pub struct QueryAnswer {
    /// Cost, dataset, cut, headings.
    pub accepted: Accepted,
    /// A row for every declared group, each with one estimate per heading.
    pub rows: Vec<Row>,
    /// Release id, receipt, what is left, what the figures estimate.
    pub released: Released,
}

/// A publication with its figures.
#[derive(Debug, Clone)]
pub struct PublishedAnswer {
    /// The figures, and what they are an answer to. The receipt is that of the publication.
    pub answer: QueryAnswer,
    /// Where it is on its way.
    pub publication: Publication,
    /// How it is cited.
    pub citation: Citation,
    /// What the intervals cover.
    pub intervals: String,
}

impl PublishedAnswer {
    /// From its head and its rows.
    #[must_use]
    pub fn new(head: PublicationHead, rows: Vec<Row>) -> Self {
        let PublicationHead { publication, accepted, estimand, citation, receipt, intervals, all_groups, left_out } =
            head;
        let publication = publication.unwrap_or_default();
        let release_id = publication.release_id.clone();
        let released = Released { release_id, receipt, estimand, all_groups, left_out, ..Released::default() };
        let answer = QueryAnswer { accepted: accepted.unwrap_or_default(), rows, released };
        Self { answer, publication, citation: citation.unwrap_or_default(), intervals }
    }
}

/// The stage of a publication in a word.
#[must_use]
pub fn stage(publication: &Publication) -> &'static str {
    match publication.state() {
        State::Unspecified => "unknown",
        State::Draft => "draft",
        State::Embargoed => "embargoed",
        State::Published => "published",
        State::Revised => "revised",
        State::Withdrawn => "withdrawn",
    }
}

/// A number of an estimate, and what stands behind the output's name in the heading of its column.
type Figure = (&'static str, fn(&Estimate) -> Option<f64>);

/// The numbers of an output.
const FIGURES: &[Figure] = &[
    ("", |estimate| estimate.value),
    ("_standard_error", |estimate| estimate.standard_error),
    ("_lower", |estimate| estimate.lower),
    ("_upper", |estimate| estimate.upper),
];

/// Those of a quantile, whose error is in rank.
const FIGURES_IN_RANK: &[Figure] = &[("", |estimate| estimate.value), ("_rank_error", |estimate| estimate.rank_error)];

/// What stands behind an output's name in the heading of the column of statuses, its last.
const STATUS: &str = "_status";

/// What stands behind an output's name in the heading of the column of marks, which an output has that [`is_marked`].
const MARKS: &str = "_marks";

/// Whether an output is rounded or clipped, or counts registrations, so that its figures are marked.
#[must_use]
pub const fn is_marked(column: &OutputColumn) -> bool {
    column.rounded.is_some() || column.at_least.is_some() || column.at_most.is_some() || column.registrations
}

/// The unit to which an output is rounded, such as `10` or `0.01`.
#[must_use]
pub fn unit(column: &OutputColumn) -> Option<String> {
    let decimals = column.rounded?;
    let places = usize::from(u8::try_from(decimals.unsigned_abs()).unwrap_or(u8::MAX));
    Some(if decimals > 0 { format!("0.{:0>places$}", 1) } else { format!("1{:0>places$}", "") })
}

/// What its name does not say of a figure, in words: `clipped` at a bound of the question and `rounded to 10`, after it
/// was drawn; `registrations`, for whoever stands in several registers is counted in each. Nothing where there is
/// nothing to say. Errors and intervals are always those of what was drawn.
#[must_use]
pub fn marks(column: &OutputColumn, estimate: &Estimate) -> Option<String> {
    let clipped = estimate.clipped.then(|| "clipped".to_owned());
    let rounded = unit(column).map(|unit| format!("rounded to {unit}"));
    let registrations = column.registrations.then(|| "registrations".to_owned());
    let marks: Vec<String> = clipped.into_iter().chain(rounded).chain(registrations).collect();
    (estimate.value.is_some() && !marks.is_empty()).then(|| marks.join("; "))
}

const fn figures(column: &OutputColumn) -> &'static [Figure] {
    if column.in_rank { FIGURES_IN_RANK } else { FIGURES }
}

/// What is missing in a partial answer, in words; empty of a whole one.
fn missing(released: &Released) -> String {
    let part = |part: &MissingPart| format!("{} of {}: {}", part.dataset, part.agency, part.why);
    released.missing.iter().map(part).collect::<Vec<_>>().join("; ")
}

/// What the bound on a person's rows leaves out of each cut that was read, in words, or how to learn it; empty where
/// the contracts do not tell it.
fn left_out(released: &Released) -> String {
    let of = |LeftOut { dataset, question, release_id, rows, persons }: &LeftOut| match (rows, persons) {
        (Some(rows), Some(persons)) => {
            format!("{dataset}: {} rows of {} persons, release {release_id}", in_words(rows), in_words(persons))
        }
        _ => format!("{dataset}: not measured at this cut yet, who asks pays once, for everybody: {question}"),
    };
    released.left_out.iter().map(of).collect::<Vec<_>>().join("; ")
}

/// A number with its error and interval, with every digit that came.
fn in_words(estimate: &Estimate) -> String {
    let Some(value) = estimate.value else { return "not computable".to_owned() };
    let error = estimate.standard_error.map(|error| format!("standard error {error}"));
    let interval = estimate.lower.zip(estimate.upper).map(|(lower, upper)| format!("95 % {lower} to {upper}"));
    let noise: Vec<String> = error.into_iter().chain(interval).collect();
    if noise.is_empty() { value.to_string() } else { format!("{value} ({})", noise.join(", ")) }
}

/// An answer that could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// As JSON.
    #[error("the answer cannot be written as JSON: choose another format")]
    Json(#[from] serde_json::Error),
    /// As Arrow's columns.
    #[error("the answer cannot be laid out in columns: choose another format")]
    Arrow(#[from] ::arrow::error::ArrowError),
    /// As Parquet.
    #[error("the answer cannot be written as Parquet: choose another format")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

#[cfg(test)]
pub(crate) mod samples;

#[cfg(test)]
mod tests;
