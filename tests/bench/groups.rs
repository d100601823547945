//! A fresh COUNT, SUM and AVG by a thousand groups over a million rows, through gateway, TLS, accounts, log and engine,
//! against the same plain SQL over the same bounded rows as a Parquet file; and how an answer's CPU time grows with
//! rows.
//!
//! `bench-groups [PERSONS] [LARGEST]`. The visits get a column of a thousand clinics, in file, contract and
//! agreement. Growth is measured by the adapter's own engine over bounded views of 10⁵ rows, ten times as many, and
//! so on up to LARGEST, each kept where the adapter would keep one of so many declared rows: in memory or, from
//! 1.1·10⁷ rows on, in a file below `target` that is read anew for each question. `peak_memory_1e8` is printed where
//! LARGEST is 10⁸, as by default.

use agency_adapter::bounded::PERSON;
use agency_adapter::engine::Engine;
use agency_adapter::views::Views;
use anyhow::{Context, Result, bail, ensure};
use arrow::array::{ArrayRef, Int16Array, Int64Array, RecordBatch, UInt32Array};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use firebreak::client::Ask;
use firebreak_domain::{Clock, Contract, Rho, SystemClock};
use firebreak_policy::Validity;
use firebreak_policy::signing::sign_contract;
use firebreak_query::{CheckedQuery, check, parse_sql};
use firebreak_testbed::Federation;
use firebreak_tests::bench::{Bench, Spent, aimed, answered, conditions, figure, median, remark};
use firebreak_tests::{Caller, built};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// A register of so many makes about a million rows of visits.
const PERSONS: u32 = 412_000;
const LARGEST: u64 = 100_000_000;
const GROUPS: usize = 1_000;
/// Questions measured, after some that are not.
const QUESTIONS: u64 = 20;
const WARMING: u64 = 5;
/// Rows written into a view's file at a time.
const WRITTEN: usize = 1_000_000;
const RHO_NANO: u64 = 5_000_000;
const SQL: &str =
    "SELECT clinic, COUNT(*) AS n, SUM(cost) AS total, AVG(cost) AS mean FROM health.visits GROUP BY clinic";

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let argument = |place, default: u64| {
        std::env::args().nth(place).map_or(Ok(default), |a| a.parse().with_context(|| format!("{a} is not a number")))
    };
    let persons = u32::try_from(argument(1, u64::from(PERSONS))?)?;
    let bench = Bench::start_with(persons, with_clinics).await?;
    through_everything(&bench).await?;
    let contract = bench.federation.layout().bundle().join("contracts/health.visits.toml");
    let contract: Contract = toml::from_str(&fs::read_to_string(contract)?)?;
    bench.stop().await?;
    growth(&contract, argument(2, LARGEST)?).await
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
    aimed("grouped_query_over_plain_sql", (gateway + adapter) / questions / plain, "ratio", "at most 3");
    aimed("grouped_query_p50", median(&mut times).as_secs_f64() * 1e3, "ms", "at most 100");
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

async fn growth(contract: &Contract, largest: u64) -> Result<()> {
    let query = parse_sql(SQL).and_then(|query| check(&query, contract));
    let query = query.map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    // On the disk and not in a folder that is kept in memory.
    let folder = tempfile::tempdir_in(std::env::current_dir()?.join("target"))?;
    let views = Views::open(&folder.path().join("views"))?;
    let (mut rows, mut measured, mut each) = (100_000, Vec::new(), 0.0);
    while rows <= largest {
        let seconds = execute(&query, rows, &views).await?;
        remark(&format!(
            "{rows} rows: {:.1} ms of CPU in the engine, peak memory {} MB",
            seconds * 1e3,
            peak()? / 1024
        ));
        measured.push(((rows as f64).ln(), seconds.ln()));
        each = seconds * 1e9 / (rows * query.primitives().len() as u64) as f64;
        rows *= 10;
    }
    aimed("engine_per_row", each, "ns a row and figure", "at most 5, for which the tick is made");
    // By least squares over the logarithms.
    let n = measured.len() as f64;
    let (x, y) = (measured.iter().map(|m| m.0).sum::<f64>() / n, measured.iter().map(|m| m.1).sum::<f64>() / n);
    let slope = measured.iter().map(|m| (m.0 - x) * (m.1 - y)).sum::<f64>()
        / measured.iter().map(|m| (m.0 - x).powi(2)).sum::<f64>();
    aimed("growth_exponent_rows", slope, "", "at most 1");
    let megabytes = peak()? as f64 / 1024.0;
    if rows / 10 == 100_000_000 {
        aimed("peak_memory_1e8", megabytes, "MB", "the same as at fewer rows");
    }
    figure("peak_memory_per_row", megabytes * 1_048_576.0 / (rows / 10) as f64, "bytes");
    Ok(())
}

/// CPU seconds of one question in the engine over a view of so many rows, after one that is not counted.
async fn execute(query: &CheckedQuery, rows: u64, views: &Views) -> Result<f64> {
    let engine = if views.has_memory_for(rows, 2) {
        Engine::over(&some(0..rows)?, 2)?
    } else {
        let mut writer = views.write(some(0..0)?.schema())?;
        for start in (0..rows).step_by(WRITTEN) {
            writer.append(&some(start..rows.min(start + WRITTEN as u64))?)?;
        }
        Engine::over_file(writer.finish()?, 2).await?
    };
    drop(engine.execute(query).await?);
    // As often as takes a second or so: CPU time comes in steps of 10 ms.
    let (before, runs) = (cpu()?, (100_000_000 / rows).clamp(3, 400) as u32);
    for _ in 0..runs {
        drop(engine.execute(query).await?);
    }
    Ok((cpu()? - before).max(0.01) / f64::from(runs))
}

/// Rows of a view, of which there are three of each person.
fn some(rows: Range<u64>) -> Result<RecordBatch> {
    let number = |row: u64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let persons: ArrayRef = Arc::new(rows.clone().map(|row| (row / 3) as u32).collect::<UInt32Array>());
    let clinic = |row: u64| (number(row) % GROUPS as u64) as i16;
    let clinics: ArrayRef = Arc::new(rows.clone().map(clinic).collect::<Int16Array>());
    let costs: ArrayRef = Arc::new(rows.map(|row| (number(row) % 500_000) as i64).collect::<Int64Array>());
    Ok(RecordBatch::try_from_iter([(PERSON, persons), ("clinic", clinics), ("cost", costs)])?)
}

/// CPU seconds of this process, in steps of 10 ms (proc_pid_stat(5)).
fn cpu() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("not a stat file")?;
    let times = fields.split_whitespace().skip(11).take(2);
    Ok(times.map(str::parse::<u64>).sum::<Result<u64, _>>()? as f64 / 100.0)
}

/// The most memory that this process ever had, in kB (proc_pid_status(5)).
fn peak() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
