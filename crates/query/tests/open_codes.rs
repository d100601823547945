//! Groups of a column whose codes are not declared.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own material is wrong")]

mod support;

use firebreak_domain::{Column, ColumnName, ColumnRole, Contract, Domain, OpenCode, ReasonCode, Refusal};
use firebreak_query::{
    BoundPredicate, BoundValue, CheckedQuery, MAX_OPEN_GROUPS, PrimitiveKind, check, parse_sql, to_sql,
};
use support::visits;

/// The fixture with a column of open codes.
fn contract() -> Contract {
    let mut contract = visits();
    contract.columns.push(Column {
        name: ColumnName::new("ward").unwrap(),
        label: "Ward".into(),
        definition: "As it was typed".into(),
        role: ColumnRole::Category,
        domain: Domain::Open { length: 5 },
        missing: Vec::new(),
        special: None,
        retention_days: None,
    });
    contract.check().unwrap();
    contract
}

fn read(sql: &str) -> Result<CheckedQuery, Refusal> {
    check(&parse_sql(sql)?, &contract())
}

fn checked(sql: &str) -> CheckedQuery {
    read(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))
}

#[test]
fn groups_of_open_codes_are_selected_by_the_persons_in_all_their_rows() {
    let m = contract().contribution.rows_per_person;
    for sql in [
        "SELECT ward, COUNT(*) AS n FROM health.visits GROUP BY ward",
        "SELECT ward, COUNT(DISTINCT person) AS n FROM health.visits GROUP BY ward",
        "SELECT ward, COUNT(DISTINCT person) FILTER (WHERE kind = 'emergency') AS n FROM health.visits GROUP BY ward",
        "SELECT ward, AVG(cost) AS n FROM health.visits WHERE region = 'R01' GROUP BY ward ORDER BY n LIMIT 3",
    ] {
        let query = checked(sql);
        let (column, place) = query.selection().unwrap();
        let persons = &query.primitives()[place];
        assert_eq!((column.as_str(), persons.kind()), ("ward", &PrimitiveKind::CountPersons), "{sql}");
        assert!(persons.filter().is_none(), "{sql}: a filter of one figure selects no groups");
        assert_eq!(query.squared_sensitivities()[place], u128::from(m), "a person is in up to {m} groups");
        assert_eq!((query.grouping_sets().len(), query.cells()), (1, MAX_OPEN_GROUPS));
        assert!(query.uses().iter().all(|uses| *uses > 0));
        let again = check(&parse_sql(&to_sql(&parse_sql(sql).unwrap())).unwrap(), &contract()).unwrap();
        assert_eq!(again.canonical(), query.canonical());
    }
    let one = checked("SELECT ward, COUNT(DISTINCT person) AS n FROM health.visits GROUP BY ward");
    assert_eq!(one.primitives().len(), 1, "persons that are shown are measured once");
    assert!(checked("SELECT region, COUNT(*) FROM health.visits GROUP BY region").selection().is_none());
}

#[test]
fn an_open_code_is_compared_as_it_is_written() {
    let query =
        checked("SELECT COUNT(*) FROM health.visits WHERE ward IN ('W1', 'w-2') AND ward <> 'W1' AND ward <> 17");
    let value = |code: &'static str| {
        move |_: &ColumnName| OpenCode::parse(code, 5).map(|code| BoundValue::Number(code.number()))
    };
    let holds = |code| query.filter().unwrap().holds(&value(code));
    assert_eq!((holds("w-2"), holds("W1"), holds("W2"), holds("")), (Some(true), Some(false), Some(false), None));
    assert!(matches!(
        checked("SELECT COUNT(ward) FROM health.visits WHERE ward IS NULL").filter(),
        Some(BoundPredicate::IsNull { .. })
    ));
}

#[test]
fn what_cannot_be_asked_of_open_codes_is_refused_with_the_reason() {
    for (sql, reason) in [
        ("SELECT ward, region, COUNT(*) FROM health.visits GROUP BY ward, region", ReasonCode::NotGroupable),
        ("SELECT ward, COUNT(*) FROM health.visits GROUP BY ROLLUP (ward)", ReasonCode::NotGroupable),
        ("SELECT ward, MEDIAN(cost) FROM health.visits GROUP BY ward", ReasonCode::UnsupportedAggregate),
        (
            "SELECT ward, COUNT(*) / SUM(COUNT(*)) OVER () AS s FROM health.visits GROUP BY ward",
            ReasonCode::UnsupportedAggregate,
        ),
        ("SELECT COUNT(*) FROM health.visits WHERE ward < 'W1'", ReasonCode::LiteralMismatch),
        ("SELECT COUNT(*) FROM health.visits WHERE ward = 'longer'", ReasonCode::LiteralMismatch),
        ("SELECT COUNT(*) FROM health.visits WHERE ward = 'a b'", ReasonCode::LiteralMismatch),
        ("SELECT SUM(ward) FROM health.visits", ReasonCode::NotMeasurable),
    ] {
        let refusal = read(sql).map(drop).unwrap_err();
        assert_eq!(refusal.reason, reason, "{sql}: {refusal}");
        assert!(!refusal.to_string().contains("longer"), "what was typed is not repeated");
    }
}

#[test]
fn a_contract_says_how_long_an_open_code_may_be() {
    for (length, role, sound) in [
        (1, ColumnRole::Category, true),
        (10, ColumnRole::Filter, true),
        (0, ColumnRole::Category, false),
        (11, ColumnRole::Category, false),
        (5, ColumnRole::Measure, false),
    ] {
        let mut contract = contract();
        let column = contract.columns.last_mut().unwrap();
        (column.domain, column.role) = (Domain::Open { length }, role);
        assert_eq!(contract.check().is_ok(), sound, "{length} as {role:?}");
    }
    // What may be longer is another question: another code can be in each group.
    let sql = "SELECT ward, COUNT(*) FROM health.visits GROUP BY ward";
    let mut longer = contract();
    longer.columns.last_mut().unwrap().domain = Domain::Open { length: 6 };
    let other = check(&parse_sql(sql).unwrap(), &longer).unwrap();
    assert_ne!(other.basis(), checked(sql).basis());
}
