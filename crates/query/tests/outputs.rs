//! Outputs that are rounded and clipped, and totals over the answer.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where its own material is wrong"
)]

mod support;

use firebreak_domain::{ReasonCode, Refusal};
use firebreak_query::{CheckedQuery, End, Noise, check, parse_sql};
use support::visits;

fn read(sql: &str) -> Result<CheckedQuery, Refusal> {
    check(&parse_sql(sql)?, &visits())
}

fn checked(sql: &str) -> CheckedQuery {
    read(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))
}

#[test]
fn what_is_rounded_and_clipped_is_marked_and_keeps_its_error() {
    let query = checked(
        "SELECT COUNT(*), ROUND(COUNT(*), -1) AS tens, GREATEST(COUNT(*), 0) AS up, \
         ROUND(LEAST(50, COUNT(*))) AS down, ROUND(COUNT(*) / 7, 2) AS part FROM health.visits",
    );
    let of = |count: f64| query.evaluate(&[count], &[2.0]);
    let values = |count: f64| of(count).iter().map(|output| output.value.unwrap()).collect::<Vec<_>>();
    assert_eq!(values(44.0), [44.0, 40.0, 44.0, 44.0, 6.29]);
    assert_eq!(values(-15.0), [-15.0, -20.0, 0.0, -15.0, -2.14], "halves are rounded away from 0");
    assert_eq!(values(55.0), [55.0, 60.0, 55.0, 50.0, 7.86]);
    let clipped = |count: f64| of(count).iter().map(|output| output.clipped).collect::<Vec<_>>();
    assert_eq!(clipped(-15.0), [false, false, true, false, false]);
    assert_eq!(clipped(55.0), [false, false, false, true, false]);
    assert_eq!(clipped(0.0), [false; 5], "at the bound nothing is moved");
    let (plain, finished) = (of(-15.0)[0], &of(-15.0)[1..4]);
    for output in finished {
        assert_eq!((output.standard_error, output.interval), (plain.standard_error, plain.interval));
    }
    let outputs = query.outputs();
    assert_eq!(outputs.iter().map(|o| o.rounded()).collect::<Vec<_>>(), [None, Some(-1), None, Some(0), Some(2)]);
    assert_eq!(outputs.iter().map(|o| o.bound(End::AtLeast)).collect::<Vec<_>>()[2], Some(0.0));
    assert_eq!(outputs.iter().map(|o| o.bound(End::AtMost)).collect::<Vec<_>>()[3], Some(50.0));
}

#[test]
fn an_output_is_linear_where_its_interval_is_as_wide_whatever_is_released() {
    for (output, linear) in [
        ("COUNT(*)", true),
        ("ROUND(SUM(cost) / 1000, 1)", true),
        ("(COUNT(*) - COUNT(cost)) * 2 + 7", true),
        ("SUM(COUNT(*)) OVER ()", true),
        ("AVG(cost)", false),
        ("SUM(cost) / COUNT(*)", false),
        ("COUNT(*) * COUNT(cost)", false),
        ("COUNT(*) / SUM(COUNT(*)) OVER ()", false),
        ("STDDEV(cost)", false),
        ("MEDIAN(cost)", false),
    ] {
        let query = checked(&format!("SELECT kind, {output} AS x FROM health.visits GROUP BY kind"));
        assert_eq!(query.outputs()[0].is_linear(), linear, "{output}");
        assert_eq!(query.outputs()[0].reads_a_quantile(), output.starts_with("MEDIAN"), "{output}");
        // Of anything else two releases have two widths, or none.
        let width = |released: f64| {
            let tables: Vec<_> = query.vectors().map(|(_, set)| vec![released; set.cells()]).collect();
            let deviations = vec![10.0; tables.len()];
            let figures = query.figures(tables, &deviations);
            let found = query.evaluate_with_tails(&figures.values(0, 0), figures.noise(0).unwrap(), 1.0);
            found[0].interval.map(|(low, high)| high - low)
        };
        let (one, other) = (width(1_000.0), width(3_000.0));
        let alike = one.zip(other).is_some_and(|(one, other)| (one / other - 1.0).abs() < 1e-6);
        assert_eq!(alike, linear, "{output}: {one:?} and {other:?}");
    }
}

#[test]
fn having_and_order_by_see_an_output_as_it_is_shown_and_an_aggregate_as_drawn() {
    let counts = [14.0, -5.0, 70.0, 11.0, 1.0];
    let shown = |clauses: &str| {
        let sql =
            format!("SELECT kind, GREATEST(ROUND(COUNT(*), -1), 0) AS n FROM health.visits GROUP BY kind {clauses}");
        checked(&sql).shown(|row| vec![counts[row.cell]]).into_iter().map(|row| row.cell).collect::<Vec<_>>()
    };
    assert_eq!(shown("HAVING n >= 0"), [0, 1, 2, 3, 4]);
    assert_eq!(shown("HAVING COUNT(*) >= 0"), [0, 2, 3, 4]);
    assert_eq!(shown("ORDER BY n DESC"), [2, 0, 3, 1, 4], "10 and 10, 0 and 0 stay as they were");
    assert_eq!(shown("ORDER BY COUNT(*)"), [1, 4, 3, 0, 2]);
    assert_eq!(shown("HAVING ROUND(COUNT(*), -1) = 10"), [0, 3]);
}

#[test]
fn what_is_shown_changes_no_measurement() {
    let plain = checked("SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region");
    for output in ["ROUND(COUNT(*), -1)", "GREATEST(COUNT(*), 0)", "COUNT(*) / SUM(COUNT(*)) OVER ()"] {
        let query = checked(&format!("SELECT region, {output} AS n FROM health.visits GROUP BY region"));
        assert_eq!(query.canonical(), plain.canonical());
        assert!(query.primitives() == plain.primitives() && query.basis() == plain.basis());
    }
}

#[test]
fn nothing_is_worked_out_from_what_is_rounded_and_no_total_is_of_what_does_not_add_up() {
    for (output, reason) in [
        ("ROUND(COUNT(*)) + 1", ReasonCode::UnsupportedExpression),
        ("-GREATEST(COUNT(*), 0)", ReasonCode::UnsupportedExpression),
        ("ROUND(COUNT(*), 13)", ReasonCode::LiteralMismatch),
        ("ROUND(COUNT(*), 0.5)", ReasonCode::LiteralMismatch),
        ("ROUND(region)", ReasonCode::UngroupedColumn),
        ("LEAST(COUNT(*), SUM(cost))", ReasonCode::UnsupportedExpression),
        ("SUM(AVG(cost)) OVER ()", ReasonCode::UnsupportedAggregate),
        ("SUM(MEDIAN(cost)) OVER ()", ReasonCode::UnsupportedAggregate),
        ("SUM(COUNT(DISTINCT person)) OVER ()", ReasonCode::UnsupportedAggregate),
        ("AVG(COUNT(*)) OVER ()", ReasonCode::UnsupportedExpression),
        ("COUNT(*) OVER ()", ReasonCode::UnsupportedExpression),
        ("SUM(COUNT(*) + 1) OVER ()", ReasonCode::UnsupportedExpression),
        ("SUM(COUNT(*)) OVER (ORDER BY region)", ReasonCode::UnsupportedExpression),
        ("SUM(COUNT(*)) OVER (PARTITION BY kind)", ReasonCode::UngroupedColumn),
        ("SUM(SUM(COUNT(*)) OVER ()) OVER ()", ReasonCode::UnsupportedExpression),
    ] {
        let found = read(&format!("SELECT region, {output} AS x FROM health.visits GROUP BY region"));
        assert_eq!(found.map(drop).unwrap_err().reason, reason, "{output}");
    }
}

/// Numbers close to Gaussian ones of deviation 1: sums of twelve uniform ones.
fn gaussian(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0
}

#[test]
fn a_share_of_the_total_has_the_error_of_a_part_of_what_it_is_divided_by() {
    let query = checked("SELECT kind, COUNT(*) / SUM(COUNT(*)) OVER () AS share FROM health.visits GROUP BY kind");
    let figures = query.figures(vec![vec![400.0, 300.0, 200.0, 100.0, 0.0]], &[10.0]);
    let values = figures.values(0, 0);
    assert_eq!(values, [400.0, 1_000.0]);
    let share = query.evaluate_with_tails(&values, figures.noise(0).unwrap(), 1.0)[0];
    // x/T with x = T's own part: σ/T · √((1 − s)² + 4·s²), four cells being the others.
    let wanted = 10.0 / 1_000.0 * (0.6_f64.powi(2) + 4.0 * 0.4_f64.powi(2)).sqrt();
    assert!((share.value.unwrap() - 0.4).abs() < 1e-12);
    assert!((share.standard_error.unwrap() - wanted).abs() < 1e-12, "{share:?}");
    let total =
        checked("SELECT kind, SUM(SUM(cost)) OVER () AS total, COUNT(cost) AS n FROM health.visits GROUP BY kind");
    let deviations: Vec<f64> = vec![3.0; total.primitives().len()];
    assert!(total.linear_error(&deviations).unwrap() > 3.0, "a total has the noise of all its cells");
    let alone = checked("SELECT COUNT(*) / SUM(COUNT(*)) OVER () AS share FROM health.visits");
    let figures = alone.figures(vec![vec![70.0]], &[10.0]);
    let share = alone.evaluate_with_tails(&figures.values(0, 0), figures.noise(0).unwrap(), 1.0)[0];
    assert_eq!((share.value, share.standard_error), (Some(1.0), Some(0.0)), "all of it, whatever the noise");
}

/// How often, of 4,000 draws, the interval of each share holds the true one: with the noise as it is, and as if that of
/// a total were not that of its parts.
fn coverage(sql: &str, truth: &[Vec<f64>], deviations: &[f64]) -> (f64, f64) {
    let query = checked(sql);
    let exact = query.figures(truth.to_vec(), deviations);
    let mut gaussian = gaussian(17);
    let (mut held, mut apart, mut shares) = (0_u32, 0_u32, 0_u32);
    for _ in 0..4_000 {
        let drawn = truth.iter().zip(deviations);
        let drawn =
            drawn.map(|(table, sigma)| table.iter().map(|value| value + sigma * gaussian()).collect()).collect();
        let figures = query.figures(drawn, deviations);
        for row in query.rows() {
            let noise = figures.noise(row.set).unwrap();
            let values = figures.values(row.set, row.cell);
            let wanted = query.evaluate_with_tails(&exact.values(row.set, row.cell), noise, 1.0)[0].value.unwrap();
            if wanted == 1.0 {
                continue;
            }
            let holds = |noise: &Noise| {
                let interval = query.evaluate_with_tails(&values, noise, 1.0)[0].interval.unwrap();
                u32::from((interval.0..=interval.1).contains(&wanted))
            };
            shares += 1;
            held += holds(noise);
            apart += holds(&noise.as_if_independent());
        }
    }
    (f64::from(held) / f64::from(shares), f64::from(apart) / f64::from(shares))
}

/// 95 of 100 within 5 standard deviations of what so many draws give, over and over with these seeds; and taking a
/// total for something apart from its parts is found.
#[test]
fn intervals_of_shares_hold_the_truth_as_often_as_they_say() {
    let kinds = vec![vec![900.0, 60.0, 30.0, 10.0, 0.0]];
    let (held, apart) =
        coverage("SELECT kind, COUNT(*) / SUM(COUNT(*)) OVER () AS s FROM health.visits GROUP BY kind", &kinds, &[8.0]);
    assert!((0.942..0.958).contains(&held), "{held}");
    assert!(!(0.942..=0.958).contains(&apart), "{apart}");

    // Region by kind with margins that are measured as well, one of them better than the others.
    let regions = checked("SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region").cells();
    let cell = |region: usize, kind: usize| 40.0 * (1 + region) as f64 + if kind == 0 { 500.0 } else { 20.0 };
    let of_regions: Vec<f64> = (0..regions).map(|region| (0..5).map(|kind| cell(region, kind)).sum()).collect();
    for by in ["", "PARTITION BY region"] {
        let sql = format!(
            "SELECT region, kind, COUNT(*) / SUM(COUNT(*)) OVER ({by}) AS s FROM health.visits \
             GROUP BY GROUPING SETS ((region, kind), (region), ())"
        );
        let query = checked(&sql);
        let table = |cells: usize| match cells {
            1 => vec![of_regions.iter().sum()],
            cells if cells == regions => of_regions.clone(),
            cells => by_cell(&query, cells, &cell),
        };
        let cells: Vec<usize> = query.grouping_sets().iter().map(|set| set.cells()).collect();
        let tables: Vec<Vec<f64>> = cells.iter().map(|cells| table(*cells)).collect();
        let deviations: Vec<f64> = cells.iter().map(|cells| if *cells == 1 { 5.0 } else { 9.0 }).collect();
        let (held, _) = coverage(&sql, &tables, &deviations);
        assert!((0.942..0.958).contains(&held), "{by}: {held}");
    }
}

/// The table by region and kind, in the query's own order of cells.
fn by_cell(query: &CheckedQuery, cells: usize, of: &dyn Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut table = vec![0.0; cells];
    for row in query.rows().iter().filter(|row| row.codes.iter().all(Option::is_some)) {
        table[row.cell] = of(row.codes[0].unwrap(), row.codes[1].unwrap());
    }
    table
}
