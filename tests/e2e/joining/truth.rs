//! What a join should count: possible only because nobody in this population exists.

use agency_adapter::bounded::{RankingKey, kept_rows};
use agency_adapter::source::{MISSING, read};
use anyhow::{Context, Result};
use firebreak_domain::{Binding, Contract, CutId, Domain};
use firebreak_population::{Register, TruthRow};
use firebreak_store::StateKey;
use firebreak_testbed::{CUT, Federation};
use std::collections::BTreeMap;

/// Of each identifier that one person of a dataset alone has, the code of that person's row that counts.
pub struct Labelled {
    pub by_number: BTreeMap<String, i64>,
    /// Persons whose first row by rank has no code: another of their rows may count.
    pub unsure: i64,
}

/// A dataset as its agency holds it, by `column`; without one, all persons have one label.
pub async fn labelled(
    federation: &Federation,
    (agency, folder, dataset): (&str, &str, &str),
    register: Register,
    column: Option<&str>,
) -> Result<Labelled> {
    let layout = federation.layout();
    let contract = std::fs::read_to_string(layout.bundle().join(format!("contracts/{dataset}.toml")))?;
    let contract: Contract = toml::from_str(&contract)?;
    let binding = std::fs::read_to_string(layout.adapter(agency).join(format!("bindings/{dataset}.toml")))?;
    let binding: Binding = toml::from_str(&binding)?;
    let rows = read(&contract, &binding, &layout.population().join(folder), &CutId::new(CUT)?).await?;
    let key = StateKey::load_or_create(&layout.adapter(agency).join("state.key"))?;
    let key = RankingKey::of(&key.secret("row ranking"), &contract.unit_space.id);
    let truth = federation.population().truth().filter(|row| row.register == register);
    let number = |row: TruthRow| Some((row.person_key, row.national_number?.to_string()));
    let numbers: BTreeMap<String, String> = truth.filter_map(number).collect();
    let mut found: BTreeMap<String, Option<Option<i64>>> = BTreeMap::new();
    for row in kept_rows(&rows, 1, &key) {
        let person = rows.person_of(row as usize).context("a row without a person")?;
        let Some(number) = numbers.get(person) else { continue };
        let code = match column {
            None => Some(0),
            Some(column) => {
                let column = rows.columns.iter().find(|c| c.name().as_str() == column).context("no such column")?;
                column.values().get(row as usize).copied().filter(|code| *code != MISSING)
            }
        };
        // An identifier that several persons have takes no part.
        found.entry(number.clone()).and_modify(|known| *known = None).or_insert(Some(code));
    }
    let alone: Vec<(String, Option<i64>)> =
        found.into_iter().filter_map(|(number, code)| Some((number, code?))).collect();
    let unsure = alone.iter().filter(|(_, code)| code.is_none()).count() as i64;
    let by_number = alone.into_iter().filter_map(|(number, code)| Some((number, code?))).collect();
    Ok(Labelled { by_number, unsure })
}

/// The codes that a column of a dataset declares, in order.
pub fn codes(federation: &Federation, dataset: &str, column: &str) -> Result<Vec<String>> {
    let contract = std::fs::read_to_string(federation.layout().bundle().join(format!("contracts/{dataset}.toml")))?;
    let contract: Contract = toml::from_str(&contract)?;
    let column = contract.column(column).context("no such column")?;
    match &column.domain {
        Domain::Category { codes, .. } => Ok(codes.iter().map(|code| code.code.clone()).collect()),
        _ => anyhow::bail!("not a column of codes"),
    }
}

/// The persons that both hold, by both codes.
pub fn joined(one: &Labelled, other: &Labelled) -> BTreeMap<(i64, i64), i64> {
    let mut counts = BTreeMap::new();
    for (number, left) in &one.by_number {
        if let Some(right) = other.by_number.get(number) {
            *counts.entry((*left, *right)).or_default() += 1;
        }
    }
    counts
}
