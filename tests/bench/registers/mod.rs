//! Two registers of any size for a match: the agencies' own files, with their rows repeated under other persons and
//! numbers.

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use firebreak_domain::{Clock, SystemClock};
use firebreak_policy::Validity;
use firebreak_policy::signing::sign_contract;
use firebreak_testbed::{AGENCIES, Federation};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

/// Rows written at a time.
const BLOCK: u32 = 8192;

/// Gives the sender's and the receiver's register of the sample's match so many persons each, one row a person. Half of
/// each are in both.
///
/// # Errors
/// Files that are not the sample's.
pub fn stretch(federation: &Federation, persons: u32) -> Result<()> {
    let data = federation.layout().population();
    rows(&data.join("health/visits.parquet"), ["person_key", "national_number"], 0, persons)?;
    rows(&data.join("education/enrolments.parquet"), ["pupil_no", "nat_id"], persons / 2, persons)?;
    for (agency, _, datasets) in AGENCIES {
        for dataset in datasets {
            let contract = federation.layout().bundle().join(format!("contracts/{dataset}.toml"));
            declare(&contract, persons)?;
            sign_contract(&contract, &federation.signing_key(agency)?)?;
        }
    }
    let now = SystemClock.now();
    let validity = Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(30 * 86_400) };
    federation.sign_bundle(1, None, validity)
}

fn declare(contract: &Path, persons: u32) -> Result<()> {
    let text = fs::read_to_string(contract)?;
    let line = text.lines().find(|line| line.starts_with("register_size = ")).context("no size is declared")?;
    Ok(fs::write(contract, text.replace(line, &format!("register_size = {persons}")))?)
}

/// Writes a file anew with `persons` rows, each of a person of its own, whose numbers begin at `first`.
fn rows(file: &Path, [key, number]: [&str; 2], first: u32, persons: u32) -> Result<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
    let schema = reader.schema().clone();
    let batches = reader.build()?.collect::<Result<Vec<_>, _>>()?;
    let sample = concat_batches(&schema, &batches)?;
    ensure!(sample.num_rows() > 0, "{} has no rows", file.display());
    let made = file.with_extension("made");
    let mut writer = ArrowWriter::try_new(File::create(&made)?, schema.clone(), None)?;
    let mut done = 0;
    while done < persons {
        let count = BLOCK.min(persons - done).min(u32::try_from(sample.num_rows())?);
        let slice = sample.slice(0, count as usize);
        let named = |prefix: &str| -> ArrayRef {
            let names = (0..count).map(|row| format!("{prefix}{:09}", first + done + row));
            Arc::new(StringArray::from_iter_values(names))
        };
        let columns = schema.fields().iter().zip(slice.columns()).map(|(field, column)| match field.name() {
            name if name == key => named("P"),
            name if name == number => named("N"),
            _ => Arc::clone(column),
        });
        writer.write(&RecordBatch::try_new(schema.clone(), columns.collect())?)?;
        done += count;
    }
    writer.close()?;
    Ok(fs::rename(made, file)?)
}
