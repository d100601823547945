//! Ledgers that were set back or opened twice.

use anyhow::{Context, Result};
use firebreak::client::{Ask, run_query};
use firebreak_testbed::{Program, Programs};
use firebreak_tests::{Caller, Own, ask_until_answered, copy_folder, passes, refusal_of, run};
use std::path::Path;
use std::time::Duration;

const HEALTH: &str = "health-agency";

fn about_health(least: u32) -> Result<Ask> {
    let sql = format!("SELECT COUNT(*) AS n FROM health.visits WHERE cost >= {least}");
    Ok(Ask::new("health-statistics", "health-planning", &sql)?)
}

fn about_education(least: u32) -> Result<Ask> {
    let sql = format!("SELECT COUNT(*) AS n FROM education.enrolments WHERE weekly_hours >= {least}");
    Ok(Ask::new("education-statistics", "school-planning", &sql)?)
}

/// Puts a copy of a state folder in the folder's place.
fn restore(copy: &Path, state: &Path) -> Result<()> {
    std::fs::remove_dir_all(state)?;
    copy_folder(copy, state)
}

/// Offers a bundle that nobody takes up: programs sign a leaf that says so under whatever ledger they have.
fn offer_what_is_rejected(own: &Own) -> Result<()> {
    Ok(std::fs::write(own.federation.layout().bundle().join("stray.txt"), "no file of a bundle")?)
}

/// Asks until the refusal is one that stays.
async fn lasting_refusal(own: &Own, ask: &Ask) -> Result<String> {
    let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
    for _ in 0..200 {
        match run_query(&ada, ask, &mut |_| {}).await {
            Err(error) if passes(&error) => tokio::time::sleep(Duration::from_millis(50)).await,
            ended => return Ok(refusal_of(ended)?.refusal.reason),
        }
    }
    anyhow::bail!("no lasting refusal came")
}

/// Waits until the agency's newest leaf is confirmed, so that the log knows of it.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1200)).await;
}

#[test]
fn a_ledger_restored_from_yesterday_answers_nothing_new() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        ask_until_answered(&ada, &about_health(10)?).await?;
        ask_until_answered(&ada, &about_education(1)?).await?;

        let state = own.federation.layout().adapter(HEALTH).join("state");
        let copies = tempfile::tempdir()?;
        let copy = copies.path().join("adapter");
        own.kill_adapter(HEALTH).await?;
        copy_folder(&state, &copy)?;
        own.start_adapter(HEALTH).await?;
        ask_until_answered(&ada, &about_health(11)?).await?;
        settle().await;
        own.kill_adapter(HEALTH).await?;
        let today = copies.path().join("today");
        copy_folder(&state, &today)?;
        restore(&copy, &state)?;
        offer_what_is_rejected(&own)?;
        own.start_adapter(HEALTH).await?;
        assert_eq!(lasting_refusal(&own, &about_health(12)?).await?, "LEDGER_BEHIND_LOG");
        // The other agencies answer, and so does this one with its own ledger back.
        ask_until_answered(&ada, &about_education(2)?).await?;
        own.kill_adapter(HEALTH).await?;
        restore(&today, &state)?;
        own.start_adapter(HEALTH).await?;
        ask_until_answered(&ada, &about_health(13)?).await?;
        Ok(())
    })
}

#[test]
fn a_gateway_whose_ledger_was_restored_from_yesterday_answers_nothing_new() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        ask_until_answered(&ada, &about_health(10)?).await?;
        let state = own.federation.layout().gateway().join("state");
        let copies = tempfile::tempdir()?;
        let copy = copies.path().join("gateway");
        own.kill_gateway().await?;
        copy_folder(&state, &copy)?;
        own.start_gateway().await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        ask_until_answered(&ada, &about_health(11)?).await?;
        own.kill_gateway().await?;
        restore(&copy, &state)?;
        offer_what_is_rejected(&own)?;
        // The second start finds a leaf of policy that the first one signed.
        for _ in 0..2 {
            own.start_gateway().await?;
            assert_eq!(lasting_refusal(&own, &about_health(12)?).await?, "LEDGER_BEHIND_LOG");
            own.kill_gateway().await?;
        }
        own.start_gateway().await?;
        assert_eq!(lasting_refusal(&own, &about_education(3)?).await?, "LEDGER_BEHIND_LOG");
        Ok(())
    })
}

#[test]
fn a_second_program_on_a_state_folder_ends_with_a_clear_error_and_the_first_goes_on() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let layout = own.federation.layout();
        for (program, name, folder) in
            [(Program::Adapter, "adapter", layout.adapter(HEALTH)), (Program::Gateway, "gateway", layout.gateway())]
        {
            // The same configuration under another name, so that the second one's log is a file of its own.
            let second = folder.join("second.toml");
            std::fs::copy(folder.join(format!("{name}.toml")), &second)?;
            let mut started = Programs::built()?.start(program, &second)?;
            let ended = tokio::time::timeout(Duration::from_secs(20), started.wait()).await;
            assert!(!ended.context("the second program did not end")??.success());
            tokio::time::sleep(Duration::from_millis(200)).await;
            let log = std::fs::read_to_string(folder.join("second.log"))?;
            assert!(log.contains("in use by another running program"), "{log}");
        }
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        ask_until_answered(&ada, &about_health(10)?).await?;
        Ok(())
    })
}
