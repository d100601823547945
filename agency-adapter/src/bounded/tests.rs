//! R2, R28: the bound on a person's contribution.

use super::*;
use datafusion::arrow::datatypes::Int64Type;
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

proptest! {
    /// PRIVACY: what a row says of rows that are left out follows from the same person's rows alone.
    #[test]
    fn rows_that_are_left_out_are_told_by_as_many_of_the_same_person_that_are_kept(
        given in prop::collection::vec((0_u8..5, -3_i64..3), 0..60),
        most in 1_u32..5,
    ) {
        let all = rows(&given);
        let mut standing: BTreeMap<u8, usize> = BTreeMap::new();
        for (row, stands_for_another) in super::kept(&all, most, &RankingKey::new([7; 32])) {
            *standing.entry(given[row as usize].0).or_default() += usize::from(stands_for_another);
        }
        for person in 0..5 {
            let own: Vec<_> = given.iter().copied().filter(|(of, _)| *of == person).collect();
            let left_out = own.len().saturating_sub(most as usize).min(most as usize);
            prop_assert_eq!(standing.get(&person).copied().unwrap_or(0), left_out);
            let alone = super::kept(&rows(&own), most, &RankingKey::new([7; 32]));
            prop_assert_eq!(alone.iter().filter(|(_, stands)| *stands).count(), left_out);
        }
    }
}

/// The bounded view of rows as a part of a join.
fn part(dataset: &str, given: &[(u8, i64)], most: u32) -> Part {
    let text = include_str!("../../../deploy/sample/bundle/contracts/health.vaccinations.toml");
    let mut contract: Contract = toml::from_str(text).unwrap();
    contract.contribution.rows_per_person = most;
    let rows = rows(given);
    let view = view(&contract, &rows, &RankingKey::new([7; 32])).unwrap();
    Part { dataset: DatasetId::new(dataset).unwrap(), view, keys: rows.person_keys }
}

/// The multiset of the values that stand beside each other, with the key of their person.
fn pairs(parts: &[Part]) -> Vec<(String, Vec<i64>)> {
    let view = joined(parts).unwrap();
    let column = |name: &str| view.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
    let values: Vec<Int64Array> = parts.iter().map(|part| column(&format!("{}.x", part.dataset))).collect();
    let persons = view.column_by_name(PERSON).unwrap().as_primitive::<UInt32Type>();
    let key = |row: usize| parts[0].keys[persons.value(row) as usize].clone();
    let mut pairs: Vec<_> =
        (0..view.num_rows()).map(|row| (key(row), values.iter().map(|values| values.value(row)).collect())).collect();
    pairs.sort();
    pairs
}

proptest! {
    #[test]
    fn one_person_more_adds_at_most_the_product_of_its_bounds_to_a_join_and_leaves_all_others_alone(
        visits in prop::collection::vec((0_u8..6, -3_i64..3), 0..40),
        doses in prop::collection::vec((0_u8..6, -3_i64..3), 0..40),
        own_visits in prop::collection::vec(-1000_i64..1000, 0..8),
        own_doses in prop::collection::vec(-1000_i64..1000, 0..8),
        at in 0_usize..40,
        (m, l) in (1_u32..4, 1_u32..4),
    ) {
        let join = |visits: &[(u8, i64)], doses: &[(u8, i64)]| pairs(&[part("a", visits, m), part("b", doses, l)]);
        let with = |rows: &[(u8, i64)], own: &[i64]| {
            let mut rows = rows.to_vec();
            for value in own {
                rows.insert(at.min(rows.len()), (200, *value));
            }
            rows
        };
        let (more_visits, more_doses) = (with(&visits, &own_visits), with(&doses, &own_doses));
        let (added, rest): (Vec<_>, Vec<_>) =
            join(&more_visits, &more_doses).into_iter().partition(|(person, _)| person == "P200");
        prop_assert_eq!(added.len(), own_visits.len().min(m as usize) * own_doses.len().min(l as usize));
        prop_assert_eq!(rest, join(&visits, &doses));
        // It is the product person by person, of what either view keeps.
        let mut wanted = Vec::new();
        for (person, visit) in kept(&more_visits, m) {
            for (other, dose) in kept(&more_doses, l) {
                if person == other {
                    wanted.push((format!("P{person}"), vec![visit, dose]));
                }
            }
        }
        wanted.sort();
        prop_assert_eq!(join(&more_visits, &more_doses), wanted);
    }
}

#[test]
fn three_views_are_joined_and_one_without_keys_is_not() {
    let parts = [part("a", &[(1, 1), (2, 2)], 3), part("b", &[(2, 5), (1, 7), (1, 8)], 3), part("c", &[(1, 9)], 3)];
    assert_eq!(pairs(&parts), [("P1".to_owned(), vec![1, 7, 9]), ("P1".to_owned(), vec![1, 8, 9])]);
    let [a, b, _] = parts;
    let error = joined(&[a, Part { keys: Vec::new(), ..b }]).unwrap_err();
    assert!(matches!(error, SourceError::NoKeyToJoin), "{error}");
}
