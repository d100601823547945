//! R32: an operator ends a program with SIGTERM. What is under way is answered, and the program ends as one that is
//! done.

use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, QueryAnswer, Step, run_query};
use firebreak_testbed::{Federation, Options, Programs};
use firebreak_tests::bench::process_of;
use firebreak_tests::{Caller, Own, ask_until_answered, refusal_of, run};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const AGENCY: &str = "health-agency";
/// How long an answer takes, for a signal to reach a program meanwhile.
const TICK: Duration = Duration::from_millis(1_500);
/// How long a program may take to end, of which ten seconds are for requests in flight.
const END: Duration = Duration::from_secs(30);

async fn slow() -> Result<Own> {
    let folder = tempfile::tempdir()?;
    let options = Options { persons: 300, seed: 7, tick_milliseconds: TICK.as_millis() as u64 };
    let federation = Federation::prepare(&folder.path().join("federation"), &options, |_| {})?;
    let live = federation.start(&Programs::built()?, &[]).await?;
    Ok(Own::of(federation, live, folder))
}

fn ask(sql: &str) -> Result<Ask> {
    Ok(Ask::new("health-statistics", "health-planning", sql)?)
}

fn terminate(configuration: &Path) -> Result<()> {
    let process = process_of(configuration)?;
    let number = process.file_name().context("no number")?;
    ensure!(Command::new("kill").arg("-TERM").arg(number).status()?.success(), "the signal was not sent");
    Ok(())
}

/// Asks, and sends a signal to a program once the agency is at work.
async fn answered_beyond_the_signal(own: &Own, ask: &Ask, configuration: &Path) -> Result<QueryAnswer> {
    let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
    ask_until_answered(&ada, &self::ask("SELECT COUNT(*) AS n FROM health.visits")?).await?;
    let (send, mut at_work) = tokio::sync::mpsc::unbounded_channel();
    let mut report = |step: Step<'_>| {
        if matches!(step, Step::Progress(_)) {
            let _ = send.send(());
        }
    };
    let signal = async {
        at_work.recv().await.context("the request ended before the agency was asked")?;
        let begun = Instant::now();
        // The gateway says it before it asks: the agency has the request a moment later.
        tokio::time::sleep(TICK / 5).await;
        terminate(configuration)?;
        Ok::<_, anyhow::Error>(begun)
    };
    let (answer, begun) = tokio::join!(run_query(&ada, ask, &mut report), signal);
    let (answer, begun) = (answer.context("the request in flight was not answered")?, begun?);
    ensure!(begun.elapsed() > TICK / 2, "the answer came before the signal");
    Ok(answer)
}

#[test]
fn a_gateway_that_is_told_to_end_answers_what_is_under_way_and_ends_well() -> Result<()> {
    run(async {
        let mut own = slow().await?;
        let configuration = own.federation.layout().gateway().join("gateway.toml");
        let ask = ask("SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region")?;
        let answer = answered_beyond_the_signal(&own, &ask, &configuration).await?;
        let status = timeout(END, own.live.gateway.wait()).await.context("the gateway did not end")??;
        ensure!(status.code() == Some(0), "the gateway ended with {status}");
        ensure!(Caller::ADA.connect(&own.federation, own.live.address).await.is_err(), "somebody still listens");

        own.start_gateway().await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let again = ask_until_answered(&ada, &ask).await?;
        assert_eq!((answer.rows, answer.released.release_id), (again.rows, again.released.release_id));
        Ok(())
    })
}

#[test]
fn an_adapter_that_is_told_to_end_answers_what_is_under_way_and_ends_well() -> Result<()> {
    run(async {
        let mut own = slow().await?;
        let configuration = own.federation.layout().adapter(AGENCY).join("adapter.toml");
        let ask = ask("SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region")?;
        let answer = answered_beyond_the_signal(&own, &ask, &configuration).await?;
        let adapter = own.live.adapters.iter_mut().find(|a| a.agency == AGENCY).context("no such agency")?;
        let status = timeout(END, adapter.started.wait()).await.context("the adapter did not end")??;
        ensure!(status.code() == Some(0), "the adapter ended with {status}");
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let new = self::ask("SELECT kind, COUNT(*) AS n FROM health.visits GROUP BY kind")?;
        let refused = refusal_of(run_query(&ada, &new, &mut |_| {}).await)?;
        assert_eq!(refused.refusal.reason, "AGENCY_UNAVAILABLE");

        own.start_adapter(AGENCY).await?;
        ask_until_answered(&ada, &new).await?;
        let again = ask_until_answered(&ada, &ask).await?;
        assert_eq!((answer.rows, answer.released.release_id), (again.rows, again.released.release_id));
        Ok(())
    })
}
