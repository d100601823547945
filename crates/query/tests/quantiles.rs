//! Quantiles: what is measured for them, and what an answer says of their error.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own material is wrong")]

mod support;

use firebreak_domain::ReasonCode;
use firebreak_query::{CheckedQuery, INTERVAL_95, Noise, PrimitiveKind, parse_sql, plan, to_sql};
use support::visits;

fn checked(sql: &str) -> CheckedQuery {
    plan(sql, &[visits()][..]).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// The place of the quantile among the primitives, and that of the count of values.
fn places(query: &CheckedQuery) -> (usize, usize) {
    let place = |wanted: fn(&PrimitiveKind) -> bool| query.primitives().iter().position(|p| wanted(p.kind())).unwrap();
    let quantile = place(|kind| matches!(kind, PrimitiveKind::Quantile { .. }));
    (quantile, place(|kind| matches!(kind, PrimitiveKind::CountValues { .. })))
}

#[test]
fn a_quantile_is_a_choice_and_a_count_of_values() {
    let query = checked("SELECT region, QUANTILE(cost, 0.9) FROM health.visits GROUP BY region");
    assert_eq!(query.primitives().len(), 2);
    let (quantile, count) = places(&query);
    // Costs from 0.00 to 5,000.00 in steps of 5.00, nine tenths: at most four rows a person, each 9 parts of a rank.
    let PrimitiveKind::Quantile { candidates, decimals, .. } = query.primitives()[quantile].kind() else { panic!() };
    assert_eq!((candidates.count(), candidates.step(), candidates.parts(), *decimals), (1_001, 500, 10, 2));
    assert_eq!(query.squared_sensitivities()[quantile], (4 * 9) * (4 * 9));
    assert_eq!(query.squared_sensitivities()[count], 16);
    assert_eq!(query.outputs()[0].name(), "p90_cost");
}

#[test]
fn the_median_is_the_quantile_of_one_half_and_shares_its_count() {
    let median = checked("SELECT MEDIAN(cost) FROM health.visits");
    let half = checked("SELECT QUANTILE(cost, .50) AS m FROM health.visits");
    assert_eq!(median.canonical(), half.canonical());
    assert_eq!(median.outputs()[0].name(), "median_cost");
    let several =
        "SELECT QUANTILE(cost, 0.25), MEDIAN(cost), QUANTILE(cost, 0.999), AVG(cost), COUNT(cost) FROM health.visits";
    assert_eq!(checked(several).primitives().len(), 3 + 2, "three choices, a sum and one count");
    let again = to_sql(&parse_sql(several).unwrap());
    assert!(again.contains("QUANTILE(cost, 0.25), QUANTILE(cost, 0.5), QUANTILE(cost, 0.999),"), "{again}");
}

#[test]
fn a_quantile_has_an_error_in_rank_and_none_in_value() {
    let query = checked("SELECT MEDIAN(cost) FROM health.visits");
    let (quantile, count) = places(&query);
    let of = |chosen: f64, values: f64, scale: f64| {
        let (mut numbers, mut deviations) = (vec![0.0; 2], vec![1.0; 2]);
        (numbers[quantile], numbers[count], deviations[quantile]) = (chosen, values, scale);
        query.evaluate(&numbers, &deviations)[0]
    };
    let found = of(123_500.0, 2_000.0, 20.0);
    assert_eq!((found.value, found.standard_error, found.interval), (Some(1_235.0), None, None));
    // ln(1,001 · 40) of the scale, in halves of a value, of 2,000 values less 1.96 deviations of their count.
    let wanted = 20.0 * 40_040.0_f64.ln() / 2.0 / (2_000.0 - INTERVAL_95);
    assert!((found.rank_error.unwrap() - wanted).abs() < 1e-12);
    assert_eq!(of(0.0, 10.0, 1e6).rank_error, Some(1.0), "no rank is off by more than all");
    for none in [of(0.0, 0.0, 20.0), of(0.0, -3.0, 20.0)] {
        assert_eq!((none.value, none.rank_error), (None, None), "of nothing there is no quantile");
    }
}

/// Summed over the noise of the count, with a choice that is as bad as the exponential mechanism's bound lets it be:
/// `P(off ≥ t) = min(1, k·exp(−t/scale))`. The same bound over the count as it was drawn is missed in 5 to 20 of 100.
#[test]
fn the_error_in_rank_holds_as_often_as_it_says_however_the_count_is_drawn() {
    let query = checked("SELECT MEDIAN(cost) FROM health.visits");
    let (quantile, count) = places(&query);
    let candidates = 1_001.0;
    for (values, sigma, scale) in [(40.0, 10.0, 1.0), (100.0, 30.0, 4.0), (400.0, 20.0, 8.0), (50.0, 2.0, 0.5)] {
        for laplace in [false, true] {
            let b = sigma / std::f64::consts::SQRT_2;
            let tails = if laplace { 20_f64.ln() * b / (INTERVAL_95 * sigma) } else { 1.0 };
            let mut deviations = [sigma; 2];
            deviations[quantile] = scale;
            let noise = Noise::independent(&deviations);
            let (mut missed, mut plainly_missed, mut all) = (0.0, 0.0, 0.0);
            let step = sigma / 100.0;
            for place in -1_200..=1_200 {
                let off = f64::from(place) * step;
                let density = if laplace {
                    (-off.abs() / b).exp() / (2.0 * b)
                } else {
                    (-0.5 * (off / sigma).powi(2)).exp() / (sigma * std::f64::consts::TAU.sqrt())
                };
                let mut numbers = [values + off; 2];
                numbers[quantile] = 50_000.0;
                all += density * step;
                let Some(error) = query.evaluate_with_tails(&numbers, &noise, tails)[0].rank_error else { continue };
                // Scores are in halves of a value.
                let worse = |error: f64| {
                    let chance = (candidates * (-2.0 * error * values / scale).exp()).min(1.0);
                    if error < 1.0 { chance } else { 0.0 }
                };
                missed += density * step * worse(error);
                let plain = scale * (candidates * 20.0).ln() / 2.0 / numbers[count].max(1.0);
                plainly_missed += density * step * worse(plain);
            }
            assert!((all - 1.0).abs() < 1e-3, "{all}");
            assert!(missed <= 0.05, "{values} values, sigma {sigma}: {missed}");
            assert!(plainly_missed > 0.05, "{values} values, sigma {sigma}: {plainly_missed}");
        }
    }
}

#[test]
fn what_is_made_of_quantiles_has_a_value_and_no_error() {
    let query = checked("SELECT QUANTILE(cost, 0.9) / QUANTILE(cost, 0.1) AS ratio, COUNT(cost) FROM health.visits");
    let ratio = query.evaluate(&[500.0, 20_000.0, 180_000.0], &[1.0; 3])[0];
    assert!(ratio.value.is_some());
    assert_eq!((ratio.standard_error, ratio.interval, ratio.rank_error), (None, None, None));
    assert!(
        !query.outputs()[0].is_quantile()
            && checked("SELECT MEDIAN(cost) FROM health.visits").outputs()[0].is_quantile()
    );
}

#[test]
fn a_quantile_that_cannot_be_had_is_refused_with_its_reason() {
    use ReasonCode::{LiteralMismatch, NotMeasurable, TooManyGroups, UnsupportedAggregate, UnsupportedExpression};
    for (sql, reason) in [
        ("SELECT QUANTILE(cost, 0) FROM health.visits", LiteralMismatch),
        ("SELECT QUANTILE(cost, 1) FROM health.visits", LiteralMismatch),
        ("SELECT QUANTILE(cost, 0.12345) FROM health.visits", LiteralMismatch),
        ("SELECT QUANTILE(cost, 'x') FROM health.visits", LiteralMismatch),
        ("SELECT QUANTILE(cost) FROM health.visits", UnsupportedAggregate),
        ("SELECT MEDIAN(cost, 0.5) FROM health.visits", UnsupportedAggregate),
        ("SELECT QUANTILE(DISTINCT cost, 0.5) FROM health.visits", UnsupportedAggregate),
        ("SELECT QUANTILE(cost, region) FROM health.visits", UnsupportedExpression),
        ("SELECT MEDIAN(region) FROM health.visits", NotMeasurable),
        ("SELECT MEDIAN(cost) FROM health.visits GROUP BY region, DATE_TRUNC('week', visit_date)", TooManyGroups),
    ] {
        let refusal = plan(sql, &[visits()][..]).map(drop).unwrap_err();
        assert_eq!(refusal.reason, reason, "{sql}: {}", refusal.detail);
        let instead = refusal.suggestion.unwrap();
        assert!(plan(&instead, &[visits()][..]).is_ok(), "{sql}: {instead}");
    }
}
