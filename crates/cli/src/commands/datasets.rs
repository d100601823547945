//! `firebreak datasets`.

use crate::arguments::GatewayOptions;
use crate::client::{describe_dataset, list_datasets};
use crate::failure::Failure;
use crate::table::{Table, fields, wrap};
use crate::terminal::{Terminal, printable};
use clap::Args;
use firebreak_wire::catalogue::v1::{Access, Column, DatasetSummary, DescribeDatasetResponse};

/// Codes shown of a column in its row; all of them stand below.
const FEW_CODES: usize = 6;

#[derive(Args)]
pub(crate) struct Arguments {
    /// A dataset to describe, for instance health.visits
    dataset: Option<String>,
    #[command(flatten)]
    gateway: GatewayOptions,
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let connection = arguments.gateway.connect().await?;
    let shown = match &arguments.dataset {
        None => list(&list_datasets(&connection).await?, terminal.width),
        Some(dataset) => describe(&describe_dataset(&connection, dataset).await?, terminal.width),
    };
    Ok(terminal.block(shown)?)
}

fn list(datasets: &[DatasetSummary], width: usize) -> String {
    if datasets.is_empty() {
        return "No agreement lets you ask any dataset.\n".to_owned();
    }
    let mut table = Table::new().text("Dataset").text("Title").text("Agency").text("Under agreement, for purpose");
    for dataset in datasets {
        let (first, others) = dataset.access.split_first().map_or((String::new(), &[][..]), |(a, b)| (access(a), b));
        table.row([&dataset.id, &dataset.title, &dataset.agency, &first]);
        for other in others {
            table.row(["", "", "", &access(other)]);
        }
    }
    table.render(width) + "\nDescribe one: firebreak datasets DATASET\n"
}

fn access(access: &Access) -> String {
    format!("{}: {}", access.agreement, access.purposes.join(", "))
}

fn describe(dataset: &DescribeDatasetResponse, width: usize) -> String {
    let summary = dataset.summary.clone().unwrap_or_default();
    let rows = format!("at most {} of one person count", dataset.rows_per_person);
    let person = format!("{} (only COUNT(DISTINCT {}) may name it)", dataset.privacy_unit, dataset.privacy_unit);
    let mut text = format!("{} — {}\n", printable(&summary.id), printable(&summary.title));
    let cuts = dataset.cuts.join(", ");
    let under = summary.access.iter().map(access).collect::<Vec<_>>().join("\n");
    let mut told: Vec<(&str, &str)> = vec![
        ("About", &dataset.description),
        ("Population", &dataset.population),
        ("Agency", &summary.agency),
        ("Controller", &dataset.controller),
        ("Person", &person),
        ("Rows", &rows),
        ("Cuts", &cuts),
        ("Ask under", &under),
    ];
    if !summary.part_of.is_empty() {
        told.push(("Part of", &summary.part_of));
    }
    text += &fields(&told, width);
    let mut columns = Table::new().text("Column").text("Use").text("Domain").text("Meaning");
    for column in &dataset.columns {
        columns.row([&column.name, &role(column), &domain(column), &meaning(column)]);
    }
    text += "\n";
    text += &columns.render(width);
    for column in dataset.columns.iter().filter(|c| has_list(c)) {
        text += &format!("\nCodes of {}\n", printable(&column.name));
        let codes: Vec<_> = column.codes.iter().map(|c| (c.code.as_str(), c.label.as_str())).collect();
        text += &fields(&codes, width);
    }
    text += "\nFor example\n";
    for line in wrap(&printable(&dataset.example), width.saturating_sub(2)) {
        text += &format!("  {line}\n");
    }
    text
}

fn role(column: &Column) -> String {
    match column.role.as_str() {
        "category" => "group, filter".to_owned(),
        "measure" => "measure, filter".to_owned(),
        other => other.to_owned(),
    }
}

fn domain(column: &Column) -> String {
    let few = column.codes.len() <= FEW_CODES && !column.codes.is_empty();
    let codes = || column.codes.iter().map(|c| c.code.as_str()).collect::<Vec<_>>().join(", ");
    if few { codes() } else { column.domain.clone() }
}

fn meaning(column: &Column) -> String {
    let special = if column.special.is_empty() { String::new() } else { format!(" [special: {}]", column.special) };
    match (column.label.trim(), column.definition.trim()) {
        ("", definition) => format!("{definition}{special}"),
        (label, "") => format!("{label}{special}"),
        (label, definition) => format!("{label}: {definition}{special}"),
    }
}

/// Whether the codes say more than their row in the table: there are many, or they have names of their own.
fn has_list(column: &Column) -> bool {
    column.codes.iter().any(|c| c.code != c.label && !c.label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_wire::catalogue::v1::Code;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn a_description_fits_the_terminal_and_leaves_nothing_out() {
        let code = |code: &str, label: &str| Code { code: code.into(), label: label.into() };
        let column = |name: &str, role: &str, codes: Vec<Code>| Column {
            name: name.into(),
            label: "A label".into(),
            definition: "What the column means, in a sentence that is longer than a narrow terminal".into(),
            role: role.into(),
            domain: "year, 2020 to 2024".into(),
            codes,
            special: String::new(),
        };
        let years = (2000..2030).map(|y| code(&y.to_string(), &y.to_string())).collect();
        let dataset = DescribeDatasetResponse {
            summary: Some(DatasetSummary {
                id: "health.visits".into(),
                title: "Visits".into(),
                agency: "health".into(),
                access: vec![Access { agreement: "health-stats".into(), purposes: vec!["planning".into()] }],
                part_of: "all.visits".into(),
            }),
            description: "d".into(),
            controller: "c".into(),
            population: "p".into(),
            privacy_unit: "person_key".into(),
            rows_per_person: 8,
            cuts: vec!["2024-Q3".into(), "2024-Q4".into()],
            columns: vec![
                column("region", "category", vec![code("n", "North"), code("s", "South")]),
                column("visit_year", "category", years),
                column("cost", "measure", Vec::new()),
            ],
            example: "SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region".into(),
        };
        for width in [40, 60, 80, 120] {
            let shown = describe(&dataset, width);
            let widest = shown.lines().map(UnicodeWidthStr::width).max().unwrap_or(0);
            assert!(widest <= width, "{widest} in {width}\n{shown}");
            for part in ["health.visits", "2024-Q3, 2024-Q4", "North", "health-stats:", "visit_year", "GROUP BY"] {
                assert!(shown.contains(part), "{part}\n{shown}");
            }
            assert!(!shown.contains("Codes of visit_year"), "years need no names");
        }
    }

    #[test]
    fn each_agreement_under_which_one_may_ask_has_a_line_of_its_own() {
        let access = |agreement: &str| Access { agreement: agreement.into(), purposes: vec!["planning".into()] };
        let dataset = DatasetSummary {
            id: "health.visits".into(),
            title: "Visits".into(),
            agency: "health".into(),
            access: vec![access("one"), access("two")],
            part_of: String::new(),
        };
        let shown = list(&[dataset], 100);
        let lines: Vec<&str> = shown.lines().map(str::trim).collect();
        assert_eq!(lines[2..4], ["health.visits  Visits  health  one: planning", "two: planning"], "{shown}");
    }

    #[test]
    fn an_empty_catalogue_says_so() {
        assert!(list(&[], 80).contains("No agreement"));
    }
}
