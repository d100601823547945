use super::*;
use crate::bounded::{PERSON, RankingKey, view};
use crate::source;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Int64Type, UInt32Type};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use firebreak_domain::Binding;
use std::collections::BTreeMap;
use std::fmt::Write;

const CONTRACT: &str = r#"
format = 1
id = "health.visits"
title = "Visits"
description = "Visits to clinics"
controller = "Health"
agency = "health"
population = "patients"
unit_space = { id = "health.persons", register_size = 3000000, rho_per_year = 1000000000, rho_for_life = 4000000000 }
contribution = { rows_per_person = 2 }
cuts = ["2024-Q4"]

[[column]]
name = "person"
label = "person"
definition = "the agency's own key"
role = "privacy_unit"
domain = { type = "text" }

[[column]]
name = "cost"
label = "cost"
definition = "cost of the visit"
role = "measure"
domain = { type = "integer", min = 0, max = 100000 }
"#;
const BINDING: &str = r#"
format = 1
dataset = "health.visits"
cut = [{ id = "2024-Q4", file = "visits.csv" }]
"#;
/// By which persons are dealt out to six parts.
const PERSONS: usize = 500;

fn toml<T: serde::de::DeserializeOwned>(text: &str) -> T {
    toml::from_str(text).unwrap()
}

fn key() -> RankingKey {
    RankingKey::new([7; 32])
}

/// A file in which the persons have from none to four rows each, in no order, some of them alike.
fn file(folder: &Path) {
    let mut text = String::from("person,cost\n");
    for turn in 0..4 {
        for person in (0..PERSONS).filter(|person| person % 5 > turn) {
            writeln!(text, "p{person},{}", if person % 2 == 0 { person } else { person + 1_000 * turn }).unwrap();
        }
    }
    fs::write(folder.join("visits.csv"), text).unwrap();
}

/// The costs of each person's rows, as a view numbers them: the persons' own order tells nothing.
fn by_person(view: &RecordBatch) -> Vec<Vec<i64>> {
    let persons = view.column_by_name(PERSON).unwrap().as_primitive::<UInt32Type>();
    let costs = view.column_by_name("cost").unwrap().as_primitive::<Int64Type>();
    let mut rows: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
    for (person, cost) in persons.values().iter().zip(costs) {
        rows.entry(*person).or_default().push(cost.unwrap());
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.iter_mut().for_each(|rows| rows.sort_unstable());
    rows.sort_unstable();
    rows
}

fn read(file: &ViewFile) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file.path()).unwrap()).unwrap();
    let schema = reader.schema().clone();
    concat_batches(&schema, &reader.build().unwrap().map(Result::unwrap).collect::<Vec<_>>()).unwrap()
}

#[tokio::test]
async fn a_view_that_is_made_in_parts_keeps_the_rows_that_one_made_at_once_keeps() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path());
    let views = Views::open(&folder.path().join("views")).unwrap();
    for binding in [BINDING.to_owned(), BINDING.replace("format = 1", "format = 1\nrow_is_person = true")] {
        let (contract, binding): (Contract, Binding) = (toml(CONTRACT), toml(&binding));
        let cut = contract.latest_cut().unwrap();
        let rows = source::read(&contract, &binding, folder.path(), cut).await.unwrap();
        let at_once = view(&contract, &rows, &key()).unwrap();
        let made = make(&views, &[Source { contract: &contract, binding: &binding }], folder.path(), cut, key())
            .await
            .unwrap();
        let in_parts = read(&made);
        assert_eq!(in_parts.schema().fields(), at_once.schema().fields());
        assert_eq!(by_person(&in_parts), by_person(&at_once));
        let whole = if binding.row_is_person { 1_000 } else { 700 };
        assert_eq!(at_once.num_rows(), whole, "persons with more rows than two keep two");
    }
}

#[tokio::test]
async fn a_file_of_a_view_is_its_owners_alone_and_goes_with_it_and_those_of_an_earlier_run_go_first() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    file(folder.path());
    let kept = folder.path().join("views");
    let views = Views::open(&kept).unwrap();
    let (contract, binding): (Contract, Binding) = (toml(CONTRACT), toml(BINDING));
    let cut = contract.latest_cut().unwrap();
    let made =
        make(&views, &[Source { contract: &contract, binding: &binding }], folder.path(), cut, key()).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&kept), mode(made.path())), (0o700, 0o600));
    let files = || fs::read_dir(&kept).unwrap().count();
    assert_eq!(files(), 1, "what was dealt out has no name");
    drop(made);
    assert_eq!(files(), 0);
    fs::write(kept.join("left by a killed run"), "rows").unwrap();
    Views::open(&kept).unwrap();
    assert_eq!(files(), 0);
}

#[test]
fn where_a_view_is_kept_follows_from_what_its_contract_declares() {
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(&folder.path().join("views")).unwrap();
    // Six million rows of a person and a cost.
    assert!(views.in_memory(&[toml(CONTRACT)]));
    assert!(!views.in_memory(&[toml(&CONTRACT.replace("3000000", "9000000"))]));
    assert!(!views.with_most_in_memory(1).in_memory(&[toml(CONTRACT)]));
}
