//! A fresh COUNT, SUM and AVG by a thousand groups over a million rows, through gateway, TLS, accounts, log and engine,
//! against the same plain SQL over the same bounded rows as a Parquet file; and how an answer's CPU time and memory
//! grow with rows.
//!
//! `bench-groups [PERSONS] [LARGEST]`. The visits get a column of a thousand clinics, in file, contract and
//! agreement. Growth is measured at 10⁵ rows, ten times as many, and so on up to LARGEST, 10⁸ by default, each size in
//! programs of its own (`growth`):
//!
//! - the adapter's own engine over bounded views of so many rows, each kept where the adapter would keep one of so many
//!   declared rows: in memory or, from 1.1·10⁷ rows on, in a file below `target` that is read anew for each question;
//! - the making of such a view, by which the adapter reads and bounds a register's file of so many rows.
//!
//! The most memory that either took is printed as `peak_memory_1e8` and `view_peak_memory_1e8` where LARGEST is 10⁸.
//! That size takes some minutes, and 5 GB below `target` for as long.

mod growth;

use anyhow::{Context, Result, bail, ensure};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use firebreak::client::Ask;
use firebreak_domain::{Clock, Rho, SystemClock};
use firebreak_policy::Validity;
use firebreak_policy::signing::sign_contract;
use firebreak_testbed::Federation;
use firebreak_tests::bench::{Aim, Bench, Spent, aimed, answered, conditions, median, remark};
use firebreak_tests::{Caller, built};
use growth::Step;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// A register of so many makes about a million rows of visits.
const PERSONS: u32 = 412_000;
const LARGEST: u64 = 100_000_000;
const GROUPS: usize = 1_000;
/// Questions measured, after some that are not.
const QUESTIONS: u64 = 20;
const WARMING: u64 = 5;
const RHO_NANO: u64 = 5_000_000;
const SQL: &str =
    "SELECT clinic, COUNT(*) AS n, SUM(cost) AS total, AVG(cost) AS mean FROM health.visits GROUP BY clinic";

#[tokio::main]
async fn main() -> Result<()> {
    if let Some(step) = Step::asked() {
        return step.measure().await;
    }
    conditions();
    let argument = |place, default: u64| {
        std::env::args().nth(place).map_or(Ok(default), |a| a.parse().with_context(|| format!("{a} is not a number")))
    };
    let persons = u32::try_from(argument(1, u64::from(PERSONS))?)?;
    let bench = Bench::start_with(persons, with_clinics).await?;
    through_everything(&bench).await?;
    bench.stop().await?;
    growth::measure(argument(2, LARGEST)?)
}

/// Gives the visits a column of clinics, in the file, the contract and the agreement.
fn with_clinics(federation: &Federation) -> Result<()> {
    let layout = federation.layout();
    let file = layout.population().join("health/visits.parquet");
    let (from, to) = (file.clone(), file.with_extension("new.parquet"));
    // In a runtime of its own: this is called inside one that must not be blocked on.
    let written = std::thread::spawn(move || {
        tokio::runtime::Runtime::new()?.block_on(async {
            let context = SessionContext::new();
            let path = |path: &Path| path.to_str().map(str::to_owned).context("a path that is no text");
            context.register_parquet("visits", &path(&from)?, ParquetReadOptions::new()).await?;
            // Bounded already, so that the adapter's view and the file have the same rows.
            let sql = format!(
                "SELECT *, concat('c', (row_number() OVER ()) % {GROUPS}) AS clinic FROM (SELECT *, row_number() OVER \
                 (PARTITION BY person_key) AS place FROM visits WHERE person_key IS NOT NULL) WHERE place <= 6"
            );
            let frame = context.sql(&sql).await?;
            let options = DataFrameWriteOptions::new().with_single_file_output(true);
            frame.write_parquet(&path(&to)?, options, None).await?;
            fs::rename(&to, &from)?;
            Ok::<_, anyhow::Error>(())
        })
    });
    written.join().map_err(|_| anyhow::anyhow!("the file could not be written"))??;
    let contract = layout.bundle().join("contracts/health.visits.toml");
    let codes: Vec<_> = (0..GROUPS).map(|n| format!("{{ code = \"c{n}\", label = \"c{n}\" }}")).collect();
    let column = format!(
        "\n[[column]]\nname = \"clinic\"\nlabel = \"Clinic\"\ndefinition = \"The clinic.\"\nrole = \"category\"\n\
         [column.domain]\ntype = \"category\"\ncodes = [{}]\n",
        codes.join(", ")
    );
    fs::write(&contract, fs::read_to_string(&contract)? + &column)?;
    sign_contract(&contract, &federation.signing_key("health-agency")?)?;
    let agreement = layout.bundle().join("agreements/health-statistics.toml");
    let text = fs::read_to_string(&agreement)?.replace("\"kind\", \"cost\"", "\"kind\", \"cost\", \"clinic\"");
    fs::write(&agreement, text)?;
    let now = SystemClock.now();
    let (made, valid_from, valid_until) = (now, now.plus_secs(-60), now.plus_secs(86_400));
    federation.sign_bundle(1, None, Validity { made, valid_from, valid_until })
}

async fn through_everything(bench: &Bench) -> Result<()> {
    let ada = bench.connect(Caller::ADA).await?;
    let (mut times, mut spent) = (Vec::new(), None);
    for number in 0..WARMING + QUESTIONS {
        if number == WARMING {
            spent = Some(Spent::by(&[bench.gateway(), bench.adapter("health-agency")])?);
        }
        let mut ask = Ask::new("health-statistics", "health-planning", SQL)?;
        // Each at a price of its own, or it would be answered from what is stored.
        ask.rho = Some(Rho::from_nano(RHO_NANO - number));
        let begun = Instant::now();
        let groups = answered(&ada, &ask).await?.rows.len();
        ensure!(groups == GROUPS, "{groups} groups");
        if number >= WARMING {
            times.push(begun.elapsed());
        }
    }
    let spent = spent.context("nothing was asked")?.each()?;
    let [gateway, adapter] = spent.as_slice() else { bail!("two programs are measured") };
    let (file, questions) = (bench.federation.layout().population().join("health/visits.parquet"), QUESTIONS as f64);
    let plain = plain(&file)?;
    remark(&format!(
        "CPU of a question: gateway {:.1} ms, adapter {:.1} ms; plain SQL over the file {:.1} ms",
        gateway / questions * 1e3,
        adapter / questions * 1e3,
        plain * 1e3
    ));
    aimed("grouped_query_over_plain_sql", (gateway + adapter) / questions / plain, "ratio", Aim::AtMost(3.0));
    aimed("grouped_query_p50", median(&mut times).as_secs_f64() * 1e3, "ms", Aim::AtMost(100.0));
    Ok(())
}

/// CPU seconds of the same SQL without anything of ours.
fn plain(file: &Path) -> Result<f64> {
    let sql = SQL.replace("health.visits", "plain");
    let output = Command::new(built("examples/plain_sql")?).arg(file).arg(QUESTIONS.to_string()).arg(sql).output()?;
    let text = String::from_utf8(output.stdout)?;
    let value = text.lines().find_map(|line| line.strip_prefix("plain_sql: ")?.split(' ').next());
    Ok(value.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?.parse()?)
}
