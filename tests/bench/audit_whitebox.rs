//! The white-box audit: whether an exact vector ever moves by more than its declared sensitivity.
//!
//! `bench-audit-whitebox [PAIRS] [SEED]`. Random contracts, files and questions, one in three over two datasets that
//! are joined; random neighbours, which differ by one person added, removed or replaced, in both datasets. Each file
//! goes the adapter's own way: read and encoded by `source`, bounded and joined by `bounded`, aggregated by `engine`. A
//! *pair* is one question at two neighbours. `docs/PRIVACY.md`, section 10, says what this shows and what it cannot.
//!
//! An exact value has no way out of the adapter but the measurement, and the audit opens none: it compiles the engine's
//! own source a second time, around a box of this program's that can be opened.

// Inside this program alone, `firebreak_privacy` is this program: `engine.rs` finds the box under that name.
extern crate self as firebreak_privacy;

#[allow(dead_code, reason = "the adapter may use more of its engine than an audit does")]
#[path = "../../agency-adapter/src/engine.rs"]
mod engine;
#[path = "whitebox/opened.rs"]
mod opened;
mod whitebox;

use agency_adapter::{bounded, views};
use anyhow::{Context, Result, ensure};
use firebreak_tests::bench::{Aim, aimed, argument, conditions, figure, remark};
use opened::{Exact, ExactCells};
use std::time::Instant;
use whitebox::{Audit, Plant};

const PAIRS: u32 = 1_000_000;
const SEED: u64 = 1;

fn main() -> Result<()> {
    conditions();
    let pairs = argument(PAIRS)?;
    let seed = std::env::args().nth(2).map_or(Ok(SEED), |a| a.parse().context("the seed is not a number"))?;
    remark(&format!("seed: {seed}"));
    let begun = Instant::now();
    let found = Audit { seed, plant: Plant::default() }.until(u64::from(pairs))?;
    for (_, violation) in &found.violations {
        remark(violation);
    }
    for unreadable in found.unreadable.iter().take(20) {
        remark(&format!("{unreadable} file of a neighbour that is not read"));
    }
    remark(&format!("{} plans in {:.0} s", found.plans, begun.elapsed().as_secs_f64()));
    for ((kind, joined), reached) in &found.reached {
        remark(&format!(
            "{}{}: {} vectors compared, {} moved; largest movement over the bound: one person more or less {:.6}, \
             replaced {:.6}",
            kind.name(),
            if *joined { " of a join" } else { "" },
            reached.compared,
            reached.moved,
            reached.more_or_less,
            reached.replaced
        ));
    }
    figure("whitebox_pairs_alone", found.pairs_alone as f64, "pairs");
    figure("whitebox_pairs_joined", found.pairs_joined as f64, "pairs");
    aimed("whitebox_pairs", found.pairs as f64, "pairs", Aim::AtLeast(1_000_000.0));
    aimed("whitebox_violations", found.violating as f64, "pairs", Aim::AtMost(0.0));
    aimed("whitebox_unreadable", found.unreadable.len() as f64, "neighbours", Aim::AtMost(0.0));
    aimed("whitebox_worst_ratio", found.worst(), "ratio, to be near 1", Aim::AtMost(1.0));
    ensure!(found.violating == 0, "a vector moved by more than its sensitivity: see above");
    ensure!(found.unreadable.is_empty(), "what a person's rows hold made a file unreadable: see above");
    Ok(())
}
