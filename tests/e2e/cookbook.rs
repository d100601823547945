//! R34: every recipe of the cookbook is answered as it stands.

use anyhow::{Context, Result, ensure};
use firebreak::client::Ask;
use firebreak_tests::{Caller, Own, ask_until_answered, run};

/// A statement of the cookbook, with the agreement and purpose under which it stands.
struct Recipe {
    agreement: String,
    purpose: String,
    sql: String,
}

fn recipes(text: &str) -> Result<Vec<Recipe>> {
    let mut recipes = Vec::new();
    let (mut agreement, mut purpose) = (String::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("Under agreement `") {
            let (named, rest) = rest.split_once('`').context("no agreement")?;
            let rest = rest.strip_prefix(" for purpose `").context("no purpose")?;
            agreement = named.to_owned();
            purpose = rest.trim_end_matches("`.").to_owned();
        }
        if line == "```sql" {
            let sql: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            recipes.push(Recipe { agreement: agreement.clone(), purpose: purpose.clone(), sql: sql.join("\n") });
        }
    }
    Ok(recipes)
}

#[test]
fn every_recipe_of_the_cookbook_is_answered() -> Result<()> {
    run(async {
        let recipes = recipes(include_str!("../../docs/COOKBOOK.md"))?;
        ensure!(recipes.len() >= 15, "{} recipes", recipes.len());
        let own = Own::start(2_000, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let mut releases = std::collections::BTreeMap::new();
        for Recipe { agreement, purpose, sql } in &recipes {
            let ask = Ask::new(agreement, purpose, sql).with_context(|| sql.clone())?;
            let answer = ask_until_answered(&ada, &ask).await.with_context(|| sql.clone())?;
            ensure!(sql.contains("HAVING") || !answer.rows.is_empty(), "no rows: {sql}");
            let computed = answer.rows.iter().flat_map(|row| &row.estimates).any(|estimate| estimate.value.is_some());
            ensure!(computed || answer.rows.is_empty(), "nothing is computable: {sql}");
            if let Some(limit) = sql.lines().find_map(|line| line.strip_prefix("LIMIT ")) {
                assert_eq!(answer.rows.len(), limit.parse::<usize>()?, "{sql}");
            }
            *releases.entry(answer.released.release_id.clone()).or_insert(0) += 1;
        }
        // FILTER and CASE are one question, whose release is given again.
        ensure!(releases.values().any(|times| *times == 2), "no recipe repeats another");
        Ok(())
    })
}
