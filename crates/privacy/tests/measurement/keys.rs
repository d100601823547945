//! One release answers what rests on the same contract, and nothing else.

use crate::fixture::{Agency, MECHANISM, RHO, contract};
use crate::{SQL, cells};
use firebreak_domain::{Charge, Code, Column, Contract, CutId, Domain, Rho};
use firebreak_privacy::{Funded, OtherQuery, Price, price};
use firebreak_query::{CheckedQuery, check, parse_sql};
use std::convert::Infallible;

/// Touches a group, a measure and two filters.
const QUESTION: &str = "SELECT region, AVG(cost) AS mean, COUNT(*) FILTER (WHERE year > 1950) AS n FROM health.visits \
    WHERE kind = 'planned' GROUP BY region";

fn under(contract: &Contract, sql: &str) -> CheckedQuery {
    contract.check().unwrap();
    check(&parse_sql(sql).unwrap(), contract).unwrap()
}

fn priced(contract: &Contract) -> Price {
    price(&under(contract, QUESTION), MECHANISM, RHO).unwrap()
}

fn column<'a>(contract: &'a mut Contract, name: &str) -> &'a mut Column {
    contract.columns.iter_mut().find(|column| column.name.as_str() == name).unwrap()
}

fn codes<'a>(contract: &'a mut Contract, name: &str) -> &'a mut Vec<Code> {
    match &mut column(contract, name).domain {
        Domain::Category { codes, .. } => codes,
        _ => panic!("{name} has no codes"),
    }
}

fn decimal(min: i64, max: i64, decimals: u8) -> Domain {
    Domain::Decimal { min, max, decimals }
}

type Change = fn(&mut Contract);

/// Each changes what the numbers count or how they are read.
const MEANING: &[(&str, Change)] = &[
    ("a wider bound", |c| column(c, "cost").domain = decimal(0, 200, 2)),
    // The same half-width, hence the same noise: only the centre moves.
    ("bounds moved together", |c| column(c, "cost").domain = decimal(10, 110, 2)),
    ("fewer decimals", |c| column(c, "cost").domain = decimal(0, 100, 1)),
    ("whole numbers", |c| column(c, "cost").domain = Domain::Integer { min: 0, max: 100 }),
    ("a missing code of a measure", |c| column(c, "cost").missing.push("-1".to_owned())),
    ("groups in another order", |c| codes(c, "region").reverse()),
    ("a group renamed", |c| codes(c, "region")[1].code = "east".to_owned()),
    ("a group more", |c| codes(c, "region").push(Code { code: "e".to_owned(), label: "East".to_owned() })),
    ("a group that takes what is in no other", |c| {
        if let Domain::Category { other, .. } = &mut column(c, "region").domain {
            *other = Some("w".to_owned());
        }
    }),
    ("a missing code of a group", |c| column(c, "region").missing.push("?".to_owned())),
    ("codes of a filter in another order", |c| codes(c, "kind").reverse()),
    ("a code more in a filter", |c| codes(c, "kind").push(Code { code: "x".to_owned(), label: "X".to_owned() })),
    ("a missing code of a filter", |c| column(c, "kind").missing.push("?".to_owned())),
    ("years that a filter reaches", |c| column(c, "year").domain = Domain::Year { first: 1200, last: 2000 }),
    ("more rows of a person", |c| c.contribution.rows_per_person = 5),
    ("another key of the person", |c| column(c, "person").name = "insured".parse().unwrap()),
    ("a missing code of the person", |c| column(c, "person").missing.push("0".to_owned())),
    ("another register of persons", |c| c.unit_space.id = "health.insured".parse().unwrap()),
    ("another agency", |c| c.agency = "hospitals".parse().unwrap()),
];

/// None changes anything about the numbers.
const ELSEWHERE: &[(&str, Change)] = &[
    ("words about the dataset", |c| {
        for words in [&mut c.title, &mut c.description, &mut c.controller, &mut c.population] {
            words.push_str(", revised");
        }
    }),
    ("words about a column", |c| {
        let cost = column(c, "cost");
        cost.label.push_str(", revised");
        cost.definition.push_str(", revised");
        codes(c, "region")[0].label.push_str(", revised");
    }),
    ("a column not asked", |c| {
        let mut other = column(c, "cost").clone();
        other.name = "copayment".parse().unwrap();
        c.columns.push(other);
    }),
    ("the order of columns", |c| c.columns.reverse()),
    ("a later cut", |c| c.cuts.insert(0, CutId::new("2024-Q3").unwrap())),
    ("budgets and size of the register", |c| {
        c.unit_space.register_size = 200_000;
        c.unit_space.rho_per_year = Rho::from_nano(5);
        c.unit_space.rho_for_life = Rho::from_nano(6);
    }),
    ("retention", |c| column(c, "cost").retention_days = Some(30)),
];

#[test]
fn whatever_gives_the_numbers_another_meaning_gives_another_release_key_at_the_same_price() {
    let before = priced(&contract());
    let mut keys = vec![("nothing", before.release_key())];
    for (what, change) in MEANING {
        let mut changed = contract();
        change(&mut changed);
        let after = priced(&changed);
        assert_eq!(after.charge(), before.charge(), "{what}");
        assert!(under(&changed, QUESTION).canonical() == under(&contract(), QUESTION).canonical(), "{what}");
        for (other, key) in &keys {
            assert_ne!(after.release_key(), *key, "{what}, {other}");
        }
        keys.push((what, after.release_key()));
    }
}

#[test]
fn a_contract_that_changes_elsewhere_keeps_the_release_key() {
    for (what, change) in ELSEWHERE {
        let mut changed = contract();
        change(&mut changed);
        assert_ne!(changed, contract(), "{what}");
        assert_eq!(priced(&changed).release_key(), priced(&contract()).release_key(), "{what}");
    }
}

#[tokio::test]
async fn a_release_answers_under_no_contract_that_reads_its_numbers_otherwise() {
    let agency = Agency::new().await;
    let query = under(&contract(), SQL);
    let price = price(&query, MECHANISM, RHO).unwrap();
    let reservation = agency.reserve(1, price.release_key(), price.charge()).await;
    let funded = Funded::new(agency.permit(&query), reservation, price).unwrap();
    let engine = || async { Ok::<_, Infallible>(cells(vec![vec![1_000, 2_000, 3_000]])) };
    let released = funded.release(engine).await.unwrap().released;
    assert_eq!(released.charge(), Charge::of_rho(RHO));
    let before = released.answer(&query).unwrap();
    for (what, change) in ELSEWHERE {
        let mut changed = contract();
        change(&mut changed);
        assert_eq!(released.answer(&under(&changed, SQL)), Ok(before.clone()), "{what}");
    }
    for (what, change) in MEANING.iter().filter(|(what, _)| what.contains("group") || what.contains("person")) {
        let mut changed = contract();
        change(&mut changed);
        assert_eq!(released.answer(&under(&changed, SQL)), Err(OtherQuery), "{what}");
    }
}
