//! Groups of a column whose codes are not declared, from a caller to an agency's own file.

use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, get_budget, run_query, validate_query};
use firebreak_domain::{AgreementId, Clock, SystemClock};
use firebreak_policy::Validity;
use firebreak_testbed::Programs;
use firebreak_tests::{Caller, Own, ask_until_answered, refusal_of, run};
use std::collections::BTreeSet;
use std::fs;

const SQL: &str = "SELECT provision, COUNT(DISTINCT person) AS persons, ROUND(COUNT(*), -1) AS permits \
                   FROM immigration.permits GROUP BY provision ORDER BY persons DESC SETTINGS rho = 0.05";

fn ask(sql: &str) -> Result<Ask> {
    Ok(Ask::new("residence-statistics", "reception-planning", sql)?)
}

#[test]
fn common_codes_are_shown_rare_ones_are_not_and_delta_is_charged_once_to_all() -> Result<()> {
    run(async {
        let own = Own::start(2_000, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let said = validate_query(&ada, &ask(SQL)?, None).await?;
        let threshold = said.selection.context("no selection")?.threshold;
        ensure!(said.cost.context("no cost")?.delta_atto == 100_000_000, "δ is in the price");
        let answer = ask_until_answered(&ada, &ask(SQL)?).await?;
        let codes: Vec<&str> = answer.rows.iter().filter_map(|row| row.groups.first()).map(String::as_str).collect();
        // 1,200 persons stand in the register, about half of them under this one.
        ensure!(codes.first() == Some(&"24"), "{codes:?}");
        ensure!(codes.iter().collect::<BTreeSet<_>>().len() == codes.len(), "{codes:?}");
        let declared = ["24", "18a", "28", "16b", "55", "60a", "23.1"];
        ensure!(codes.iter().all(|code| declared.contains(code)), "a code of hardly anybody is shown: {codes:?}");
        for row in &answer.rows {
            let persons = row.estimates.first().and_then(|estimate| estimate.value).context("no persons")?;
            ensure!(persons >= threshold as f64, "{persons} is shown, below {threshold}");
        }
        ensure!(answer.accepted.selection == said.selection);
        ensure!(answer.released.estimand.contains(&format!("at least {threshold}")), "{}", answer.released.estimand);
        let all = answer.released.all_groups.context("how many codes there are is not said")?;
        let (number, error) = (all.value.context("no number")?, all.standard_error.context("no error")?);
        ensure!(number + 10.0 * error > codes.len() as f64, "{number} ± {error}");
        let accounts = get_budget(&ada, &AgreementId::new("residence-statistics")?).await?;
        let of_persons = accounts.iter().filter(|account| account.of.starts_with("every person of immigration"));
        let charged: Vec<u64> = of_persons.map(|account| account.spent.map_or(0, |spent| spent.delta_atto)).collect();
        ensure!(charged == [100_000_000; 2], "{charged:?}");
        // The same question is given again, to the persons for nothing.
        let again = ask_until_answered(&ada, &ask(SQL)?).await?;
        ensure!(again.released.release_id == answer.released.release_id && again.rows == answer.rows);
        Ok(())
    })
}

#[test]
fn an_agreement_under_a_pure_mechanism_has_no_groups_that_are_selected() -> Result<()> {
    run(async {
        let (federation, folder) = Own::prepare(300)?;
        let file = federation.layout().bundle().join("agreements/residence-statistics.toml");
        let text = fs::read_to_string(&file)?;
        fs::write(&file, text.replacen("discrete_gaussian", "discrete_laplace", 1))?;
        let now = SystemClock.now();
        let validity = Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(86_400) };
        federation.sign_bundle(1, None, validity)?;
        let live = federation.start(&Programs::built()?, &[]).await?;
        let own = Own::of(federation, live, folder);
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let refused = refusal_of(run_query(&ada, &ask(SQL)?, &mut |_| {}).await)?.refusal;
        ensure!(refused.reason == "NOT_GROUPABLE", "{}", refused.reason);
        let declared = "SELECT status, COUNT(*) AS n FROM immigration.permits GROUP BY status";
        ensure!(!ask_until_answered(&ada, &ask(declared)?).await?.rows.is_empty());
        Ok(())
    })
}
