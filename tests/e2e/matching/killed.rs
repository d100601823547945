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
use serde_json::Value;
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

/// How far it was when somebody was killed, and how often each kind of [`WORK`] was begun until then.
struct AtKill {
    progress: Progress,
    work: [usize; WORK.len()],
}

fn progress(told: &mut UnboundedReceiver<u64>, mut known: Option<Progress>) -> Option<Progress> {
    while let Ok(done) = told.try_recv() {
        known = Some(Progress { begun: known.map_or(done, |known| known.begun), done });
    }
    known
}

/// Runs the match until so many elements are verified, then kills one of the three and starts it again.
async fn kill(own: &mut Own, programs: &Programs, ask: &MatchAsk, at: u64, killed: Killed) -> Result<AtKill> {
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
    let mut work = [0; WORK.len()];
    for (count, kind) in work.iter_mut().zip(WORK) {
        *count = begun(own, kind)?.len();
    }
    match killed {
        Killed::Receiver => own.kill_adapter(RECEIVER).await?,
        Killed::Sender => own.kill_adapter(SENDER).await?,
        Killed::Gateway => own.kill_gateway().await?,
    }
    let progress = progress(&mut told, known).context("nothing was told")?;
    told.close();
    ensure!(broken.await?, "the match ended before the {killed:?} was killed");
    match killed {
        Killed::Receiver => own.start_adapter_by(programs, RECEIVER).await?,
        Killed::Sender => own.start_adapter_by(programs, SENDER).await?,
        Killed::Gateway => own.start_gateway_by(programs).await?,
    }
    Ok(AtKill { progress, work })
}

/// What is done with a chunk, and by whom.
const WORK: [(&str, &str); 3] = [(RECEIVER, "blinded"), (RECEIVER, "verified"), (SENDER, "evaluated")];

/// The chunks with which a program of that agency has begun to do that, by its log, in all its lives.
fn begun(own: &Own, (agency, what): (&str, &str)) -> Result<Vec<u64>> {
    let log = fs::read_to_string(own.federation.layout().adapter(agency).join("adapter.log"))?;
    let said = format!("a chunk is {what}");
    let chunk = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line.get("message")?.as_str()? == said).then(|| line.get("sequence")?.as_u64())?
    };
    Ok(log.lines().filter_map(chunk).collect())
}

/// How many of the chunks with which something was begun from there on it had been begun with before.
fn again(begun: &[u64], from: usize, to: usize) -> usize {
    let before = |at: usize| begun.iter().take(at).any(|chunk| begun.get(at) == Some(chunk));
    (from..to).filter(|at| before(*at)).count()
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
        let mut until_killed = [const { Vec::new() }; WORK.len()];
        for (chunks, killed) in (1..).zip([Killed::Sender, Killed::Receiver, Killed::Gateway]) {
            let at = kill(&mut own, &programs, &ask, chunks * CHUNK, killed).await?;
            let Progress { begun, done } = at.progress;
            ensure!(begun >= before, "{before} elements were verified, and the match took up at {begun}");
            before = done;
            for (until, count) in until_killed.iter_mut().zip(at.work) {
                until.push(count);
            }
        }
        let summary = match_until_done(&own, &ask, &mut BTreeSet::new()).await?;
        let officer = Caller::connect_officer(&own.federation, RECEIVER, own.live.adapter(RECEIVER)?.local).await?;
        let listed: BTreeSet<_> = list_matched(&officer, &summary.session_id).await?.into_iter().collect();
        assert_eq!(listed, expected.matched);
        own.live.stop().await?;
        for (work, until) in WORK.into_iter().zip(until_killed) {
            let (begun, what) = (begun(&own, work)?, work.1);
            let chunks: BTreeSet<_> = begun.iter().copied().collect();
            ensure!(chunks.into_iter().eq(0..elements / CHUNK), "not every chunk was {what}: {begun:?}");
            for (from, to) in until.iter().zip(until.iter().skip(1).chain([&begun.len()])) {
                let again = again(&begun, *from, *to);
                ensure!(again <= 1, "{again} chunks were {what} again after one kill: {begun:?}, killed at {until:?}");
            }
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
