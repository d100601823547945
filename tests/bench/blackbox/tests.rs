//! The short runs. Noise comes from the operating system and cannot be seeded: a bound is wrong at most once in 10⁹
//! runs.

use super::*;

const RUNS: u32 = 700;
/// Those that ask the engine each time, which takes longer.
const RUNS_OF_THE_ENGINE: u32 = 100;
/// In a release, at most.
const PERSONS: u32 = 100;

/// The cases, with how many runs each is given.
fn cases() -> impl Iterator<Item = (Case, u32)> {
    let short = |case: Case| Case { persons: case.persons.min(PERSONS), ..case };
    CASES.into_iter().map(short).map(|case| (case, if case.engine == 1 { RUNS_OF_THE_ENGINE } else { RUNS }))
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_of_two_neighbours_betray_no_more_than_the_declared_loss() {
    for (case, runs) in cases() {
        let bound = Audit { case, runs, moved: 1.0 }.run().await.unwrap();
        assert!(bound.worst() <= 1.0, "{}: {bound:?}", case.name);
    }
}

/// Fewer runs show a larger fault alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_sensitivity_understated_by_four_is_found_in_the_releases() {
    for (case, runs) in cases() {
        let moved = if case.engine == 1 { 16.0 } else { 4.0 };
        let bound = Audit { case, runs, moved }.run().await.unwrap();
        assert!(
            bound.by_trade_off.is_none_or(|found| found > 1.0) && bound.by_divergence > 1.0,
            "{}: {bound:?}",
            case.name
        );
    }
}
