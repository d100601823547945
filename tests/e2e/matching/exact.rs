//! Matches through the running programs.

use super::caps::by_number;
use super::truth::expected;
use agency_adapter::app::CHUNK_ELEMENTS;
use anyhow::{Context, Result, ensure};
use firebreak::client::{Connection, MatchAsk, list_matched, run_match};
use firebreak_audit::{LeafKind, Receipt};
use firebreak_domain::{CapPeriod, Clock, Counted, SystemClock};
use firebreak_store::{State, StateKey};
use firebreak_tests::{Caller, Own, passes, refusal_of, run};
use firebreak_wire::local::v1::{MatchProgress, MatchSummary};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RECEIVER: &str = "health-agency";
const SENDER: &str = "education-agency";

pub fn ask() -> Result<MatchAsk> {
    Ok(MatchAsk::new("vaccination-round", "vaccination-round")?)
}

pub async fn desk(own: &Own) -> Result<Connection> {
    Caller::connect_local(&own.federation, RECEIVER, own.live.adapter(RECEIVER)?.local).await
}

async fn officer(own: &Own) -> Result<Connection> {
    Caller::connect_officer(&own.federation, RECEIVER, own.live.adapter(RECEIVER)?.local).await
}

/// Runs a match, again under the same request id while programs have yet to find each other.
pub async fn match_until_done(own: &Own, ask: &MatchAsk, steps: &mut BTreeSet<String>) -> Result<MatchSummary> {
    let desk = desk(own).await?;
    for _ in 0..200 {
        let mut seen = |progress: &MatchProgress| {
            steps.insert(progress.step.clone());
        };
        match run_match(&desk, ask, &mut seen).await {
            Err(error) if passes(&error) => tokio::time::sleep(Duration::from_millis(100)).await,
            ended => return Ok(ended?),
        }
    }
    anyhow::bail!("the match did not come to an end")
}

pub fn this_year() -> i32 {
    let today = SystemClock.now().to_string();
    today.get(..4).and_then(|year| year.parse().ok()).unwrap_or_default()
}

#[test]
fn a_dropped_match_resumes_counts_nothing_twice_and_gives_exactly_the_truth() -> Result<()> {
    run(async {
        let mut own = Own::start(12_000, &[]).await?;
        let mut ask = ask()?;
        ask.selection = "birth_year <= 2018".to_owned();
        let expected = expected(own.federation.population(), 0..=2018);
        let chunks = expected.elements.0.div_ceil(CHUNK_ELEMENTS as usize) as u64;
        ensure!(chunks == 2, "the set was to take two chunks, and takes {chunks}");
        ensure!(!expected.matched.is_empty() && expected.unusable > 0, "the population shows too little");

        // The gateway is killed while the second chunk is under way.
        let connection = desk(&own).await?;
        let first = ask.clone();
        let (send, mut one_done) = tokio::sync::mpsc::unbounded_channel();
        let dropped = tokio::spawn(async move {
            loop {
                let mut seen = |progress: &MatchProgress| {
                    if progress.done >= u64::from(CHUNK_ELEMENTS) {
                        let _ = send.send(());
                    }
                };
                match run_match(&connection, &first, &mut seen).await {
                    Err(error) if passes(&error) && !send.is_closed() => {
                        tokio::time::sleep(Duration::from_millis(50)).await
                    }
                    ended => return ended,
                }
            }
        });
        one_done.recv().await.context("no chunk was evaluated")?;
        own.kill_gateway().await?;
        drop(one_done);
        ensure!(dropped.await?.is_err(), "the match ended before the gateway was killed");
        own.start_gateway().await?;

        let mut steps = BTreeSet::new();
        let summary = match_until_done(&own, &ask, &mut steps).await?;
        for step in
            ["forming the set", "committed to the set in the log", "evaluating blinded identifiers", "receiving tags"]
        {
            assert!(steps.contains(step), "progress says nothing of {step}");
        }
        assert_eq!((summary.offered, summary.unusable), (expected.offered, expected.unusable));
        let listed = list_matched(&officer(&own).await?, &summary.session_id).await?;
        assert_eq!(listed.len() as u64, summary.matched);
        let listed: BTreeSet<_> = listed.into_iter().collect();
        assert_eq!(listed, expected.matched, "the register says who was matched, by the receiver's own keys");
        assert!(listed.iter().all(|key| key.starts_with("HE-")), "a key of another agency");
        let receipt = Receipt::decode(summary.receipt.as_bytes())?.verify(&own.federation.log_key().parse()?)?;
        assert_eq!(receipt.leaf.leaf().kind, LeafKind::MatchAuthorised);

        // Four chunks are the cap of a register of 12,000: two are left, and a third session finds none.
        let mut all = self::ask()?;
        all.selection = "birth_year <= 2018".to_owned();
        match_until_done(&own, &all, &mut BTreeSet::new()).await?;
        let refused = refusal_of(run_match(&desk(&own).await?, &self::ask()?, &mut |_| {}).await)?;
        assert_eq!(refused.refusal.reason, "MATCH_CAP_EXHAUSTED");
        own.live.stop().await?;
        assert_eq!(counted(&own, 3).await?, 4 * u64::from(CHUNK_ELEMENTS));
        Ok(())
    })
}

/// Elements that the sender has counted against the receiver's cap, read from its state once it is stopped.
async fn counted(own: &Own, sessions: usize) -> Result<u64> {
    let folder = own.federation.layout().adapter(SENDER);
    let key = StateKey::load_or_create(&folder.join("state.key"))?;
    let state = State::open(&folder.join("state"), key, Arc::new(SystemClock)).await?;
    state.verify_chain().await?;
    let counted = state.counted(Counted::Evaluations, &by_number()?, CapPeriod::Year(this_year()));
    assert_eq!(state.offered().await?.len(), sessions, "the sender's register names each session once");
    // The one that was refused half-way may still be resumed; the others have ended, and their keys with them.
    assert_eq!(state.open_sessions().await?.len(), 1, "the sender keeps the key of a session that ended");
    state.close().await;
    Ok(counted)
}

#[test]
fn a_hundred_thousand_on_either_side_give_exactly_the_truth() -> Result<()> {
    run(async {
        let started = Instant::now();
        let own = Own::start(PERSONS, &[]).await?;
        let prepared = started.elapsed();
        let mut ask = ask()?;
        ask.selection = "birth_year >= 1976".to_owned();
        let expected = expected(own.federation.population(), 1976..=2024);
        let (receiver, sender) = expected.elements;
        ensure!(receiver >= 100_000 && sender >= 100_000, "{receiver} x {sender} elements are too few");
        let summary = match_until_done(&own, &ask, &mut BTreeSet::new()).await?;
        assert_eq!((summary.offered, summary.unusable), (expected.offered, expected.unusable));
        let listed: BTreeSet<_> = list_matched(&officer(&own).await?, &summary.session_id).await?.into_iter().collect();
        assert_eq!(listed, expected.matched);
        println!(
            "{receiver} x {sender} elements, {} matched; federation {prepared:.1?}, in all {:.1?}",
            listed.len(),
            started.elapsed()
        );
        Ok(())
    })
}

/// Persons of whom both registers hold a hundred thousand numbers.
const PERSONS: u32 = 295_000;
