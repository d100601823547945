//! A ticket is good for half an hour, and no longer than what it was given under.

use super::client::Client;
use crate::bundles::clocked::Clocked;
use anyhow::{Context, Result, bail, ensure};
use arrow_flight::Ticket;
use firebreak_audit::verify_folder;
use firebreak_domain::{Clock, ReasonCode, SystemClock, Timestamp};
use firebreak_policy::Validity;
use firebreak_testbed::Federation;
use firebreak_tests::{run, verified_refusal};
use firebreak_wire::refusal_of_status;
use std::time::Duration;
use tonic::{Code, Status};

const DAY: i64 = 86_400;
const SQL: &str = "SELECT kind, COUNT(*) AS visits FROM health.visits GROUP BY kind";

/// The agreement of these tests ends with that day.
fn ends_with(federation: &Federation, day: Timestamp) -> Result<()> {
    let file = federation.layout().bundle().join("agreements/health-statistics-unsigned.toml");
    let day = day.date();
    let text = std::fs::read_to_string(&file)?;
    let changed = text.lines().map(|line| match line.split_once(" = ") {
        Some((key @ ("end" | "review"), _)) => format!("{key} = \"{day}\"\n"),
        _ => format!("{line}\n"),
    });
    Ok(std::fs::write(&file, changed.collect::<String>())?)
}

/// Shows a ticket until programs that have just started have found each other.
async fn shown(ada: &Client, ticket: &Ticket) -> Result<usize> {
    for _ in 0..100 {
        match ada.show(ticket).await {
            Err(status) if status.code() == Code::Unavailable => tokio::time::sleep(Duration::from_millis(100)).await,
            ended => return Ok(ended?),
        }
    }
    bail!("the programs did not find each other")
}

/// Checks that it was refused for that reason, with evidence of it in the log.
fn refused(federation: &Federation, outcome: Result<usize, Status>, reason: ReasonCode) -> Result<()> {
    let status = outcome.err().context("answered")?;
    let refusal = refusal_of_status(&status).with_context(|| format!("{status}"))?;
    ensure!(refusal.reason == reason.as_str(), "refused for {}", refusal.reason);
    let receipt = refusal.metadata.get("receipt").context("no receipt")?;
    verified_refusal(receipt, &federation.log_key().parse()?, reason)?;
    Ok(())
}

fn leaves(federation: &Federation) -> Result<u64> {
    let report = verify_folder(&federation.layout().log(), &federation.log_key().parse()?, &[], None)?;
    Ok(report.leaves_by_kind.values().sum())
}

#[test]
fn a_ticket_is_refused_once_it_has_expired_or_its_agreement_has_ended() -> Result<()> {
    run(async {
        let midnight = Timestamp::start_of(SystemClock.now().plus_secs(DAY).date());
        let start = midnight.plus_secs(-3000);
        let validity = Validity {
            made: start.plus_secs(-2 * DAY),
            valid_from: start.plus_secs(-2 * DAY),
            valid_until: start.plus_secs(5 * DAY),
        };
        let clocked = Clocked::prepare(start, |federation| {
            ends_with(federation, start)?;
            federation.sign_bundle(1, None, validity)
        })
        .await?;
        let federation = &clocked.federation;
        let ada = Client::open(federation, clocked.gateway, "ada").await?;
        let answered = ada.ticket(SQL).await?;
        assert_eq!(shown(&ada, &answered).await?, 1);

        let before = leaves(federation)?;
        let first = ada.ticket(SQL).await?;
        assert_eq!(leaves(federation)?, before, "a question described left something in the log");
        clocked.clock.set(start.plus_secs(1800));
        let again = ada.ticket(SQL).await?;
        assert_eq!(ada.show(&first).await?, 1, "in its last second");
        clocked.clock.set(start.plus_secs(1801));
        for late in [&answered, &first] {
            refused(federation, ada.show(late).await, ReasonCode::RequestExpired)?;
        }
        assert_eq!(ada.show(&again).await?, 1);

        let last = ada.ticket(SQL).await?;
        clocked.clock.set(midnight);
        for of_an_ended in [&again, &last] {
            refused(federation, ada.show(of_an_ended).await, ReasonCode::AgreementNotInForce)?;
        }
        // A refusal before there is a ticket has its evidence too.
        let before = leaves(federation)?;
        let status = ada.schema(SQL).await?.err().context("described")?;
        let reason = refusal_of_status(&status).map(|refusal| refusal.reason);
        assert_eq!(reason.as_deref(), Some("AGREEMENT_NOT_IN_FORCE"));
        assert_eq!(leaves(federation)?, before, "GetSchema left something in the log");
        let described = ada.flight_info(SQL).await?.map(|info| info.endpoint.len());
        refused(federation, described, ReasonCode::AgreementNotInForce)
    })
}
