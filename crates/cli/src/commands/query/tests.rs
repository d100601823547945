use super::*;
use firebreak_wire::charge_to_wire;
use firebreak_wire::query::v1::{MeasuredNoise, MissingPart, NotCovered, OutputColumn, Row, estimate::Status};
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
        ..Estimate::default()
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
            columns: vec![OutputColumn { name: "visits".into(), ..OutputColumn::default() }],
            groups: vec!["region".into()],
            ..Accepted::default()
        },
        rows: vec![row("north", estimate(12_345.6, 10.2, Status::Normal)), row("south", last)],
        released: Released {
            release_id: "r-1".into(),
            receipt: "text".into(),
            left: vec![Account { of: "agreement a".into(), limit: charge(1_000_000_000), spent: charge(250_000_000) }],
            estimand: "rows of the bounded view".into(),
            ..Released::default()
        },
    }
}

#[test]
fn a_partial_answer_names_its_parts_and_what_is_missing() {
    let mut partial = answer(estimate(88.0, 10.2, Status::Provisional));
    let part = |agency: &str, release: &str| Part {
        agency: agency.into(),
        dataset: format!("{agency}.visits"),
        release_id: release.into(),
    };
    partial.released.parts = vec![part("one", "r-1")];
    partial.released.missing = vec![MissingPart {
        agency: "other".into(),
        dataset: "other.visits".into(),
        why: "other is not connected; nothing was charged for it".into(),
    }];
    let text = shown(&partial, 100, Bars::None);
    for part in [
        "P: provisional, an agency's part is missing",
        "one.visits of one: r-1",
        "other.visits of other: other is not connected; nothing was charged for it",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("south") && line.trim_end().ends_with('P')), "{text}");
}

#[test]
fn an_answer_shows_value_error_interval_cost_and_what_is_left() {
    let text = shown(&answer(estimate(88.0, 10.2, Status::Normal)), 80, Bars::None).replace('\u{202f}', " ");
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
    let text = shown(&answer(estimate(8.0, 10.2, Status::Unreliable)), 80, Bars::None);
    assert!(text.lines().any(|l| l.starts_with("south") && l.ends_with("  U")), "{text}");
    assert!(text.contains("U: unreliable") && !text.contains("not computable"), "{text}");
    let none = Estimate { status: Status::NotComputable.into(), ..Estimate::default() };
    let text = shown(&answer(none), 80, Bars::None);
    assert!(text.lines().any(|l| l.starts_with("south") && l.contains('–') && l.ends_with('O')), "{text}");
    assert!(text.contains("O: not computable") && !text.contains("U: unreliable"), "{text}");
}

#[test]
fn every_layout_keeps_to_the_terminal() {
    let mut wide = answer(estimate(8.0, 10.2, Status::Unreliable));
    wide.rows
        .push(Row { groups: vec!["東京都".into()], estimates: vec![estimate(-70_000.0, 10.2, Status::Normal)] });
    for width in 40..160 {
        for bars in [Bars::None, Bars::WhereTheyFit] {
            let text = shown(&wide, width, bars);
            let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0);
            assert!(widest <= width, "{widest} in {width}\n{text}");
            assert!(width < 58 || text.contains('●') == (bars == Bars::WhereTheyFit), "{width}\n{text}");
        }
    }
}

/// An answer whose intervals are apart, but for the last, which is given.
fn compared(last: Estimate) -> QueryAnswer {
    let mut answer = answer(last);
    let more = [("east", estimate(60.0, 10.0, Status::Normal)), ("west", estimate(100.0, 10.0, Status::Normal))];
    answer.rows.remove(0);
    answer.rows.extend(more.map(|(code, estimate)| Row { groups: vec![code.into()], estimates: vec![estimate] }));
    answer
}

#[test]
fn on_a_terminal_the_intervals_of_an_output_are_drawn_on_one_scale() {
    let text = shown(&compared(estimate(20.0, 10.0, Status::Unreliable)), 61, Bars::WhereTheyFit);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "region  visits  ± s.e.  95 % interval  0               120",
            "──────  ──────  ──────  ─────────────  ───────────────────  ─",
            "south       20      10         0 … 40  ├──●──┤              U",
            "east        60      10        40 … 80        ├──●──┤",
            "west       100      10       80 … 120              ├──●──┤",
        ]
    );
}

#[test]
fn a_margin_has_no_bar_and_leaves_the_scale_to_its_parts() {
    let mut answer = compared(estimate(20.0, 10.0, Status::Normal));
    let total = estimate(20_000.0, 10.0, Status::Normal);
    answer.rows.push(Row { groups: vec![String::new()], estimates: vec![total] });
    let text = shown(&answer, 80, Bars::WhereTheyFit);
    let headed = text.lines().next().is_some_and(|heading| heading.ends_with(" 120"));
    assert!(headed && text.matches('●').count() == 3, "{text}");
    assert!(text.lines().any(|l| l.starts_with("all") && !l.contains('●')), "{text}");
    // A question for margins alone compares them with each other.
    answer.rows.retain(|row| margins(row) > 0);
    answer.rows.push(Row { groups: vec![String::new()], estimates: vec![estimate(9.0, 1.0, Status::Normal)] });
    assert_eq!(shown(&answer, 80, Bars::WhereTheyFit).matches('●').count(), 2);
}

#[test]
fn what_is_not_computable_has_no_bar_and_a_narrow_terminal_none_at_all() {
    let none = Estimate { status: Status::NotComputable.into(), ..Estimate::default() };
    let text = shown(&compared(none), 80, Bars::WhereTheyFit);
    assert!(text.lines().any(|l| l.starts_with("south") && !l.contains('●') && l.ends_with('O')), "{text}");
    assert_eq!(text.matches('●').count(), 2, "{text}");
    for (width, bars) in [(50, Bars::WhereTheyFit), (80, Bars::None)] {
        let text = shown(&compared(none), width, bars);
        assert!(text.contains("95 % interval") && !text.contains(['●', '├']), "{text}");
    }
    // One bar alone compares nothing.
    let text = shown(&answer(none), 80, Bars::WhereTheyFit);
    assert!(!text.contains('●'), "{text}");
}

#[test]
fn a_dry_run_says_cost_noise_and_whether_it_can_be_paid() {
    let mut said = ValidateQueryResponse {
        cost: charge(10_000_000),
        canonical_query: "firebreak query format 1\ndataset health.visits".into(),
        dataset: "health.visits".into(),
        cut: "2024-Q4".into(),
        columns: vec![OutputColumn { name: "n".into(), ..OutputColumn::default() }],
        groups: vec!["region".into()],
        cells: 17_000,
        noise: vec![MeasuredNoise { measured: "count of rows".into(), standard_error: 28.2843 }],
        affordable: true,
        rho_nano: 10_000_000,
        selection: None,
        not_covered: Vec::new(),
    };
    let text = validated(&said, 80).replace('\u{202f}', " ");
    for part in ["ρ 0.01", "17 000", "count of rows", "28", "firebreak query format 1", "Payable now  yes"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    said.affordable = false;
    assert!(validated(&said, 80).contains("no: an account has less left"));

    let covered = priced(&said, 40.5, 80);
    assert_eq!(covered, "\nAsk with --rho 0.01 for 95 % intervals of ±40.5 at most.\n");
    let why = "how wide its interval is depends on what is released: ask its counts and sums as outputs of their own";
    said.not_covered.push(NotCovered { column: "mean".into(), why: why.into() });
    let partly = priced(&said, 40.5, 60);
    assert!(partly.ends_with(&covered) && partly.contains("Not known to be within ±40.5"), "{partly}");
    assert!(partly.contains("  mean  how wide its interval") && partly.lines().all(|l| l.width() <= 60), "{partly}");
}
