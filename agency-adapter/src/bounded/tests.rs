//! R2, R28: the bound on a person's contribution.

use super::*;
use firebreak_domain::{Column, ColumnName, ColumnRole, Domain};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Rows given as (person, value), in order.
fn rows(given: &[(u8, i64)]) -> Rows {
    let column = Column {
        name: ColumnName::new("x").unwrap(),
        label: String::new(),
        definition: String::new(),
        role: ColumnRole::Measure,
        domain: Domain::Integer { min: -1000, max: 1000 },
        missing: Vec::new(),
        special: None,
        retention_days: None,
    };
    let mut numbers = BTreeMap::new();
    let mut person_keys = Vec::new();
    let mut persons = Vec::new();
    for (person, _) in given {
        persons.push(*numbers.entry(*person).or_insert_with(|| {
            person_keys.push(format!("P{person}"));
            person_keys.len() as u32 - 1
        }));
    }
    let mut column = EncodedColumn::new(&column, None);
    let values: Int64Array = given.iter().map(|(_, value)| Some(*value)).collect();
    column.extend(&(Arc::new(values) as ArrayRef), &|_| true).unwrap();
    Rows { persons, person_keys, columns: vec![column], match_keys: Vec::new() }
}

/// The multiset of (person, value) that a view keeps.
fn kept(given: &[(u8, i64)], most: u32) -> Vec<(u8, i64)> {
    let key = RankingKey::new([7; 32]);
    let mut kept: Vec<_> = kept_rows(&rows(given), most, &key).into_iter().map(|row| given[row as usize]).collect();
    kept.sort_unstable();
    kept
}

proptest! {
    #[test]
    fn one_person_more_adds_at_most_its_bound_and_leaves_all_others_alone(
        others in prop::collection::vec((0_u8..6, -3_i64..3), 0..60),
        own in prop::collection::vec(-1000_i64..1000, 0..20),
        at in 0_usize..60,
        most in 1_u32..5,
    ) {
        let without = kept(&others, most);
        let mut with = others.clone();
        for value in own {
            with.insert(at.min(with.len()), (200, value));
        }
        let with = kept(&with, most);
        let (added, rest): (Vec<_>, Vec<_>) = with.into_iter().partition(|(person, _)| *person == 200);
        prop_assert!(added.len() <= most as usize);
        prop_assert_eq!(rest, without);
    }

    #[test]
    fn the_order_of_rows_does_not_choose_them(
        given in prop::collection::vec((0_u8..4, -3_i64..3), 0..60),
        seed in 0_usize..1000,
        most in 1_u32..5,
    ) {
        let mut shuffled = given.clone();
        for i in (1..shuffled.len()).rev() {
            shuffled.swap(i, (seed * 31 + i * 17) % (i + 1));
        }
        prop_assert_eq!(kept(&given, most), kept(&shuffled, most));
    }
}

#[test]
fn equal_rows_are_kept_up_to_the_bound() {
    assert_eq!(kept(&[(1, 5), (1, 5), (1, 5)], 2), [(1, 5), (1, 5)]);
}

#[test]
fn the_choice_depends_on_the_secret() {
    let given: Vec<_> = (0..100).map(|value| (1, value)).collect();
    let one = kept_rows(&rows(&given), 10, &RankingKey::new([1; 32]));
    let two = kept_rows(&rows(&given), 10, &RankingKey::new([2; 32]));
    assert_eq!(one.len(), 10);
    assert_ne!(one, two);
}
