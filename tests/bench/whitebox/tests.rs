//! The short run, and that it finds what is planted.

use super::*;

const KINDS: [Kind; 5] = [Kind::Rows, Kind::Persons, Kind::Values, Kind::Sum, Kind::Quantile];

#[test]
fn a_person_added_removed_or_replaced_moves_no_exact_vector_beyond_its_sensitivity() {
    let found = Audit { seed: 2, plant: Plant::default() }.until(6_000).unwrap();
    assert_eq!(found.violating, 0, "{:#?}", found.violations);
    assert!(found.unreadable.is_empty(), "{:#?}", found.unreadable);
    assert!(found.pairs >= 6_000 && found.pairs_alone >= 50 && found.pairs_joined >= 1_000);
    // The bounds are reached, so that anything above them would have been seen: a join that is bounded by anything less
    // than the product of its datasets' bounds as well.
    for (kind, joined) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        assert_eq!(found.reached[&(kind, joined)].more_or_less, 1.0, "{}, joined: {joined}", kind.name());
    }
    assert_eq!(found.reached[&(Kind::Sum, false)].replaced, 1.0);
}

#[test]
fn a_squared_sensitivity_understated_by_one_is_found_in_every_kind_of_primitive() {
    let found = Audit { seed: 3, plant: Plant { sensitivity: 1, ..Plant::default() } }.until(2_000).unwrap();
    assert!(found.violating > 0);
    for kind in KINDS {
        assert!(found.violations.iter().any(|(of, _)| *of == kind), "{}: {:#?}", kind.name(), found.violations);
    }
}

#[test]
fn a_view_that_keeps_one_row_too_many_of_a_person_is_found() {
    let found = Audit { seed: 4, plant: Plant { rows: 1, ..Plant::default() } }.until(600).unwrap();
    assert!(found.violating > 0);
}
