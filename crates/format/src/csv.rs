//! Answers as CSV (RFC 4180), laid out as the gateway lays out an export.

use crate::{MARKS, STATUS, figures, is_marked, marks};
use firebreak_wire::estimate_status;
use firebreak_wire::query::v1::{Accepted, Row};

/// The answer as a CSV file with a heading: the groups, then for each output value, standard error, ends of the 95 %
/// interval and SDMX status; for a quantile value, error in rank and status. What is rounded or clipped, or counts
/// registrations, has its marks behind that ([`marks`]). What is not computable is empty. There is no place for what
/// holds of the whole answer.
#[must_use]
pub fn answer(accepted: &Accepted, rows: &[Row]) -> String {
    let mut heading: Vec<String> = accepted.groups.iter().map(|name| field(name)).collect();
    for column in &accepted.columns {
        let marks = is_marked(column).then_some(MARKS);
        let suffixes = figures(column).iter().map(|(suffix, _)| *suffix).chain([STATUS]).chain(marks);
        heading.extend(suffixes.map(|suffix| field(&format!("{}{suffix}", column.name))));
    }
    let mut text = heading.join(",") + "\r\n";
    for row in rows {
        let mut fields: Vec<String> = row.groups.iter().map(|code| field(code)).collect();
        for (column, estimate) in accepted.columns.iter().zip(&row.estimates) {
            let numbers = figures(column).iter().map(|(_, number)| number(estimate));
            fields.extend(numbers.map(|number| number.map(|n| n.to_string()).unwrap_or_default()));
            fields.push(estimate_status(estimate).to_owned());
            fields.extend(is_marked(column).then(|| marks(column, estimate).unwrap_or_default()));
        }
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

/// A text as a field, quoted where it must be. One that a spreadsheet would take for a formula is kept a text.
#[must_use]
pub fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { quoted(&format!("'{text}")) } else { quoted(text) }
}

/// A text as a field, quoted where it must be, and otherwise as it is: for programs that know what they read.
pub(crate) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_wire::query::v1::{Estimate, OutputColumn, estimate::Status};

    #[test]
    fn each_output_has_its_columns_at_full_precision() {
        let accepted = Accepted {
            groups: vec!["region".into()],
            columns: vec![
                OutputColumn { name: "mean, cost".into(), ..OutputColumn::default() },
                OutputColumn { name: "median".into(), in_rank: true, rounded: Some(-1), ..OutputColumn::default() },
            ],
            ..Accepted::default()
        };
        let known = Estimate {
            value: Some(1234.0625),
            standard_error: Some(0.1),
            lower: Some(1.5),
            upper: Some(2.0),
            status: Status::Unreliable.into(),
            ..Estimate::default()
        };
        let median = Estimate {
            value: Some(10.0),
            rank_error: Some(0.015),
            clipped: true,
            status: Status::Normal.into(),
            ..Estimate::default()
        };
        let unknown = Estimate { status: Status::NotComputable.into(), ..Estimate::default() };
        let row = |code: &str, estimates: [Estimate; 2]| Row { groups: vec![code.into()], estimates: estimates.into() };
        let text = answer(&accepted, &[row("n\"1", [known, median]), row("=2", [unknown, unknown])]);
        let heading = "region,\"mean, cost\",\"mean, cost_standard_error\",\"mean, cost_lower\",\"mean, cost_upper\",\
                       \"mean, cost_status\",median,median_rank_error,median_status,median_marks\r\n";
        let rows = "\"n\"\"1\",1234.0625,0.1,1.5,2,U,10,0.015,A,clipped; rounded to 10\r\n'=2,,,,,O,,,O,\r\n";
        assert_eq!(text, format!("{heading}{rows}"));
    }
}
