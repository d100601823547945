//! The short runs. Noise comes from the operating system and cannot be seeded: a bound is wrong at most once in 10⁹
//! runs.

use super::*;

const RUNS: u32 = 700;
/// Those that ask the engine each time, which takes longer.
const RUNS_OF_THE_ENGINE: u32 = 100;

const fn runs(case: &Case) -> u32 {
    if case.engine { RUNS_OF_THE_ENGINE } else { RUNS }
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_of_two_neighbours_betray_no_more_than_the_declared_loss() {
    for case in CASES {
        let bound = Audit { case, runs: runs(&case), moved: 1.0 }.run().await.unwrap();
        assert!(bound.worst() <= 1.0, "{}: {bound:?}", case.name);
    }
}

/// Fewer runs show a larger fault alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_sensitivity_understated_by_four_is_found_in_the_releases() {
    for case in CASES {
        let moved = if case.engine { 16.0 } else { 4.0 };
        let bound = Audit { case, runs: runs(&case), moved }.run().await.unwrap();
        assert!(
            bound.by_trade_off.is_none_or(|found| found > 1.0) && bound.by_divergence > 1.0,
            "{}: {bound:?}",
            case.name
        );
    }
}

/// So few runs bound little: the loss is refuted where it is forty times as large in sensitivities, and found to be.
#[tokio::test(flavor = "multi_thread")]
async fn groups_that_are_selected_betray_no_more_than_the_declared_loss() {
    let of = |moved| Audit { case: SELECTED, runs: 100, moved }.run();
    let bound = of(1.0).await.unwrap();
    assert!(bound.worst() <= 1.0, "{bound:?}");
    let planted = of(40.0).await.unwrap();
    assert!(planted.by_trade_off.is_some_and(|found| found > 1.0), "{planted:?}");
}
