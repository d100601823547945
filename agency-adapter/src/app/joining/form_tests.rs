use super::*;
use datafusion::arrow::array::{ArrayRef, Float64Array, StringArray};
use firebreak_domain::{Contract, Epsilon, JoinSide, JoinTerms};
use firebreak_query::{check_join, parse_sql};
use std::sync::Arc;

const ENROLMENTS: &str = include_str!("../../../../deploy/sample/bundle/contracts/education.enrolments.toml");
const VACCINATIONS: &str = include_str!("../../../../deploy/sample/bundle/contracts/health.vaccinations.toml");

fn person(rows: &[(u8, u16, &str)]) -> Person {
    let ranking = RankingKey::new([5; 32]);
    let mut person = Person::of(&key_record("p"));
    for (value, label, identifier) in rows {
        person.add(&[[*value; VALUE]], *label, &item_record(identifier.as_bytes()), &ranking);
    }
    person
}

fn identifier(person: &Person) -> String {
    let slot = person.item.as_ref().and_then(|item| read_item(item));
    slot.map(|slot| String::from_utf8(slot.as_ref().to_vec()).unwrap()).unwrap_or_default()
}

#[test]
fn of_a_person_the_first_row_by_rank_among_those_with_a_label_counts() {
    let rows = [(1, 1, "A1"), (2, 2, "A2"), (3, 3, "A3")];
    let best = person(&rows).best.unwrap();
    let chosen = usize::from(best.1) - 1;
    assert_eq!(identifier(&person(&rows)), format!("A{}", best.1));
    let mut without = rows;
    without[chosen].1 = NO_LABEL;
    let next = person(&without).best.unwrap();
    assert!(next.0 > best.0 && next.1 != best.1, "a row without a label does not count");
    assert!(person(&[(1, NO_LABEL, "A1")]).best.is_none());
}

#[test]
fn a_row_without_an_identifier_has_that_of_another_of_its_person() {
    let rows = [(1, 1, "A1"), (2, 2, "A2")];
    let chosen = usize::from(person(&rows).best.unwrap().1) - 1;
    let mut missing = rows;
    missing[chosen].2 = "";
    assert_eq!(person(&missing).best, person(&rows).best, "an identifier decides nothing of the label");
    assert_eq!(identifier(&person(&missing)), rows[1 - chosen].2);
    assert!(person(&[(1, 1, "")]).item.is_none());
}

#[test]
fn a_row_of_a_sum_has_the_label_of_its_group_and_bin_whatever_the_file_says_beyond_the_bounds() {
    let contracts: Vec<Contract> = [ENROLMENTS, VACCINATIONS].map(|text| toml::from_str(text).unwrap()).into();
    let terms = JoinTerms {
        left: "education.enrolments".parse().unwrap(),
        right: "health.vaccinations".parse().unwrap(),
        field: "national_number".parse().unwrap(),
        normaliser: 1,
        epsilon: Epsilon::from_nano(500_000_000),
        semi_honest_join: true,
    };
    let sql = "SELECT e.level, SUM(e.weekly_hours) AS hours FROM education.enrolments e JOIN health.vaccinations v ON \
               PERSON GROUP BY e.level";
    let join = check_join(&parse_sql(sql).unwrap(), &contracts, &terms).unwrap();
    let column = |name: &str, written: ArrayRef| {
        let mut column = EncodedColumn::new(contracts[0].column(name).unwrap(), None);
        column.extend(&written, &|_| true).unwrap();
        column
    };
    let hours = [Some(-5.0), Some(0.0), Some(7.6), Some(60.0), Some(1e9), None, Some(10.0)];
    let levels = ["primary", "primary", "primary", "primary", "primary", "primary", "unheard of"];
    let columns = [
        column("weekly_hours", Arc::new(Float64Array::from(hours.to_vec()))),
        column("level", Arc::new(StringArray::from(levels.to_vec()))),
    ];
    let label = |row: usize| {
        let value = |name: &ColumnName| bound(columns.iter().find(|column| column.name() == name)?, row);
        join.side(JoinSide::Left).label(&value)
    };
    // Six levels to a bin, the primary one second; what is beyond the bounds counts as the bound.
    let found: Vec<Option<u16>> = (0..hours.len()).map(label).collect();
    assert_eq!(found, [Some(1), Some(1), Some(13), Some(91), Some(91), None, None]);
}
