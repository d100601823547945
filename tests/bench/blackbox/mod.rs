//! The same question at two neighbours, again and again.
//!
//! What an engine computes follows from the view alone, and the measurement sees nothing else of it than the exact
//! vectors. So these are worked out once of each neighbour's view, row by row, held to be exactly what the engine
//! computes, and given to most releases; the others ask the adapter's engine, end to end. Which ones follows from their
//! number, so that all of them together lose no more than the one way or the other, and either is seen.

mod bounds;
#[path = "../whitebox/meaning.rs"]
mod meaning;
mod neighbours;

use crate::fixture::MECHANISM;
use anyhow::{Result, ensure};
use bounds::{Count, FALSE_FAILURE, rho_by_divergence, rho_by_trade_off, scatter_as_independent};
use firebreak_domain::Mechanism;
use neighbours::Neighbours;
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
    /// One release of so many asks the adapter's engine, over the neighbour's own view.
    pub engine: u32,
    /// The persons in whom the neighbours differ, each of them in groups of their own: so many runs are in a release.
    pub persons: u32,
    /// How many times the runs of the others it is given: where it takes more to see as much, or more cost little.
    pub times: u32,
}

const PURE: Mechanism = Mechanism::DiscreteLaplace;
const COUNT: &str = "SELECT COUNT(*) AS n FROM health.visits";
/// One release of so many asks the engine, where not each does.
const ASKS: u32 = 20;

const fn case(mechanism: Mechanism, name: &'static str, sql: &'static str) -> Case {
    Case { mechanism, name, sql, chooses: false, engine: ASKS, persons: 1, times: 1 }
}

/// Those at which a sensitivity that is understated is planted.
pub const PLANTED: [Case; 3] = [case(MECHANISM, "rows", COUNT), case(PURE, "rows", COUNT), SELECTED];

/// One for each mechanism and way in which its loss is made up.
pub const CASES: [Case; 10] = [
    Case {
        engine: 1,
        ..case(
            MECHANISM,
            "several primitives that share the loss",
            "SELECT COUNT(*) AS n, COUNT(DISTINCT person) AS p, AVG(cost) AS mean, SUM(cost) FILTER (WHERE kind = \
             'planned') AS planned FROM health.visits",
        )
    },
    PLANTED[0],
    Case { chooses: true, ..case(MECHANISM, "a choice", "SELECT MEDIAN(cost) AS m FROM health.visits") },
    SELECTED,
    PLANTED[1],
    case(PURE, "persons", "SELECT COUNT(DISTINCT person) AS p FROM health.visits"),
    case(PURE, "a sum", "SELECT SUM(cost) AS total FROM health.visits"),
    case(PURE, "a mean", "SELECT AVG(cost) AS mean FROM health.visits"),
    Case {
        engine: 1,
        ..case(
            PURE,
            "a count and a sum that share the loss",
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

/// Groups of which no list is declared. Each release draws noise for ten thousand of them, whatever groups there are:
/// so that none of it is drawn in vain, a quarter as many persons are each in four groups of their own.
///
/// What a release says of a person's groups follows from these groups and their noise alone, which is independent of
/// all other (`docs/PRIVACY.md`, section 4): so it is a run by itself, and would be the same if nobody else were
/// changed. That the runs of a release do not share their noise is not taken for granted
/// ([`scatter_as_independent`]).
const SELECTED: Case = Case {
    persons: 2_500,
    times: 10,
    ..case(
        MECHANISM,
        "groups that are selected",
        "SELECT ward, COUNT(DISTINCT person) AS p FROM health.visits GROUP BY ward",
    )
};

impl Case {
    /// The name of the figure that the least of its kind is printed under.
    pub const fn figure(&self) -> &'static str {
        match (self.mechanism, self.chooses) {
            (Mechanism::DiscreteGaussian, false) if self.persons > 1 => "blackbox_rho_threshold_selection",
            (Mechanism::DiscreteGaussian, false) => "blackbox_rho_discrete_gaussian",
            (Mechanism::DiscreteGaussian, true) => "blackbox_rho_exponential_mechanism",
            (Mechanism::DiscreteLaplace, false) => "blackbox_epsilon_discrete_laplace",
            (Mechanism::DiscreteLaplace, true) => "blackbox_epsilon_permute_and_flip",
            // No case is of a join, whose noise is in what is counted.
            (Mechanism::MatchingDummies, _) => "blackbox_epsilon_matching_dummies",
        }
    }
}

/// So many thresholds of the score, fixed before anything is measured.
const THRESHOLDS: usize = 5;
/// Each threshold is an event and its opposite, each event has a bound at either neighbour.
const BOUNDS: f64 = 4.0 * THRESHOLDS as f64;
/// The one at which both neighbours scatter most.
const MIDDLE: usize = THRESHOLDS / 2;
/// Requests under way at a time.
const AT_ONCE: u32 = 64;

/// A case, measured so many times a side.
#[derive(Debug, Clone, Copy)]
pub struct Audit {
    pub case: Case,
    /// At most [`Case::persons`] of them in each release.
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
        let Case { engine, persons, .. } = self.case;
        let releases = self.runs.div_ceil(persons);
        let mut running = JoinSet::new();
        for worker in 0..AT_ONCE {
            let neighbours = Arc::clone(neighbours);
            running.spawn(async move {
                let (mut hits, mut of_releases) = ([0_u32; THRESHOLDS], Vec::<u32>::new());
                for number in (worker..releases).step_by(AT_ONCE as usize) {
                    let released = neighbours.measure(with, number.is_multiple_of(engine)).await?;
                    let scores = neighbours.scores(&released)?;
                    let passed = |threshold| scores.iter().filter(|score| **score >= threshold).count() as u32;
                    let passed = neighbours.thresholds.map(passed);
                    hits.iter_mut().zip(passed).for_each(|(hits, passed)| *hits += passed);
                    if persons > 1 {
                        of_releases.extend(passed.get(MIDDLE).copied());
                    }
                }
                Ok::<_, anyhow::Error>((hits, of_releases))
            });
        }
        let mut counts = vec![Count { hits: 0, runs: releases * persons }; THRESHOLDS];
        let mut of_releases = Vec::<u32>::new();
        while let Some(of_worker) = running.join_next().await {
            let (hits, more) = of_worker??;
            counts.iter_mut().zip(hits).for_each(|(count, hits)| count.hits += hits);
            of_releases.extend(more);
        }
        ensure!(scatter_as_independent(&of_releases, persons), "what a release says of one person tells of others");
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
        Mechanism::DiscreteLaplace | Mechanism::MatchingDummies => {
            let found = if p > q && q > 0.0 { (p / q).ln() } else { 0.0 };
            (None, found / neighbours.price.charge().epsilon.as_f64())
        }
    }
}

#[cfg(test)]
mod tests;
