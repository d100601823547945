//! SQL of any kind: whether there is a statement that is neither answered nor refused.
//!
//! `bench-audit-sql [STATEMENTS] [SEED]`. Texts, rows of words, and statements whose words are changed or mixed with
//! those of others, over two datasets that can be joined (`crates/query/tests/statements`), go from reading to the
//! price as a program takes them: parsed, checked against the contracts, priced under either mechanism. What is refused
//! has to say what would be answered, what is read has to mean the same when it is written again, and nothing may
//! panic. A statement that does otherwise is made as short as it can be and shown.

#![expect(clippy::unwrap_used, reason = "the statements of the parser's own tests are used as they are")]

#[path = "../../crates/query/tests/statements/mod.rs"]
mod statements;

use anyhow::{Context, Result, anyhow, ensure};
use firebreak_domain::{Contract, Mechanism, Rho};
use firebreak_privacy::price;
use firebreak_query::CheckedQuery;
use firebreak_tests::bench::{Aim, aimed, argument, conditions, figure, remark};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use statements::{changed_statement, contracts, row_of_words, survives};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const STATEMENTS: u32 = 1_000_000;
const SEED: u64 = 1;
/// What a question costs where it names nothing.
const RHO: Rho = Rho::from_nano(5_000_000);

/// What became of the statements.
#[derive(Default)]
struct Outcome {
    asked: AtomicU64,
    answered: AtomicU64,
    /// Too dear, or with too much noise, under one of the mechanisms.
    unpriced: AtomicU64,
    faults: Vec<String>,
}

fn main() -> Result<()> {
    conditions();
    let cases = argument(STATEMENTS)?;
    let seed = std::env::args().nth(2).map_or(Ok(SEED), |a| a.parse().context("the seed is not a number"))?;
    remark(&format!("seed: {seed}"));
    let begun = Instant::now();
    let outcome = run(cases, seed)?;
    for fault in &outcome.faults {
        remark(fault);
    }
    let asked = outcome.asked.load(Ordering::Relaxed);
    remark(&format!("{:.0} statements in a second", asked as f64 / begun.elapsed().as_secs_f64()));
    figure("sql_statements", asked as f64, "statements");
    figure("sql_answered", outcome.answered.load(Ordering::Relaxed) as f64, "statements");
    figure("sql_without_a_price", outcome.unpriced.load(Ordering::Relaxed) as f64, "statements");
    aimed("sql_faults", outcome.faults.len() as f64, "runs that ended early", Aim::AtMost(0.0));
    ensure!(outcome.faults.is_empty(), "a statement is neither answered nor refused: see above");
    Ok(())
}

/// So many statements, on all processors. A seed gives the same ones on as many.
fn run(cases: u32, seed: u64) -> Result<Outcome> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    let (contracts, mut outcome) = (contracts(), Outcome::default());
    let faults = std::thread::scope(|scope| {
        let (contracts, outcome) = (&contracts, &outcome);
        let each = |thread: u32| {
            let own = cases / threads + u32::from(thread < cases % threads);
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(thread.into());
            scope.spawn(move || of_one_thread(own, seed, contracts, outcome))
        };
        let running: Vec<_> = (0..threads).map(each).collect();
        let ended = running.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread ended early")));
        ended.collect::<Result<Vec<_>>>()
    })?;
    outcome.faults = faults.into_iter().flatten().collect();
    Ok(outcome)
}

/// So many by one thread; the shortest that is at fault, if there is one.
fn of_one_thread(cases: u32, seed: u64, contracts: &[Contract], outcome: &Outcome) -> Option<String> {
    let config = Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    let any_row = row_of_words().prop_flat_map(|words| {
        let begun = [words.clone(), format!("SELECT {words}"), format!("SELECT COUNT(*) FROM health.visits {words}")];
        prop::sample::select(begun.to_vec())
    });
    let statement = prop_oneof![1 => any::<String>(), 3 => any_row, 6 => changed_statement()];
    let found = TestRunner::new(config).run(&statement, |sql| {
        outcome.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(checked) = survives(&sql, contracts)? {
            outcome.answered.fetch_add(1, Ordering::Relaxed);
            outcome.unpriced.fetch_add(u64::from(!has_prices(&checked)?), Ordering::Relaxed);
        }
        Ok(())
    });
    match found {
        Ok(()) => None,
        Err(TestError::Fail(reason, sql)) => Some(format!("seed {seed}: {reason}: {sql:?}")),
        Err(TestError::Abort(reason)) => Some(format!("seed {seed}: {reason}")),
    }
}

/// Whether a question has a price under both mechanisms. One that it has is never above what was offered, and draws
/// noise for every vector.
fn has_prices(query: &CheckedQuery) -> Result<bool, TestCaseError> {
    let mut all = true;
    for mechanism in [Mechanism::DiscreteGaussian, Mechanism::DiscreteLaplace] {
        let Ok(price) = price(query, mechanism, RHO) else {
            all = false;
            continue;
        };
        prop_assert!(price.charge().rho <= RHO, "charged more than was offered");
        prop_assert!(price.sigmas().len() >= query.vectors().count(), "a vector without noise");
        prop_assert!(price.sigmas().all(|sigma| sigma.is_finite() && sigma > 0.0), "no noise");
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_statement_is_priced_or_refused() {
        let outcome = run(2_000, 3).unwrap();
        assert!(outcome.faults.is_empty(), "{:#?}", outcome.faults);
        assert_eq!(outcome.asked.into_inner(), 2_000);
        // Enough of them are questions.
        let answered = outcome.answered.into_inner();
        assert!(answered >= 20, "{answered} are questions");
    }
}
