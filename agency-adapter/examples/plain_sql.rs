//! What plain SQL costs in the adapter's engine: the measure for the cost of everything around it.
//!
//! `plain_sql FILE RUNS SQL` reads the Parquet file as the table `plain`, runs the statement once to warm up and then
//! RUNS times, and prints `rows: n rows` of the file and `plain_sql: x cpu-s`, the CPU seconds of one run. Then the
//! same over the file's rows held in memory: `plain_sql_in_memory: x cpu-s`.
#![expect(clippy::print_stdout, reason = "a program that measures prints what it measured")]

use datafusion::datasource::MemTable;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use std::error::Error;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(runs), Some(sql)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: plain_sql FILE RUNS SQL".into());
    };
    let runs: u32 = runs.parse()?;
    let context = SessionContext::new();
    context.register_parquet("plain", &file, ParquetReadOptions::new()).await?;
    let rows = context.table("plain").await?.count().await?;
    println!("rows: {rows} rows");
    println!("plain_sql: {:.6} cpu-s", run(&context, &sql, runs).await?);
    let table = context.table("plain").await?;
    let (schema, partitions) = (Arc::new(table.schema().as_arrow().clone()), table.collect_partitioned().await?);
    context.deregister_table("plain")?;
    context.register_table("plain", Arc::new(MemTable::try_new(schema, partitions)?))?;
    println!("plain_sql_in_memory: {:.6} cpu-s", run(&context, &sql, runs).await?);
    Ok(())
}

/// CPU seconds of one run, after one that is not counted.
async fn run(context: &SessionContext, sql: &str, runs: u32) -> Result<f64, Box<dyn Error>> {
    context.sql(sql).await?.collect().await?;
    let before = cpu_seconds()?;
    for _ in 0..runs {
        context.sql(sql).await?.collect().await?;
    }
    Ok((cpu_seconds()? - before) / f64::from(runs.max(1)))
}

/// CPU seconds of this process, in steps of 10 ms (proc_pid_stat(5)).
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("not a stat file")?;
    let times = fields.split_whitespace().skip(11).take(2);
    Ok(times.map(str::parse::<u64>).sum::<Result<u64, _>>()? as f64 / 100.0)
}
