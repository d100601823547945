//! Disks that are full, files that change underneath and contracts that are edited while in use: a clear error, nothing
//! lost, loss never undercounted.

mod files;

use crate::bundles::{heard, lengths};
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{Ask, ClientError, Connection, QueryAnswer, get_loss, run_query};
use firebreak_audit::{LeafKind, verified_leaves};
use firebreak_domain::{Clock, Rho, SystemClock};
use firebreak_policy::Validity;
use firebreak_testbed::{Federation, Programs};
use firebreak_tests::{Caller, Own, ask_until_answered, change_contract, offered_digest, passes, run};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

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

/// The standard error of a count at [`PRICE`], of so many rows of a person: m/√(2ρ), of the discrete Gaussian.
fn error_of(rows: u32) -> f64 {
    f64::from(rows) / (2.0 * PRICE as f64 * 1e-9).sqrt()
}

/// How many rows of a person the contract allows under which an answer was given.
fn rows_under(answer: &QueryAnswer) -> Result<u32> {
    let estimate = answer.rows.first().and_then(|row| row.estimates.first()).context("no figure")?;
    let error = estimate.standard_error.context("no error")?;
    let near = |rows: &u32| (error / error_of(*rows) - 1.0).abs() < 0.01;
    (1..=6).find(near).with_context(|| format!("{error} is the error of no contract"))
}

/// What an agency's leaves in the log say that it charged, and how many releases those are.
fn charged(federation: &Federation) -> Result<(u64, u64)> {
    let (mut rho, mut releases) = (0, 0);
    verified_leaves(&federation.layout().log(), &federation.log_key().parse()?, |_, signed| {
        let leaf = signed.leaf();
        if leaf.kind == LeafKind::Release && leaf.signer_org.as_str() == AGENCY {
            rho += leaf.charge.rho.nano();
            releases += 1;
        }
    })?;
    Ok((rho, releases))
}

/// Whether an error says that the same may be asked again, or that it means something else by now.
fn is_clear(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(refused) => ["EVIDENCE_OUTSTANDING", "AGENCY_UNAVAILABLE", "REQUEST_ID_REUSED"]
            .contains(&refused.refusal.reason.as_str()),
        ClientError::Failed { .. } => error.to_string().contains("under a new request id"),
        _ => false,
    }
}

/// A question, who asked it, and what came.
type Ended = (Connection, Ask, Result<QueryAnswer, ClientError>);

/// Asks one question of its own after the other until it is told to stop.
async fn asked_until(stop: Arc<AtomicBool>, number: Arc<AtomicU32>, connection: Connection) -> Result<Vec<Ended>> {
    let mut ended = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let ask = ask(number.fetch_add(1, Ordering::SeqCst))?;
        let outcome = run_query(&connection, &ask, &mut |_| {}).await;
        ended.push((connection.clone(), ask, outcome));
    }
    Ok(ended)
}

#[test]
fn a_contract_edited_while_questions_run_gives_answers_under_it_or_clear_errors_and_undercounts_no_loss() -> Result<()>
{
    run(async {
        let own = Own::start(200, &[]).await?;
        let federation = &own.federation;
        let ada = Caller::ADA.connect(federation, own.live.address).await?;
        assert_eq!(rows_under(&ask_until_answered(&ada, &ask(1)?).await?)?, 6);
        let (stop, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(2)));
        let mut asking = JoinSet::new();
        for id in ["ada", "bob", "eve"] {
            let connection = Caller("nso", "analyst", id).connect(federation, own.live.address).await?;
            asking.spawn(asked_until(Arc::clone(&stop), Arc::clone(&number), connection));
        }
        for (sequence, rows) in [(2, 5), (3, 4), (4, 3)] {
            let previous = offered_digest(federation)?;
            let since = lengths(federation)?;
            change_contract(federation, "health.visits", &[("rows_per_person", &rows.to_string())])?;
            let now = SystemClock.now();
            let validity = Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(86_400) };
            federation.sign_bundle(sequence, Some(previous), validity)?;
            heard(federation, &since, 0, "accepted").await?;
        }
        // Whatever is asked from here on is asked under the last.
        assert_eq!(rows_under(&ask_until_answered(&ada, &ask(100_000)?).await?)?, 3);
        stop.store(true, Ordering::SeqCst);
        let ended = asking.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;

        let (mut answered, mut under, mut failed) = (2, BTreeSet::new(), Vec::new());
        for (connection, ask, outcome) in ended.into_iter().flatten() {
            match outcome {
                Ok(answer) => {
                    answered += 1;
                    under.insert(rows_under(&answer)?);
                }
                Err(error) => {
                    ensure!(is_clear(&error), "{error}");
                    failed.push((connection, ask, error));
                }
            }
        }
        ensure!(under.contains(&6) && under.iter().all(|rows| (3..=6).contains(rows)), "{under:?}");
        ensure!(answered > 5, "{answered} answers only");
        // Sent again, what failed is answered, or refused because it means something else by now.
        for (connection, ask, first) in &failed {
            match ask_until_answered(connection, ask).await {
                Ok(answer) => {
                    rows_under(&answer)?;
                    answered += 1;
                }
                Err(ClientError::Refused(refused)) if refused.refusal.reason == "REQUEST_ID_REUSED" => {}
                Err(error) => bail!("{first}; then {error}"),
            }
        }
        let loss = lost(&ada).await?;
        ensure!(loss >= answered * PRICE, "{loss} is less than {answered} answers");
        for _ in 0..100 {
            // A tile of the checkpoint that was read first may be gone by now.
            if let Ok((rho, releases)) = charged(federation)
                && releases >= answered
            {
                ensure!(loss >= rho, "{loss} is less than the {rho} of {releases} releases of the agency");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the agency's leaves did not reach the log")
    })
}
