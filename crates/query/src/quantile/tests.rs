use super::*;

fn rank(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn between(low: i64, high: i64, of: &str) -> Candidates {
    Candidates::between(low, high, rank(of)).unwrap()
}

#[test]
fn candidates_are_every_value_or_round_steps_and_reach_both_bounds() {
    for (low, high, step, count) in [
        (0, 0, 1, 1),
        (-3, 3, 1, 7),
        (0, 1_000, 1, 1_001),
        (0, 1_001, 2, 501),
        (0, 500_000, 500, 1_001),
        (17, 500_000, 500, 1_000),
        (0, 10_000_000, 10_000, 1_001),
        (-(1 << 62) + 1, (1 << 62) - 1, 10_000_000_000_000_000, 923),
    ] {
        let found = between(low, high, "0.5");
        assert_eq!((found.step(), found.count(), found.low()), (step, count, low), "{low} to {high}");
        assert!(found.count() <= MAX_QUANTILE_CANDIDATES);
        let last = found.value(found.count() as usize - 1);
        assert!(last <= high && high - last < step, "{low} to {high}");
        for value in [low, low + (high - low) / 2, high] {
            let place = usize::try_from(found.place(value)).unwrap();
            assert!(place < found.count() as usize);
            assert!(found.value(place) <= value && value - found.value(place) < step);
        }
    }
}

#[test]
fn a_rank_is_between_0_and_1() {
    for of in ["0", "1", "-0.5", "1.5", "0.00001", "0.12345"] {
        let refusal = Candidates::between(0, 9, rank(of)).unwrap_err();
        assert_eq!(refusal.reason, ReasonCode::LiteralMismatch, "{of}");
    }
    assert_eq!(between(0, 9, "0.5").parts(), 2);
    assert_eq!(between(0, 9, "0.9999").parts(), 10_000);
}

/// How far the rank is from what stands below, and at or below, a candidate: in whole parts, from the values
/// themselves.
fn by_hand(values: &[i64], candidates: &Candidates, numerator: i64, denominator: i64) -> Vec<i64> {
    let total = values.len() as i64;
    let score = |place: usize| {
        let candidate = candidates.value(place);
        let below = values.iter().filter(|value| **value < candidate).count() as i64;
        let upto = values.iter().filter(|value| **value < candidate + candidates.step()).count() as i64;
        let wanted = numerator * total;
        if denominator * below > wanted {
            denominator * below - wanted
        } else if denominator * upto < wanted {
            wanted - denominator * upto
        } else {
            0
        }
    };
    (0..candidates.count() as usize).map(score).collect()
}

fn counts(values: &[i64], candidates: &Candidates) -> Vec<i64> {
    let mut counts = vec![0; candidates.count() as usize];
    for value in values {
        counts[usize::try_from(candidates.place(*value)).unwrap()] += 1;
    }
    counts
}

#[test]
fn the_best_candidate_is_the_quantile() {
    let values = [1, 2, 2, 3, 7, 8, 9, 9];
    for (of, wanted) in [("0.5", vec![3, 4, 5, 6, 7]), ("0.25", vec![2]), ("0.9", vec![9]), ("0.01", vec![1])] {
        let candidates = between(0, 10, of);
        let scores = candidates.scores(&counts(&values, &candidates));
        let best: Vec<i64> = (0..).zip(&scores).filter(|(_, score)| **score == 0).map(|(value, _)| value).collect();
        assert_eq!(best, wanted, "{of}");
    }
    let candidates = between(0, 10, "0.5");
    assert_eq!(candidates.scores(&[0; 11]), [0; 11], "of nothing all are as good");
}

#[test]
fn scores_are_distances_in_rank_and_one_value_moves_none_by_more_than_is_said() {
    for (of, numerator, denominator) in [("0.5", 1, 2), ("0.3", 3, 10), ("0.95", 19, 20), ("0.01", 1, 100)] {
        let candidates = Candidates::between(0, 2_500, rank(of)).unwrap();
        assert_eq!(candidates.step(), 5);
        let mut values: Vec<i64> = (0..60).map(|n| (n * n * 37) % 2_501).collect();
        let mut reached = 0;
        for more in [0, 4, 5, 1_234, 2_500] {
            let before = candidates.scores(&counts(&values, &candidates));
            assert_eq!(before, by_hand(&values, &candidates, numerator, denominator), "{of}");
            values.push(more);
            let after = candidates.scores(&counts(&values, &candidates));
            let moved = before.iter().zip(&after).map(|(before, after)| before.abs_diff(*after)).max().unwrap();
            reached = reached.max(moved);
        }
        assert_eq!(reached, u64::from(candidates.score_sensitivity()), "{of}");
    }
}

#[test]
fn the_error_in_rank_is_the_bound_of_the_exponential_mechanism() {
    let candidates = between(0, 99, "0.5");
    // 100 candidates, of which at most one in forty choices is worse by t: 100·exp(−t/scale) = 0.025.
    let t = candidates.rank_error(3.0, 0.025) * f64::from(candidates.parts());
    assert!((100.0 * (-t / 3.0).exp() - 0.025).abs() < 1e-12);
}
