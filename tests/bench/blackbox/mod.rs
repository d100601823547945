//! The same question at two neighbours, again and again.

mod bounds;
#[path = "../whitebox/meaning.rs"]
mod meaning;
mod neighbours;

use crate::fixture::MECHANISM;
use anyhow::Result;
use bounds::{Count, FALSE_FAILURE, rho_by_divergence, rho_by_trade_off};
use firebreak_domain::Mechanism;
use neighbours::{Neighbours, Vectors};
use std::sync::Arc;
use tokio::task::JoinSet;

/// A question of one cell, at which one person can move every primitive by its whole sensitivity at once.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub mechanism: Mechanism,
    pub name: &'static str,
    sql: &'static str,
    /// Whether something is chosen, and not noise alone added.
    chooses: bool,
    /// Whether each release asks the adapter's engine, over the neighbour's own view. Else the exact vectors are worked
    /// out once from that view, row by row, and given to each.
    pub engine: bool,
    /// How many times the runs of the others it takes to be seen as sharply.
    pub times: u32,
}

const PURE: Mechanism = Mechanism::DiscreteLaplace;
const COUNT: &str = "SELECT COUNT(*) AS n FROM health.visits";

const fn case(mechanism: Mechanism, name: &'static str, sql: &'static str) -> Case {
    Case { mechanism, name, sql, chooses: false, engine: false, times: 1 }
}

/// Those at which a sensitivity that is understated is planted.
pub const PLANTED: [Case; 2] = [case(MECHANISM, "rows", COUNT), case(PURE, "rows", COUNT)];

/// One for each mechanism and way in which its loss is made up.
pub const CASES: [Case; 9] = [
    Case {
        engine: true,
        ..case(
            MECHANISM,
            "several primitives that share the loss, through the engine",
            "SELECT COUNT(*) AS n, COUNT(DISTINCT person) AS p, AVG(cost) AS mean, SUM(cost) FILTER (WHERE kind = \
             'planned') AS planned FROM health.visits",
        )
    },
    PLANTED[0],
    Case { chooses: true, ..case(MECHANISM, "a choice", "SELECT MEDIAN(cost) AS m FROM health.visits") },
    PLANTED[1],
    case(PURE, "persons", "SELECT COUNT(DISTINCT person) AS p FROM health.visits"),
    case(PURE, "a sum", "SELECT SUM(cost) AS total FROM health.visits"),
    case(PURE, "a mean", "SELECT AVG(cost) AS mean FROM health.visits"),
    Case {
        engine: true,
        ..case(
            PURE,
            "a count and a sum that share the loss, through the engine",
            "SELECT COUNT(*) AS n, SUM(cost) AS total FROM health.visits",
        )
    },
    // The fewer candidates lie where the person's rows do, the nearer to the declared loss a choice comes, and the
    // rarer.
    Case {
        chooses: true,
        times: 10,
        ..case(PURE, "a choice", "SELECT MEDIAN(CLAMP(cost, 0, 0.13)) AS m FROM health.visits")
    },
];

/// Groups of which no list is declared: each run draws noise for ten thousand of them, so that there are fewer runs.
pub const SELECTED: Case = case(
    MECHANISM,
    "groups that are selected",
    "SELECT ward, COUNT(DISTINCT person) AS p FROM health.visits GROUP BY ward",
);

impl Case {
    /// The name of the figure that the least of its kind is printed under.
    pub const fn figure(&self) -> &'static str {
        match (self.mechanism, self.chooses) {
            (Mechanism::DiscreteGaussian, false) => "blackbox_rho_discrete_gaussian",
            (Mechanism::DiscreteGaussian, true) => "blackbox_rho_exponential_mechanism",
            (Mechanism::DiscreteLaplace, false) => "blackbox_epsilon_discrete_laplace",
            (Mechanism::DiscreteLaplace, true) => "blackbox_epsilon_permute_and_flip",
        }
    }
}

/// So many thresholds of the score, fixed before anything is measured.
const THRESHOLDS: usize = 5;
/// Each threshold is an event and its opposite, each event has a bound at either neighbour.
const BOUNDS: f64 = 4.0 * THRESHOLDS as f64;
/// Requests under way at a time.
const AT_ONCE: u32 = 64;

/// A case, measured so many times a side.
#[derive(Debug, Clone, Copy)]
pub struct Audit {
    pub case: Case,
    pub runs: u32,
    /// How far the person moves each vector, in sensitivities: 1. More is a fault that is planted: they stand in the
    /// file under several keys and are bounded as several, so that the noise is scaled to a sensitivity that is
    /// understated by this factor.
    pub moved: f64,
}

/// Lower bounds on the loss over the declared loss; both hold together but for [`FALSE_FAILURE`].
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// On the trade-off curve of a Gaussian, where the mechanism has that.
    pub by_trade_off: Option<f64>,
    /// By the definition of the loss alone, whatever the mechanism.
    pub by_divergence: f64,
}

impl Bound {
    /// The larger one.
    pub fn worst(self) -> f64 {
        self.by_trade_off.map_or(self.by_divergence, |by_trade_off| by_trade_off.max(self.by_divergence))
    }
}

impl Audit {
    /// Measures both sides and bounds the loss from below.
    ///
    /// # Errors
    /// A measurement that fails.
    pub async fn run(self) -> Result<Bound> {
        let neighbours = Arc::new(Neighbours::of(self).await?);
        let without = self.passed(&neighbours, false).await?;
        let with = self.passed(&neighbours, true).await?;
        let mut bound = Bound { by_trade_off: None, by_divergence: 0.0 };
        for (without, with) in without.into_iter().zip(with) {
            let opposite = |count: Count| Count { hits: count.runs - count.hits, runs: count.runs };
            for (more, less) in [(with, without), (opposite(without), opposite(with))] {
                let (p, q) = (more.lower(FALSE_FAILURE / BOUNDS), less.upper(FALSE_FAILURE / BOUNDS));
                let (by_trade_off, by_divergence) = over_declared(&neighbours, p, q);
                bound.by_trade_off = by_trade_off.map(|found| bound.by_trade_off.unwrap_or(0.0).max(found));
                bound.by_divergence = bound.by_divergence.max(by_divergence);
            }
        }
        Ok(bound)
    }

    /// How often the score passed each threshold.
    async fn passed(self, neighbours: &Arc<Neighbours>, with: bool) -> Result<Vec<Count>> {
        let mut running = JoinSet::new();
        for worker in 0..AT_ONCE {
            let neighbours = Arc::clone(neighbours);
            let runs = self.runs / AT_ONCE + u32::from(worker < self.runs % AT_ONCE);
            running.spawn(async move {
                let mut hits = vec![0_u32; THRESHOLDS];
                for _ in 0..runs {
                    let score = neighbours.score(&neighbours.measure(with).await?)?;
                    for (hits, threshold) in hits.iter_mut().zip(neighbours.thresholds) {
                        *hits += u32::from(score >= threshold);
                    }
                }
                Ok::<_, anyhow::Error>(hits)
            });
        }
        let mut counts = vec![Count { hits: 0, runs: self.runs }; THRESHOLDS];
        while let Some(hits) = running.join_next().await {
            for (count, hits) in counts.iter_mut().zip(hits??) {
                count.hits += hits;
            }
        }
        Ok(counts)
    }
}

/// Lower bounds on the loss over what is declared, by the mechanism that declares it.
fn over_declared(neighbours: &Neighbours, p: f64, q: f64) -> (Option<f64>, f64) {
    match neighbours.price.mechanism() {
        // With σ above 12, as here, the curve of the discrete Gaussian lies within 1/24σ² < 2·10⁻⁴ of the continuous
        // one.
        Mechanism::DiscreteGaussian => {
            let declared = neighbours.price.charge().rho.as_f64();
            let adds = !neighbours.case.chooses;
            (adds.then(|| rho_by_trade_off(p, q) / declared), rho_by_divergence(p, q) / declared)
        }
        // No event is more than e^ε times as probable at the one as at the other (Dwork, McSherry, Nissim and Smith
        // 2006).
        Mechanism::DiscreteLaplace => {
            let found = if p > q && q > 0.0 { (p / q).ln() } else { 0.0 };
            (None, found / neighbours.price.charge().epsilon.as_f64())
        }
    }
}

#[cfg(test)]
mod tests;
