//! A fresh question over a million rows, through gateway, TLS, accounts, log and engine, against the same SQL in the
//! same engine: over the same file, and over the same rows held in memory, as the adapter holds its bounded view.
//!
//! `bench-query [PERSONS]`. The question groups by region and kind: 17 × 5 = 85 groups. `COUNT(*)` alone is the
//! question at which plain SQL spends least. An answer leaves on a tick that follows from the most rows the declared
//! register can have, here 6 a person: 100 ms at the size by default, 50 ms up to 333,000 persons.

use anyhow::{Context, Result, bail, ensure};
use firebreak::client::Ask;
use firebreak_domain::Rho;
use firebreak_testbed::figure as counter;
use firebreak_tests::bench::{Aim, Bench, Spent, aimed, answered, argument, conditions, figure, median, remark};
use firebreak_tests::{Caller, built};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A register of so many makes about a million rows of visits.
const PERSONS: u32 = 412_000;
/// Questions measured, after some that are not.
const QUESTIONS: u64 = 40;
const WARMING: u64 = 5;
const SQL: &str = "SELECT region, kind, COUNT(*) AS visits FROM health.visits GROUP BY region, kind";
const RHO_NANO: u64 = 5_000_000;

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let bench = Bench::start(argument(PERSONS)?).await?;
    let ada = bench.connect(Caller::ADA).await?;
    let mut times = Vec::new();
    let mut spent = None;
    let mut groups = 0;
    let metrics = bench.live.adapter("health-agency")?.metrics;
    for number in 0..WARMING + QUESTIONS {
        if number == WARMING {
            spent = Some(Spent::by(&[bench.gateway(), bench.adapter("health-agency")])?);
        }
        let mut ask = Ask::new("health-statistics", "health-planning", SQL)?;
        // Each at a price of its own, or it would be answered from what is stored.
        ask.rho = Some(Rho::from_nano(RHO_NANO - number));
        let begun = Instant::now();
        groups = answered(&ada, &ask).await?.rows.len();
        if number >= WARMING {
            times.push(begun.elapsed());
        }
    }
    let spent = spent.context("nothing was asked")?.each()?;
    let [gateway, adapter] = spent.as_slice() else { bail!("two programs are measured") };
    let executions = counter(metrics, "firebreak_engine_executions_total").await?;
    ensure!(executions == WARMING + QUESTIONS, "{executions} of the questions reached the engine");
    let overruns = counter(metrics, "firebreak_tick_overruns_total").await?;
    let file = bench.federation.layout().population().join("health/visits.parquet");
    let plain = plain(&file)?;

    let questions = QUESTIONS as f64;
    let whole = (gateway + adapter) / questions;
    remark(&format!(
        "{} rows in the file, {groups} groups; CPU of a question: gateway {:.1} ms, adapter {:.1} ms; plain SQL {:.1} ms \
         over the file, {:.1} ms in memory",
        plain.rows,
        gateway / questions * 1e3,
        adapter / questions * 1e3,
        plain.seconds * 1e3,
        plain.in_memory * 1e3,
    ));
    let slowest = times.iter().max().copied().unwrap_or_default();
    remark(&format!(
        "{QUESTIONS} questions one after another; slowest {} ms; {overruns} overruns of a tick",
        milliseconds(slowest)
    ));
    aimed("fresh_query_over_plain_sql", whole / plain.seconds, "ratio", Aim::AtMost(3.0));
    figure("fresh_query_over_plain_sql_in_memory", whole / plain.in_memory, "ratio");
    aimed("fresh_query_p50", milliseconds(median(&mut times)), "ms", Aim::AtMost(150.0));
    bench.stop().await
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

struct Plain {
    rows: u64,
    seconds: f64,
    in_memory: f64,
}

/// The same SQL without anything of ours, in a process of its own.
fn plain(file: &Path) -> Result<Plain> {
    let program = built("examples/plain_sql")?;
    let sql = SQL.replace("health.visits", "plain");
    let output = Command::new(program).arg(file).arg(QUESTIONS.to_string()).arg(sql).output()?;
    let text = String::from_utf8(output.stdout)?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split(' ').next());
    let missing = || format!("plain_sql printed no such figure: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Plain {
        rows: value("rows: ").with_context(missing)?.parse()?,
        seconds: value("plain_sql: ").with_context(missing)?.parse()?,
        in_memory: value("plain_sql_in_memory: ").with_context(missing)?.parse()?,
    })
}
