//! Two files that differ by one person, as an adapter reads, bounds and aggregates them, and what a release tells of
//! which of them it is of.

use super::meaning;
use super::{Audit, Case, THRESHOLDS};
use crate::bounded::{RankingKey, view};
use crate::fixture::{Agency, ask, contract, price_under};
use agency_adapter::engine::Engine;
use agency_adapter::source;
use anyhow::{Context, Result};
use firebreak_domain::{Binding, Contract, CutId, Mechanism, OpenCode};
use firebreak_privacy::{Exact, ExactCells, Funded, Price, Released};
use firebreak_query::{CheckedQuery, PrimitiveKind};
use std::convert::Infallible;
use std::fmt::Write;

const CUT: &str = "2024-Q4";
const BINDING: &str = "format = 1\ndataset = \"health.visits\"\ncut = [{ id = \"2024-Q4\", file = \"visits.csv\" }]\n";
/// A cost beyond its bounds, which counts as the upper one: the farther from every centre.
const LARGEST: &str = "1e9";
/// Rows of the person in the file, for each that may stay.
const ROWS: u32 = 3;

/// Where the thresholds lie, in deviations of the score from the middle between both neighbours.
const DEVIATIONS: [f64; THRESHOLDS] = [-1.0, -0.5, 0.0, 0.5, 1.0];
/// Where they lie under pure differential privacy, in parts of the largest score that there is: at either end are the
/// events that are e^ε times as probable at the one as at the other.
const PARTS: [f64; THRESHOLDS] = [-1.0 + 1e-9, -0.5, 0.0, 0.5, 1.0 - 1e-9];

/// The exact vectors of a question: of its only cell, or of each of the open codes that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vectors {
    /// Ascending; none where cells are declared.
    pub codes: Vec<i64>,
    /// `values[vector][cell]`.
    pub values: Vec<Vec<i64>>,
}

/// One of the neighbours.
struct Side {
    vectors: Vectors,
    /// What gives them anew for each release.
    engine: Option<Engine>,
}

/// One question at two neighbours, with all that a run needs.
pub struct Neighbours {
    pub case: Case,
    pub price: Price,
    /// Those of the score.
    pub thresholds: [f64; THRESHOLDS],
    agency: Agency,
    query: CheckedQuery,
    without: Side,
    with: Side,
    /// What each noisy number tells.
    tells: Vec<Tells>,
}

/// What a noisy number adds to the score.
#[derive(Clone, Copy)]
enum Tells {
    /// So much for each unit above the number without the person.
    Units { weight: f64, without: i64 },
    /// How much nearer it is to the number with the person than to that without, in scales of the noise.
    Nearer { scale: f64, without: i64, with: i64 },
    /// So much above the middle candidate, as much less below it.
    Side { weight: f64, middle: i64 },
}

impl Neighbours {
    /// Both, as far apart as the audit says.
    ///
    /// # Errors
    /// A file that is not read.
    pub async fn of(audit: Audit) -> Result<Self> {
        let Audit { case, moved, .. } = audit;
        let query = ask(case.sql);
        let price = price_under(case.mechanism, &query);
        if query.selection().is_some() {
            return selected(case, moved, query, price).await;
        }
        let middle = middle_of(&case, &query);
        let contract = contract();
        let most = contract.contribution.rows_per_person;
        let apart = (f64::from(most) * moved).round() as u32;
        let cost = middle.map_or_else(|| "50".to_owned(), |middle| format!("{}.{:02}", middle / 100, middle % 100));
        let others = |file: &mut String| rows_of_others(file, apart, &cost);
        let all = |file: &mut String| others(file).and_then(|()| rows_of_the_person(file, apart, most));
        let without = side(&case, &query, &contract, &others).await?;
        let with = side(&case, &query, &contract, &all).await?;
        let (tells, thresholds) = scored(&case, &query, &price, (&without.vectors, &with.vectors), (middle, moved))?;
        let agency = Agency::under(case.mechanism).await;
        Ok(Self { case, price, thresholds, agency, query, without, with, tells })
    }

    /// One release, as the adapter comes to it: decided, charged, its noise drawn, then measured. Nothing is stored, so
    /// that the same request runs again under its charge, with fresh noise.
    ///
    /// # Errors
    /// A measurement that fails.
    pub async fn measure(&self, with: bool) -> Result<Released> {
        let reservation = self.agency.reserve(1, self.price.release_key(), self.price.charge()).await;
        let funded = Funded::new(self.agency.permit(&self.query), reservation, self.price.clone())?;
        let side = if with { &self.with } else { &self.without };
        if let Some(engine) = &side.engine {
            return Ok(funded.release(|| engine.execute(&self.query)).await?.released);
        }
        let Vectors { codes, values } = side.vectors.clone();
        let exact = match self.query.selection() {
            None => ExactCells::new(values),
            Some(_) => ExactCells::by_code(codes, values),
        };
        let exact = Exact::new(exact);
        Ok(funded.release(|| async { Ok::<_, Infallible>(exact) }).await?.released)
    }

    /// How much more a release looks like one with the person than like one without.
    ///
    /// # Errors
    /// A release of another shape.
    pub fn score(&self, released: &Released) -> Result<f64> {
        let selected = self.query.selection().is_some();
        let mut score = 0.0;
        for (place, tells) in self.tells.iter().enumerate() {
            let (primitive, cell) = if selected { (0, place) } else { (place, 0) };
            let value = released.value(primitive, cell).context("no such number")?;
            score += match tells {
                Tells::Units { weight, without } => weight * (value - without) as f64,
                Tells::Nearer { scale, without, with } => {
                    (value.abs_diff(*without) as f64 - value.abs_diff(*with) as f64) / scale
                }
                Tells::Side { weight, middle } => weight * f64::from(value.cmp(middle) as i8),
            };
        }
        Ok(score)
    }
}

/// The candidate on which the values of all others lie, where one is chosen.
///
/// Under pure differential privacy all but one candidate lie below it: what the person makes likelier is rare then, as
/// it must be to become e^ε times as likely. A loss under zCDP shows best where both sides are alike.
fn middle_of(case: &Case, query: &CheckedQuery) -> Option<i64> {
    let candidates = query.primitives().iter().find_map(|primitive| match primitive.kind() {
        PrimitiveKind::Quantile { candidates, .. } => Some(*candidates),
        _ => None,
    })?;
    let count = candidates.count() as usize;
    Some(candidates.value(match case.mechanism {
        Mechanism::DiscreteGaussian => count / 2,
        Mechanism::DiscreteLaplace => count.saturating_sub(2),
    }))
}

/// As many rows of others as the person adds, each of somebody else.
fn rows_of_others(file: &mut String, rows: u32, cost: &str) -> Result<()> {
    for other in 0..rows {
        writeln!(file, "other {other},n,planned,1950,{cost},1")?;
    }
    Ok(())
}

/// So many rows of the person that stay, all at the same end of the bounds, and more that do not. More than may stay of
/// one person stand under further keys.
fn rows_of_the_person(file: &mut String, rows: u32, most: u32) -> Result<()> {
    for (key, start) in (0..rows).step_by(most as usize).enumerate() {
        let kept = most.min(rows - start);
        let in_the_file = if kept == most { ROWS * most } else { kept };
        for row in 0..in_the_file {
            let blank = if row % 2 == 0 { "" } else { " " };
            writeln!(file, "{blank}person {key},n,planned,1950,{LARGEST},1")?;
        }
    }
    Ok(())
}

async fn side(
    case: &Case,
    query: &CheckedQuery,
    contract: &Contract,
    rows: &dyn Fn(&mut String) -> Result<()>,
) -> Result<Side> {
    let folder = tempfile::tempdir()?;
    let mut file = "person,region,kind,year,cost,ward\n".to_owned();
    rows(&mut file)?;
    std::fs::write(folder.path().join("visits.csv"), file)?;
    let binding: Binding = toml::from_str(BINDING)?;
    let read = source::read(contract, &binding, folder.path(), &CutId::new(CUT)?, None).await?;
    let view = view(contract, &read, &RankingKey::new([7; 32]))?;
    let engine = if case.engine { Some(Engine::over(&view, 1)?) } else { None };
    Ok(Side { vectors: meaning::vectors(query, &view)?, engine })
}

/// What each number tells, and the thresholds.
fn scored(
    case: &Case,
    query: &CheckedQuery,
    price: &Price,
    (without, with): (&Vectors, &Vectors),
    (middle, moved): (Option<i64>, f64),
) -> Result<(Vec<Tells>, [f64; THRESHOLDS])> {
    let sensitivities: Vec<f64> = match case.mechanism {
        Mechanism::DiscreteGaussian => query.squared_sensitivities().iter().map(|s| (*s as f64).sqrt()).collect(),
        Mechanism::DiscreteLaplace => query.l1_sensitivities().iter().map(|s| *s as f64).collect(),
    };
    // Deviations between both neighbours, as declared.
    let squares = sensitivities.iter().zip(price.sigmas()).map(|(s, sigma)| (s / sigma).powi(2));
    let distance = squares.sum::<f64>().sqrt();
    let (mut tells, mut largest) = (Vec::new(), 0.0);
    for (place, (sensitivity, sigma)) in sensitivities.iter().zip(price.sigmas()).enumerate() {
        let kind = query.primitives().get(place).context("no such primitive")?.kind();
        let number = |side: &Vectors| side.values.get(place).and_then(|cells| cells.first()).copied();
        let (without, with) = (number(without).context("no cell")?, number(with).context("no cell")?);
        tells.push(match (kind, case.mechanism) {
            (PrimitiveKind::Quantile { .. }, mechanism) => {
                let weight = match mechanism {
                    Mechanism::DiscreteGaussian => sensitivity / sigma / distance,
                    // Twice its movement over the scale is what a choice loses.
                    Mechanism::DiscreteLaplace => 2.0 * moved * sensitivity / sigma,
                };
                largest += weight;
                Tells::Side { weight, middle: middle.context("no candidates")? }
            }
            // The sum of these is, for Gaussians, the likelihood ratio but for a constant: no other event tells more.
            (_, Mechanism::DiscreteGaussian) => {
                Tells::Units { weight: sensitivity / sigma / distance / sigma, without }
            }
            // And for the discrete Laplace the sum of these.
            (_, Mechanism::DiscreteLaplace) => {
                largest += with.abs_diff(without) as f64 / sigma;
                Tells::Nearer { scale: sigma, without, with }
            }
        });
    }
    let thresholds = match case.mechanism {
        Mechanism::DiscreteGaussian => DEVIATIONS.map(|deviations| distance / 2.0 + deviations),
        Mechanism::DiscreteLaplace => PARTS.map(|part| part * largest),
    };
    Ok((tells, thresholds))
}

/// A person in as many groups as they may have rows, all of them far above the threshold, so that what tells is how
/// many persons each has. What a person alone in new groups can tell is the number of groups, which has less of the
/// loss; that such a group appears is rarer than any number of runs shows, and is reckoned instead
/// (`a_group_of_one_person_appears_at_most_with_the_probability_that_is_charged`).
async fn selected(case: Case, moved: f64, query: CheckedQuery, price: Price) -> Result<Neighbours> {
    let groups = i64::from(query.rows_per_person());
    let codes: Vec<i64> = (0..groups)
        .map(|number| OpenCode::parse(&number.to_string(), 10).map(OpenCode::number))
        .collect::<Option<_>>()
        .context("no code")?;
    let sigma = price.sigmas().next().context("no noise")?;
    let many = price.plan().selection().context("no selection")?.threshold() + (40.0 * sigma) as i64;
    let distance = (groups as f64).sqrt() / sigma;
    let tell = Tells::Units { weight: 1.0 / (sigma * sigma) / distance, without: many };
    let side = |persons: i64| {
        let values = vec![vec![persons; codes.len()]];
        Side { vectors: Vectors { codes: codes.clone(), values }, engine: None }
    };
    Ok(Neighbours {
        thresholds: DEVIATIONS.map(|deviations| distance / 2.0 + deviations),
        agency: Agency::under(case.mechanism).await,
        tells: vec![tell; codes.len()],
        without: side(many),
        with: side(many + moved.round() as i64),
        case,
        query,
        price,
    })
}
