//! Several datasets of one register, joined on the person.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own material is wrong")]

use firebreak_domain::{ColumnRole, Contract, ReasonCode, Refusal, SpecialKind};
use firebreak_query::{CheckedQuery, check_over, parse_sql, plan, to_sql};

fn visits() -> Contract {
    contract(include_str!("../../../deploy/sample/bundle/contracts/health.visits.toml"))
}

fn vaccinations() -> Contract {
    contract(include_str!("../../../deploy/sample/bundle/contracts/health.vaccinations.toml"))
}

fn contract(text: &str) -> Contract {
    let contract: Contract = toml::from_str(text).unwrap();
    contract.check().unwrap();
    contract
}

fn contracts() -> Vec<Contract> {
    let mut elsewhere = vaccinations();
    elsewhere.id = "school.nurses".parse().unwrap();
    elsewhere.agency = "education-agency".parse().unwrap();
    let mut other_register = vaccinations();
    other_register.id = "health.donors".parse().unwrap();
    other_register.unit_space.id = "health.donors".parse().unwrap();
    vec![visits(), vaccinations(), elsewhere, other_register]
}

fn read(sql: &str) -> Result<CheckedQuery, Refusal> {
    plan(sql, &contracts()[..])
}

fn checked(sql: &str) -> CheckedQuery {
    read(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))
}

const ON: &str = "FROM health.visits v JOIN health.vaccinations c ON v.person = c.person";

#[test]
fn the_bound_on_a_person_is_the_product_of_the_bounds() {
    let (m, l) = (visits().contribution.rows_per_person, vaccinations().contribution.rows_per_person);
    let query =
        checked(&format!("SELECT c.vaccine, COUNT(*), SUM(v.cost), COUNT(DISTINCT person) {ON} GROUP BY c.vaccine"));
    assert_eq!(query.rows_per_person(), m * l);
    let bound = u128::from(m * l);
    let cells = query.cells() as u128;
    let sum = bound.pow(2) * (500_000_u128).pow(2);
    assert_eq!(query.squared_sensitivities(), [bound.min(cells), bound.pow(2), sum]);
    let alone = checked("SELECT COUNT(*) FROM health.visits");
    assert_eq!(alone.squared_sensitivities(), [u128::from(m).pow(2)]);
    let reads: Vec<_> = query.reads().iter().map(|reads| (reads.dataset.as_str(), reads.rows_per_person)).collect();
    assert_eq!(reads, [("health.vaccinations", l), ("health.visits", m)]);
    let columns: Vec<Vec<&str>> =
        query.reads().iter().map(|reads| reads.columns.iter().map(|name| name.as_str()).collect()).collect();
    assert_eq!(columns, [["vaccine"], ["cost"]]);
    assert!(query.special().iter().any(|kind| kind.as_str() == "health"), "that of either dataset counts");
}

#[test]
fn a_join_is_one_question_however_it_is_written() {
    let of = |from: &str, v: &str, c: &str| {
        let sql = format!("SELECT {c}.vaccine, COUNT(*) AS n {from} WHERE {v}.kind = 'emergency' GROUP BY {c}.vaccine");
        let query = checked(&sql);
        let again = parse_sql(&to_sql(&parse_sql(&sql).unwrap())).unwrap();
        let again = check_over(&again, &contracts()).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"));
        assert_eq!(again.canonical(), query.canonical(), "{sql}");
        query
    };
    let one = of(ON, "v", "c");
    assert_eq!(one.shown_groups().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["vaccine"]);
    for (from, v, c) in [
        ("FROM health.vaccinations c INNER JOIN health.visits v USING (person)", "v", "c"),
        ("FROM health.vaccinations JOIN health.visits USING (person_key)", "visits", "vaccinations"),
        (
            "FROM health.visits JOIN health.vaccinations ON (visits.person_key = vaccinations.person)",
            "health.visits",
            "vaccinations",
        ),
        (
            "FROM health.visits FOR SYSTEM_TIME AS OF '2024-Q4' v JOIN health.vaccinations c ON c.person = v.person_key",
            "v",
            "c",
        ),
    ] {
        assert_eq!(of(from, v, c).canonical(), one.canonical(), "{from}");
        assert_eq!(of(from, v, c).basis(), one.basis(), "{from}");
    }
    let both = checked(&format!("SELECT v.region, c.region, COUNT(*) {ON} GROUP BY v.region, c.region"));
    let headings: Vec<_> = both.shown_groups().map(|group| group.name.as_str()).collect();
    assert_eq!(
        headings,
        ["health.visits.region", "health.vaccinations.region"],
        "what is not told apart keeps its dataset"
    );
}

#[test]
fn bounds_that_differ_part_by_part_are_another_basis() {
    let query = parse_sql(&format!("SELECT COUNT(*) {ON}")).unwrap();
    let bounded = |visits: u32, vaccinations: u32| {
        let mut contracts = contracts();
        contracts[0].contribution.rows_per_person = visits;
        contracts[1].contribution.rows_per_person = vaccinations;
        check_over(&query, &contracts).unwrap()
    };
    let (one, other) = (bounded(2, 6), bounded(3, 4));
    assert_eq!((one.rows_per_person(), one.canonical()), (other.rows_per_person(), other.canonical()));
    assert_ne!(one.basis(), other.basis());
    // Who counts as a person in either dataset is part of what the numbers mean.
    let mut changed = contracts();
    for unit in changed[0].columns.iter_mut().filter(|column| column.role == ColumnRole::PrivacyUnit) {
        unit.missing.push("NOBODY".to_owned());
        unit.special = Some(SpecialKind::Belief);
    }
    let (before, after) = (check_over(&query, &contracts()).unwrap(), check_over(&query, &changed).unwrap());
    assert_ne!(before.basis(), after.basis());
    assert!(after.special().contains(&SpecialKind::Belief), "of the dataset whose id comes last as well");
}

#[test]
fn what_cannot_be_joined_is_refused_with_what_can() {
    for (from, reason) in [
        ("FROM health.visits v JOIN health.vaccinations c ON v.region = c.region", ReasonCode::JoinAsked),
        (
            "FROM health.visits v JOIN health.vaccinations c ON v.national_number = c.national_number",
            ReasonCode::JoinAsked,
        ),
        ("FROM health.visits v JOIN health.vaccinations c ON v.person = v.person", ReasonCode::JoinAsked),
        (
            "FROM health.visits v JOIN health.vaccinations c ON v.person = c.person AND v.region = c.region",
            ReasonCode::JoinAsked,
        ),
        ("FROM health.visits v JOIN health.vaccinations c ON v.person < c.person", ReasonCode::JoinAsked),
        ("FROM health.visits v LEFT JOIN health.vaccinations c ON v.person = c.person", ReasonCode::JoinAsked),
        ("FROM health.visits v CROSS JOIN health.vaccinations c", ReasonCode::JoinAsked),
        ("FROM health.visits NATURAL JOIN health.vaccinations", ReasonCode::JoinAsked),
        ("FROM health.visits, health.vaccinations", ReasonCode::JoinAsked),
        ("FROM health.visits a JOIN health.visits b ON a.person = b.person", ReasonCode::JoinAsked),
        ("FROM health.visits v JOIN school.nurses c ON v.person = c.person", ReasonCode::JoinAsked),
        ("FROM health.visits v JOIN health.donors c ON v.person = c.person", ReasonCode::JoinAsked),
        ("FROM health.visits v JOIN health.unheard c ON v.person = c.person", ReasonCode::JoinAsked),
        ("FROM health.visits v JOIN health.vaccinations v ON v.person = v.person", ReasonCode::UnknownColumn),
        (
            "FROM health.visits FOR SYSTEM_TIME AS OF '2024-Q3' JOIN health.vaccinations FOR SYSTEM_TIME AS OF '2024-Q4' USING (person)",
            ReasonCode::UnknownCut,
        ),
    ] {
        let refusal = read(&format!("SELECT COUNT(*) {from}")).map(drop).unwrap_err();
        assert_eq!(refusal.reason, reason, "{from}: {refusal}");
        let of_another = from.contains("v.national_number") || from.contains("school.nurses");
        assert!(!of_another || refusal.detail.contains("match service"), "{from}: {refusal}");
        let instead = refusal.suggestion.unwrap();
        assert!(read(&instead).is_ok(), "{from}: {instead}");
    }
    let mut vast = contracts();
    for contract in &mut vast {
        contract.unit_space.register_size = 3_000_000;
    }
    let refusal = check_over(&parse_sql(&format!("SELECT COUNT(*) {ON}")).unwrap(), &vast).map(drop).unwrap_err();
    assert!(refusal.reason == ReasonCode::JoinAsked && refusal.detail.contains("50000000 rows"), "{refusal}");
    for (select, reason) in [
        ("COUNT(region)", ReasonCode::UnknownColumn),
        ("SUM(c.cost)", ReasonCode::UnknownColumn),
        ("COUNT(v.national_number)", ReasonCode::IdentifierColumn),
        ("COUNT(DISTINCT v.region)", ReasonCode::UnsupportedAggregate),
        ("COUNT(x.region)", ReasonCode::UnknownColumn),
    ] {
        let refusal = read(&format!("SELECT {select} {ON}")).map(drop).unwrap_err();
        assert_eq!(refusal.reason, reason, "{select}: {refusal}");
        assert!(read(&refusal.suggestion.unwrap()).is_ok(), "{select}");
    }
}
