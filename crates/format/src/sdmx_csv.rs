//! Answers as SDMX-CSV 2.0, the data message of SDMX 3.0.
//!
//! The structure is that of the question: a dimension for each group, `MEASURE` for the outputs, and one measure,
//! `OBS_VALUE`. Its id, `FIREBREAK:<dataset>-<dimension>-…(1.0.0)`, names dataset and dimensions, so that two files
//! with one id have the same dimensions.

use crate::csv::quoted;
use crate::{PublishedAnswer, QueryAnswer, marks};
use firebreak_wire::estimate_status;
use firebreak_wire::query::v1::{Accepted, Estimate, OutputColumn, Row};
use std::collections::BTreeSet;

const MEASURE: &str = "MEASURE";
const TIME_PERIOD: &str = "TIME_PERIOD";
const VALUE: &str = "OBS_VALUE";
/// What stands before the dimensions.
const LEADING: [&str; 3] = ["STRUCTURE", "STRUCTURE_ID", "ACTION"];
/// What stands behind the value: of each figure its status, its confidentiality, its standard error and the ends of its
/// 95 % interval, of a quantile its error in rank, of what is rounded or clipped or counts registrations its marks and
/// of a partial answer, whose figures have the status `P`, what is missing, for which there is no code; of all of them
/// the release, the cut and what bounding leaves out of it.
const ATTRIBUTES: [&str; 10] = [
    "OBS_STATUS",
    "CONF_STATUS",
    "STD_ERROR",
    "LOWER_95",
    "UPPER_95",
    "RANK_ERROR",
    "COMMENT_OBS",
    "RELEASE_ID",
    "CUT",
    "LEFT_OUT",
];
/// What an id of a dimension may not be, beside the columns above.
const TAKEN: [&str; 3] = ["STRUCTURE_NAME", "SERIES_KEY", "OBS_KEY"];
/// The code of CL_CONF_STATUS for every figure: not for publication, for use inside the recipient's organisation.
///
/// The noise protects the persons, so that none of the codes for confidential figures fits. But an answer goes to the
/// recipient that its agreement names, for the purpose that it names; `F`, free, would let anybody pass it on.
const CONFIDENTIALITY: &str = "N";
/// The code of a margin over all values of a dimension.
const ALL: &str = "_T";
/// That of what is published: free, for publication.
const PUBLISHED: &str = "F";

/// Which of the groups is the time: of those that are periods the finest. A structure has one time at most; other
/// periods are dimensions as any.
fn time(accepted: &Accepted, rows: &[Row]) -> Option<usize> {
    let codes = |place: usize| rows.iter().filter_map(move |row| row.groups.get(place));
    // The finer, the longer its codes; but `2024-Q3` is as long as `2024-07`.
    let fineness = |place: &usize| codes(*place).map(|code| (code.len(), !code.contains('Q'))).next();
    // A margin over all periods is of none.
    let whole = |place: &usize| *place < accepted.groups.len() && !codes(*place).any(String::is_empty);
    let periods = accepted.periods.iter().map(|place| *place as usize).filter(whole);
    // The first of those that are equally fine.
    periods.rev().max_by_key(fineness)
}

/// The answer in long form: a line for each output of each row, with a heading.
///
/// Columns: `STRUCTURE` (`datastructure`), `STRUCTURE_ID`, `ACTION` (`I`, information); a dimension for each group,
/// its name in capitals, or `TIME_PERIOD` for the one that is the time; `MEASURE`, the output's name; `OBS_VALUE`,
/// empty where it is not computable; `OBS_STATUS` and `CONF_STATUS` by the SDMX code lists, `STD_ERROR`, `LOWER_95`,
/// `UPPER_95`, `RANK_ERROR`, `COMMENT_OBS`, `RELEASE_ID`, `CUT`, `LEFT_OUT`; the comment is the figure's marks
/// ([`marks`]), and of a partial answer what is missing, and the last what the bound on a person's rows leaves out, or
/// the question that measures it, where the contracts tell it. Codes are the contract's own, or those of the question's
/// rule.
#[must_use]
pub fn answer(answer: &QueryAnswer) -> String {
    lines(answer, CONFIDENTIALITY)
}

/// A publication in the form of [`answer()`]: its figures are free.
#[must_use]
pub fn published(published: &PublishedAnswer) -> String {
    lines(&published.answer, PUBLISHED)
}

fn lines(answer: &QueryAnswer, confidentiality: &str) -> String {
    let accepted = &answer.accepted;
    let time = time(accepted, &answer.rows);
    let dimensions = dimensions(&accepted.groups, time);
    let measures = measures(accepted.columns.iter().map(|column| column.name.as_str()));
    let leading = ["datastructure".to_owned(), structure_id(&accepted.dataset, &dimensions), "I".to_owned()];

    // A question's own label may be the same.
    let mut all = ALL.to_owned();
    while answer.rows.iter().any(|row| row.groups.contains(&all)) {
        all.push('_');
    }
    let mut text = String::new();
    let dimensions = dimensions.iter().map(String::as_str).chain([MEASURE, VALUE]);
    let (missing, left_out) = (crate::missing(&answer.released), crate::left_out(&answer.released));
    put(&mut text, LEADING.into_iter().chain(dimensions).chain(ATTRIBUTES));
    for row in &answer.rows {
        for ((measure, column), estimate) in measures.iter().zip(&accepted.columns).zip(&row.estimates) {
            let figure = figure(column, estimate, confidentiality, &missing);
            let codes = row.groups.iter().map(|code| if code.is_empty() { &all } else { code });
            let key = leading.iter().chain(codes).chain([measure]);
            let of_all = [&answer.released.release_id, &accepted.cut, &left_out];
            put(&mut text, key.chain(&figure).chain(of_all).map(String::as_str));
        }
    }
    text
}

/// From the value to its comment.
fn figure(column: &OutputColumn, estimate: &Estimate, confidentiality: &str, missing: &str) -> [String; 8] {
    let number = |number: Option<f64>| number.map(|n| n.to_string()).unwrap_or_default();
    let missing = (!missing.is_empty()).then(|| missing.to_owned());
    let comment: Vec<String> = marks(column, estimate).into_iter().chain(missing).collect();
    [
        number(estimate.value),
        estimate_status(estimate).to_owned(),
        confidentiality.to_owned(),
        number(estimate.standard_error),
        number(estimate.lower),
        number(estimate.upper),
        number(estimate.rank_error),
        comment.join("; "),
    ]
}

/// The ids of the groups' dimensions.
fn dimensions(groups: &[String], time: Option<usize>) -> Vec<String> {
    let known = LEADING.into_iter().chain([MEASURE, TIME_PERIOD, VALUE]).chain(ATTRIBUTES).chain(TAKEN);
    let mut taken: BTreeSet<String> = known.map(str::to_owned).collect();
    let ids = groups.iter().enumerate().map(|(place, name)| match time {
        Some(time) if time == place => TIME_PERIOD.to_owned(),
        _ => {
            let id = capitals(name);
            // An id begins with a letter.
            let lettered = id.starts_with(|c: char| c.is_ascii_alphabetic());
            alone(if lettered { id } else { format!("C_{id}") }, &mut taken)
        }
    });
    ids.collect()
}

/// The outputs' names as codes.
fn measures<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let permitted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '$' | '-');
    names.map(|name| alone(name.replace(|c| !permitted(c), "_"), &mut taken)).collect()
}

/// The same for two files if they are of one dataset and have the same dimensions, and else another.
fn structure_id(dataset: &str, dimensions: &[String]) -> String {
    let names = std::iter::once(capitals(dataset)).chain(dimensions.iter().cloned());
    format!("FIREBREAK:{}(1.0.0)", names.collect::<Vec<_>>().join("-"))
}

fn capitals(name: &str) -> String {
    name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

/// The id, lengthened until no other is the same.
fn alone(mut id: String, taken: &mut BTreeSet<String>) -> String {
    while !taken.insert(id.clone()) {
        id.push('_');
    }
    id
}

fn put<'a>(text: &mut String, fields: impl Iterator<Item = &'a str>) {
    let fields: Vec<String> = fields.map(quoted).collect();
    text.push_str(&fields.join(","));
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn each_figure_is_a_line_with_its_dimensions_and_attributes() {
        let text = answer(&samples::answer());
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        let leading = "datastructure,FIREBREAK:HEALTH_VISITS-REGION-TIME_PERIOD(1.0.0),I";
        assert_eq!(
            lines,
            [
                "STRUCTURE,STRUCTURE_ID,ACTION,REGION,TIME_PERIOD,MEASURE,OBS_VALUE,OBS_STATUS,CONF_STATUS,STD_ERROR,\
                 LOWER_95,UPPER_95,RANK_ERROR,COMMENT_OBS,RELEASE_ID,CUT,LEFT_OUT",
                &format!("{leading},\"n\"\"1\",2023,visits,1234.0625,U,N,0.1,1.5,2,,,r-1,2024-Q4,"),
                &format!("{leading},\"n\"\"1\",2023,mean__cost,1234.0625,A,N,0.1,1.5,2,,,r-1,2024-Q4,"),
                &format!("{leading},=2,2024,visits,1234.0625,A,N,0.1,1.5,2,,,r-1,2024-Q4,"),
                &format!("{leading},=2,2024,mean__cost,,O,N,,,,,,r-1,2024-Q4,"),
            ]
        );
    }

    #[test]
    fn what_is_published_is_free_and_otherwise_the_same() {
        let (own, open) = (answer(&samples::answer()), published(&samples::published()));
        assert!(own.contains(",U,N,") && !own.contains(",U,F,"));
        assert_eq!(open, own.replace(",U,N,", ",U,F,").replace(",A,N,", ",A,F,").replace(",O,N,", ",O,F,"));
    }

    #[test]
    fn the_finest_of_the_periods_is_the_time() {
        let texts = |of: &[&str]| of.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let found = |periods: &[u32], codes: &[&str]| {
            let groups = texts(&["a", "b", "c"]);
            let accepted = Accepted { groups, periods: periods.into(), ..Accepted::default() };
            time(&accepted, &[Row { groups: texts(codes), estimates: Vec::new() }])
        };
        assert_eq!(found(&[], &["2020", "2021", "x"]), None);
        assert_eq!(found(&[1], &["2020", "2021", "x"]), Some(1));
        assert_eq!(found(&[0, 1], &["2020", "2020-07", "x"]), Some(1));
        assert_eq!(found(&[0, 1], &["2020", "2021", "x"]), Some(0));
        assert_eq!(found(&[0, 1], &["2024-Q3", "2024-07", "x"]), Some(1), "a month is finer than a quarter");
        assert_eq!(found(&[0, 1], &["2024-07", "2024-Q3", "x"]), Some(0));
        assert_eq!(found(&[0, 1, 2], &["2024-Q3", "2024-07", "2024-W29"]), Some(2));
        assert_eq!(found(&[7], &["2020", "2021", "x"]), None, "a place that is not there");
    }

    #[test]
    fn one_id_of_a_structure_stands_for_the_same_dimensions() {
        let plain = samples::answer();
        let mut with_margin = plain.clone();
        with_margin.rows[0].groups[1].clear();
        let of = |answer: &QueryAnswer| {
            let text = super::answer(answer);
            let id = text.split(',').find(|field| field.starts_with("FIREBREAK:")).unwrap().to_owned();
            (text.lines().next().unwrap().to_owned(), id)
        };
        let ((heading, id), (of_margin, id_of_margin)) = (of(&plain), of(&with_margin));
        assert!(heading.contains(",TIME_PERIOD,") && of_margin.contains(",VISIT_YEAR,"), "{heading}\n{of_margin}");
        assert_eq!(id_of_margin, "FIREBREAK:HEALTH_VISITS-REGION-VISIT_YEAR(1.0.0)");
        assert_ne!(id, id_of_margin);
    }

    #[test]
    fn ids_are_of_their_form_and_never_the_same() {
        let groups = ["measure", "obs_value", "a.b", "a_b", "2nd", "time_period", "cut"].map(str::to_owned);
        let ids = dimensions(&groups, None);
        assert_eq!(ids, ["MEASURE_", "OBS_VALUE_", "A_B", "A_B_", "C_2ND", "TIME_PERIOD_", "CUT_"]);
        assert_eq!(measures(["n", "a b", "a,b", "coût"].into_iter()), ["n", "a_b", "a_b_", "co_t"]);
    }
}
