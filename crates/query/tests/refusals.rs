//! What cannot be answered: its reason, the question that can be, and silence about what was typed (R9, R13).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own material is wrong")]

mod support;

use firebreak_domain::{Contract, ReasonCode, Refusal};
use firebreak_query::{check, counts_and_sums, parse_sql, plan, to_sql};
use serde::Deserialize;
use std::collections::BTreeSet;
use support::visits;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    reason: String,
    sql: String,
}

fn table() -> Vec<Statement> {
    toml::from_str::<Table>(include_str!("fixtures/unanswerable.toml")).unwrap().statement
}

fn refused(sql: &str, contracts: &[Contract]) -> Refusal {
    match plan(sql, contracts) {
        Ok(_) => panic!("answered: {sql}"),
        Err(refusal) => refusal,
    }
}

#[test]
fn every_unanswerable_statement_has_its_reason_and_a_suggestion_that_is_answerable() {
    let contracts = [visits()];
    let table = table();
    assert!(table.len() >= 60);
    for Statement { reason, sql } in &table {
        let refusal = refused(sql, &contracts);
        assert_eq!(refusal.reason.as_str(), reason, "{sql}: {refusal}");
        let suggestion = refusal.suggestion.unwrap_or_default();
        let query = parse_sql(&suggestion).unwrap_or_else(|e| panic!("{sql} → {suggestion}: {e}"));
        check(&query, &contracts[0]).unwrap_or_else(|e| panic!("{sql} → {suggestion}: {e}"));
    }
}

#[test]
fn the_table_has_every_reason_that_a_question_can_be_refused_for() {
    let found: BTreeSet<String> = table().into_iter().map(|statement| statement.reason).collect();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let first = ReasonCode::ALL.iter().position(|r| *r == ReasonCode::SqlSyntax).unwrap();
    let last = ReasonCode::ALL.iter().position(|r| *r == ReasonCode::QueryTooLarge).unwrap();
    wanted.extend(ReasonCode::ALL[first..=last].iter().map(|r| r.as_str().to_owned()));
    // Too many groups takes a larger contract, see below.
    wanted.remove(ReasonCode::TooManyGroups.as_str());
    assert_eq!(wanted.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn too_many_groups_are_refused_with_the_groups_that_fit() {
    let mut contract = visits();
    for column in &mut contract.columns {
        if column.name.as_str() == "visit_year" {
            column.domain = firebreak_domain::Domain::Year { first: 1024, last: 2024 };
        }
    }
    contract.check().unwrap();
    let contracts = [contract];
    // 1001 · 17 · 5 = 85,085 cells are answered; with the year of another column they are not.
    assert!(plan("SELECT COUNT(*) FROM health.visits GROUP BY visit_year, region, kind", &contracts[..]).is_ok());
    let mut wider = contracts[0].clone();
    let mut again = wider.columns.iter().find(|c| c.name.as_str() == "visit_year").unwrap().clone();
    again.name = firebreak_domain::ColumnName::new("report_year").unwrap();
    wider.columns.push(again);
    let refusal = refused("SELECT COUNT(*) FROM health.visits GROUP BY visit_year, region, report_year", &[wider]);
    assert_eq!(refusal.reason, ReasonCode::TooManyGroups);
    assert_eq!(
        refusal.suggestion.unwrap(),
        "SELECT visit_year, region, COUNT(*) FROM health.visits GROUP BY visit_year, region"
    );
}

#[test]
fn suggestions_stay_close_to_what_was_asked() {
    let contracts = [visits()];
    for (sql, wanted) in [
        (
            "SELECT region, MODE(cost) FROM health.visits GROUP BY region",
            "SELECT region, AVG(cost) FROM health.visits GROUP BY region",
        ),
        (
            "SELECT MIN(cost), MAX(cost), MAX(visit_date) FROM health.visits",
            "SELECT QUANTILE(cost, 0.05), QUANTILE(cost, 0.95) FROM health.visits",
        ),
        ("SELECT region, cost FROM health.visits", "SELECT region, COUNT(*) FROM health.visits GROUP BY region"),
        (
            "SELECT region, SUM(cost) FROM health.visits GROUP BY region HAVING MAX(cost) > 5",
            "SELECT region, SUM(cost), QUANTILE(cost, 0.95) FROM health.visits GROUP BY region",
        ),
        ("SELECT SUM(cost / 2) FROM health.visits", "SELECT SUM(cost) FROM health.visits"),
        (
            "SELECT * FROM health.visits",
            "SELECT visit_year, region, COUNT(*) FROM health.visits GROUP BY visit_year, region",
        ),
        ("SELECT name FROM health.visits", "SELECT COUNT(DISTINCT person_key) FROM health.visits"),
        (
            "SELECT visit_date, COUNT(*) FROM health.visits GROUP BY visit_date",
            "SELECT DATE_TRUNC('month', visit_date) AS month, COUNT(*) FROM health.visits GROUP BY month",
        ),
        (
            "SELECT COUNT(*) FROM health.visits WHERE visit_date = '1.2.2024'",
            "SELECT COUNT(*) FROM health.visits WHERE visit_date >= DATE '2020-01-01'",
        ),
        ("SELECT COUNT(*) FORM health.visits", "SELECT COUNT(*) FROM health.visits"),
    ] {
        assert_eq!(refused(sql, &contracts).suggestion.as_deref(), Some(wanted), "{sql}");
    }
}

#[test]
fn a_question_without_counts_and_sums_has_those_that_it_is_made_of_and_no_literal() {
    for (sql, wanted) in [
        (
            "SELECT region, AVG(cost) AS mean, MEDIAN(cost) FROM health.visits WHERE kind = 'other' GROUP BY region",
            "SELECT region, COUNT(cost), SUM(cost) FROM health.visits GROUP BY region",
        ),
        (
            "SELECT COUNT(*) FILTER (WHERE kind = 'other') / COUNT(DISTINCT person_key) AS x FROM health.visits \
             FOR SYSTEM_TIME AS OF '2024-Q2' SETTINGS rho = 0.001",
            "SELECT COUNT(*), COUNT(DISTINCT person_key) FROM health.visits FOR SYSTEM_TIME AS OF '2024-Q2'",
        ),
        (
            "SELECT WIDTH_BUCKET(cost, 0, 500, 5) AS cost_band, STDDEV(cost) FROM health.visits GROUP BY cost_band",
            "SELECT COUNT(cost), SUM(cost), SUM(cost * cost) FROM health.visits",
        ),
        ("SELECT QUANTILE(CLAMP(cost, 0, 77), 0.9) FROM health.visits", "SELECT COUNT(cost) FROM health.visits"),
    ] {
        let made_of = counts_and_sums(&parse_sql(sql).unwrap());
        assert_eq!(to_sql(&made_of), wanted, "{sql}");
        let query = check(&made_of, &visits()).unwrap();
        assert!(query.outputs().iter().all(|output| output.is_linear()), "{sql}");
    }
}

#[test]
fn whoever_asks_for_rows_is_told_by_what_one_may_group() {
    for sql in ["SELECT * FROM health.visits", "SELECT cost FROM health.visits"] {
        let detail = refused(sql, &[visits()]).detail;
        assert!(detail.ends_with("; what is counted may be grouped by visit_year, region, kind"), "{detail}");
    }
}

#[test]
fn a_caller_with_an_empty_catalogue_is_told_where_to_look() {
    let refusal = refused("SELECT COUNT(*) FROM health.visits", &[]);
    assert_eq!(refusal.reason, ReasonCode::UnknownDataset);
    assert_eq!(refusal.suggestion.as_deref(), Some("firebreak datasets"));
}

#[test]
fn what_is_withheld_and_what_does_not_exist_look_the_same() {
    let mut contract = visits();
    for column in &mut contract.columns {
        if column.name.as_str() == "fingerprint" {
            column.special = None;
        }
    }
    let contracts = [contract];
    let withheld = refused("SELECT COUNT(fingerprint) FROM health.visits", &contracts);
    let missing = refused("SELECT COUNT(footprint) FROM health.visits", &contracts);
    assert_eq!(withheld, missing);
    assert!(!withheld.to_string().contains("fingerprint"));
}

#[test]
fn a_refusal_repeats_nothing_that_was_typed() {
    const CANARY: &str = "zq7canary";
    let contracts = [visits()];
    // {} is a name, a text or a number in every place of a statement that can hold one.
    let places = [
        "{}",
        "{} {} {}",
        "SELECT {}",
        "SELECT {} FROM {}",
        "SELECT * FROM {}",
        "SELECT COUNT(*) FROM {}.{}",
        "SELECT COUNT(*) FROM health.visits {} {}",
        "SELECT COUNT(*) FROM \"{}",
        "SELECT COUNT(*) FROM health.visits '{}",
        "SELECT {}(*) FROM health.visits",
        "SELECT {}(cost) FROM health.visits",
        "SELECT COUNT({}) FROM health.visits",
        "SELECT COUNT(DISTINCT {}) FROM health.visits",
        "SELECT SUM({}) FROM health.visits",
        "SELECT AVG('{}') FROM health.visits",
        "SELECT COUNT(*) AS {}, COUNT(*) AS {} FROM health.visits",
        "SELECT region AS {}, COUNT(*) FROM health.visits GROUP BY region",
        "SELECT COUNT(*) || '{}' FROM health.visits",
        "SELECT {}, COUNT(*) FROM health.visits",
        "SELECT COUNT(*) FROM health.visits GROUP BY {}",
        "SELECT COUNT(*) FROM health.visits GROUP BY '{}'",
        "SELECT COUNT(*) FROM health.visits GROUP BY region, \"{}\"",
        "SELECT COUNT(*) FROM health.visits WHERE {} = 1",
        "SELECT COUNT(*) FROM health.visits WHERE \"{}\" = 1",
        "SELECT COUNT(*) FROM health.visits WHERE {}.region = 'R01'",
        "SELECT COUNT(*) FROM health.visits WHERE region = '{}'",
        "SELECT COUNT(*) FROM health.visits WHERE region = {}",
        "SELECT COUNT(*) FROM health.visits WHERE region IN ('R01', '{}')",
        "SELECT COUNT(*) FROM health.visits WHERE cost > '{}'",
        "SELECT COUNT(*) FROM health.visits WHERE cost > {}",
        "SELECT COUNT(*) FROM health.visits WHERE visit_date = '{}'",
        "SELECT COUNT(*) FROM health.visits WHERE visit_date = DATE '{}'",
        "SELECT COUNT(*) FROM health.visits WHERE visit_date BETWEEN '{}' AND '{}'",
        "SELECT COUNT(*) FROM health.visits WHERE name = '{}'",
        "SELECT COUNT(*) FROM health.visits WHERE name LIKE '{}'",
        "SELECT COUNT(*) FILTER (WHERE {} = '{}') FROM health.visits",
        "SELECT COUNT(*) FROM health.visits FOR SYSTEM_TIME AS OF '{}'",
        "SELECT COUNT(*) FROM health.visits FOR SYSTEM_TIME AS OF {}",
        "SELECT COUNT(*) FROM health.visits SETTINGS {} = 1",
        "SELECT COUNT(*) FROM health.visits SETTINGS rho = '{}'",
        "SELECT COUNT(*) FROM health.visits SETTINGS rho = {}",
        "SELECT COUNT(*) FROM health.visits -- {}\n GROUP",
        "SELECT COUNT(*) FROM health.visits /* {}",
        "SELECT COUNT(*) FROM health.visits WHERE region = E'{}'",
        "SELECT COUNT(*) FROM health.visits WHERE region = $${}$$",
        "SELECT COUNT(*) FROM health.visits WHERE {} ~ '{}'",
        "SELECT COUNT(*) FROM health.visits ORDER BY {} NULLS FIRST",
        "SELECT SUM(cost - {}) FROM health.visits WHERE nosuch = 1",
        "SELECT AVG(CLAMP(cost, 0, {})) FROM health.visits WHERE nosuch = 1",
        "SELECT STDDEV({} * cost) FROM health.visits WHERE nosuch = 1",
        "SELECT COUNT(*) FROM health.visits HAVING {} > 1",
        "SELECT COUNT(*) FROM health.visits LIMIT {}",
        "DELETE FROM {} WHERE {} = '{}'",
        "SELECT COUNT(*) FROM health.visits; {}",
        "WITH {} AS (SELECT 1) SELECT COUNT(*) FROM {}",
        "SELECT COUNT(*) FROM health.visits JOIN {} ON {} = {}",
        "SELECT CAST(COUNT(*) AS {}) FROM health.visits",
        "SELECT COUNT(*) OVER {} FROM health.visits",
        "SELECT COUNT(*) FROM health.visits AS {} ({})",
    ];
    // A name, a name with capitals and spaces, a number that looks like a national one.
    let mut refusals = 0;
    for (canary, wanted) in [(CANARY, CANARY), ("Zq7 Canary", "anary"), ("8506153374", "850615")] {
        for place in places {
            let sql = place.replace("{}", canary);
            let told = match plan(&sql, &contracts[..]) {
                Ok(checked) => format!("{checked:?}"),
                Err(refusal) => format!("{refusal} {refusal:?} {:?}", parse_sql(&sql).err()),
            };
            refusals += usize::from(told.contains("instead"));
            assert!(!told.to_lowercase().contains(wanted), "{place}: {told}");
        }
    }
    // A number may stand for a constant, and a name for an alias: a few are answered.
    assert!(refusals > 2 * places.len(), "{refusals}");
}

#[test]
fn no_debug_shows_a_literal_or_a_name() {
    let sql = "SELECT COUNT(zq7) AS zq7 FROM health.zq7 WHERE zq7 = 'zq7' AND zq7 IN (77177) GROUP BY zq7";
    let query = parse_sql(sql).unwrap();
    let told = format!(
        "{query:?} {:?} {:?} {:?} {:?} {:?}",
        query.canonical(),
        query.filter,
        query.measures,
        query.outputs,
        query.outputs[0].expression
    );
    assert!(!told.contains("zq7") && !told.contains("77177"), "{told}");
    let answerable = "SELECT COUNT(*) AS zq7 FROM health.visits WHERE region = 'R07' AND cost > 77177";
    let checked = plan(answerable, &[visits()][..]).unwrap();
    let told = format!("{checked:?} {:?} {:?} {:?}", checked.filter(), checked.primitives(), checked.outputs());
    assert!(!told.contains("zq7") && !told.contains("77177"), "{told}");
}
