//! What the answers should have been: possible only because nobody in this population exists.

use agency_adapter::bounded::{RankingKey, kept_rows};
use agency_adapter::source::{MISSING, Rows, read};
use anyhow::{Context, Result};
use firebreak_domain::{Binding, Contract, CutId};
use firebreak_store::StateKey;
use firebreak_testbed::{CUT, Federation};
use std::collections::BTreeMap;
use std::collections::HashSet;

/// A dataset as its agency holds it, and which of its rows the bounded view keeps.
pub struct Truth {
    rows: Rows,
    contract: Contract,
    kept: Vec<u32>,
}

/// What is computed for each group.
#[derive(Clone, Copy)]
pub enum Figure {
    /// Distinct persons.
    Persons,
    /// The mean of a column.
    Mean(&'static str),
    /// The share of rows in which a column has a code.
    Share(&'static str, &'static str),
}

impl Truth {
    /// Reads an agency's file and its secret, as nobody but the agency could.
    pub async fn of(federation: &Federation, agency: &str, folder: &str, dataset: &str) -> Result<Self> {
        let layout = federation.layout();
        let contract = std::fs::read_to_string(layout.bundle().join(format!("contracts/{dataset}.toml")))?;
        let contract: Contract = toml::from_str(&contract)?;
        let binding = std::fs::read_to_string(layout.adapter(agency).join(format!("bindings/{dataset}.toml")))?;
        let binding: Binding = toml::from_str(&binding)?;
        let folder = layout.population().join(folder);
        let rows = read(&contract, &binding, &folder, &CutId::new(CUT)?).await?;
        let key = StateKey::load_or_create(&layout.adapter(agency).join("state.key"))?;
        let key = RankingKey::of(&key.secret("row ranking"), &contract.unit_space.id);
        let kept = kept_rows(&rows, contract.contribution.rows_per_person, &key);
        Ok(Self { rows, contract, kept })
    }

    /// The figure by group: over the bounded view, and over the whole file, values clamped in both.
    pub fn figures(&self, group: Option<&str>, figure: Figure) -> Result<BTreeMap<String, (f64, f64)>> {
        let all: Vec<u32> = (0..self.rows.persons.len() as u32).collect();
        let bounded = self.figure(&self.kept, group, figure)?;
        let whole = self.figure(&all, group, figure)?;
        Ok(whole
            .into_iter()
            .map(|(code, whole)| {
                let bounded = bounded.get(&code).copied().unwrap_or_default();
                (code, (bounded, whole))
            })
            .collect())
    }

    fn figure(&self, rows: &[u32], group: Option<&str>, figure: Figure) -> Result<BTreeMap<String, f64>> {
        let values = |name: &str| {
            let column = self.rows.columns.iter().find(|c| c.name().as_str() == name);
            column.map(|c| c.values()).context("no such column")
        };
        let codes =
            |name: &str| Ok::<_, anyhow::Error>(self.contract.column(name).context("no such column")?.domain.codes());
        let groups = group.map(|g| Ok::<_, anyhow::Error>((values(g)?, codes(g)?))).transpose()?;
        let group_of = |row: usize| match &groups {
            None => Some(String::new()),
            Some((values, codes)) => {
                let value = values.get(row).copied().filter(|v| *v != MISSING)?;
                codes.get(usize::try_from(value).ok()?).cloned()
            }
        };
        let mut persons: BTreeMap<String, HashSet<u32>> = BTreeMap::new();
        let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for row in rows.iter().map(|r| *r as usize) {
            let Some(group) = group_of(row) else { continue };
            match figure {
                Figure::Persons => {
                    persons.entry(group).or_default().insert(self.rows.persons.get(row).copied().unwrap_or_default());
                }
                Figure::Mean(column) => {
                    let value = values(column)?.get(row).copied().filter(|v| *v != MISSING);
                    let decimals =
                        self.contract.column(column).and_then(|c| c.domain.fixed_point_bounds()).map_or(0, |b| b.2);
                    if let Some(value) = value {
                        let sum = sums.entry(group).or_default();
                        *sum = (sum.0 + value as f64 / 10_f64.powi(i32::from(decimals)), sum.1 + 1.0);
                    }
                }
                Figure::Share(column, code) => {
                    let place = codes(column)?.iter().position(|c| c == code).context("no such code")? as i64;
                    let hit = values(column)?.get(row).is_some_and(|v| *v == place);
                    let sum = sums.entry(group).or_default();
                    *sum = (sum.0 + f64::from(u8::from(hit)), sum.1 + 1.0);
                }
            }
        }
        Ok(match figure {
            Figure::Persons => persons.into_iter().map(|(g, p)| (g, p.len() as f64)).collect(),
            Figure::Mean(_) | Figure::Share(..) => sums.into_iter().map(|(g, (sum, n))| (g, sum / n)).collect(),
        })
    }
}
