//! The black-box audit: what loss the releases themselves betray.
//!
//! `bench-audit-blackbox [RUNS]`. One question is measured RUNS times at each of two neighbours, files that differ by
//! one person, by decision, ledger, price and measurement as an adapter goes through them. Some of the releases of each
//! question ask the adapter's engine; the others are given the exact vectors, which are the engine's (`blackbox`). How
//! often either side passes a threshold bounds the loss from below; a bound above the declared loss would refute the
//! promise, and one far below it the audit. `docs/PRIVACY.md`, section 10, says what this shows and what it cannot.
//!
//! An exact value has no way out of the adapter but the measurement, and the audit opens none: to see that the vectors
//! are the engine's, it compiles the engine's own source a second time, around a box that can be opened.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the federation of the measurement's own tests is used as it is: what fails there fails the audit"
)]

// Inside this program alone, `firebreak_privacy` is this program, and the real one is `privacy`: under that name
// `engine.rs` finds the box, and the fixture the real price.
extern crate firebreak_privacy as privacy;
extern crate self as firebreak_privacy;

mod blackbox;
#[allow(dead_code, reason = "the adapter may use more of its engine than an audit does")]
#[path = "../../agency-adapter/src/engine.rs"]
mod engine;
#[expect(dead_code, reason = "the measurement's own tests use the rest")]
#[path = "../../crates/privacy/tests/measurement/fixture.rs"]
mod fixture;
#[path = "whitebox/opened.rs"]
mod opened;

use agency_adapter::{bounded, views};
use anyhow::{Result, ensure};
use blackbox::{Audit, CASES, PLANTED};
use firebreak_domain::Mechanism;
use firebreak_tests::bench::{Aim, aimed, argument, conditions, figure, remark};
use opened::{Exact, ExactCells};
use privacy::{Price, price};
use std::collections::BTreeMap;
use std::time::Instant;

const RUNS: u32 = 200_000;
/// The least part of a pure loss that must be seen, by so many runs or more.
const SEEN: f64 = 0.9;

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let runs = argument(RUNS)?;
    // Of each mechanism the case of which least is seen.
    let mut least: BTreeMap<&str, (Mechanism, f64)> = BTreeMap::new();
    let mut worst = 0.0_f64;
    for case in CASES {
        let found = bound(Audit { case, runs: runs.saturating_mul(case.times), moved: 1.0 }).await?;
        worst = worst.max(found);
        let (_, of_its_kind) = least.entry(case.figure()).or_insert((case.mechanism, f64::INFINITY));
        *of_its_kind = of_its_kind.min(found);
    }
    // A sensitivity that is understated by a quarter, to see that the audit would find it.
    let mut planted = f64::INFINITY;
    for case in PLANTED {
        planted = planted.min(bound(Audit { case, runs, moved: 1.25 }).await?);
    }
    figure("blackbox_runs_a_side", runs.into(), "runs");
    aimed("blackbox_loss_lower_over_declared", worst, "ratio, to be near 1", Aim::AtMost(1.0));
    let near = Aim::Within(SEEN, 1.0).only_if(runs >= RUNS, "0.9 to 1 by 200,000 runs");
    let mut pure = f64::INFINITY;
    for (name, (mechanism, found)) in least {
        if mechanism == Mechanism::DiscreteLaplace {
            aimed(name, found, "ratio", near);
            pure = pure.min(found);
        } else {
            aimed(name, found, "ratio", Aim::AtMost(1.0));
        }
    }
    aimed("blackbox_epsilon_lower_over_declared", pure, "ratio", near);
    aimed("blackbox_planted_over_declared", planted, "ratio", Aim::Above(1.0));
    ensure!(worst <= 1.0, "a release betrays more than is declared: see above");
    ensure!(planted > 1.0, "too few runs: a sensitivity that is understated by a quarter is not found");
    ensure!(runs < RUNS || pure >= SEEN, "of a pure loss less is seen than there is: see above");
    Ok(())
}

/// A lower bound on the loss over the declared loss.
async fn bound(audit: Audit) -> Result<f64> {
    let begun = Instant::now();
    let bound = audit.run().await?;
    remark(&format!(
        "{}, {}, moved by {} sensitivities, one release of {} through the engine: loss at least {} of the declared by \
         the trade-off, {:.4} by divergence alone; {} runs a side, {:.0} s",
        audit.case.mechanism.as_str(),
        audit.case.name,
        audit.moved,
        audit.case.engine,
        bound.by_trade_off.map_or_else(|| "–".to_owned(), |found| format!("{found:.4}")),
        bound.by_divergence,
        audit.runs,
        begun.elapsed().as_secs_f64(),
    ));
    Ok(bound.worst())
}
