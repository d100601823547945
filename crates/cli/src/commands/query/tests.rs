use super::*;
use firebreak_wire::charge_to_wire;
use firebreak_wire::query::v1::{MeasuredNoise, OutputColumn, estimate::Status};
use unicode_width::UnicodeWidthStr;

fn charge(nano: u64) -> Option<firebreak_wire::query::v1::Charge> {
    Some(charge_to_wire(Charge::of_rho(Rho::from_nano(nano))))
}

fn estimate(value: f64, error: f64, status: Status) -> Estimate {
    Estimate {
        value: Some(value),
        standard_error: Some(error),
        lower: Some(value - 2.0 * error),
        upper: Some(value + 2.0 * error),
        status: status.into(),
    }
}

fn answer(last: Estimate) -> QueryAnswer {
    let row = |code: &str, estimate| Row { groups: vec![code.into()], estimates: vec![estimate] };
    QueryAnswer {
        accepted: Accepted {
            cost: charge(5_000_000),
            dataset: "health.visits".into(),
            cut: "2024-Q4".into(),
            mechanism: "discrete_gaussian".into(),
            columns: vec![OutputColumn { name: "visits".into() }],
            groups: vec!["region".into()],
        },
        rows: vec![row("north", estimate(12_345.6, 10.2, Status::Normal)), row("south", last)],
        released: Released {
            release_id: "r-1".into(),
            receipt: "text".into(),
            left: vec![Account { of: "agreement a".into(), limit: charge(1_000_000_000), spent: charge(250_000_000) }],
            estimand: "rows of the bounded view".into(),
        },
    }
}

#[test]
fn an_answer_shows_value_error_interval_cost_and_what_is_left() {
    let text = shown(&answer(estimate(88.0, 10.2, Status::Normal)), 80).replace('\u{202f}', " ");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "region  visits  ± s.e.    95 % interval");
    assert_eq!(lines[2], "north   12 346      10  12 325 … 12 366");
    assert_eq!(lines[3], "south       88      10         68 … 108");
    for part in ["ρ 0.005 (ε 0.53 at δ = 1e-6)", "ρ 0.75 of 1: agreement a", "r-1", "bounded view", "discrete gaussian"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("unreliable"));
}

#[test]
fn unreliable_and_missing_values_are_marked_and_explained() {
    let text = shown(&answer(estimate(8.0, 10.2, Status::Unreliable)), 80);
    assert!(text.lines().any(|l| l.starts_with("south") && l.ends_with("  U")), "{text}");
    let none = Estimate { status: Status::NotComputable.into(), ..Estimate::default() };
    let text = shown(&answer(none), 80);
    assert!(text.lines().any(|l| l.starts_with("south") && l.contains('–') && l.ends_with('O')), "{text}");
    assert!(text.contains("O: not computable"));
}

#[test]
fn every_layout_keeps_to_the_terminal() {
    for width in 40..120 {
        let text = shown(&answer(estimate(8.0, 10.2, Status::Unreliable)), width);
        let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0);
        assert!(widest <= width, "{widest} in {width}\n{text}");
    }
}

#[test]
fn a_dry_run_says_cost_noise_and_whether_it_can_be_paid() {
    let mut said = ValidateQueryResponse {
        cost: charge(10_000_000),
        canonical_query: "firebreak query format 1\ndataset health.visits".into(),
        dataset: "health.visits".into(),
        cut: "2024-Q4".into(),
        columns: vec![OutputColumn { name: "n".into() }],
        groups: vec!["region".into()],
        cells: 17_000,
        noise: vec![MeasuredNoise { measured: "count of rows".into(), standard_error: 28.2843 }],
        affordable: true,
    };
    let text = validated(&said, 80).replace('\u{202f}', " ");
    for part in ["ρ 0.01", "17 000", "count of rows", "28", "firebreak query format 1", "Payable now  yes"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    said.affordable = false;
    assert!(validated(&said, 80).contains("no: an account has less left"));
}

#[test]
fn steps_are_told_with_dataset_cut_and_cost() {
    let accepted = answer(Estimate::default()).accepted;
    assert_eq!(told(Step::Accepted(&accepted)), "Accepted: health.visits at 2024-Q4, for ρ 0.005 (ε 0.53 at δ = 1e-6)");
    assert_eq!(told(Step::Progress("measuring")), "… measuring");
}
