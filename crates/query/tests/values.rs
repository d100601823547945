//! Arithmetic inside aggregates, CASE, and measures of spread.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own material is wrong")]

mod support;

use firebreak_domain::{ReasonCode, Refusal};
use firebreak_query::{CheckedQuery, PrimitiveKind, check, parse_sql};
use support::visits;

fn read(measures: &str) -> Result<CheckedQuery, Refusal> {
    check(&parse_sql(&format!("SELECT {measures} FROM health.visits"))?, &visits())
}

fn checked(measures: &str) -> CheckedQuery {
    read(measures).unwrap_or_else(|refusal| panic!("{measures}: {refusal}"))
}

#[test]
fn a_value_under_a_condition_is_one_question_however_it_is_written() {
    let condition = "kind = 'emergency'";
    for (one, other) in [
        ("SUM(CASE WHEN @ THEN cost END)", "SUM(cost) FILTER (WHERE @)"),
        ("SUM(CASE WHEN @ THEN cost ELSE 0 END)", "SUM(cost) FILTER (WHERE @)"),
        ("SUM(CASE WHEN @ THEN 1 ELSE 0 END)", "COUNT(*) FILTER (WHERE @)"),
        ("COUNT(CASE WHEN @ THEN 1 ELSE NULL END)", "COUNT(*) FILTER (WHERE @)"),
        ("COUNT(CASE WHEN @ THEN region END)", "COUNT(region) FILTER (WHERE @)"),
        ("COUNT(DISTINCT CASE WHEN @ THEN person_key END)", "COUNT(DISTINCT person_key) FILTER (WHERE @)"),
        ("AVG(CASE WHEN @ THEN 2 * cost END)", "AVG(cost * 2) FILTER (WHERE @)"),
        ("STDDEV_SAMP(CASE WHEN @ THEN cost END)", "STDDEV(cost) FILTER (WHERE @)"),
        ("SUM(1)", "COUNT(*)"),
        ("SUM(cost + 3 * cost)", "SUM(cost * 3.0 + cost)"),
        ("VAR_SAMP(cost)", "VARIANCE((cost))"),
    ] {
        let form = |text: &str| checked(&text.replace('@', condition)).canonical().clone();
        assert_eq!(form(one), form(other), "{one}");
    }
    for (one, other) in [
        ("SUM(cost - 1)", "SUM(1 - cost)"),
        ("VARIANCE(cost)", "VAR_POP(cost)"),
        ("VARIANCE(cost)", "STDDEV(cost)"),
        ("SUM(CLAMP(cost, 0, 10))", "SUM(CLAMP(cost, 0, 11))"),
        ("AVG(cost * 2)", "AVG(cost + 2)"),
    ] {
        assert_ne!(checked(one).canonical(), checked(other).canonical(), "{one}");
    }
}

/// A release of the one is given for the other: which number is which must not depend on how either was written.
#[test]
fn questions_that_share_a_form_share_their_primitives_and_which_differ_differ() {
    let pair = |a: &str, b: &str| {
        checked(&format!("SUM({a}) FILTER (WHERE region = 'R01') AS a, SUM({b}) FILTER (WHERE region = 'R02') AS b"))
    };
    let (one, other) = (pair("2 * cost", "cost * 2"), pair("cost * 2", "2 * cost"));
    assert_eq!(one.canonical(), other.canonical());
    assert_eq!(one.basis(), other.basis());
    assert!(one.primitives() == other.primitives());
    let values = [100.0, 900.0];
    assert_eq!(one.evaluate(&values, &[1.0; 2]), other.evaluate(&values, &[1.0; 2]));
    for (one, other) in [
        ("SUM(cost + 3 * cost)", "SUM(cost * 3 + cost)"),
        ("SUM(cost * 1), SUM(cost * 0.1)", "SUM(cost * 0.1), SUM(cost * 1)"),
        ("AVG(cost), STDDEV(cost)", "STDDEV(cost), AVG(cost)"),
    ] {
        let (one, other) = (checked(one), checked(other));
        assert_eq!((one.canonical(), one.basis()), (other.canonical(), other.basis()));
        assert!(one.primitives() == other.primitives());
    }
    assert_eq!(checked("AVG(cost + 2), SUM(2 + cost)").primitives().len(), 2, "one sum, and its count");
}

/// `cost` is declared from 0.00 to 5000.00, and a person has at most four rows.
#[test]
fn the_sensitivity_of_a_value_follows_from_its_bounds() {
    for (value, half_width) in [
        ("AVG(cost)", 250_000_u128),
        ("AVG(2 * cost)", 500_000),
        ("AVG(cost + 10)", 250_000),
        ("AVG(-cost)", 250_000),
        ("AVG(cost - cost)", 500_000),
        ("AVG(CLAMP(cost, 0, 100))", 5_000),
        ("SUM(CLAMP(cost, 0, 100))", 10_000),
        ("SUM(cost + 10)", 501_000),
        ("AVG(0.5 * cost)", 1_250_000),
    ] {
        let query = checked(value);
        let sums: Vec<u128> = query
            .primitives()
            .iter()
            .zip(query.squared_sensitivities())
            .filter(|(primitive, _)| matches!(primitive.kind(), PrimitiveKind::SumCentred { .. }))
            .map(|(_, squared)| *squared)
            .collect();
        assert_eq!(sums, [16 * half_width * half_width], "{value}");
    }
}

#[test]
fn a_variance_takes_a_count_a_sum_and_a_sum_of_squares_around_the_midpoints() {
    let query = checked("VARIANCE(cost) AS v, VAR_POP(cost) AS p, STDDEV(cost) AS s, STDDEV_POP(cost) AS d");
    assert_eq!(query.primitives().len(), 3, "they share their primitives");
    let (half, square) = (250_000_u128, 250_000_u128 * 250_000 / 2);
    let mut squared = query.squared_sensitivities().to_vec();
    squared.sort_unstable();
    assert_eq!(squared, [16, 16 * half * half, 16 * square * square]);

    // Costs of 1, 2, 3 and 6: mean 3, squared distances 14, over 3 and over 4.
    let costs = [100_i64, 200, 300, 600];
    let values: Vec<f64> = query
        .primitives()
        .iter()
        .map(|primitive| match primitive.kind() {
            PrimitiveKind::SumCentred { centre, decimals: 2, .. } => costs.iter().map(|c| (c - centre) as f64).sum(),
            PrimitiveKind::SumCentred { centre, .. } => {
                costs.iter().map(|c| ((c - 250_000).pow(2) - centre) as f64).sum()
            }
            _ => costs.len() as f64,
        })
        .collect();
    let close = |found: Option<f64>, wanted: f64| (found.unwrap() - wanted).abs() < 1e-3;
    let found = query.evaluate(&values, &[0.0; 3]);
    for (output, wanted) in found.iter().zip([14.0 / 3.0, 3.5, (14.0_f64 / 3.0).sqrt(), 3.5_f64.sqrt()]) {
        assert!(close(output.value, wanted), "{:?} is not {wanted}", output.value);
        assert!(close(output.standard_error, 0.0));
    }
    // One value has no spread around itself over n - 1, none has none at all; noise can draw a variance below 0.
    let count = query.primitives().iter().position(|p| matches!(p.kind(), PrimitiveKind::CountValues { .. })).unwrap();
    let with_count = |count_value: f64| {
        let mut values = values.clone();
        values[count] = count_value;
        query.evaluate(&values, &[1.0; 3]).iter().map(|o| o.value.is_some()).collect::<Vec<_>>()
    };
    let of_one = with_count(1.0);
    assert!(!of_one[0] && of_one[1]);
    assert_eq!(with_count(0.0), [false; 4]);
    let squares = query
        .primitives()
        .iter()
        .position(|primitive| matches!(primitive.kind(), PrimitiveKind::SumCentred { decimals: 4, .. }));
    let mut below = values.clone();
    below[squares.unwrap()] -= 1e6;
    let drawn: Vec<_> = query.evaluate(&below, &[1.0; 3]).iter().map(|output| output.value).collect();
    assert!(drawn[0].unwrap() < 0.0 && drawn[1].unwrap() < 0.0, "a variance is shown as drawn");
    assert_eq!(drawn[2..], [None, None], "and has no root");
}

#[test]
fn what_is_no_value_is_refused_with_what_can_be_had() {
    for (measures, reason) in [
        ("SUM(cost / 2)", ReasonCode::UnsupportedExpression),
        ("SUM(5)", ReasonCode::NotMeasurable),
        ("AVG(1)", ReasonCode::NotMeasurable),
        ("SUM(region)", ReasonCode::NotMeasurable),
        ("SUM(cost + region)", ReasonCode::NotMeasurable),
        ("SUM(cost * cost * cost * cost * cost)", ReasonCode::NotMeasurable),
        ("VARIANCE(cost * cost * cost)", ReasonCode::NotMeasurable),
        ("SUM(CLAMP(cost, 10, 1))", ReasonCode::LiteralMismatch),
        ("SUM(CLAMP(CLAMP(CLAMP(cost, 0, 1), 0, 1), 0, 1))", ReasonCode::QueryTooLarge),
        ("SUM(CLAMP(cost, 9000000000000000000, 9000000000000000000))", ReasonCode::NotMeasurable),
        ("SUM(CLAMP(cost, cost, 1))", ReasonCode::UnsupportedExpression),
        ("SUM(ROUND(cost))", ReasonCode::UnsupportedExpression),
        ("SUM(CASE WHEN kind = 'emergency' THEN cost ELSE 5 END)", ReasonCode::UnsupportedExpression),
        ("AVG(CASE WHEN kind = 'emergency' THEN cost ELSE 0 END)", ReasonCode::UnsupportedExpression),
        (
            "SUM(CASE WHEN kind = 'emergency' THEN cost WHEN kind = 'other' THEN 1 END)",
            ReasonCode::UnsupportedExpression,
        ),
        ("SUM(1 + CASE WHEN kind = 'emergency' THEN cost END)", ReasonCode::UnsupportedExpression),
        ("VARIANCE(DISTINCT cost)", ReasonCode::UnsupportedAggregate),
        ("VARIANCE(*)", ReasonCode::UnsupportedAggregate),
        ("SUM(person_key)", ReasonCode::IdentifierColumn),
    ] {
        assert_eq!(read(measures).err().map(|refusal| refusal.reason), Some(reason), "{measures}");
    }
}

#[test]
fn a_value_of_too_many_parts_is_refused() {
    let long = |parts: usize| format!("SUM(cost{})", " + 1".repeat(parts));
    assert!(read(&long(31)).is_ok());
    assert_eq!(read(&long(32)).err().map(|refusal| refusal.reason), Some(ReasonCode::QueryTooLarge));
}
