//! A match ends when policy no longer lets it run, however far it has come, and its secrets end with it.
//!
//! Both sides run in this process, under a clock that the test moves and policy that it changes between two steps.

use super::begun::{Begun, DAY, OVERSEERS};
use super::side::{RECEIVER, SENDER, recorded, refused};
use agency_adapter::app::{MatchError, SESSION_LIFETIME};
use anyhow::{Context, Result, bail, ensure};
use firebreak_domain::{Pin, ReasonCode};
use firebreak_store::SessionError;
use firebreak_tests::run;
use std::fs;

#[test]
fn a_match_that_runs_ends_with_its_bundle_and_goes_on_under_a_successor() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        begun.keep_first()?;
        let (_, chunk) = begun.machine.next(&begun.sides.receiver.app).await?.context("no chunk")?;
        // The twin: in the last second, everything goes on.
        begun.clock.set(begun.end.plus_secs(-1));
        begun.evaluate().await?;
        begun.session.tags(&begun.sides.sender.app, 0).await?;

        begun.clock.set(begun.end);
        let reason = ReasonCode::NoPolicyInForce;
        let again = chunk.as_bytes().to_vec();
        refused(begun.session.evaluate(&begun.sides.sender.app, 0, again.clone()).await, reason).context("a chunk")?;
        refused(begun.session.tags(&begun.sides.sender.app, 0).await.map(drop), reason).context("the tags")?;
        refused(begun.session.check(&begun.sides.sender.app).await, reason).context("a piece of the tags")?;
        refused(begun.machine.next(&begun.sides.receiver.app).await.map(drop), reason).context("the receiver")?;
        assert_eq!(recorded(&begun.sides.sender).await?, [reason], "one leaf a session, however often it is asked");
        assert_eq!(recorded(&begun.sides.receiver).await?, [reason]);

        begun.second_bundle(begun.start, &OVERSEERS[..2]).await?;
        begun.session.evaluate(&begun.sides.sender.app, 0, again).await.context("under a successor")?;
        begun.tags().await?;
        let report = begun.machine.finish(&begun.sides.receiver.app).await?;
        ensure!(report.matched > 0, "nobody was matched");
        Ok(())
    })
}

#[test]
fn a_match_whose_agreement_is_withdrawn_compares_nothing() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        begun.keep_first()?;
        begun.evaluate().await?;
        begun.tags().await?;
        fs::remove_file(begun.sides.federation.layout().bundle().join("agreements/vaccination-round.toml"))?;
        begun.second_bundle(begun.start, &OVERSEERS[..2]).await?;
        refused(begun.session.tags(&begun.sides.sender.app, 0).await.map(drop), ReasonCode::NoAgreement)?;
        refused(begun.machine.finish(&begun.sides.receiver.app).await, ReasonCode::NoAgreement)?;
        assert_eq!(recorded(&begun.sides.receiver).await?, [ReasonCode::NoAgreement]);
        let session = begun.sides.receiver.app.state().open_sessions().await?;
        let session = session.first().context("the session is gone")?.session;
        ensure!(begun.sides.receiver.app.state().matched_persons(&session).await?.is_empty(), "somebody was matched");
        Ok(())
    })
}

#[test]
fn a_match_whose_receiver_has_another_key_by_now_is_ended_by_both() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        begun.keep_first()?;
        let file = begun.sides.federation.layout().bundle().join("endpoints.toml");
        let pin = begun.sides.federation.issue(RECEIVER, "adapter", "main")?.pin();
        let other: Pin = begun.sides.federation.issue(RECEIVER, "adapter", "another")?.pin();
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains(&pin.to_string()), "the pin is written in another way");
        fs::write(&file, text.replace(&pin.to_string(), &other.to_string()))?;
        // A pin is changed by everybody, after 30 days.
        let signers = [OVERSEERS.as_slice(), &[RECEIVER]].concat();
        begun.second_bundle(begun.start.plus_secs(-40 * DAY), &signers).await?;
        let reason = ReasonCode::SessionMismatch;
        refused(begun.session.evaluate(&begun.sides.sender.app, 0, Vec::new()).await, reason)?;
        refused(begun.machine.next(&begun.sides.receiver.app).await.map(drop), reason)
    })
}

#[test]
fn the_secrets_of_a_session_end_with_the_match() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        begun.evaluate().await?;
        begun.tags().await?;
        let (receiver, sender) = (begun.sides.receiver.app.state().clone(), begun.sides.sender.app.state().clone());
        for state in [&receiver, &sender] {
            ensure!(state.open_sessions().await?.len() == 1, "a session without a secret");
        }
        begun.session.close(&begun.sides.sender.app).await?;
        ensure!(sender.open_sessions().await?.is_empty(), "the sender keeps its key");
        let report = begun.machine.finish(&begun.sides.receiver.app).await?;
        ensure!(receiver.open_sessions().await?.is_empty(), "the receiver keeps its seed");
        for agency in [RECEIVER, SENDER] {
            let files = begun.sides.federation.layout().adapter(agency).join("state/sessions");
            ensure!(files.read_dir()?.next().is_none(), "{agency} keeps what was evaluated");
        }
        ensure!(receiver.session_opening(&report.session).await?.is_some(), "nothing opens the commitment");

        // The key is gone from the running program too: nobody evaluates under it again.
        let closed = |done: Result<(), MatchError>| match done {
            Err(MatchError::Session(SessionError::Closed)) => Ok(()),
            other => bail!("not closed: {other:?}"),
        };
        closed(begun.session.tags(&begun.sides.sender.app, 0).await.map(drop))?;
        closed(begun.session.evaluate(&begun.sides.sender.app, 0, Vec::new()).await.map(drop))?;
        // Nor does the same request begin it again.
        begun.sides.visit().await?;
        closed(begun.prepare_again("").await.map(drop))?;
        let session = begun.accept_again().await?;
        closed(session.open(&begun.sides.sender.app, &begun.opening).await.map(drop))
    })
}

#[test]
fn a_session_that_nobody_ends_is_closed_after_a_day() -> Result<()> {
    run(async {
        let begun = Begun::start().await?;
        begun.keep_first()?;
        begun.second_bundle(begun.start, &OVERSEERS[..2]).await?;
        begun.clock.set(begun.start.plus_secs(SESSION_LIFETIME - 1));
        begun.session.check(&begun.sides.sender.app).await?;
        begun.machine.check(&begun.sides.receiver.app).await?;
        begun.clock.set(begun.start.plus_secs(SESSION_LIFETIME));
        let session = |done: Result<(), MatchError>| matches!(done, Err(MatchError::Session(SessionError::Closed)));
        ensure!(session(begun.session.check(&begun.sides.sender.app).await), "the sender goes on");
        ensure!(begun.sides.sender.app.state().open_sessions().await?.is_empty(), "the sender keeps its key");
        // Without anybody who asks, too.
        ensure!(begun.sides.receiver.app.close_old_sessions().await? == 1, "the receiver's session was not closed");
        ensure!(begun.sides.receiver.app.state().open_sessions().await?.is_empty(), "the receiver keeps its seed");
        ensure!(session(begun.machine.check(&begun.sides.receiver.app).await), "the receiver goes on");
        Ok(())
    })
}
