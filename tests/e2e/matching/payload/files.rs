//! The same over the built programs, as an officer has it done on the command line.

use super::super::commands::{AGENCY, certificate, succeeds};
use super::{Rows, row};
use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray};
use firebreak_population::{Population, Register};
use firebreak_psi::Normaliser;
use firebreak_tests::{Own, run};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

/// The columns of text of a Parquet file, row by row; what is missing is empty.
fn texts(file: &Path, names: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
        let batch = batch?;
        let columns = names.iter().map(|name| {
            let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
            Ok(column.as_string::<i32>().clone())
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let value = |column: &arrow::array::StringArray, row: usize| {
            if column.is_null(row) { String::new() } else { column.value(row).to_owned() }
        };
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|column| value(column, row)).collect()));
    }
    Ok(rows)
}

/// What the officer's file is to hold, from the population's own truth and the sender's own file.
fn expected(population: &Population, pupils: &Path) -> Result<Rows> {
    let mut by_number: BTreeMap<Vec<u8>, Vec<Vec<String>>> = BTreeMap::new();
    for mut pupil in texts(pupils, &["national_number", "region", "language"])? {
        if let Some(number) = Normaliser::V1.normalise(&pupil.remove(0)) {
            by_number.entry(number.as_bytes().to_vec()).or_default().push(pupil);
        }
    }
    let patients = || population.truth().filter(|row| row.register == Register::Health);
    let mut carried: BTreeMap<String, usize> = BTreeMap::new();
    for number in patients().filter_map(|row| row.national_number) {
        *carried.entry(number.to_string()).or_default() += 1;
    }
    let mut rows = Rows::new();
    for patient in patients() {
        let Some(number) = patient.national_number.map(|number| number.to_string()) else { continue };
        let Some(pupils) = by_number.get(number.as_bytes()) else { continue };
        let values = match pupils.as_slice() {
            [pupil] if carried.get(&number) == Some(&1) => pupil.clone(),
            _ => row("", ""),
        };
        rows.insert(patient.person_key, values);
    }
    Ok(rows)
}

/// A row but for the columns that say by which key it was matched.
fn without_key(mut row: Vec<String>) -> Vec<String> {
    row.drain(1..row.len().min(3));
    row
}

#[test]
fn an_officer_gets_own_keys_with_the_columns_agreed_as_csv_and_as_parquet() -> Result<()> {
    run(async {
        let own = Own::start(4_000, &[]).await?;
        let pupils = own.federation.layout().population().join("education/pupils.parquet");
        let expected = expected(own.federation.population(), &pupils)?;
        let disclosed = expected.values().filter(|values| values.iter().any(|value| !value.is_empty())).count();
        ensure!(disclosed > 500 && disclosed < expected.len(), "{disclosed} of {} shows too little", expected.len());

        let authority = own.federation.layout().local_authority(AGENCY);
        let officer = certificate(&authority, "officer", own.federation.layout().root().join("officer"))?;
        let folder = tempfile::tempdir()?;
        let [csv, parquet] = ["letters.csv", "letters.parquet"].map(|name| folder.path().join(name));
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is no text");
        let (to_csv, to_parquet) = (text(&csv)?, text(&parquet)?);
        let asked = ["match", "--agreement", "vaccination-letters", "--purpose", "vaccination-round", "--out"];
        let done = succeeds(&own, &officer, &[&asked[..], &[to_csv.as_str()]].concat()).await?;
        ensure!(done.out.contains("Disclosed with columns"), "{}", done.out);
        let session = done.out.lines().find_map(|line| line.split_once("--session ")).context("no session")?.1;
        let again = ["matched", "--session", session, "--out", to_parquet.as_str()];
        succeeds(&own, &officer, &again).await?;

        let written = fs::read_to_string(&csv)?;
        let mut lines = written.split_terminator("\r\n").map(|line| line.split(',').map(str::to_owned));
        let heading: Vec<_> = lines.next().context("an empty file")?.collect();
        assert_eq!(heading, ["person_key", "match_key", "provisional", "region", "language"]);
        ensure!(written.matches(",number,false,").count() == expected.len(), "a person is not matched by the number");
        let of = |mut values: Vec<String>| (values.remove(0), values);
        let in_csv: Rows = lines.map(|line| of(without_key(line.collect()))).collect();
        let columns = ["person_key", "match_key", "provisional", "region", "language"];
        let in_parquet = texts(&parquet, &columns)?;
        ensure!(
            in_parquet.iter().all(|row| row.get(1..3) == Some(&["number", "false"].map(str::to_owned))),
            "another key"
        );
        let in_parquet: Rows = in_parquet.into_iter().map(|row| of(without_key(row))).collect();
        assert_eq!(in_csv, expected);
        assert_eq!(in_parquet, expected);
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&parquet)?)?;
        let told = reader.metadata().file_metadata().key_value_metadata().cloned().context("no metadata")?;
        ensure!(told.iter().any(|entry| entry.key == "delete_by"), "the day of deletion is not told: {told:?}");
        Ok(())
    })
}
