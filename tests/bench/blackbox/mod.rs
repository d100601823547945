//! The same question at two neighbours, again and again.

mod bounds;

use crate::fixture::{Agency, MECHANISM, ask, price_under};
use anyhow::{Context, Result};
use bounds::{Count, FALSE_FAILURE, rho_by_divergence, rho_by_trade_off};
use firebreak_domain::{Mechanism, OpenCode};
use firebreak_privacy::{Exact, ExactCells, Funded, Price, Released};
use firebreak_query::{CheckedQuery, PrimitiveKind};
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

const PURE: Mechanism = Mechanism::DiscreteLaplace;

/// One for each mechanism and way in which its loss is made up.
pub const CASES: [Case; 5] = [
    Case {
        mechanism: MECHANISM,
        name: "several primitives that share the loss",
        sql: "SELECT COUNT(*) AS n, COUNT(DISTINCT person) AS p, AVG(cost) AS mean, SUM(cost) FILTER (WHERE \
              kind = 'planned') AS planned FROM health.visits",
    },
    Case { mechanism: MECHANISM, name: "one primitive", sql: "SELECT COUNT(*) AS n FROM health.visits" },
    Case { mechanism: MECHANISM, name: "a choice", sql: "SELECT MEDIAN(cost) AS m FROM health.visits" },
    Case { mechanism: PURE, name: "one primitive", sql: "SELECT COUNT(*) AS n FROM health.visits" },
    Case { mechanism: PURE, name: "a choice", sql: "SELECT MEDIAN(cost) AS m FROM health.visits" },
];

/// Groups of which no list is declared: each run draws noise for ten thousand of them, so that there are fewer runs.
pub const SELECTED: Case = Case {
    mechanism: MECHANISM,
    name: "groups that are selected",
    sql: "SELECT ward, COUNT(DISTINCT person) AS p FROM health.visits GROUP BY ward",
};

/// Thresholds in deviations of the score from the middle between both neighbours, fixed before anything is measured.
/// At one half either way lie the ends for a pure ε of 1.
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

/// One question at two neighbours, with all that a run needs.
struct Neighbours {
    agency: Agency,
    query: CheckedQuery,
    price: Price,
    /// The open codes that there are; none where cells are declared.
    codes: Vec<i64>,
    without: Vec<Vec<i64>>,
    with: Vec<Vec<i64>>,
    /// What each noisy number tells.
    tells: Vec<Tells>,
    /// Deviations of the score between both neighbours, as declared.
    distance: f64,
}

/// What a noisy number adds to the score.
#[derive(Clone, Copy)]
enum Tells {
    /// So much for each unit above the number without the person.
    Units { weight: f64, without: i64 },
    /// So much above the middle candidate, as much less below it.
    Side { weight: f64, middle: i64 },
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

    async fn neighbours(self) -> Result<Neighbours> {
        let query = ask(self.case.sql);
        let price = price_under(self.case.mechanism, &query);
        // All rows of the one person more in the one cell, at the bound that is farther from the centre: every vector
        // moves by its sensitivity. The white-box audit shows that there are such persons.
        let sensitivities: Vec<f64> = match self.case.mechanism {
            Mechanism::DiscreteGaussian => query.squared_sensitivities().iter().map(|s| (*s as f64).sqrt()).collect(),
            Mechanism::DiscreteLaplace => query.l1_sensitivities().iter().map(|s| *s as f64).collect(),
        };
        let squares = sensitivities.iter().zip(price.sigmas()).map(|(s, sigma)| (s / sigma).powi(2));
        let distance = squares.sum::<f64>().sqrt();
        if query.selection().is_some() {
            return self.selected(query, price).await;
        }
        let (mut without, mut with, mut tells) = (Vec::new(), Vec::new(), Vec::new());
        for (primitive, (sensitivity, sigma)) in query.primitives().iter().zip(sensitivities.iter().zip(price.sigmas()))
        {
            let moved = (sensitivity * self.moved).round() as i64;
            // The sum of these is, for Gaussians, the likelihood ratio but for a constant: no other event tells more.
            let weight = sensitivity / sigma / distance;
            match primitive.kind() {
                // As many values on the middle candidate as the person adds at the far end: the scores of all below
                // move up, and of all above it down, by the whole sensitivity each.
                PrimitiveKind::Quantile { candidates, .. } => {
                    let (count, middle) = (candidates.count() as usize, candidates.count() as usize / 2);
                    let mut values = vec![0; count];
                    *values.get_mut(middle).context("no middle")? = moved;
                    without.push(values.clone());
                    *values.last_mut().context("no candidates")? = moved;
                    with.push(values);
                    tells.push(Tells::Side { weight, middle: candidates.value(middle) });
                }
                _ => {
                    without.push(vec![1_000]);
                    with.push(vec![1_000 + moved]);
                    tells.push(Tells::Units { weight: weight / sigma, without: 1_000 });
                }
            }
        }
        Ok(Neighbours {
            agency: Agency::under(self.case.mechanism).await,
            query,
            price,
            codes: Vec::new(),
            without,
            with,
            tells,
            distance,
        })
    }

    /// A person in as many groups as they may have rows, all of them far above the threshold, so that what tells is how
    /// many persons each has. What a person alone in new groups can tell is the number of groups, which has less of the
    /// loss; that such a group appears is rarer than any number of runs shows, and is reckoned instead
    /// (`a_group_of_one_person_appears_at_most_with_the_probability_that_is_charged`).
    async fn selected(self, query: CheckedQuery, price: Price) -> Result<Neighbours> {
        let groups = i64::from(query.rows_per_person());
        let codes: Vec<i64> = (0..groups)
            .map(|number| OpenCode::parse(&number.to_string(), 10).map(OpenCode::number))
            .collect::<Option<_>>()
            .context("no code")?;
        let sigma = price.sigmas().next().context("no noise")?;
        let many = price.plan().selection().context("no selection")?.threshold() + (40.0 * sigma) as i64;
        let distance = (groups as f64).sqrt() / sigma;
        let moved = self.moved.round() as i64;
        let tell = Tells::Units { weight: 1.0 / (sigma * sigma) / distance, without: many };
        Ok(Neighbours {
            agency: Agency::under(self.case.mechanism).await,
            tells: vec![tell; codes.len()],
            without: vec![vec![many; codes.len()]],
            with: vec![vec![many + moved; codes.len()]],
            codes,
            query,
            price,
            distance,
        })
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
        let exact = match self.query.selection() {
            None => ExactCells::new(values.clone()),
            Some(_) => ExactCells::by_code(self.codes.clone(), values.clone()),
        };
        let exact = Exact::new(exact);
        Ok(funded.release(|| async { Ok::<_, Infallible>(exact) }).await?.released)
    }

    fn score(&self, released: &Released) -> Result<f64> {
        let mut score = 0.0;
        for (place, tells) in self.tells.iter().enumerate() {
            let (primitive, cell) = if self.codes.is_empty() { (place, 0) } else { (0, place) };
            let value = released.value(primitive, cell).context("no such number")?;
            score += match tells {
                Tells::Units { weight, without } => weight * (value - without) as f64,
                Tells::Side { weight, middle } => weight * f64::from(value.cmp(middle) as i8),
            };
        }
        Ok(score)
    }
}

/// Lower bounds on the loss over what is declared, by the mechanism that declares it.
fn over_declared(neighbours: &Neighbours, p: f64, q: f64) -> (Option<f64>, f64) {
    match neighbours.price.mechanism() {
        // With σ above 12, as here, the curve of the discrete Gaussian lies within 1/24σ² < 2·10⁻⁴ of the continuous
        // one.
        Mechanism::DiscreteGaussian => {
            let declared = neighbours.price.charge().rho.as_f64();
            let gaussian = neighbours.tells.iter().all(|tells| matches!(tells, Tells::Units { .. }));
            (gaussian.then(|| rho_by_trade_off(p, q) / declared), rho_by_divergence(p, q) / declared)
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
