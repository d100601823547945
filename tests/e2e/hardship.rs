//! Disks that are full and files that change underneath: a clear error, nothing lost, loss never undercounted.

use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{Ask, ClientError, Connection, QueryAnswer, get_loss, run_query};
use firebreak_domain::{CutId, Rho};
use firebreak_testbed::Programs;
use firebreak_tests::{Caller, Own, ask_until_answered, passes, run};
use std::fs;
use std::path::{Path, PathBuf};

const AGENCY: &str = "health-agency";
/// More than a program that starts writes, and less than a few hundred answers.
const FULL: u64 = 1 << 20;
const MOST: u32 = 1500;
const PRICE: u64 = 10_000;

fn ask(number: u32) -> Result<Ask> {
    let sql = format!("SELECT COUNT(*) AS n FROM health.visits WHERE cost >= {number}");
    Ok(Ask { rho: Some(Rho::from_nano(PRICE)), ..Ask::new("health-statistics", "health-planning", &sql)? })
}

async fn lost(connection: &Connection) -> Result<u64> {
    Ok(get_loss(connection).await?.together.map_or(0, |charge| charge.rho_nano))
}

/// Asks one question after the other until one is not answered, and gives how many were, and the failure.
async fn until_it_fails(connection: &Connection, from: u32) -> Result<(Vec<(Ask, QueryAnswer)>, Ask, ClientError)> {
    let mut answered = Vec::new();
    for number in from..from + MOST {
        let ask = ask(number)?;
        match run_query(connection, &ask, &mut |_| {}).await {
            Ok(answer) => answered.push((ask, answer)),
            Err(error) => return Ok((answered, ask, error)),
        }
    }
    bail!("{MOST} questions were answered on a full disk")
}

#[test]
fn a_full_disk_is_a_clear_error_and_neither_loses_an_answer_nor_undercounts_a_loss() -> Result<()> {
    run(async {
        let mut own = Own::start(200, &[]).await?;
        let full = Programs::built()?.with_files_up_to(FULL);
        let mut paid = 0;
        for at_gateway in [false, true] {
            let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
            // Both programs are up and know each other before one of them runs out of room.
            let first = ask(if at_gateway { 5000 } else { 1 })?;
            ask_until_answered(&ada, &first).await?;
            paid += 1;
            if at_gateway {
                own.kill_gateway().await?;
                own.start_gateway_by(&full).await?;
            } else {
                own.kill_adapter(AGENCY).await?;
                own.start_adapter_by(&full, AGENCY).await?;
            }
            let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
            ask_until_answered(&ada, &ask(if at_gateway { 5001 } else { 2 })?).await?;
            paid += 1;
            let (answered, failed, error) = until_it_fails(&ada, if at_gateway { 5002 } else { 3 }).await?;
            ensure!(!answered.is_empty(), "nothing was answered before the disk was full: {error}");
            let said = error.to_string();
            ensure!(passes(&error), "{said}");
            for detail in ["sqlite", "state", "SELECT", "/"] {
                ensure!(!said.contains(detail), "{said}");
            }
            paid += answered.len() as u64;

            if at_gateway {
                own.kill_gateway().await?;
                own.start_gateway().await?;
            } else {
                own.kill_adapter(AGENCY).await?;
                own.start_adapter(AGENCY).await?;
            }
            let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
            let then = lost(&ada).await?;
            ensure!(then >= paid * PRICE, "{then} is less than {paid} answers");
            // What failed is answered under its own id and charged once, and every answer is still there.
            ask_until_answered(&ada, &failed).await?;
            paid += 1;
            assert_eq!(lost(&ada).await?, paid * PRICE, "{said}");
            for (ask, answer) in [answered.first(), answered.last()].into_iter().flatten() {
                assert_eq!(ask_until_answered(&ada, ask).await?.rows, answer.rows);
            }
            assert_eq!(lost(&ada).await?, paid * PRICE);
        }
        Ok(())
    })
}

/// The files of that name below a folder.
fn named(folder: &Path, name: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            named(&path, name, found)?;
        } else if path.file_name().is_some_and(|file| file == name) {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn a_file_that_changes_underneath_is_a_clear_error_charged_once_and_answered_when_it_is_back() -> Result<()> {
    run(async {
        let own = Own::start(200, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let mut files = Vec::new();
        named(own.federation.layout().root(), "visits.parquet", &mut files)?;
        let whole: Vec<Vec<u8>> = files.iter().map(fs::read).collect::<Result<_, _>>()?;
        ensure!(!files.is_empty(), "the visits have no file");
        let mut failed = None;
        let half: fn(&[u8]) -> Vec<u8> = |bytes| bytes[..bytes.len() / 2].to_vec();
        let other: fn(&[u8]) -> Vec<u8> = |bytes| vec![0x5a; bytes.len()];
        for (number, damage) in [(1, half), (2, other)] {
            for (file, bytes) in files.iter().zip(&whole) {
                fs::write(file, damage(bytes))?;
            }
            // The latest cut was read when the adapter started, and is answered as it was; an earlier one is read now.
            ask_until_answered(&ada, &ask(10 + number)?).await?;
            let ask = Ask { cut: Some(CutId::new("2024-Q3")?), ..ask(number)? };
            let mut tries = 0;
            let error = loop {
                match run_query(&ada, &ask, &mut |_| {}).await {
                    Ok(_) => bail!("answered from a damaged file"),
                    Err(ClientError::Refused(refused)) if tries < 200 => {
                        ensure!(refused.refusal.reason == "EVIDENCE_OUTSTANDING", "{:?}", refused.refusal);
                        tries += 1;
                        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
                    }
                    Err(error) => break error,
                }
            };
            let said = error.to_string();
            ensure!(matches!(error, ClientError::Failed { .. }) && said.contains("costs nothing more"), "{said}");
            ensure!(!said.contains("parquet") && !said.contains('/'), "{said}");
            failed = Some(ask);
        }
        for (file, bytes) in files.iter().zip(&whole) {
            fs::write(file, bytes)?;
        }
        let before = lost(&ada).await?;
        assert_eq!(before, 4 * PRICE, "each was charged once");
        let failed = failed.context("nothing failed")?;
        let answered = ask_until_answered(&ada, &failed).await?;
        assert_eq!(answered.rows.len(), 1);
        assert_eq!(lost(&ada).await?, before, "under its own id it costs nothing more");
        Ok(())
    })
}
