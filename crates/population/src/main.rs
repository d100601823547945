//! Writes a synthetic population into a folder.

use clap::Parser;
use firebreak_population::Population;
use std::io::Write;
use std::path::PathBuf;

/// Writes a synthetic population as three agencies' Parquet files. The same size and seed give the same rows
/// everywhere.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many persons
    #[arg(long, default_value_t = 100_000)]
    persons: u32,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder to write into; it is made if it is not there
    #[arg(long)]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Arguments { persons, seed, out } = Arguments::parse();
    let written = Population::new(persons, seed)?.write(&out)?;
    let mut stdout = std::io::stdout().lock();
    for (file, rows) in [
        ("immigration/permits.parquet", written.permits),
        ("health/visits.parquet", written.visits),
        ("health/vaccinations.parquet", written.vaccinations),
        ("education/enrolments.parquet", written.enrolments),
        ("education/pupils.parquet", written.pupils),
        ("health/interpreting.parquet", written.health_interpreting),
        ("education/interpreting.parquet", written.education_interpreting),
        ("truth.parquet", written.truth),
    ] {
        writeln!(stdout, "{rows:>10} rows  {}", out.join(file).display())?;
    }
    Ok(())
}
