//! A statistic over a join of two registers, beside a permitted match of registers of about the same size in the same run.
//!
//! `bench-join [PERSONS]`; 5,000,000 make registers of a million and more. The CPU time is that of both adapters and
//! the gateway for the join, and of both adapters for the match, which the gateway only carries. The two are of
//! different datasets, so that each is divided by its own number of records: those of both sides who have a number.

use anyhow::{Context, Result, ensure};
use arrow::array::StringArray;
use firebreak::client::{Ask, ClientError, Connection, MatchAsk, run_match};
use firebreak_testbed::Federation;
use firebreak_tests::Caller;
use firebreak_tests::bench::{
    Aim, Bench, Busy, Spent, aimed, answered, argument, conditions, peak_of, process_of, remark,
};
use firebreak_wire::local::v1::MatchSummary;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::HashSet;
use std::fs::File;
use std::time::{Duration, Instant};

const PERSONS: u32 = 200_000;
const JOIN: &str = "SELECT e.level, v.vaccine, COUNT(*) AS pupils FROM education.enrolments e JOIN health.vaccinations v ON \
                    PERSON GROUP BY e.level, v.vaccine";

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let bench = Bench::start(argument(PERSONS)?).await?;
    let numbers = numbers(&bench.federation);
    let pupils = records(&bench.federation, "education/enrolments.parquet", "pupil_no", &numbers)?;
    let vaccinated = records(&bench.federation, "health/vaccinations.parquet", "person_key", &numbers)?;
    let programs = [bench.adapter("health-agency"), bench.adapter("education-agency"), bench.gateway()];

    let ada = bench.connect(Caller::ADA).await?;
    let ask = Ask::new("school-vaccinations", "school-health", JOIN)?;
    let (spent, busy, begun) = (Spent::by(&programs)?, Busy::by(&programs)?, Instant::now());
    let answer = answered(&ada, &ask).await?;
    let (wall, of_join, busy) = (begun.elapsed().as_secs_f64(), spent.each()?, busy.processors().await?);
    ensure!(!answer.rows.is_empty(), "the join has no answer");
    let joined = pupils + vaccinated;
    remark(&format!("join: {pupils} and {vaccinated} records, {wall:.1} s"));
    said(&of_join);
    let large = pupils.min(vaccinated) >= 1_000_000;
    let processors = std::thread::available_parallelism()?.get().min(2) as f64;
    let aim = Aim::AtLeast(0.9).only_if(large, "at least 0.9 at a million");
    aimed("join_busy", busy / processors, "of two processors, while the sides work", aim);
    let peaks = programs.iter().map(|file| peak_of(&process_of(file)?)).collect::<Result<Vec<_>>>()?;
    let aim = Aim::Below(1_000.0).only_if(large, "below 1,000 at a million");
    aimed("join_peak", peaks.into_iter().max().unwrap_or_default() as f64 / 1e3, "MB", aim);

    let local = bench.live.adapter("health-agency")?.local;
    let staff = Caller::connect_local(&bench.federation, "health-agency", local).await?;
    let match_ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
    let (spent, begun) = (Spent::by(&programs)?, Instant::now());
    let summary = matched(&staff, &match_ask).await?;
    let (wall, of_match) = (begun.elapsed().as_secs_f64(), spent.each()?);
    let matched = summary.offered + pupils;
    remark(&format!("match: {} and {pupils} records, {wall:.1} s", summary.offered));
    said(&of_match);
    bench.stop().await?;

    let join_each = of_join.iter().sum::<f64>() / joined as f64;
    let match_each = of_match.iter().take(2).sum::<f64>() / matched as f64;
    remark(&format!("a record: join {:.1} µs, match {:.1} µs", join_each * 1e6, match_each * 1e6));
    aimed("join_over_match", join_each / match_each, "ratio", Aim::AtMost(1.3));
    Ok(())
}

fn said(spent: &[f64]) {
    if let [health, education, gateway] = spent {
        remark(&format!("CPU: health {health:.1} s, education {education:.1} s, gateway {gateway:.1} s"));
    }
}

/// The persons of both registers who have a number, by their keys there.
fn numbers(federation: &Federation) -> HashSet<String> {
    let truth = federation.population().truth().filter(|row| row.national_number.is_some());
    truth.map(|row| row.person_key).collect()
}

/// How many persons with a number stand in a file, whose column `key` names them.
fn records(federation: &Federation, file: &str, key: &str, numbers: &HashSet<String>) -> Result<u64> {
    let file = File::open(federation.layout().population().join(file))?;
    let mut keys = HashSet::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        let batch = batch?;
        let column = batch.column_by_name(key).with_context(|| format!("no column {key}"))?;
        let column = column.as_any().downcast_ref::<StringArray>().context("not text")?;
        keys.extend(column.iter().flatten().filter(|key| numbers.contains(*key)).map(str::to_owned));
    }
    Ok(keys.len() as u64)
}

/// Runs the match, and again under the same id for as long as an adapter waits to see the log.
async fn matched(staff: &Connection, ask: &MatchAsk) -> Result<MatchSummary> {
    let mut outcome = run_match(staff, ask, &mut |_| {}).await;
    for _ in 0..100 {
        match &outcome {
            Err(ClientError::Refused(refused)) if refused.refusal.reason == "EVIDENCE_OUTSTANDING" => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                outcome = run_match(staff, ask, &mut |_| {}).await;
            }
            _ => break,
        }
    }
    outcome.context("the match did not end")
}
