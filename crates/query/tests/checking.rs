//! A question against its contract: what is measured, how it is split, what it touches.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own material is wrong")]

mod support;

use firebreak_domain::{ColumnName, ReasonCode, Rho, SpecialKind};
use firebreak_query::{
    Aggregate, AggregateQuery, BoundNumber, BoundPredicate, CheckedQuery, CheckedRow, Comparison, Decimal, Literal,
    Measure, Output, OutputExpression, Predicate, PrimitiveKind, RowValue, check, parse_sql, plan,
};
use support::visits;

fn checked(sql: &str) -> CheckedQuery {
    plan(sql, &[visits()][..]).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

fn column(name: &str) -> ColumnName {
    ColumnName::new(name).unwrap()
}

fn kinds(query: &CheckedQuery) -> Vec<PrimitiveKind> {
    query.primitives().iter().map(|p| p.kind().clone()).collect()
}

fn sum(centre: i64, half_width: u64) -> PrimitiveKind {
    PrimitiveKind::SumCentred { value: BoundNumber::Column(column("cost")), centre, half_width, decimals: 2 }
}

fn count_cost() -> PrimitiveKind {
    PrimitiveKind::CountValues { columns: [column("cost")].into() }
}

#[test]
fn a_mean_is_a_centred_sum_and_a_count_of_values() {
    let query = checked("SELECT AVG(cost) FROM health.visits");
    assert_eq!(kinds(&query), [count_cost(), sum(250_000, 250_000)]);
    // At most four rows a person: 4² and (4·2500.00 in hundredths)².
    assert_eq!(query.squared_sensitivities(), [16, 16 * 250_000 * 250_000]);
    // 200 values, together 1,000.00 below the centre.
    let found = query.evaluate(&[200.0, -100_000.0], &[1.0, 10.0]);
    assert_eq!(found.len(), 1);
    assert!((found[0].value.unwrap() - 2_495.0).abs() < 1e-9);
}

#[test]
fn a_sum_is_direct_alone_and_centred_where_its_values_are_counted_anyway() {
    let alone = checked("SELECT SUM(cost) FROM health.visits");
    assert_eq!(kinds(&alone), [sum(0, 500_000)]);
    assert!((alone.evaluate(&[123_456.0], &[100.0])[0].value.unwrap() - 1_234.56).abs() < 1e-9);
    let beside = checked("SELECT SUM(cost), COUNT(cost) FROM health.visits");
    assert_eq!(kinds(&beside), [count_cost(), sum(250_000, 250_000)]);
    let found = beside.evaluate(&[10.0, -100_000.0], &[0.0, 0.0]);
    assert!((found[0].value.unwrap() - 24_000.0).abs() < 1e-9);
    // A count under another filter counts other values.
    let other = checked("SELECT SUM(cost), COUNT(cost) FILTER (WHERE region = 'R01') FROM health.visits");
    assert!(kinds(&other).contains(&sum(0, 500_000)));
}

/// With ρ shared equally, a primitive's variance is its squared sensitivity times the number of primitives, up to
/// one factor for the whole question.
#[test]
fn the_way_chosen_for_a_sum_has_the_smaller_variance() {
    let (h, c) = (250_000.0_f64, 250_000.0_f64);
    let (direct, centred) = ((h + c).powi(2), h.powi(2) + c.powi(2));
    assert!(2.0 * centred >= direct, "alone, the second primitive costs what centring gains");
    assert!(2.0 * centred < 2.0 * direct, "beside a count, centring gains");
}

#[test]
fn equal_parts_are_measured_once_however_often_they_are_shown() {
    let query = checked(
        "SELECT AVG(cost), SUM(cost), COUNT(cost), SUM(cost) / COUNT(cost) AS again, \
         COUNT(*) FILTER (WHERE region IN ('R02', 'R01')) / COUNT(*) AS share, \
         COUNT(*) FILTER (WHERE region = 'R01' OR region = 'R02') AS n FROM health.visits",
    );
    assert_eq!(query.primitives().len(), 4);
    let names: Vec<&str> = query.outputs().iter().map(|o| o.name()).collect();
    assert_eq!(names, ["avg_cost", "sum_cost", "count_cost", "again", "share", "n"]);
}

#[test]
fn primitives_and_cells_depend_on_the_canonical_form_alone() {
    let one = checked("SELECT AVG(cost), COUNT(*) FROM health.visits GROUP BY visit_year, region");
    let two = checked("SELECT count(*) AS n, Avg(cost) AS m FROM health.visits GROUP BY region, visit_year");
    assert_eq!(one.canonical().as_str(), two.canonical().as_str());
    assert!(one.primitives() == two.primitives());
    assert_eq!(one.groups(), two.groups());
    assert_eq!(one.cells(), 5 * 17);
    let shown = |query: &CheckedQuery| query.shown_groups().map(|g| g.name.clone()).collect::<Vec<_>>();
    assert_eq!(shown(&one), ["visit_year", "region"]);
    assert_eq!(shown(&two), ["region", "visit_year"]);
    // Cells run over region, then year: (2021, R03) is cell 2·5 + 1, wherever it is shown.
    let labels = |query: &CheckedQuery| -> Vec<(usize, Vec<String>)> {
        query.rows().iter().map(|row| (row.cell, query.labels(row).map(str::to_owned).collect())).collect()
    };
    let at =
        |query: &CheckedQuery, wanted: [&str; 2]| labels(query).into_iter().find(|(_, row)| *row == wanted).unwrap().0;
    assert_eq!(at(&one, ["2021", "R03"]), 11);
    assert_eq!(at(&two, ["R03", "2021"]), 11);
    let mut cells: Vec<usize> = one.rows().iter().map(|row| row.cell).collect();
    assert_eq!(labels(&one)[1].1, ["2020", "R02"]);
    cells.sort_unstable();
    assert_eq!(cells, (0..85).collect::<Vec<_>>());
}

#[test]
fn without_groups_there_is_one_cell() {
    let query = checked("SELECT COUNT(DISTINCT person_key) FROM health.visits");
    assert_eq!(query.cells(), 1);
    assert_eq!(query.rows(), [CheckedRow { set: 0, cell: 0, codes: vec![] }]);
    assert_eq!(query.squared_sensitivities(), [1]);
    let split = checked("SELECT COUNT(DISTINCT person_key) FROM health.visits GROUP BY region");
    assert_eq!(split.squared_sensitivities(), [4]);
}

#[test]
fn a_cut_is_the_latest_unless_named_and_a_price_is_kept() {
    let latest = checked("SELECT COUNT(*) FROM health.visits");
    let named = checked("SELECT COUNT(*) FROM \"health.visits\" FOR SYSTEM_TIME AS OF '2024-Q4' AS v");
    assert_eq!(latest.cut().as_str(), "2024-Q4");
    assert_eq!(latest.canonical(), named.canonical());
    let older = checked("SELECT COUNT(*) FROM health.visits FOR SYSTEM_TIME AS OF '2023-Q4'");
    assert_ne!(latest.canonical(), older.canonical());
    let priced = checked("SELECT COUNT(*) FROM health.visits SETTINGS rho = 0.0050");
    assert_eq!(priced.rho(), Some(Rho::from_nano(5_000_000)));
    assert_ne!(latest.canonical(), priced.canonical());
}

#[test]
fn it_tells_the_columns_and_special_categories_that_it_touches() {
    let query = checked(
        "SELECT region, COUNT(DISTINCT person_key) FILTER (WHERE kind = 'emergency') FROM health.visits v \
         WHERE v.cost > 5 AND visit_date < '2025-01-01' GROUP BY v.region",
    );
    let columns: Vec<&str> = query.columns().iter().map(ColumnName::as_str).collect();
    assert_eq!(columns, ["cost", "kind", "region", "visit_date"]);
    assert_eq!(query.special().iter().collect::<Vec<_>>(), [&SpecialKind::Health]);
    assert!(checked("SELECT COUNT(*) FROM health.visits").special().is_empty());
    let mut contract = visits();
    for column in &mut contract.columns {
        if column.name.as_str() == "person_key" {
            column.special = Some(SpecialKind::Belief);
        }
    }
    let member = plan("SELECT COUNT(*) FROM health.visits", &[contract][..]).unwrap();
    assert_eq!(member.special().iter().collect::<Vec<_>>(), [&SpecialKind::Belief]);
    assert!(member.columns().is_empty());
}

#[test]
fn person_stands_for_the_privacy_unit_where_no_column_has_that_name() {
    let word = checked("SELECT COUNT(DISTINCT person) FROM health.visits");
    let name = checked("SELECT COUNT(DISTINCT person_key) FROM health.visits");
    assert_eq!(word.canonical(), name.canonical());
}

#[test]
fn conditions_are_bound_to_the_contracts_encodings() {
    let filter = |condition: &str| {
        checked(&format!("SELECT COUNT(*) FROM health.visits WHERE {condition}")).filter().unwrap().clone()
    };
    let codes = |name: &str, codes: &[u16]| BoundPredicate::Codes { column: column(name), codes: codes.to_vec() };
    assert!(filter("region IN ('R17', 'R01')") == codes("region", &[0, 16]));
    // By the shorter list.
    let not = |of: BoundPredicate| BoundPredicate::Not(Box::new(of));
    assert!(filter("region <> 'R02'") == not(codes("region", &[1])));
    assert!(filter("visit_year >= 2020") == not(codes("visit_year", &[])));
    assert!(filter("visit_year > 2022") == codes("visit_year", &[3, 4]));
    assert!(filter("visit_year < 2020") == codes("visit_year", &[]));
    assert!(filter("'2023' <= visit_year") == codes("visit_year", &[3, 4]));
    assert!(filter("region NOT IN ('R01')") == filter("NOT region = 'R01'"));
    let number = |op, value| BoundPredicate::Number { column: column("cost"), op, value };
    assert!(filter("cost > -1.5") == number(Comparison::Gt, -150));
    assert!(filter("12.50 = cost") == number(Comparison::Eq, 1_250));
    assert!(filter("NOT cost >= 7") == number(Comparison::Lt, 700));
    let day = BoundPredicate::Day { column: column("visit_date"), op: Comparison::Lt, value: 20_089 };
    assert!(filter("visit_date < DATE '2025-01-01'") == day);
    assert!(filter("visit_date < '2025-01-01'") == day);
    let missing = BoundPredicate::IsNull { column: column("cost") };
    assert!(filter("cost IS NOT NULL") == BoundPredicate::Not(Box::new(missing)));
}

#[test]
fn a_numeric_code_may_be_written_as_a_number() {
    let mut contract = visits();
    for column in &mut contract.columns {
        if let firebreak_domain::Domain::Category { codes, .. } = &mut column.domain {
            codes[0].code = "1".into();
        }
    }
    let contracts = [contract];
    let text = plan("SELECT COUNT(*) FROM health.visits WHERE region = '1'", &contracts[..]).unwrap();
    let number = plan("SELECT COUNT(*) FROM health.visits WHERE region = 1.0", &contracts[..]).unwrap();
    assert_eq!(text.canonical(), number.canonical());
}

fn message() -> AggregateQuery {
    let mut query = parse_sql("SELECT COUNT(*) AS n FROM health.visits WHERE region = 'R01'").unwrap();
    query.outputs.push(Output { name: "twice".into(), expression: OutputExpression::Measure(0) });
    query
}

#[test]
fn a_malformed_message_is_refused() {
    type Damage = fn(&mut AggregateQuery);
    assert!(check(&message(), &visits()).is_ok());
    let deep = |predicate: Predicate| (0..100).fold(predicate, |inner, _| Predicate::Not(Box::new(inner)));
    let cases: [(Damage, ReasonCode); 12] = [
        (|q| q.measures.clear(), ReasonCode::MalformedRequest),
        (|q| q.outputs.clear(), ReasonCode::MalformedRequest),
        (|q| q.outputs[0].expression = OutputExpression::Measure(1), ReasonCode::MalformedRequest),
        (|q| q.outputs[0].name = q.outputs[1].name.clone(), ReasonCode::MalformedRequest),
        (|q| q.outputs[0].name = "a\nb".into(), ReasonCode::MalformedRequest),
        (|q| q.outputs[0].name = String::new(), ReasonCode::MalformedRequest),
        (|q| q.filter = Some(Predicate::And(vec![])), ReasonCode::MalformedRequest),
        (
            |q| q.filter = Some(Predicate::In { column: column("region"), literals: vec![] }),
            ReasonCode::MalformedRequest,
        ),
        (
            |q| q.measures.push(Measure { aggregate: Aggregate::Sum(RowValue::Column(column("cost"))), filter: None }),
            ReasonCode::MalformedRequest,
        ),
        (|q| q.rho = Some(Rho::from_nano(0)), ReasonCode::MalformedRequest),
        (|q| q.measures = vec![q.measures[0].clone(); 33], ReasonCode::QueryTooLarge),
        (
            |q| {
                let literals = (0..4000).map(|n| Literal::Number(Decimal::whole(n))).collect();
                q.filter = Some(Predicate::In { column: column("cost"), literals });
            },
            ReasonCode::QueryTooLarge,
        ),
    ];
    for (index, (damage, reason)) in cases.into_iter().enumerate() {
        let mut query = message();
        damage(&mut query);
        let refusal = check(&query, &visits()).expect_err(&format!("case {index}"));
        assert_eq!(refusal.reason, reason, "case {index}");
        assert!(plan(&refusal.suggestion.unwrap(), &[visits()][..]).is_ok());
    }
    let mut query = message();
    query.filter = query.filter.map(deep);
    assert_eq!(check(&query, &visits()).unwrap_err().reason, ReasonCode::QueryTooLarge);
}

#[test]
fn another_datasets_contract_does_not_fit() {
    let query = parse_sql("SELECT COUNT(*) FROM health.vaccinations").unwrap();
    assert_eq!(check(&query, &visits()).unwrap_err().reason, ReasonCode::UnknownDataset);
}

#[test]
fn a_bound_too_wide_for_the_noise_is_refused_and_not_rounded() {
    let mut contract = visits();
    contract.contribution.rows_per_person = u32::MAX;
    for column in &mut contract.columns {
        if column.name.as_str() == "cost" {
            column.domain = firebreak_domain::Domain::Decimal { min: 0, max: 1 << 30, decimals: 6 };
        }
    }
    // `Contract::check` would refuse it first; this crate does not rest on that.
    assert!(contract.check().is_err());
    let refusal = plan("SELECT SUM(cost) FROM health.visits", &[contract][..]).unwrap_err();
    assert_eq!(refusal.reason, ReasonCode::NotMeasurable);
    assert_eq!(refusal.suggestion.as_deref(), Some("SELECT COUNT(*) FROM health.visits"));
}
