//! Answers as JSON (RFC 8259).

use crate::{FORMAT, FormatError, PublishedAnswer, QueryAnswer, is_marked, marks, stage};
use firebreak_domain::{Charge, Delta, Epsilon, Timestamp};
use firebreak_wire::query::v1::{self as wire, Estimate, OutputColumn};
use firebreak_wire::{charge_from_wire, estimate_status};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The answer as one object on one line.
///
/// Keys stand in one order: `format` (1), `dataset`, `cut`, `mechanism`, `cost` (`rho`; `epsilon`, null where the
/// mechanism is not pure; `delta`), `estimand`, `release_id`, `columns` (`groups` and `outputs`, names in order),
/// `rows`. A row has its codes by name under `groups`, and by name under `outputs` a `value`, its `standard_error`, the
/// ends `lower_95` and `upper_95` of its interval, its SDMX `status`, of a quantile its `rank_error`, and of what is
/// rounded or clipped or counts registrations its `marks` ([`marks`]). What is not computable is null, and so is a code
/// in a margin over all of them. An answer over several agencies has, before `columns`, its `parts` (`agency`,
/// `dataset`, `release_id`), the names of outputs that count `registrations`, and, where it is partial, what is
/// `missing` (`agency`, `dataset`, `why`). Where groups are selected, `selection` has the `threshold` of their noisy
/// number of persons and its `delta`, and `all_groups`, a figure as above, is how many there are, shown or not. Where
/// the contract tells it, `left_out` before `columns` has, for each `dataset`, the `question` that measures what the
/// bound on a person's rows leaves out, and once it was asked its `release_id`, `rows` and `persons`, figures as above.
///
/// # Errors
/// [`FormatError::Json`].
pub fn answer(answer: &QueryAnswer) -> Result<String, FormatError> {
    laid_out(answer, None)
}

/// A publication as one object on one line: as [`answer()`], and before `columns` a `publication` with `organisation`,
/// `series`, `revision`, `state`, `published` (RFC 3339), `address`, `intervals` (what they cover), `receipt`, and
/// `citation`: `agency`, `controller`, `title`, `population`, `year`, `text`, `bibtex`.
///
/// # Errors
/// [`FormatError::Json`].
pub fn published(published: &PublishedAnswer) -> Result<String, FormatError> {
    let PublishedAnswer { answer, publication, citation, intervals } = published;
    let publication = Publication {
        organisation: &publication.organisation,
        series: &publication.series,
        revision: publication.revision,
        state: stage(publication),
        published: (publication.published != 0).then(|| Timestamp::from_secs(publication.published).to_string()),
        address: &publication.address,
        intervals,
        receipt: &answer.released.receipt,
        citation: Citation {
            agency: &citation.agency,
            controller: &citation.controller,
            title: &citation.title,
            population: &citation.population,
            year: citation.year,
            text: crate::citation::text(citation),
            bibtex: crate::citation::bibtex(citation),
        },
    };
    laid_out(answer, Some(publication))
}

fn laid_out(answer: &QueryAnswer, publication: Option<Publication<'_>>) -> Result<String, FormatError> {
    let (accepted, released) = (&answer.accepted, &answer.released);
    let names: Vec<&str> = accepted.columns.iter().map(|column| column.name.as_str()).collect();
    let rows = answer.rows.iter().map(|row| Row {
        groups: Named(accepted.groups.iter().map(String::as_str).zip(row.groups.iter().map(|of| code(of))).collect()),
        outputs: Named(outputs(&accepted.columns, row)),
    });
    let answer = Answer {
        format: FORMAT,
        dataset: &accepted.dataset,
        cut: &accepted.cut,
        mechanism: &accepted.mechanism,
        cost: charge_from_wire(accepted.cost.as_ref()).into(),
        estimand: &released.estimand,
        release_id: &released.release_id,
        selection: accepted.selection.as_ref().map(Selection::of),
        all_groups: released.all_groups.as_ref().map(|groups| Figure::of(&OutputColumn::default(), groups)),
        registrations: accepted.columns.iter().filter(|c| c.registrations).map(|c| c.name.as_str()).collect(),
        parts: released.parts.iter().map(Part::of).collect(),
        missing: released.missing.iter().map(Missing::of).collect(),
        left_out: released.left_out.iter().map(LeftOut::of).collect(),
        publication,
        columns: Columns { groups: &accepted.groups, outputs: &names },
        rows: rows.collect(),
    };
    Ok(serde_json::to_string(&answer)? + "\n")
}

/// A code; none in a margin over all of them.
fn code(code: &str) -> Option<&str> {
    Some(code).filter(|code| !code.is_empty())
}

fn outputs<'a>(columns: &'a [OutputColumn], row: &wire::Row) -> Vec<(&'a str, Figure)> {
    let figures = columns.iter().zip(&row.estimates);
    figures.map(|(column, estimate)| (column.name.as_str(), Figure::of(column, estimate))).collect()
}

#[derive(serde::Serialize)]
struct Answer<'a> {
    format: u32,
    dataset: &'a str,
    cut: &'a str,
    mechanism: &'a str,
    cost: Cost,
    estimand: &'a str,
    release_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    selection: Option<Selection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all_groups: Option<Figure>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    registrations: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Missing<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publication: Option<Publication<'a>>,
    columns: Columns<'a>,
    rows: Vec<Row<'a>>,
}

#[derive(serde::Serialize)]
struct Selection {
    threshold: i64,
    delta: f64,
}

impl Selection {
    fn of(selection: &wire::Selection) -> Self {
        Self { threshold: selection.threshold, delta: delta(Delta::from_atto(selection.delta_atto)) }
    }
}

#[derive(serde::Serialize)]
struct Part<'a> {
    agency: &'a str,
    dataset: &'a str,
    release_id: &'a str,
}

impl<'a> Part<'a> {
    fn of(part: &'a wire::Part) -> Self {
        Self { agency: &part.agency, dataset: &part.dataset, release_id: &part.release_id }
    }
}

#[derive(serde::Serialize)]
struct Missing<'a> {
    agency: &'a str,
    dataset: &'a str,
    why: &'a str,
}

impl<'a> Missing<'a> {
    fn of(part: &'a wire::MissingPart) -> Self {
        Self { agency: &part.agency, dataset: &part.dataset, why: &part.why }
    }
}

#[derive(serde::Serialize)]
struct LeftOut<'a> {
    dataset: &'a str,
    question: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    release_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Figure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    persons: Option<Figure>,
}

impl<'a> LeftOut<'a> {
    fn of(of: &'a wire::LeftOut) -> Self {
        let figure = |estimate: &Estimate| Figure::of(&OutputColumn::default(), estimate);
        Self {
            dataset: &of.dataset,
            question: &of.question,
            release_id: &of.release_id,
            rows: of.rows.as_ref().map(figure),
            persons: of.persons.as_ref().map(figure),
        }
    }
}

#[derive(serde::Serialize)]
struct Publication<'a> {
    organisation: &'a str,
    series: &'a str,
    revision: u32,
    state: &'static str,
    published: Option<String>,
    address: &'a str,
    intervals: &'a str,
    receipt: &'a str,
    citation: Citation<'a>,
}

#[derive(serde::Serialize)]
struct Citation<'a> {
    agency: &'a str,
    controller: &'a str,
    title: &'a str,
    population: &'a str,
    year: i32,
    text: String,
    bibtex: String,
}

#[derive(serde::Serialize)]
struct Cost {
    rho: f64,
    epsilon: Option<f64>,
    delta: f64,
}

impl From<Charge> for Cost {
    fn from(charge: Charge) -> Self {
        let pure = charge.epsilon != Epsilon::default();
        Self { rho: charge.rho.as_f64(), epsilon: pure.then(|| charge.epsilon.as_f64()), delta: delta(charge.delta) }
    }
}

fn delta(delta: Delta) -> f64 {
    delta.atto() as f64 / 1e18
}

#[derive(serde::Serialize)]
struct Columns<'a> {
    groups: &'a [String],
    outputs: &'a [&'a str],
}

#[derive(serde::Serialize)]
struct Row<'a> {
    groups: Named<'a, Option<&'a str>>,
    outputs: Named<'a, Figure>,
}

#[derive(serde::Serialize)]
struct Figure {
    value: Option<f64>,
    standard_error: Option<f64>,
    lower_95: Option<f64>,
    upper_95: Option<f64>,
    status: &'static str,
    /// Of a quantile, null or not; of anything else it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    rank_error: Option<Option<f64>>,
    /// Of what [`is_marked`], null or not; of anything else it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    marks: Option<Option<String>>,
}

impl Figure {
    fn of(column: &OutputColumn, estimate: &Estimate) -> Self {
        Self {
            value: estimate.value,
            standard_error: estimate.standard_error,
            lower_95: estimate.lower,
            upper_95: estimate.upper,
            status: estimate_status(estimate),
            rank_error: column.in_rank.then_some(estimate.rank_error),
            marks: is_marked(column).then(|| marks(column, estimate)),
        }
    }
}

/// An object whose keys stand in this order.
struct Named<'a, T>(Vec<(&'a str, T)>);

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn numbers_are_numbers_what_is_absent_is_null_and_keys_keep_their_order() {
        let text = answer(&samples::answer()).unwrap();
        let head = "{\"format\":1,\"dataset\":\"health.visits\",\"cut\":\"2024-Q4\",\"mechanism\":\"discrete_gaussian\",\
                    \"cost\":{\"rho\":0.005,\"epsilon\":null,\"delta\":0.0},\"estimand\":\"rows of the bounded view\",\
                    \"release_id\":\"r-1\",\"columns\":{\"groups\":[\"region\",\"visit_year\"],\
                    \"outputs\":[\"visits\",\"mean, cost\"]},\"rows\":[";
        assert!(text.starts_with(head), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rows = read["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        let first = &rows[0]["outputs"]["visits"];
        for (key, expected) in [("value", 1234.0625), ("standard_error", 0.1), ("lower_95", 1.5), ("upper_95", 2.0)] {
            assert_eq!(first[key].as_f64(), Some(expected), "{key}");
        }
        assert_eq!((first["status"].as_str(), rows[0]["groups"]["region"].as_str()), (Some("U"), Some("n\"1")));
        let absent = &rows[1]["outputs"]["mean, cost"];
        assert!(absent["value"].is_null() && absent["upper_95"].is_null(), "{absent}");
        assert_eq!(absent["status"].as_str(), Some("O"));
    }

    #[test]
    fn a_publication_tells_all_that_it_rests_on() {
        let read: serde_json::Value = serde_json::from_str(&published(&samples::published()).unwrap()).unwrap();
        let own = &read["publication"];
        assert_eq!((own["series"].as_str(), own["revision"].as_u64()), (Some("visits"), Some(2)));
        assert_eq!(
            (own["state"].as_str(), own["published"].as_str()),
            (Some("published"), Some("2026-01-01T00:00:00Z"))
        );
        assert_eq!((own["intervals"].as_str(), own["receipt"].as_str()), (Some("the noise alone"), Some("text")));
        assert!(own["citation"]["bibtex"].as_str().unwrap().starts_with("@misc{"));
        assert!(own["citation"]["text"].as_str().unwrap().starts_with("Directorate (2025). Visits"));
        assert_eq!(read["rows"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_pure_mechanism_costs_an_epsilon() {
        let cost = Cost::from(Charge::of_epsilon(Epsilon::from_nano(100_000_000)));
        assert_eq!((cost.rho, cost.epsilon), (0.005, Some(0.1)));
    }
}
