//! What an agency closes is closed for what it answered before, too: whether it is there or not.

use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, cite_release, get_release, run_query};
use firebreak_domain::ReleaseName;
use firebreak_tests::{Caller, Own, ask_until_answered, refusal_of, run};
use std::fs;
use std::time::Duration;

const AGENCY: &str = "health-agency";

fn ask(sql: &str) -> Result<Ask> {
    Ok(Ask::new("health-statistics", "health-planning", sql)?)
}

#[test]
fn what_an_agency_closes_is_not_given_again_either_and_no_release_of_it_is_found() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let by_region = ask("SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region")?;
        let by_kind = ask("SELECT kind, COUNT(*) AS n FROM health.visits GROUP BY kind")?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let mut names: Vec<ReleaseName> = Vec::new();
        for asked in [&by_region, &by_kind] {
            names.push(ask_until_answered(&ada, asked).await?.released.release_id.parse()?);
        }

        own.kill_adapter(AGENCY).await?;
        let file = own.federation.layout().adapter(AGENCY).join("adapter.toml");
        let before = fs::read_to_string(&file)?;
        fs::write(&file, format!("closed = [{{ dataset = \"health.visits\", column = \"region\" }}]\n{before}"))?;
        own.start_adapter(AGENCY).await?;
        let repeated = || Ok::<_, anyhow::Error>(Ask { sql: by_region.sql.clone(), ..ask("SELECT 1")? });
        // The gateway hears of it with the adapter's first words.
        let mut refused = None;
        for _ in 0..400 {
            match run_query(&ada, &repeated()?, &mut |_| {}).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(25)).await,
                Err(error) => {
                    refused = Some(refusal_of(Err::<(), _>(error))?.refusal);
                    break;
                }
            }
        }
        assert_eq!(refused.context("still given")?.reason, "CLOSED_BY_AGENCY");

        // It is remembered, whether the agency is there or not.
        own.kill_adapter(AGENCY).await?;
        own.kill_gateway().await?;
        own.start_gateway().await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        for asked in [by_region.clone(), repeated()?] {
            let refusal = refusal_of(run_query(&ada, &asked, &mut |_| {}).await)?.refusal;
            assert_eq!(refusal.reason, "CLOSED_BY_AGENCY");
        }
        let plain = Ask::without_question("health-statistics", "health-planning")?;
        let [by_region_name, by_kind_name] = names.as_slice() else { anyhow::bail!("two releases") };
        for refused in [
            refusal_of(get_release(&ada, &plain, *by_region_name, &mut |_| {}).await)?,
            refusal_of(cite_release(&ada, &plain, *by_region_name).await)?,
        ] {
            assert_eq!(refused.refusal.reason, "UNKNOWN_RELEASE");
        }
        // What is not closed is given as before.
        ensure!(!get_release(&ada, &plain, *by_kind_name, &mut |_| {}).await?.rows.is_empty());
        cite_release(&ada, &plain, *by_kind_name).await?;

        // Opened again, it is given again.
        fs::write(&file, before)?;
        own.start_adapter(AGENCY).await?;
        let plain = Ask::without_question("health-statistics", "health-planning")?;
        let mut given = get_release(&ada, &plain, *by_region_name, &mut |_| {}).await;
        for _ in 0..400 {
            if given.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
            given = get_release(&ada, &plain, *by_region_name, &mut |_| {}).await;
        }
        ensure!(!given.context("still closed")?.rows.is_empty());
        Ok(())
    })
}

#[test]
fn what_the_bindings_do_not_serve_is_refused_by_name_and_charged_nowhere() -> Result<()> {
    run(async {
        let mut own = Own::start(200, &[]).await?;
        own.kill_adapter(AGENCY).await?;
        let file = own.federation.layout().adapter(AGENCY).join("adapter.toml");
        let text = fs::read_to_string(&file)?;
        let kept = text.replace("\"bindings/health.visits.toml\", ", "");
        ensure!(kept.len() < text.len(), "{text}");
        fs::write(&file, kept)?;
        own.start_adapter(AGENCY).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let served = ask("SELECT COUNT(*) AS n FROM health.vaccinations")?;
        ask_until_answered(&ada, &served).await?;
        let spent = async || {
            let accounts = firebreak::client::get_budget(&ada, &"health-statistics".parse()?).await?;
            let rho = |account: &firebreak_wire::query::v1::Account| account.spent.as_ref().map(|s| s.rho_nano);
            Ok::<_, anyhow::Error>(accounts.iter().map(rho).collect::<Vec<_>>())
        };
        let before = spent().await?;
        let unbound = ask("SELECT COUNT(*) AS n FROM health.visits")?;
        let refused = refusal_of(run_query(&ada, &unbound, &mut |_| {}).await)?;
        assert_eq!(refused.refusal.reason, "NOT_SERVED");
        let detail = refused.refusal.metadata.get("detail").cloned().unwrap_or_default();
        assert_eq!(detail, "health.visits is bound to no file yet");
        assert_eq!(spent().await?, before);
        Ok(())
    })
}
