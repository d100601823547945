//! How far released figures lie from the exact ones, by the adapter's own way from decision and ledger to measurement.
//!
//! `bench-accuracy [RUNS]`. COUNT and SUM by 50 groups of an income from 0 to 100,000, a million persons with one row
//! each, measured RUNS times under pure ε = 1 for the whole question, and as one of a hundred questions that together
//! have (ε = 1, δ = 10⁻⁶): under zCDP, and under pure DP with ε = 0.01 each. Nothing is stored, so that each run draws
//! anew.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the federation of the measurement's own tests is used as it is: what fails there fails the measurement"
)]

#[expect(dead_code, reason = "the measurement's own tests use the rest")]
#[path = "../../crates/privacy/tests/measurement/fixture.rs"]
mod fixture;

use anyhow::{Context, Result};
use firebreak_domain::{Contract, Mechanism, Rho};
use firebreak_privacy::{Exact, ExactCells, Funded, Price, SHOWN_DELTA, price};
use firebreak_query::{CheckedQuery, PrimitiveKind, check, parse_sql};
use firebreak_tests::bench::{aimed, argument, conditions, figure, median, remark};
use fixture::{Agency, CONTRACT};
use std::convert::Infallible;
use std::time::{Duration, Instant};

const RUNS: u32 = 400;
const GROUPS: usize = 50;
/// For how long it takes to draw.
const MANY_GROUPS: usize = 2_000;
const PERSONS: i64 = 1_000_000;
/// Of which each group has the middle of the bounds on average.
const MEAN: f64 = 50_000.0;
const QUESTIONS: f64 = 100.0;
const SQL: &str = "SELECT region, COUNT(cost) AS n, SUM(cost) AS income FROM health.visits GROUP BY region";

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let runs = argument(RUNS)?;
    let (gaussian, laplace) = (Mechanism::DiscreteGaussian, Mechanism::DiscreteLaplace);
    let alone = Errors::of(laplace, Rho::from_nano(500_000_000), runs).await?;
    // ρ + 2·√(ρ·ln(1/δ)) = 1, over all of the hundred.
    let log = (1.0 / SHOWN_DELTA).ln();
    let whole = ((log + 1.0).sqrt() - log.sqrt()).powi(2);
    let one_of_many = Rho::from_nano((whole / QUESTIONS * 1e9) as u64);
    let concentrated = Errors::of(gaussian, one_of_many, runs).await?;
    let pure = Errors::of(laplace, Rho::from_nano(50_000), runs).await?;
    remark(&format!("{runs} runs of {GROUPS} groups; one of a hundred questions under zCDP: ρ = {one_of_many}"));
    for (name, errors) in [("zCDP", &concentrated), ("pure DP", &pure)] {
        remark(&format!("one of a hundred, {name}: count {:.1}, sum {:.0} off on average", errors.count, errors.sum));
    }
    let theory = [&alone, &concentrated, &pure].map(|errors| errors.over_theory);
    let worst = theory.into_iter().max_by(|a, b| (a - 1.0).abs().total_cmp(&(b - 1.0).abs()));
    aimed("noise_over_theory", worst.context("nothing measured")?, "ratio", "0.98 to 1.02");
    aimed("count_mae", alone.count, "persons", "at most 1.8");
    aimed("sum_mae", alone.sum, "", "at most 200,000");
    aimed("zcdp_100_over_pure", concentrated.count / pure.count, "ratio", "below 1");
    aimed("draw_per_number", draw_time(runs.min(40)).await?, "us", "at most 6, for which the tick is made");
    aimed("choice_per_candidate", choice_time(runs.min(40)).await?, "us", "at most 7.5, for which the tick is made");
    figure("zcdp_100_over_pure_of_sums", concentrated.sum / pure.sum, "ratio");
    Ok(())
}

/// Mean absolute errors, and the deviation of the noise over that of its mechanism's theory.
struct Errors {
    count: f64,
    sum: f64,
    over_theory: f64,
}

impl Errors {
    async fn of(mechanism: Mechanism, rho: Rho, runs: u32) -> Result<Self> {
        let text = contract(GROUPS);
        let contract: Contract = toml::from_str(&text)?;
        let question = parse_sql(SQL).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        let query = check(&question, &contract).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        let price = price(&query, mechanism, rho)?;
        let agency = Agency::of(&text, mechanism).await;
        let each = PERSONS / GROUPS as i64;
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for _ in 0..runs {
            let reservation = agency.reserve(1, price.release_key(), price.charge()).await;
            let funded = Funded::new(agency.permit(&query), reservation, price.clone())?;
            let measured = Exact::new(ExactCells::new(exact(&query, each)));
            let released = funded.release(|| async { Ok::<_, Infallible>(measured) }).await?.released;
            for row in released.answer(&query)?.rows {
                let value = |place: usize| row.outputs[place].value.context("not computable");
                count += (value(0)? - each as f64).abs();
                sum += (value(1)? - MEAN * each as f64).abs();
            }
            for (place, (values, scale)) in exact(&query, each).iter().zip(released.sigmas()).enumerate() {
                for (cell, exact) in values.iter().enumerate() {
                    let noise = released.value(place, cell).context("no such cell")? - exact;
                    squares += (noise as f64 / theoretical(&price, scale)).powi(2);
                }
            }
        }
        let answers = f64::from(runs) * GROUPS as f64;
        let numbers = answers * query.primitives().len() as f64;
        Ok(Self { count: count / answers, sum: sum / answers, over_theory: (squares / numbers).sqrt() })
    }
}

/// How long it takes to draw the noise of a number, in µs of one processor: half of many draws took at most so long.
async fn draw_time(runs: u32) -> Result<f64> {
    let (text, mechanism) = (contract(MANY_GROUPS), Mechanism::DiscreteGaussian);
    let query = check(&parse_sql(SQL).map_err(|refusal| anyhow::anyhow!("{refusal}"))?, &toml::from_str(&text)?);
    let query = query.map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    let price = price(&query, mechanism, Rho::from_nano(5_000_000))?;
    let agency = Agency::of(&text, mechanism).await;
    let mut times = Vec::new();
    for _ in 0..runs {
        let reservation = agency.reserve(1, price.release_key(), price.charge()).await;
        let funded = Funded::new(agency.permit(&query), reservation, price.clone())?;
        let begun = Instant::now();
        drop(funded.draw_noise().await?);
        times.push(begun.elapsed());
    }
    // Drawn by as many threads as there are processors.
    let processors = std::thread::available_parallelism().map_or(1.0, |threads| threads.get() as f64);
    let numbers = (query.primitives().len() * query.cells()) as f64;
    Ok(median(&mut times).as_secs_f64() * 1e6 * processors / numbers)
}

/// How long a quantile's choice takes, in µs a candidate, where it takes longest: one candidate has all the values.
async fn choice_time(runs: u32) -> Result<f64> {
    let (text, mechanism) = (contract(GROUPS), Mechanism::DiscreteGaussian);
    let question = parse_sql("SELECT region, MEDIAN(cost) AS m FROM health.visits GROUP BY region");
    let question = question.map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    let query = check(&question, &toml::from_str(&text)?).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    let price = price(&query, mechanism, Rho::from_nano(5_000_000))?;
    let agency = Agency::of(&text, mechanism).await;
    let (mut longest, mut numbers) = (Duration::ZERO, 0);
    for _ in 0..runs {
        let reservation = agency.reserve(1, price.release_key(), price.charge()).await;
        let funded = Funded::new(agency.permit(&query), reservation, price.clone())?.draw_noise().await?;
        let of = |kind: &PrimitiveKind| {
            let per_cell = kind.numbers_per_cell();
            (0..query.cells() * per_cell).map(|at| i64::from(at % per_cell == per_cell / 2) * PERSONS).collect()
        };
        let values: Vec<Vec<i64>> = query.primitives().iter().map(|primitive| of(primitive.kind())).collect();
        numbers = values.iter().map(Vec::len).max().context("nothing is measured")?;
        let begun = Instant::now();
        drop(funded.measure(Exact::new(ExactCells::new(values)))?);
        longest = longest.max(begun.elapsed());
    }
    Ok(longest.as_secs_f64() * 1e6 / numbers as f64)
}

/// The standard deviation of a mechanism at a scale: of the discrete Gaussian σ, to within e^(−2π²σ²); of the discrete
/// Laplace √2 · e^(1/2b) / (e^(1/b) − 1).
fn theoretical(price: &Price, scale: f64) -> f64 {
    match price.mechanism() {
        Mechanism::DiscreteGaussian => scale,
        Mechanism::DiscreteLaplace => std::f64::consts::SQRT_2 * (0.5 / scale).exp() / (1.0 / scale).exp_m1(),
    }
}

/// Persons in each group, and how far their incomes are from the centre in all.
fn exact(query: &CheckedQuery, each: i64) -> Vec<Vec<i64>> {
    let of = |kind: &PrimitiveKind| match kind {
        PrimitiveKind::SumCentred { centre, .. } => (MEAN as i64 - centre) * each,
        _ => each,
    };
    query.primitives().iter().map(|primitive| vec![of(primitive.kind()); query.cells()]).collect()
}

/// The measurement's own contract with so many groups, incomes and one row a person.
fn contract(groups: usize) -> String {
    let codes: Vec<String> = (0..groups).map(|n| format!("{{ code = \"g{n}\", label = \"\" }}")).collect();
    let mut text = String::new();
    for line in CONTRACT.lines() {
        let line = match line {
            _ if line.starts_with("contribution") => "contribution = { rows_per_person = 1 }".to_owned(),
            _ if line.contains("code = \"n\"") => {
                format!("domain = {{ type = \"category\", codes = [{}] }}", codes.join(", "))
            }
            _ if line.contains("max = 100,") => "domain = { type = \"integer\", min = 0, max = 100000 }".to_owned(),
            _ => line.replace("register_size = 100000", "register_size = 1000000"),
        };
        text += &line;
        text.push('\n');
    }
    text
}
