//! Either side or the gateway is killed while a match runs.

use super::caps::by_number;
use super::exact::{ask, desk, match_until_done, this_year};
use super::truth::expected;
use agency_adapter::app::CHUNK_ELEMENTS;
use anyhow::{Context, Result, ensure};
use firebreak::client::{MatchAsk, list_matched, run_match};
use firebreak_domain::{CapPeriod, Counted, SystemClock};
use firebreak_store::{State, StateKey};
use firebreak_testbed::Programs;
use firebreak_tests::{Caller, Own, passes, run};
use firebreak_wire::local::v1::MatchProgress;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const RECEIVER: &str = "health-agency";
const SENDER: &str = "education-agency";
const CHUNK: u64 = CHUNK_ELEMENTS as u64;

#[derive(Debug, Clone, Copy)]
enum Killed {
    Receiver,
    Sender,
    Gateway,
}

/// Elements that were verified: as the match took up, and at last. Everything that was told of, also after the kill.
struct Progress {
    begun: u64,
    done: u64,
}

fn progress(told: &mut UnboundedReceiver<u64>, mut known: Option<Progress>) -> Option<Progress> {
    while let Ok(done) = told.try_recv() {
        known = Some(Progress { begun: known.map_or(done, |known| known.begun), done });
    }
    known
}

/// Runs the match until so many elements are verified, then kills one of the three and starts it again.
async fn kill(own: &mut Own, programs: &Programs, ask: &MatchAsk, at: u64, killed: Killed) -> Result<Progress> {
    let (connection, ask) = (desk(own).await?, ask.clone());
    let (send, mut told) = unbounded_channel();
    let broken = tokio::spawn(async move {
        loop {
            let mut seen = |progress: &MatchProgress| {
                if progress.unit == "elements" {
                    let _ = send.send(progress.done);
                }
            };
            match run_match(&connection, &ask, &mut seen).await {
                Err(error) if passes(&error) && !send.is_closed() => {
                    tokio::time::sleep(Duration::from_millis(50)).await
                }
                ended => return ended.is_err(),
            }
        }
    });
    let mut known: Option<Progress> = None;
    while known.as_ref().is_none_or(|known| known.done < at) {
        let done = told.recv().await.context("the match ended before its time")?;
        known = Some(Progress { begun: known.map_or(done, |known| known.begun), done });
    }
    match killed {
        Killed::Receiver => own.kill_adapter(RECEIVER).await?,
        Killed::Sender => own.kill_adapter(SENDER).await?,
        Killed::Gateway => own.kill_gateway().await?,
    }
    let known = progress(&mut told, known).context("nothing was told")?;
    told.close();
    ensure!(broken.await?, "the match ended before the {killed:?} was killed");
    match killed {
        Killed::Receiver => own.start_adapter_by(programs, RECEIVER).await?,
        Killed::Sender => own.start_adapter_by(programs, SENDER).await?,
        Killed::Gateway => own.start_gateway_by(programs).await?,
    }
    Ok(known)
}

/// How often a program of that agency has begun to do that with a chunk, by its log, in all its lives.
fn begun(own: &Own, agency: &str, what: &str) -> Result<u64> {
    let log = fs::read_to_string(own.federation.layout().adapter(agency).join("adapter.log"))?;
    Ok(log.matches(&format!("a chunk is {what}")).count() as u64)
}

#[test]
fn whoever_of_the_three_is_killed_no_chunk_that_was_verified_is_lost_and_none_is_counted_twice() -> Result<()> {
    run(async {
        let programs = Programs::at_level("debug")?;
        let (federation, folder) = Own::prepare(30_000)?;
        let live = federation.start(&programs, &[]).await?;
        let mut own = Own::of(federation, live, folder);
        let ask = ask()?;
        let expected = expected(own.federation.population(), i32::MIN..=i32::MAX);
        let elements = (expected.elements.0 as u64).next_multiple_of(CHUNK);
        ensure!(elements >= 4 * CHUNK, "the set has too few chunks: {elements} elements");
        let mut before = 0;
        let kills = [Killed::Sender, Killed::Receiver, Killed::Gateway];
        for (chunks, killed) in (1..).zip(kills) {
            let at = kill(&mut own, &programs, &ask, chunks * CHUNK, killed).await?;
            ensure!(at.begun >= before, "{} elements were verified, and the match took up at {}", before, at.begun);
            before = at.done;
        }
        let summary = match_until_done(&own, &ask, &mut BTreeSet::new()).await?;
        let officer = Caller::connect_officer(&own.federation, RECEIVER, own.live.adapter(RECEIVER)?.local).await?;
        let listed: BTreeSet<_> = list_matched(&officer, &summary.session_id).await?.into_iter().collect();
        assert_eq!(listed, expected.matched);
        own.live.stop().await?;
        // A kill loses the one chunk that was being worked on, of each kind of work.
        for (agency, what) in [(RECEIVER, "blinded"), (RECEIVER, "verified"), (SENDER, "evaluated")] {
            let again = begun(&own, agency, what)?.checked_sub(elements / CHUNK);
            let again = again.with_context(|| format!("a chunk was never {what}"))?;
            ensure!(again <= kills.len() as u64, "{again} chunks were {what} again after {} kills", kills.len());
        }
        let folder = own.federation.layout().adapter(SENDER);
        let key = StateKey::load_or_create(&folder.join("state.key"))?;
        let state = State::open(&folder.join("state"), key, Arc::new(SystemClock)).await?;
        let counted = state.counted(Counted::Evaluations, &by_number()?, CapPeriod::Year(this_year()));
        assert_eq!(counted, elements, "a chunk was counted twice, or not at all");
        state.close().await;
        Ok(())
    })
}
