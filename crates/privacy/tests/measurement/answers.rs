//! What is shown of a release.

use crate::cells;
use crate::fixture::{Agency, MECHANISM, ask, price_under, rho_under};
use firebreak_domain::{Mechanism, Rho};
use firebreak_privacy::{
    Answer, AnswerRow, Estimate, Funded, ObservationStatus, OtherQuery, Price, Released, answer_together, deviation,
    price, rho_for_half_width,
};
use firebreak_query::{CheckedQuery, GroupingSet, Primitive, PrimitiveKind};
use std::convert::Infallible;

async fn released(query: &CheckedQuery, exact: Vec<Vec<i64>>) -> Released {
    released_under(MECHANISM, query, exact).await
}

async fn released_under(mechanism: Mechanism, query: &CheckedQuery, exact: Vec<Vec<i64>>) -> Released {
    released_at(price_under(mechanism, query), query, exact).await
}

async fn released_at(price: Price, query: &CheckedQuery, exact: Vec<Vec<i64>>) -> Released {
    let agency = Agency::under(price.mechanism()).await;
    let reservation = agency.reserve(1, price.release_key(), price.charge()).await;
    let funded = Funded::new(agency.permit(query), reservation, price).unwrap();
    funded.release(|| async { Ok::<_, Infallible>(cells(exact)) }).await.unwrap().released
}

/// Exact vectors: `count` or the centred `sum` in every cell, by the kind of primitive.
fn uniform(query: &CheckedQuery, count: i64, sum: i64) -> Vec<Vec<i64>> {
    let of = |kind: &PrimitiveKind| if matches!(kind, PrimitiveKind::SumCentred { .. }) { sum } else { count };
    query.vectors().map(|(primitive, set)| vec![of(primitive.kind()); set.cells()]).collect()
}

fn covered(answer: &Answer, output: usize, truth: f64, narrowed: f64) -> f64 {
    let hit = |estimate: &Estimate| {
        let (value, (low, high)) = (estimate.value.unwrap(), estimate.interval.unwrap());
        let half = (high - low) / 2.0 * narrowed;
        (value - truth).abs() <= half
    };
    answer.rows.iter().filter(|row| hit(&row.outputs[output])).count() as f64 / answer.rows.len() as f64
}

/// 2,400 cells each with an interval of its own. The share that covers has the deviation 0.0045; 0.03 either way are
/// more than six of them, left by accident once in 10⁹. Intervals of two thirds the width cover 81 %.
#[tokio::test]
async fn intervals_cover_the_exact_value_in_95_of_100_cells_and_narrower_ones_are_found() {
    let sql = "SELECT region, year, COUNT(*) AS n, SUM(cost) AS total, AVG(cost) AS mean, \
               SUM(cost) / COUNT(*) AS ratio FROM health.visits GROUP BY region, year";
    let query = ask(sql);
    assert_eq!(query.cells(), 2_400);
    // 10,000 visits of 60.00 each, where the centre is 50.00.
    for mechanism in [Mechanism::DiscreteGaussian, Mechanism::DiscreteLaplace] {
        let release = released_under(mechanism, &query, uniform(&query, 10_000, 10_000 * 1_000)).await;
        let answer = release.answer(&query).unwrap();
        for (output, truth) in [10_000.0, 600_000.0, 60.0, 60.0].into_iter().enumerate() {
            let share = covered(&answer, output, truth, 1.0);
            assert!((0.92..=0.98).contains(&share), "{mechanism:?}: output {output} is covered in {share}");
            let narrow = covered(&answer, output, truth, 2.0 / 3.0);
            assert!(!(0.92..=0.98).contains(&narrow), "{mechanism:?}: narrow ones of output {output} cover {narrow}");
        }
    }
}

/// The cells of 2,400 regions and years are each covered in 95 of 100 cases, and so are the 300 margins; every margin
/// is the sum of its parts, and no estimate has a larger error than what was measured.
#[tokio::test]
async fn margins_add_up_and_keep_their_intervals() {
    let query =
        ask("SELECT region, year, COUNT(*) AS n, SUM(cost) AS total FROM health.visits GROUP BY CUBE (region, year)");
    for mechanism in [Mechanism::DiscreteGaussian, Mechanism::DiscreteLaplace] {
        // 50 visits of 60.00 in each cell.
        let exact = query.vectors().map(|(primitive, set)| {
            let parts = (2_400 / set.cells()) as i64;
            let each = if matches!(primitive.kind(), PrimitiveKind::SumCentred { .. }) { 50 * 6_000 } else { 50 };
            vec![each * parts; set.cells()]
        });
        let release = released_under(mechanism, &query, exact.collect()).await;
        let answer = release.answer(&query).unwrap();
        assert_eq!(answer.rows.len(), query.cells());
        let places: Vec<_> = query.rows();
        let mut hits = [0, 0];
        for (output, truth) in [50.0, 3_000.0].into_iter().enumerate() {
            let mut sums = std::collections::BTreeMap::<[String; 2], f64>::new();
            for (row, place) in answer.rows.iter().zip(&places) {
                let set = &query.grouping_sets()[place.set];
                let estimate = row.outputs[output];
                let truth = truth * (2_400 / set.cells()) as f64;
                let (low, high) = estimate.interval.unwrap();
                hits[usize::from(set.groups().len() < 2)] += usize::from((low..=high).contains(&truth));
                if let [region, year] = row.groups.as_slice()
                    && set.groups().len() == 2
                {
                    for margin in [["", year], [region, ""], ["", ""]] {
                        *sums.entry(margin.map(str::to_owned)).or_default() += estimate.value.unwrap();
                    }
                }
                let unit = if output == 0 { 1.0 } else { 100.0 };
                let vectors = query.vectors().zip(release.sigmas());
                let of_vector = |((primitive, of), scale): ((&Primitive, &GroupingSet), f64)| {
                    let sum = matches!(primitive.kind(), PrimitiveKind::SumCentred { .. });
                    (of == set && sum == (output == 1)).then(|| deviation(mechanism, primitive.kind(), scale) / unit)
                };
                let measured = vectors.filter_map(of_vector).next().unwrap();
                let ratio = estimate.standard_error.unwrap() / measured;
                assert!((0.2..1.0).contains(&ratio), "{mechanism:?}: {ratio} of what was measured");
            }
            for row in answer.rows.iter().filter(|row| row.groups.iter().any(String::is_empty)) {
                let sum = sums[&[row.groups[0].clone(), row.groups[1].clone()]];
                assert!((row.outputs[output].value.unwrap() - sum).abs() < 1e-6 * sum.abs(), "{:?}", row.groups);
            }
        }
        let margins = query.cells() - 2_400;
        let [cells, of_margins] = hits.map(|hits| f64::from(hits as u32) / 2.0);
        assert!((0.92..=0.98).contains(&(cells / 2_400.0)), "{mechanism:?}: {cells} cells");
        assert!((0.85..=1.0).contains(&(of_margins / margins as f64)), "{mechanism:?}: {of_margins} of {margins}");
    }
}

#[tokio::test]
async fn rows_come_in_the_order_asked_with_the_values_of_their_own_cells() {
    let sql = "SELECT region, kind, COUNT(*) AS n FROM health.visits GROUP BY region, kind";
    let query = ask(sql);
    // Each cell holds a number that names its codes, a million apart, in the canonical order of the cells.
    let number = |labels: &[&str]| {
        let place = |label: &str| ["n", "s", "w", "planned", "emergency"].iter().position(|l| *l == label).unwrap();
        labels.iter().map(|label| 1_000_000 << place(label)).sum::<i64>()
    };
    let mut exact = vec![0; query.cells()];
    for (cell, slot) in exact.iter_mut().enumerate() {
        let mut rest = cell;
        let labels: Vec<&str> = query
            .groups()
            .iter()
            .rev()
            .map(|group| {
                let code = group.codes[rest % group.codes.len()].as_str();
                rest /= group.codes.len();
                code
            })
            .collect();
        *slot = number(&labels);
    }
    let answer = released(&query, vec![exact]).await.answer(&query).unwrap();
    assert_eq!(answer.group_columns, ["region", "kind"]);
    assert_eq!(answer.output_columns.len(), 1);
    assert_eq!(answer.output_columns[0].name, "n");
    let groups: Vec<_> = answer.rows.iter().map(|row| row.groups.join(" ")).collect();
    assert_eq!(groups, ["n planned", "n emergency", "s planned", "s emergency", "w planned", "w emergency"]);
    for row in &answer.rows {
        let labels: Vec<&str> = row.groups.iter().map(String::as_str).collect();
        assert!((row.outputs[0].value.unwrap() - number(&labels) as f64).abs() < 1_000.0);
        assert_eq!(row.outputs[0].status, ObservationStatus::Normal);
    }
}

#[tokio::test]
async fn small_values_are_unreliable_and_a_mean_of_nothing_is_not_computable() {
    let query =
        ask("SELECT COUNT(*) AS n, AVG(cost) AS mean, COUNT(*) / (COUNT(*) - COUNT(*)) AS ratio FROM health.visits");
    let release = released(&query, uniform(&query, -500, 0)).await;
    let answer = release.answer(&query).unwrap();
    let statuses: Vec<_> = answer.rows[0].outputs.iter().map(|estimate| estimate.status.code()).collect();
    assert_eq!(statuses, ["A", "O", "O"]);
    let release = released(&query, uniform(&query, 0, 0)).await;
    // A quarter of twelve deviations is three: |noise| stays below four deviations but for 1 in 10,000 draws, so the
    // status is asked of the estimate and not of luck.
    let count = release.answer(&query).unwrap().rows[0].outputs[0];
    let unreliable = count.standard_error.unwrap() > 0.25 * count.value.unwrap().abs();
    assert_eq!(count.status == ObservationStatus::Unreliable, unreliable);
}

#[tokio::test]
async fn a_release_answers_any_outputs_over_its_measures_and_no_other_query() {
    let query = ask("SELECT COUNT(*) AS n, COUNT(cost) AS c FROM health.visits");
    let release = released(&query, vec![vec![900], vec![600]]).await;
    let share = ask("SELECT COUNT(cost) / COUNT(*) AS share FROM health.visits");
    let share = release.answer(&share).unwrap().rows[0].outputs[0];
    let both = release.answer(&query).unwrap().rows[0].outputs.clone();
    let expected = both[1].value.unwrap() / both[0].value.unwrap();
    assert!((share.value.unwrap() - expected).abs() < 1e-12);
    let other = ask("SELECT COUNT(*) AS n, COUNT(cost) AS c FROM health.visits WHERE kind = 'planned'");
    assert_eq!(release.answer(&other), Err(OtherQuery));
}

/// How far the widest interval of the outputs that a half-width is good for reaches to either side.
fn reach(query: &CheckedQuery, answer: &Answer) -> f64 {
    let half = |estimate: &Estimate| estimate.interval.map(|(low, high)| (high - low) / 2.0).unwrap();
    let linear = |row: &AnswerRow| {
        let outputs = query.outputs().iter().zip(&row.outputs).filter(|(output, _)| output.is_linear());
        outputs.map(|(_, estimate)| half(estimate)).fold(0.0, f64::max)
    };
    answer.rows.iter().map(linear).fold(0.0, f64::max)
}

#[tokio::test]
async fn a_half_width_has_the_least_price_at_which_the_answers_counts_and_sums_keep_to_it() {
    let plain = ask("SELECT region, COUNT(*) AS n, 2 * COUNT(*) + 1 AS twice, SUM(cost) / 1000 AS thousands, \
                     AVG(cost) AS mean FROM health.visits GROUP BY region");
    let linear: Vec<bool> = plain.outputs().iter().map(|output| output.is_linear()).collect();
    assert_eq!(linear, [true, true, true, false]);
    let margins = ask("SELECT region, kind, COUNT(*) AS n, SUM(cost) / 10000 AS ten_thousands FROM health.visits \
                       GROUP BY CUBE (region, kind)");
    let share = ask("SELECT region, COUNT(*) AS n, SUM(COUNT(*)) OVER () AS total FROM health.visits GROUP BY region");
    for mechanism in [Mechanism::DiscreteGaussian, Mechanism::DiscreteLaplace] {
        let most = rho_under(mechanism);
        for (query, wanted) in [(&plain, 200.0), (&plain, 5_000.0), (&margins, 200.0), (&share, 150.0)] {
            let at = async |rho: u64| {
                let price = price(query, mechanism, Rho::from_nano(rho)).unwrap();
                let released = released_at(price, query, uniform(query, 1_000, 1_000 * 1_000)).await;
                reach(query, &released.answer(query).unwrap())
            };
            let rho = rho_for_half_width(query, mechanism, wanted, most).unwrap().nano();
            let (found, for_less) = (at(rho).await, at(rho - rho / 100).await);
            assert!(found <= wanted * (1.0 + 1e-9), "{mechanism:?} {wanted}: ±{found} at {rho}");
            assert!(for_less > wanted, "{mechanism:?} {wanted}: ±{for_less} is had for less than {rho}");
            // A hundredth of the price is a two-hundredth of the width.
            assert!(for_less < wanted * 1.006, "{mechanism:?} {wanted}: ±{for_less} for a hundredth less");
        }
        assert_eq!(rho_for_half_width(&plain, mechanism, 1e-3, most), None, "no loss is enough");
        let ratio = ask("SELECT AVG(cost) AS mean, MEDIAN(cost) AS middle FROM health.visits");
        assert_eq!(rho_for_half_width(&ratio, mechanism, 1e9, most), None, "its widths depend on what is released");
    }
}

/// 2,400 cells each: as above, intervals cover in 95 of 100 cases, and those of one register's noise would in 83.
#[tokio::test]
async fn releases_of_one_question_over_several_registers_add_up_and_so_do_their_variances() {
    let sql = "SELECT region, year, COUNT(*) AS n, AVG(cost) AS mean FROM health.visits GROUP BY region, year";
    let query = ask(sql);
    let (small, large) = (uniform(&query, 3_000, 0), uniform(&query, 10_000, 10_000 * 1_000));
    let (small, large) = (released(&query, small).await, released(&query, large).await);
    let together = answer_together(&[(&query, &small), (&query, &large)]).unwrap();
    let (one, other) = (small.answer(&query).unwrap(), large.answer(&query).unwrap());
    for ((sum, one), other) in together.rows.iter().zip(&one.rows).zip(&other.rows) {
        assert_eq!((&sum.groups, &sum.groups), (&one.groups, &other.groups));
        let [sum, one, other] = [sum, one, other].map(|row| row.outputs[0]);
        assert_eq!(sum.value.unwrap(), one.value.unwrap() + other.value.unwrap());
        let error = one.standard_error.unwrap().hypot(other.standard_error.unwrap());
        assert!((sum.standard_error.unwrap() / error - 1.0).abs() < 1e-9);
    }
    // 13,000 values, of which 10,000 are 10 above the centre of 50.
    for (output, truth) in [13_000.0, 50.0 + 100_000.0 / 13_000.0].into_iter().enumerate() {
        let share = covered(&together, output, truth, 1.0);
        assert!((0.92..=0.98).contains(&share), "output {output} is covered in {share}");
        let narrow = covered(&together, output, truth, 0.5_f64.sqrt());
        assert!(!(0.92..=0.98).contains(&narrow), "narrow ones of output {output} cover {narrow}");
    }
    let again = answer_together(&[(&query, &small), (&query, &large)]).unwrap();
    assert_eq!(again, together);
    assert!(
        together.clone().provisional().rows.iter().all(|row| row.outputs[0].status == ObservationStatus::Provisional)
    );

    let quantile = ask("SELECT MEDIAN(cost) AS middle FROM health.visits");
    let numbers = quantile.vectors().map(|(primitive, set)| vec![1; set.cells() * primitive.kind().numbers_per_cell()]);
    let chosen = released(&quantile, numbers.collect()).await;
    assert!(chosen.answer(&quantile).is_ok());
    assert_eq!(
        answer_together(&[(&quantile, &chosen), (&quantile, &chosen)]),
        Err(OtherQuery),
        "what is chosen does not add up"
    );
    assert_eq!(answer_together(&[(&query, &small), (&quantile, &chosen)]), Err(OtherQuery));
    assert_eq!(answer_together(&[]), Err(OtherQuery));
}
