//! Files that change underneath an agency: a cut is what was read of it, until the adapter starts again.

use super::{AGENCY, PRICE, ask, lost};
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{Ask, ClientError, Connection, QueryAnswer, describe_dataset, run_query, validate_query};
use firebreak_domain::{CutId, Rho};
use firebreak_tests::{Caller, Own, ask_until_answered, passes, run, with_rows};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::sleep;

const LATEST: &str = "health/visits.parquet";
const EARLIER: &str = "2024-Q3";
/// In keys of persons who were made up, and to be read nowhere.
const CANARY: &str = "canary-4711";
const MADE_UP: u32 = 10;

fn file(own: &Own, name: &str) -> PathBuf {
    own.federation.layout().population().join(name)
}

/// Asks what cannot be answered until it fails, and gives what it says.
async fn failure(connection: &Connection, ask: &Ask) -> Result<String> {
    for _ in 0..200 {
        match run_query(connection, ask, &mut |_| {}).await {
            Ok(_) => bail!("answered from a file that cannot be read"),
            Err(error @ ClientError::Failed { .. }) => return Ok(error.to_string()),
            Err(error) if passes(&error) => sleep(Duration::from_millis(25)).await,
            Err(error) => return Err(error.into()),
        }
    }
    bail!("it neither fails nor is answered")
}

#[test]
fn a_file_that_cannot_be_read_any_more_is_a_clear_error_charged_once_and_answered_when_it_is_back() -> Result<()> {
    run(async {
        let mut own = Own::start(200, &[]).await?;
        let earlier = file(&own, &format!("health/{EARLIER}/visits.parquet"));
        let (latest, other) = (file(&own, LATEST), file(&own, "health/vaccinations.parquet"));
        let [whole, of_latest, other] = [fs::read(&earlier)?, fs::read(&latest)?, fs::read(other)?];
        // Truncated, overwritten, and another table: a good file whose columns are not the contract's.
        let damages = [whole[..whole.len() / 2].to_vec(), vec![0x5a; whole.len()], other];
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let mut failed: Vec<(Ask, String)> = Vec::new();
        for (number, damaged) in (1..).zip(&damages) {
            own.kill_adapter(AGENCY).await?;
            fs::write(&earlier, damaged)?;
            fs::write(&latest, &of_latest)?;
            own.start_adapter(AGENCY).await?;
            fs::write(&latest, damaged)?;
            // The latest cut was read when the adapter started, and is answered as it was.
            ask_until_answered(&ada, &ask(10 + number)?).await?;
            let ask = Ask { cut: Some(CutId::new(EARLIER)?), ..ask(number)? };
            let said = failure(&ada, &ask).await?;
            ensure!(said.contains("costs nothing more"), "{said}");
            for detail in ["parquet", "/", "vaccine", "cost ", "ZZ"] {
                ensure!(!said.contains(detail), "{said}");
            }
            failed.push((ask, said));
        }
        // What is wrong with the file is the agency's own affair.
        ensure!(failed.iter().all(|(_, said)| *said == failed[0].1), "the failures differ in what they say");
        fs::write(&earlier, &whole)?;
        fs::write(&latest, &of_latest)?;
        let before = lost(&ada).await?;
        assert_eq!(before, 2 * damages.len() as u64 * PRICE, "each was charged once");
        // It is read again by itself.
        let mut tries = 0;
        while run_query(&ada, &failed[0].0, &mut |_| {}).await.is_err() {
            tries += 1;
            ensure!(tries < 600, "a file that is back is not read");
            sleep(Duration::from_millis(100)).await;
        }
        for (ask, _) in &failed {
            assert_eq!(ask_until_answered(&ada, ask).await?.rows.len(), 1);
        }
        assert_eq!(lost(&ada).await?, before, "under their own ids they cost nothing more");
        Ok(())
    })
}

/// The whole of the visits, at a price of its own each time.
fn all_visits(rho: u64) -> Result<Ask> {
    let sql = "SELECT COUNT(*) AS n FROM health.visits";
    Ok(Ask { rho: Some(Rho::from_nano(rho)), ..Ask::new("health-statistics", "health-planning", sql)? })
}

fn figure(answer: &QueryAnswer) -> Result<f64> {
    let estimate = answer.rows.first().and_then(|row| row.estimates.first()).context("no figure")?;
    estimate.value.context("no value")
}

/// At ρ = 0.04 the error of a count is 21: a figure is off by 150 once in 10¹² draws.
#[test]
fn other_rows_in_a_file_change_neither_what_was_released_nor_the_cut_that_was_read_and_no_price() -> Result<()> {
    run(async {
        let mut own = Own::start(600, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let first = ask_until_answered(&ada, &all_visits(50_000_000)?).await?;
        let before = figure(&first)?;
        ensure!(before > 320.0, "{before} visits cannot be told from {MADE_UP}");
        let told = async |rho| {
            let said = validate_query(&ada, &all_visits(rho)?, None).await?;
            Ok::<_, anyhow::Error>((said, describe_dataset(&ada, "health.visits").await?))
        };
        let said = told(40_000_000).await?;
        let key = |row: u32| format!("{CANARY}-{row}");
        with_rows(&file(&own, LATEST), MADE_UP, &[("person_key", &key)])?;

        for restarted in [false, true] {
            if restarted {
                own.kill_adapter(AGENCY).await?;
                own.start_adapter(AGENCY).await?;
            }
            // What was released stays, for nothing, and nothing that is told beforehand has changed.
            let spent = lost(&ada).await?;
            let again = ask_until_answered(&ada, &all_visits(50_000_000)?).await?;
            assert_eq!((&again.rows, &again.released.release_id), (&first.rows, &first.released.release_id));
            assert_eq!(lost(&ada).await?, spent);
            assert_eq!(told(40_000_000).await?, said);

            // The cut keeps its name. What is asked anew is about the rows that were read when the adapter started.
            let price = if restarted { 40_000_000 } else { 45_000_000 };
            let fresh = ask_until_answered(&ada, &all_visits(price)?).await?;
            assert_eq!(lost(&ada).await?, spent + price);
            assert_eq!(fresh.accepted.cut, first.accepted.cut);
            let wanted = if restarted { f64::from(MADE_UP) } else { before };
            let found = figure(&fresh)?;
            ensure!((found - wanted).abs() < 150.0, "{found}, and not {wanted}, restarted: {restarted}");
        }
        let log = own.federation.layout().adapter(AGENCY).join("adapter.log");
        ensure!(!fs::read_to_string(log)?.contains(CANARY), "the adapter's log names a person");
        Ok(())
    })
}
