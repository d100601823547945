//! One question over the parts of a logical dataset.
#![expect(clippy::unwrap_used, reason = "a test stops where its own material is wrong")]

use firebreak_domain::{Contract, ReasonCode};
use firebreak_query::{AggregateQuery, CheckedQuery, check, check_parts, parse_sql};

fn parts() -> Vec<Contract> {
    let read = |text: &str| {
        let contract: Contract = toml::from_str(text).unwrap();
        contract.check().unwrap();
        contract
    };
    vec![
        read(include_str!("../../../deploy/sample/bundle/contracts/education.interpreting.toml")),
        read(include_str!("../../../deploy/sample/bundle/contracts/health.interpreting.toml")),
    ]
}

fn disjoint() -> Vec<Contract> {
    let mut parts = parts();
    for part in &mut parts {
        part.part_of.as_mut().unwrap().disjoint_registers = true;
    }
    parts
}

fn asked(select: &str) -> AggregateQuery {
    parse_sql(&format!("SELECT {select} FROM services.interpreting GROUP BY mode")).unwrap()
}

fn headings(query: &CheckedQuery) -> Vec<&str> {
    query.outputs().iter().map(|output| output.name()).collect()
}

#[test]
fn a_part_of_a_union_is_the_question_over_the_part_alone() {
    let query = asked("mode, COUNT(*), SUM(minutes), COUNT(DISTINCT person)");
    let checked = check_parts(&query, &parts()).unwrap();
    assert_eq!(checked.len(), 2);
    for (checked, part) in checked.iter().zip(parts()) {
        let sql = "SELECT mode, COUNT(*), SUM(minutes), COUNT(DISTINCT person) FROM";
        let alone = check(&parse_sql(&format!("{sql} {} GROUP BY mode", part.id)).unwrap(), &part).unwrap();
        assert_eq!(checked.canonical(), alone.canonical(), "its release is that of the question over it");
        assert_eq!(checked.basis(), alone.basis());
        assert_eq!(checked.agency(), &part.agency);
        assert_eq!(checked.squared_sensitivities(), alone.squared_sensitivities());
    }
    assert!(checked[0].adds_up_with(&checked[1]));
    assert_ne!(checked[0].canonical(), checked[1].canonical(), "one part's release answers no other");
    assert_ne!(checked[0].basis(), checked[1].basis());
}

#[test]
fn whether_a_partial_answer_is_wanted_is_signed_and_changes_no_release() {
    let query = asked("mode, COUNT(*)");
    let partial = AggregateQuery { partial: true, ..query.clone() };
    assert_ne!(query.canonical(), partial.canonical());
    let forms = |query: &AggregateQuery| {
        check_parts(query, &parts()).unwrap().iter().map(|part| part.canonical().clone()).collect::<Vec<_>>()
    };
    assert_eq!(forms(&query), forms(&partial));
}

#[test]
fn what_counts_persons_counts_registrations_unless_registers_are_disjoint() {
    let query = asked("mode, COUNT(DISTINCT person), COUNT(DISTINCT person) / COUNT(*) AS share, COUNT(*)");
    let checked = check_parts(&query, &parts()).unwrap();
    assert_eq!(headings(&checked[0]), ["registrations", "share", "count"]);
    let counts = |query: &CheckedQuery| query.outputs().iter().map(|o| query.counts_persons(o)).collect::<Vec<_>>();
    assert_eq!(counts(&checked[0]), [true, true, false]);
    assert_eq!(headings(&check_parts(&query, &disjoint()).unwrap()[0]), ["persons", "share", "count"]);
    let rounded = check_parts(&asked("mode, ROUND(COUNT(DISTINCT person), -1)"), &parts()).unwrap();
    assert_eq!(headings(&rounded[0]), ["registrations"]);
    // A caller's own heading stays, and so does that of a second count.
    let own = check_parts(&asked("mode, COUNT(DISTINCT person) AS people"), &parts()).unwrap();
    assert_eq!(headings(&own[0]), ["people"]);
}

#[test]
fn a_quantile_over_agencies_is_refused_with_one_over_an_agency() {
    for select in ["mode, MEDIAN(minutes)", "mode, COUNT(*), QUANTILE(minutes, 0.9) FILTER (WHERE year = 2024)"] {
        let refusal = check_parts(&asked(select), &parts()).unwrap_err();
        assert_eq!(refusal.reason, ReasonCode::UnsupportedAggregate);
        let instead = parse_sql(&refusal.suggestion.unwrap()).unwrap();
        assert!(check(&instead, &parts()[0]).is_ok());
    }
}

#[test]
fn what_is_wrong_with_a_question_is_answered_with_one_over_all_parts() {
    let refusal = check_parts(&asked("mode, SUM(weight)"), &parts()).unwrap_err();
    assert_eq!(refusal.reason, ReasonCode::UnknownColumn);
    let instead = parse_sql(&refusal.suggestion.unwrap()).unwrap();
    assert_eq!(instead.dataset.as_str(), "services.interpreting");
    assert!(check_parts(&instead, &parts()).is_ok());
}

#[test]
fn contracts_that_mean_something_else_are_no_parts_of_one() {
    let query = asked("mode, SUM(minutes)");
    let mut wider = parts();
    wider[1].columns.iter_mut().find(|c| c.name.as_str() == "minutes").unwrap().domain =
        firebreak_domain::Domain::Integer { min: 0, max: 480 };
    assert!(!wider[0].reads_like(&wider[1]));
    assert!(check_parts(&query, &wider).is_err(), "sums around other middles do not add up");
    let mut of_another = parts();
    of_another[1].part_of = None;
    assert!(check_parts(&query, &of_another).is_err());
    let mut half_disjoint = parts();
    half_disjoint[1].part_of.as_mut().unwrap().disjoint_registers = true;
    assert!(check_parts(&query, &half_disjoint).is_err());
}
