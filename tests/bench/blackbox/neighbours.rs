//! Two files that differ by one person, as an adapter reads, bounds and aggregates them, and what a release tells of
//! which of them it is of.

use super::meaning;
use super::{Audit, Case, THRESHOLDS};
use crate::bounded::{RankingKey, view};
use crate::engine::Engine as OpenedEngine;
use crate::fixture::{Agency, ask, contract, price_under};
use crate::opened::Vectors;
use crate::privacy::{Exact, ExactCells, Funded, Price, Released};
use agency_adapter::engine::Engine;
use agency_adapter::source;
use anyhow::{Context, Result, ensure};
use firebreak_domain::{Binding, Contract, CutId, Mechanism};
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

/// One of the neighbours.
struct Side {
    /// The exact vectors: of the only cell, or of each of the open codes that there are.
    vectors: Vectors,
    /// The adapter's, over the view.
    engine: Engine,
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
    /// What each noisy number about a person tells.
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
        let contract = contract();
        let most = contract.contribution.rows_per_person;
        let apart = (f64::from(most) * moved).round() as u32;
        if query.selection().is_some() {
            let many = far_above_the_threshold(&price)?;
            let others = |file: &mut String| rows_in_groups(file, &case, most, many);
            let all = |file: &mut String| others(file).and_then(|()| rows_of_the_persons(file, &case, most, apart));
            let (without, with) = (side(&query, &contract, &others).await?, side(&query, &contract, &all).await?);
            let as_many = without.vectors.values.iter().flatten().all(|persons| *persons == i64::from(many));
            ensure!(as_many && with.vectors.codes == without.vectors.codes, "the groups are others");
            let (tells, thresholds) = scored_in_groups(&price, most, many)?;
            let agency = Agency::under(case.mechanism).await;
            return Ok(Self { case, price, thresholds, agency, query, without, with, tells });
        }
        let middle = middle_of(&case, &query);
        let cost = middle.map_or_else(|| "50".to_owned(), |middle| format!("{}.{:02}", middle / 100, middle % 100));
        let others = |file: &mut String| rows_of_others(file, apart, &cost);
        let all = |file: &mut String| others(file).and_then(|()| rows_of_the_person(file, apart, most));
        let (without, with) = (side(&query, &contract, &others).await?, side(&query, &contract, &all).await?);
        let (tells, thresholds) = scored(&case, &query, &price, (&without.vectors, &with.vectors), (middle, moved))?;
        let agency = Agency::under(case.mechanism).await;
        Ok(Self { case, price, thresholds, agency, query, without, with, tells })
    }

    /// One release, as the adapter comes to it: decided, charged, its noise drawn, then measured, by asking the engine
    /// or with what the engine would give. Nothing is stored, so that the same request runs again under its charge,
    /// with fresh noise.
    ///
    /// # Errors
    /// A measurement that fails.
    pub async fn measure(&self, with: bool, asks_the_engine: bool) -> Result<Released> {
        let reservation = self.agency.reserve(1, self.price.release_key(), self.price.charge()).await;
        let funded = Funded::new(self.agency.permit(&self.query), reservation, self.price.clone())?;
        let side = if with { &self.with } else { &self.without };
        if asks_the_engine {
            return Ok(funded.release(|| side.engine.execute(&self.query)).await?.released);
        }
        let Vectors { codes, values } = side.vectors.clone();
        let exact = match self.query.selection() {
            None => ExactCells::new(values),
            Some(_) => ExactCells::by_code(codes, values),
        };
        let exact = Exact::new(exact);
        Ok(funded.release(|| async { Ok::<_, Infallible>(exact) }).await?.released)
    }

    /// For each person how much more a release looks like one with them than like one without.
    ///
    /// # Errors
    /// A release of another shape.
    pub fn scores(&self, released: &Released) -> Result<Vec<f64>> {
        let (in_groups, numbers) = (self.query.selection().is_some(), self.tells.len());
        let shown = released.cells().next();
        ensure!(!in_groups || shown == Some(self.without.vectors.codes.len()), "a group is not shown");
        let of = |person: usize| {
            let mut score = 0.0;
            for (place, tells) in self.tells.iter().enumerate() {
                let (vector, cell) = if in_groups { (0, person * numbers + place) } else { (place, 0) };
                let value = released.value(vector, cell).context("no such number")?;
                score += match tells {
                    Tells::Units { weight, without } => weight * (value - without) as f64,
                    Tells::Nearer { scale, without, with } => {
                        (value.abs_diff(*without) as f64 - value.abs_diff(*with) as f64) / scale
                    }
                    Tells::Side { weight, middle } => weight * f64::from(value.cmp(middle) as i8),
                };
            }
            Ok(score)
        };
        (0..self.case.persons as usize).map(of).collect()
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
        Mechanism::DiscreteLaplace | Mechanism::MatchingDummies => count.saturating_sub(2),
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

/// So many persons in a group that noise of ten deviations leaves it above the threshold. More is drawn in fewer than
/// one of 10¹⁵ audits.
fn far_above_the_threshold(price: &Price) -> Result<u32> {
    let sigma = price.sigmas().next().context("no noise")?;
    let threshold = price.plan().selection().context("no selection")?.threshold();
    Ok(u32::try_from(threshold)? + (10.0 * sigma).ceil() as u32)
}

/// The code of one of so many groups that a person is in. In the order of the codes, a person's follow each other.
fn code(person: u32, groups: u32, place: u32) -> String {
    format!("{:06}", person * groups + place % groups)
}

/// So many others in each group of each person, with a row in all of these.
fn rows_in_groups(file: &mut String, case: &Case, groups: u32, many: u32) -> Result<()> {
    for (person, other) in (0..case.persons).flat_map(|person| (0..many).map(move |other| (person, other))) {
        for place in 0..groups {
            writeln!(file, "other {other} of {person},n,planned,1950,50,{}", code(person, groups, place))?;
        }
    }
    Ok(())
}

/// So many rows of each person, in one of their groups after the other; more than may stay stand under further keys.
fn rows_of_the_persons(file: &mut String, case: &Case, groups: u32, rows: u32) -> Result<()> {
    for (person, row) in (0..case.persons).flat_map(|person| (0..rows).map(move |row| (person, row))) {
        writeln!(file, "person {person} {},n,planned,1950,50,{}", row / groups, code(person, groups, row))?;
    }
    Ok(())
}

/// Reads and bounds a file as the adapter does, and works out the exact vectors, which must be the engine's.
async fn side(query: &CheckedQuery, contract: &Contract, rows: &dyn Fn(&mut String) -> Result<()>) -> Result<Side> {
    let folder = tempfile::tempdir()?;
    let mut file = "person,region,kind,year,cost,ward\n".to_owned();
    rows(&mut file)?;
    std::fs::write(folder.path().join("visits.csv"), file)?;
    let binding: Binding = toml::from_str(BINDING)?;
    let read = source::read(contract, &binding, folder.path(), &CutId::new(CUT)?).await?;
    let view = view(contract, &read, &RankingKey::new([7; 32]))?;
    let vectors = meaning::vectors(query, &view)?;
    let computed = OpenedEngine::over(&view, 1)?.execute(query).await?.open();
    ensure!(computed == vectors, "the engine computes something else");
    Ok(Side { vectors, engine: Engine::over(&view, 1)? })
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
        Mechanism::DiscreteLaplace | Mechanism::MatchingDummies => {
            query.l1_sensitivities().iter().map(|s| *s as f64).collect()
        }
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
                    Mechanism::DiscreteLaplace | Mechanism::MatchingDummies => 2.0 * moved * sensitivity / sigma,
                };
                largest += weight;
                Tells::Side { weight, middle: middle.context("no candidates")? }
            }
            // The sum of these is, for Gaussians, the likelihood ratio but for a constant: no other event tells more.
            (_, Mechanism::DiscreteGaussian) => {
                Tells::Units { weight: sensitivity / sigma / distance / sigma, without }
            }
            // And for the discrete Laplace the sum of these.
            (_, Mechanism::DiscreteLaplace | Mechanism::MatchingDummies) => {
                largest += with.abs_diff(without) as f64 / sigma;
                Tells::Nearer { scale: sigma, without, with }
            }
        });
    }
    let thresholds = match case.mechanism {
        Mechanism::DiscreteGaussian => DEVIATIONS.map(|deviations| distance / 2.0 + deviations),
        Mechanism::DiscreteLaplace | Mechanism::MatchingDummies => PARTS.map(|part| part * largest),
    };
    Ok((tells, thresholds))
}

/// What the numbers of a person's groups tell, and the thresholds.
///
/// All of these groups are far above the threshold, so that what tells is how many persons each has. What a person
/// alone in new groups can tell is the number of groups, which has less of the loss; that such a group appears is rarer
/// than any number of runs shows, and is reckoned instead
/// (`a_group_of_one_person_appears_at_most_with_the_probability_that_is_charged`).
fn scored_in_groups(price: &Price, groups: u32, many: u32) -> Result<(Vec<Tells>, [f64; THRESHOLDS])> {
    let sigma = price.sigmas().next().context("no noise")?;
    // One person more in each, in deviations.
    let distance = f64::from(groups).sqrt() / sigma;
    let tells = Tells::Units { weight: 1.0 / (sigma * sigma) / distance, without: i64::from(many) };
    Ok((vec![tells; groups as usize], DEVIATIONS.map(|deviations| distance / 2.0 + deviations)))
}
