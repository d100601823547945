//! A register's visits, so many that no program holds them all: what its contract says, and its file.

use crate::{GROUPS, SQL};
use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Decimal128Array, RecordBatch, StringArray};
use firebreak_domain::{Binding, Contract};
use firebreak_query::{CheckedQuery, check, parse_sql};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

const FILE: &str = "visits.parquet";
/// Rows of most persons.
const FEW: u64 = 3;
/// Rows of one person in nine, of which not all may stay.
const MANY: u64 = 8;
const STAY: u64 = 6;
/// Rows of nine persons.
const OF_NINE: u64 = 8 * FEW + MANY;
/// Rows written at a time, and of a row group.
const WRITTEN: u64 = 128 * 1024;
/// Cents up to which a visit costs.
const MOST: u64 = 500_000;
/// Without a factor in common with any power of ten: times this, the numbers of rows come in another order.
const SCATTERS: u64 = 2_654_435_769;

/// What the contract says of visits of which a file has so many rows.
pub fn contract(rows: u64) -> Result<Contract> {
    let codes: Vec<String> = (0..GROUPS).map(|n| format!("{{ code = \"c{n}\", label = \"c{n}\" }}")).collect();
    let text = format!(
        r#"
format = 1
id = "health.visits"
title = "Visits"
description = "Visits to clinics"
controller = "Health"
agency = "health"
population = "patients"
unit_space = {{ id = "health.persons", register_size = {}, rho_per_year = 1000000000, rho_for_life = 4000000000 }}
contribution = {{ rows_per_person = {STAY} }}
cuts = ["2024-Q4"]

[[column]]
name = "person"
label = "person"
definition = "the agency's own key"
role = "privacy_unit"
domain = {{ type = "text" }}

[[column]]
name = "clinic"
label = "clinic"
definition = "the clinic"
role = "category"
domain = {{ type = "category", codes = [{}] }}

[[column]]
name = "cost"
label = "cost"
definition = "cost of the visit"
role = "measure"
domain = {{ type = "decimal", min = 0, max = {}, decimals = 2 }}
"#,
        rows.div_ceil(OF_NINE) * 9,
        codes.join(", "),
        MOST / 100,
    );
    Ok(toml::from_str(&text)?)
}

/// Where the agency has them.
pub fn binding() -> Result<Binding> {
    let cut = format!("cut = [{{ id = \"2024-Q4\", file = \"{FILE}\" }}]\n");
    Ok(toml::from_str(&format!("format = 1\ndataset = \"health.visits\"\n{cut}"))?)
}

/// The question, of those visits.
pub fn question(contract: &Contract) -> Result<CheckedQuery> {
    parse_sql(SQL).and_then(|query| check(&query, contract)).map_err(|refusal| anyhow::anyhow!("{refusal}"))
}

/// How many of so many rows, a multiple of [`OF_NINE`], are in the view.
pub const fn kept(rows: u64) -> u64 {
    rows / OF_NINE * (OF_NINE - MANY + STAY)
}

/// Writes the file, batch by batch. Rows of a person stand far from each other, as where they are sorted by day.
pub fn write(rows: u64, folder: &Path) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(WRITTEN as usize))
        .set_compression(Compression::SNAPPY)
        .build();
    let clinics: Vec<String> = (0..GROUPS).map(|n| format!("c{n}")).collect();
    let mut writer = None;
    for start in (0..rows).step_by(WRITTEN as usize) {
        let scattered = || (start..rows.min(start + WRITTEN)).map(|row| row * SCATTERS % rows);
        let person = |row: u64| {
            let (nine, place) = (row / OF_NINE, row % OF_NINE);
            format!("P{:09}", nine * 9 + (place / FEW).min(8))
        };
        let clinic = |row: u64| clinics.get((row % GROUPS as u64) as usize).map(String::as_str);
        let costs = Decimal128Array::from_iter_values(scattered().map(|row| i128::from(row * 7_919 % MOST)));
        let columns: [(&str, ArrayRef); 3] = [
            ("person", Arc::new(StringArray::from_iter_values(scattered().map(person)))),
            ("clinic", Arc::new(scattered().map(clinic).collect::<StringArray>())),
            ("cost", Arc::new(costs.with_precision_and_scale(12, 2)?)),
        ];
        let batch = RecordBatch::try_from_iter(columns)?;
        if writer.is_none() {
            let file = File::create(folder.join(FILE))?;
            writer = Some(ArrowWriter::try_new(file, batch.schema(), Some(properties.clone()))?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
        }
    }
    writer.context("no rows")?.close()?;
    Ok(())
}
