//! Answers as other programs read them. Every number is as it came; what the question had rounded or clipped is marked.
//!
//! ```text
//! QueryAnswer ──┬─► csv        RFC 4180
//!               ├─► sdmx_csv   SDMX-CSV 2.0
//!               ├─► json       one object
//!               └─► arrow ──► parquet
//! ```

pub mod arrow;
pub mod citation;
pub mod csv;
mod format;
pub mod json;
pub mod parquet;
pub mod sdmx_csv;

pub use format::Format;

use firebreak_wire::publication::v1::{Publication, PublicationHead, publication::State};
use firebreak_wire::query::v1::{Accepted, Citation, Estimate, MissingPart, OutputColumn, Released, Row};

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
        let publication = head.publication.unwrap_or_default();
        let release_id = publication.release_id.clone();
        let released = Released { release_id, receipt: head.receipt, estimand: head.estimand, ..Released::default() };
        let answer = QueryAnswer { accepted: head.accepted.unwrap_or_default(), rows, released };
        Self { answer, publication, citation: head.citation.unwrap_or_default(), intervals: head.intervals }
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

/// What stands behind an output's name in the heading of the column of marks, which an output has that is rounded or
/// clipped.
const MARKS: &str = "_marks";

/// Whether an output is rounded or clipped, so that its figures are marked.
#[must_use]
pub const fn is_marked(column: &OutputColumn) -> bool {
    column.rounded.is_some() || column.at_least.is_some() || column.at_most.is_some()
}

/// The unit to which an output is rounded, such as `10` or `0.01`.
#[must_use]
pub fn unit(column: &OutputColumn) -> Option<String> {
    let decimals = column.rounded?;
    let places = usize::from(u8::try_from(decimals.unsigned_abs()).unwrap_or(u8::MAX));
    Some(if decimals > 0 { format!("0.{:0>places$}", 1) } else { format!("1{:0>places$}", "") })
}

/// What was done to a figure after it was drawn, in words: `clipped` at a bound of the question, `rounded to 10`.
/// Nothing where nothing was. Errors and intervals are always those of what was drawn.
#[must_use]
pub fn marks(column: &OutputColumn, estimate: &Estimate) -> Option<String> {
    let clipped = estimate.clipped.then(|| "clipped".to_owned());
    let rounded = unit(column).map(|unit| format!("rounded to {unit}"));
    let marks: Vec<String> = clipped.into_iter().chain(rounded).collect();
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
mod tests {
    use super::*;

    #[test]
    fn every_format_says_what_a_partial_answer_lacks_and_a_whole_one_says_nothing_of_it() {
        let (partial, whole) = (samples::partial(), samples::answer());
        let said = "other.visits of other: other is not connected";
        assert_eq!(missing(&partial.released), said);
        let csv = csv::answer(&partial.accepted, &partial.rows);
        assert!(csv.contains(",P") && !csv.contains(",A"), "{csv}");

        let json: serde_json::Value = serde_json::from_str(&json::answer(&partial).unwrap()).unwrap();
        let told =
            serde_json::json!([{ "agency": "other", "dataset": "other.visits", "why": "other is not connected" }]);
        assert_eq!(json["missing"], told);
        assert_eq!(json["registrations"], serde_json::json!(["visits"]));
        assert_eq!(json["parts"][0]["release_id"], "r-1");
        let plain: serde_json::Value = serde_json::from_str(&json::answer(&whole).unwrap()).unwrap();
        assert!(["missing", "registrations", "parts"].iter().all(|key| plain.get(key).is_none()), "{plain}");

        let metadata = arrow::metadata(&partial.accepted, &partial.released);
        assert!(metadata.contains(&("missing", said.to_owned())), "{metadata:?}");
        assert!(metadata.contains(&("registrations", "visits".to_owned())), "{metadata:?}");

        let sdmx = sdmx_csv::answer(&partial);
        let lines: Vec<&str> = sdmx.split_terminator("\r\n").collect();
        assert!(lines[0].ends_with(",COMMENT_OBS,RELEASE_ID,CUT"), "{sdmx}");
        assert!(lines[1..].iter().all(|line| line.ends_with(&format!("{said},r-1,2024-Q4"))), "{sdmx}");
        assert!(!sdmx_csv::answer(&whole).contains(said));
    }
}
