//! The same question at two neighbours, again and again.

mod bounds;

use crate::fixture::{Agency, MECHANISM, RHO, ask, price_of};
use anyhow::{Context, Result};
use bounds::{Count, FALSE_FAILURE, rho_by_divergence, rho_by_trade_off};
use firebreak_domain::Mechanism;
use firebreak_privacy::{Exact, ExactCells, Funded, Price, Released};
use firebreak_query::CheckedQuery;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::task::JoinSet;

/// A question of one cell, at which one person can move every primitive by its whole sensitivity at once.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub mechanism: Mechanism,
    pub name: &'static str,
    sql: &'static str,
}

/// One for each mechanism and way in which its loss is made up.
pub const CASES: [Case; 2] = [
    Case {
        mechanism: MECHANISM,
        name: "several primitives that share the loss",
        sql: "SELECT COUNT(*) AS n, COUNT(DISTINCT person) AS p, AVG(cost) AS mean, SUM(cost) FILTER (WHERE \
              kind = 'planned') AS planned FROM health.visits",
    },
    Case { mechanism: MECHANISM, name: "one primitive", sql: "SELECT COUNT(*) AS n FROM health.visits" },
];

/// Thresholds in deviations of the score from the middle between both neighbours, fixed before anything is measured.
const THRESHOLDS: [f64; 5] = [-1.0, -0.5, 0.0, 0.5, 1.0];
/// Each threshold is an event and its opposite, each event has a bound at either neighbour.
const BOUNDS: f64 = 4.0 * THRESHOLDS.len() as f64;
/// Requests under way at a time.
const AT_ONCE: u32 = 64;

/// A case, measured so many times a side.
#[derive(Debug, Clone, Copy)]
pub struct Audit {
    pub case: Case,
    pub runs: u32,
    /// How far the person moves each vector, in sensitivities: 1. More is a fault that is planted: then the noise is
    /// scaled to a sensitivity that is understated by this factor.
    pub moved: f64,
}

/// Lower bounds on the loss over the declared loss; both hold together but for [`FALSE_FAILURE`].
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// On the mechanism's own trade-off curve.
    pub by_trade_off: f64,
    /// By the definition of the loss alone, whatever the mechanism.
    pub by_divergence: f64,
}

impl Bound {
    /// The larger one.
    pub const fn worst(self) -> f64 {
        self.by_trade_off.max(self.by_divergence)
    }
}

/// One question at two neighbours, with all that a run needs.
struct Neighbours {
    agency: Agency,
    query: CheckedQuery,
    price: Price,
    without: Vec<i64>,
    with: Vec<i64>,
    /// What one unit of each noisy number weighs in the score.
    weights: Vec<f64>,
    /// Deviations of the score between both neighbours, as declared.
    distance: f64,
}

impl Audit {
    /// Measures both sides and bounds the loss from below.
    ///
    /// # Errors
    /// A measurement that fails.
    pub async fn run(self) -> Result<Bound> {
        let neighbours = Arc::new(self.neighbours().await?);
        let without = self.passed(&neighbours, false).await?;
        let with = self.passed(&neighbours, true).await?;
        let mut bound = Bound { by_trade_off: 0.0, by_divergence: 0.0 };
        for (without, with) in without.into_iter().zip(with) {
            let opposite = |count: Count| Count { hits: count.runs - count.hits, runs: count.runs };
            for (more, less) in [(with, without), (opposite(without), opposite(with))] {
                let (p, q) = (more.lower(FALSE_FAILURE / BOUNDS), less.upper(FALSE_FAILURE / BOUNDS));
                let (by_trade_off, by_divergence) = over_declared(&neighbours.price, p, q);
                bound.by_trade_off = bound.by_trade_off.max(by_trade_off);
                bound.by_divergence = bound.by_divergence.max(by_divergence);
            }
        }
        Ok(bound)
    }

    async fn neighbours(self) -> Result<Neighbours> {
        let query = ask(self.case.sql);
        let price = price_of(&query);
        // All rows of the one person more in the one cell, at the bound that is farther from the centre: every vector
        // moves by its sensitivity. The white-box audit shows that there are such persons.
        let sensitivities: Vec<f64> = query.squared_sensitivities().iter().map(|s| (*s as f64).sqrt()).collect();
        let moved = sensitivities.iter().map(|s| (s * self.moved).round() as i64);
        let without = vec![1_000; sensitivities.len()];
        let with = without.iter().zip(moved).map(|(value, moved)| value + moved).collect();
        // The sum of these is, for Gaussians, the likelihood ratio but for a constant: no other event tells more.
        let squares = sensitivities.iter().zip(price.sigmas()).map(|(s, sigma)| (s / sigma).powi(2));
        let distance = squares.sum::<f64>().sqrt();
        let weights =
            sensitivities.iter().zip(price.sigmas()).map(|(s, sigma)| s / (sigma * sigma) / distance).collect();
        Ok(Neighbours { agency: Agency::new().await, query, price, without, with, weights, distance })
    }

    /// How often the score passed each threshold.
    async fn passed(self, neighbours: &Arc<Neighbours>, with: bool) -> Result<Vec<Count>> {
        let mut running = JoinSet::new();
        for worker in 0..AT_ONCE {
            let neighbours = Arc::clone(neighbours);
            let runs = self.runs / AT_ONCE + u32::from(worker < self.runs % AT_ONCE);
            running.spawn(async move {
                let mut hits = vec![0_u32; THRESHOLDS.len()];
                for _ in 0..runs {
                    let score = neighbours.score(&neighbours.measure(with).await?)?;
                    for (hits, threshold) in hits.iter_mut().zip(THRESHOLDS) {
                        *hits += u32::from(score >= neighbours.distance / 2.0 + threshold);
                    }
                }
                Ok::<_, anyhow::Error>(hits)
            });
        }
        let mut counts = vec![Count { hits: 0, runs: self.runs }; THRESHOLDS.len()];
        while let Some(hits) = running.join_next().await {
            for (count, hits) in counts.iter_mut().zip(hits??) {
                count.hits += hits;
            }
        }
        Ok(counts)
    }
}

impl Neighbours {
    /// One release, as the adapter comes to it: decided, charged, its noise drawn, then measured. Nothing is stored, so
    /// that the same request runs again under its charge, with fresh noise.
    async fn measure(&self, with: bool) -> Result<Released> {
        let reservation = self.agency.reserve(1, self.price.release_key(), self.price.charge()).await;
        let funded = Funded::new(self.agency.permit(&self.query), reservation, self.price.clone())?;
        let values = if with { &self.with } else { &self.without };
        let exact = Exact::new(ExactCells::new(values.iter().map(|value| vec![*value]).collect()));
        Ok(funded.release(|| async { Ok::<_, Infallible>(exact) }).await?.released)
    }

    fn score(&self, released: &Released) -> Result<f64> {
        let mut score = 0.0;
        for (primitive, (weight, without)) in self.weights.iter().zip(&self.without).enumerate() {
            score += weight * (released.value(primitive, 0).context("no such number")? - without) as f64;
        }
        Ok(score)
    }
}

/// Lower bounds on the loss over what is declared, by the mechanism that declares it.
fn over_declared(price: &Price, p: f64, q: f64) -> (f64, f64) {
    match price.mechanism() {
        // With σ above 12, as here, the curve of the discrete Gaussian lies within 1/24σ² < 2·10⁻⁴ of the continuous one.
        Mechanism::DiscreteGaussian => {
            let declared = RHO.nano() as f64 / 1e9;
            (rho_by_trade_off(p, q) / declared, rho_by_divergence(p, q) / declared)
        }
    }
}

#[cfg(test)]
mod tests;
