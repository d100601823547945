use super::*;
use crate::noise::Way;

fn selection(persons: usize, threshold: i64, most: i64) -> Selection {
    Selection { persons, threshold, delta: SELECTION_DELTA, most }
}

/// A plan of vectors for so many groups, whose noise is planted beside it.
fn plan(selection: Selection, vectors: usize, drawn: usize) -> NoisePlan {
    let scale = Scale { sensitivity: 1, share: 1_000_000_000, sigma: 1.0, way: Way::Gaussian };
    let mut cells = vec![drawn; vectors];
    cells.push(1);
    let choices = vec![None; cells.len()];
    NoisePlan { scales: vec![scale; cells.len()], choices, cells, selection: Some(selection) }
}

#[test]
fn groups_are_shown_by_their_noisy_persons_and_by_nothing_else() {
    let plan = plan(selection(1, 10, 100), 2, 4);
    let noise = || Noise::planted(vec![vec![100, 200, 300, 400], vec![0, -1, 1, 8], vec![2]]);
    let exact = [vec![1, 2, 3], vec![10, 10, 9]];
    let found = noise().select(&plan, &[5, 6, 7], &exact).unwrap();
    assert_eq!((found.codes, found.groups), (vec![5, 7], 5));
    assert_eq!(found.vectors, [[101, 303], [10, 10]]);
    let none = noise().select(&plan, &[], &[vec![], vec![]]).unwrap();
    assert_eq!((none.codes, none.groups, none.vectors), (vec![], 2, vec![vec![], vec![]]));
}

#[test]
fn at_too_large_a_noisy_number_of_groups_none_is_shown() {
    let of_number = |noise: i128| {
        let noise = Noise::planted(vec![vec![50; 4], vec![noise]]);
        noise.select(&plan(selection(0, 10, 4), 1, 4), &[5, 6, 7], &[vec![90, 90, 90]]).unwrap()
    };
    assert_eq!(of_number(1).codes, [5, 6, 7]);
    let none = of_number(2);
    assert_eq!((none.codes, none.groups, none.vectors), (vec![], 5, vec![vec![]]));
    assert_eq!(of_number(i128::from(i64::MAX) * 4).codes, Vec::<i64>::new());
    assert_eq!(of_number(-3).codes, [5, 6, 7], "a number below 0 is a number");
}

#[test]
fn more_groups_than_noise_was_drawn_for_get_noise_of_their_own() {
    let noise = Noise::planted(vec![vec![0; 2], vec![0]]);
    let codes: Vec<i64> = (0..2_000).collect();
    let found = noise.select(&plan(selection(0, i64::MIN, 5_000), 1, 2), &codes, &[vec![1_000; 2_000]]).unwrap();
    let values = &found.vectors[0];
    assert_eq!((values.len(), values[0], values[1]), (2_000, 1_000, 1_000));
    // Of so many draws at a deviation of 1 none is left out but with a probability below 10⁻¹⁰⁰.
    assert!(values[2..].iter().any(|value| *value != 1_000));
    assert!(values[2..].iter().all(|value| (value - 1_000).abs() < 40));
}

#[test]
fn another_shape_is_not_measured() {
    let plan = plan(selection(0, 10, 100), 1, 4);
    let noise = || Noise::planted(vec![vec![0; 4], vec![0]]);
    for (codes, exact) in [
        (vec![1, 2], vec![vec![1]]),
        (vec![2, 1], vec![vec![1, 1]]),
        (vec![1, 1], vec![vec![1, 1]]),
        (vec![1], vec![vec![1], vec![1]]),
        (vec![1], vec![]),
    ] {
        assert!(noise().select(&plan, &codes, &exact).is_err(), "{codes:?}");
    }
    assert!(Noise::planted(vec![vec![0; 4], vec![0; 2]]).select(&plan, &[1], &[vec![1]]).is_err());
}

/// `P[Z ≥ least]` of the discrete Gaussian, added up term by term.
fn tail(sigma: f64, least: i64) -> f64 {
    let weight = |z: i64| (-(z as f64 / sigma).powi(2) / 2.0).exp();
    let end = (60.0 * sigma) as i64 + 60;
    let above: f64 = (least..=end).rev().map(weight).sum();
    above / (weight(0) + 2.0 * (1..=end).rev().map(weight).sum::<f64>())
}

/// The exact probability, from the distribution itself, is at most δ, and would not be at a threshold that is lower by
/// more than what the bound gives away: 1 in the noise that is continuous there, and a unit for that the threshold is
/// whole.
#[test]
fn a_group_of_one_person_appears_at_most_with_the_probability_that_is_charged() {
    let delta = SELECTION_DELTA.atto() as f64 / 1e18;
    for sigma in [0.3, 0.8, 1.0, 2.5, 7.8, 49.6, 300.0] {
        for groups in [1_u32, 3, 12, 1_000] {
            let threshold = threshold(sigma, groups, SELECTION_DELTA).unwrap();
            let appears = |threshold: i64| -f64::exp_m1(f64::from(groups) * f64::ln_1p(-tail(sigma, threshold - 1)));
            assert!(appears(threshold) <= delta, "{sigma}, {groups}: {threshold}");
            assert!(appears(threshold - 3) > delta || sigma < 1.0, "{sigma}, {groups}: {threshold} is too high");
            assert!(threshold >= 3, "a group of one person is shown without noise: {threshold}");
        }
    }
}

#[test]
fn a_threshold_grows_with_the_noise_and_with_the_groups_of_a_person() {
    let of = |sigma, groups| threshold(sigma, groups, SELECTION_DELTA).unwrap();
    assert!(of(10.0, 1) < of(20.0, 1) && of(10.0, 1) < of(10.0, 100));
    assert!(threshold(10.0, 1, Delta::from_atto(1_000_000_000)).unwrap() < of(10.0, 1), "the smaller δ, the higher");
}
