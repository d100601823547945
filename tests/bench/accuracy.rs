//! How far released figures lie from the exact ones, by the adapter's own way from decision and ledger to measurement.
//!
//! `bench-accuracy [RUNS]`. COUNT and SUM by 50 groups of an income from 0 to 100,000, a million persons with one row
//! each, measured RUNS times under pure ε = 1 for the whole question, and as one of a hundred questions that together
//! have (ε = 1, δ = 10⁻⁶): under zCDP, and under pure DP with ε = 0.01 each. Nothing is stored, so that each run draws
//! anew. `noise_over_theory` compares the noise with what theory gives at the loss that is charged, and not with the
//! scale that the price chose: a scale that wastes loss is found.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the federation of the measurement's own tests is used as it is: what fails there fails the measurement"
)]

#[expect(dead_code, reason = "the measurement's own tests use the rest")]
#[path = "../../crates/privacy/tests/measurement/fixture.rs"]
mod fixture;

use anyhow::{Context, Result, bail, ensure};
use firebreak_domain::{Contract, Mechanism, Rho};
use firebreak_privacy::{Exact, ExactCells, Funded, SHOWN_DELTA, price};
use firebreak_query::{CheckedQuery, Primitive, PrimitiveKind, check, parse_sql};
use firebreak_tests::bench::{Aim, aimed, argument, conditions, figure, median, remark};
use fixture::{Agency, CONTRACT};
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// By which the deviation of a primitive's noise is known to within half a percent, mostly.
const RUNS: u32 = 1_000;
const GROUPS: usize = 50;
/// For how long it takes to draw.
const MANY_GROUPS: usize = 2_000;
const PERSONS: i64 = 1_000_000;
/// Of which each group has the middle of the bounds on average.
const MEAN: f64 = 50_000.0;
/// How far an income can be from the middle of its bounds.
const HALF_WIDTH: f64 = 50_000.0;
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
    let theory = [&alone, &concentrated, &pure].into_iter().flat_map(|errors| errors.over_theory.iter().copied());
    let worst = theory.max_by(|a, b| (a - 1.0).abs().total_cmp(&(b - 1.0).abs()));
    aimed("noise_over_theory", worst.context("nothing measured")?, "ratio", Aim::Within(0.98, 1.02));
    aimed("count_mae", alone.count, "persons", Aim::AtMost(1.8));
    aimed("sum_mae", alone.sum, "", Aim::AtMost(200_000.0));
    aimed("zcdp_100_over_pure", concentrated.count / pure.count, "ratio", Aim::Below(1.0));
    aimed("draw_per_number", draw_time(runs.min(40)).await?, "us, for which the tick is made", Aim::AtMost(6.0));
    aimed("choice_per_candidate", choice_time(runs.min(40)).await?, "us, for which the tick is made", Aim::AtMost(7.5));
    figure("zcdp_100_over_pure_of_sums", concentrated.sum / pure.sum, "ratio");
    Ok(())
}

/// Mean absolute errors, and of each primitive the deviation of its noise over that of theory at the same loss.
struct Errors {
    count: f64,
    sum: f64,
    over_theory: Vec<f64>,
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
        let theory = theoretical(&query, mechanism, rho)?;
        let (mut count, mut sum, mut squares) = (0.0, 0.0, vec![0.0; theory.len()]);
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
            for (place, (values, squares)) in exact(&query, each).iter().zip(&mut squares).enumerate() {
                for (cell, exact) in values.iter().enumerate() {
                    let noise = released.value(place, cell).context("no such cell")? - exact;
                    *squares += (noise as f64).powi(2);
                }
            }
        }
        let answers = f64::from(runs) * GROUPS as f64;
        let over = |(squares, theory): (&f64, &f64)| (squares / answers).sqrt() / theory;
        let over_theory = squares.iter().zip(&theory).map(over).collect();
        Ok(Self { count: count / answers, sum: sum / answers, over_theory })
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

/// The standard deviation of the noise on each primitive of the question, worked out from its loss alone by what
/// `docs/PRIVACY.md`, sections 3 and 4, says of one row a person, without a look at the price: that of the discrete
/// Gaussian is its σ = Δ₂/√(2ρ), to within e^(−2π²σ²); that of the discrete Laplace is √2 · e^(1/2b) / (e^(1/b) − 1),
/// with b = Δ₁/ε.
fn theoretical(query: &CheckedQuery, mechanism: Mechanism, rho: Rho) -> Result<Vec<f64>> {
    let rho = rho.as_f64();
    let of = |primitive: &Primitive| {
        // Δ, which is the same in either norm where a person has one row, and how many measures rest on it.
        let (moved, uses) = match primitive.kind() {
            PrimitiveKind::CountValues { .. } => (1.0, 2.0_f64),
            // Centred, because its values are counted beside it.
            PrimitiveKind::SumCentred { .. } => (HALF_WIDTH, 1.0),
            _ => bail!("another question"),
        };
        Ok(match mechanism {
            // Either has half of ρ.
            Mechanism::DiscreteGaussian => moved / (2.0 * (rho / 2.0)).sqrt(),
            // ε = √(2ρ), in proportion to the cube roots of the uses.
            Mechanism::DiscreteLaplace | Mechanism::MatchingDummies => {
                let epsilon = (2.0 * rho).sqrt() * uses.cbrt() / (2.0_f64.cbrt() + 1.0);
                let scale = moved / epsilon;
                std::f64::consts::SQRT_2 * (0.5 / scale).exp() / (1.0 / scale).exp_m1()
            }
        })
    };
    ensure!(query.primitives().len() == 2, "another question");
    query.primitives().iter().map(of).collect()
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
