//! A receiver whose program ends after the sender has heard that all is there, and before anything is compared.

use super::begun::{Begun, OVERSEERS};
use super::side::{RECEIVER, SENDER, opening};
use super::truth::expected;
use agency_adapter::app::{MatchError, MatchReport};
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{MatchAsk, list_matched, run_match};
use firebreak_audit::{LeafKind, Receipt, SignedLeaf};
use firebreak_domain::ReasonCode;
use firebreak_store::SessionError;
use firebreak_tests::{Caller, Own, passes, run};
use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::collections::BTreeSet;
use std::time::Duration;

const RECEIPT: &str = "the receipt of a tunnel";

impl Begun {
    /// Goes as far as the sender is needed.
    async fn receive(&mut self) -> Result<()> {
        self.evaluate().await?;
        self.tags().await?;
        self.machine.keep(RECEIPT)?;
        Ok(self.session.close(&self.sides.sender.app).await?)
    }

    /// The same request again, to a receiver that speaks to nobody.
    async fn resume(&mut self) -> Result<MatchReport> {
        self.sides.visit().await?;
        let prepared = self.prepare_again("").await?;
        let received = prepared.received()?.context("nothing is kept")?;
        assert_eq!(received.receipt(), RECEIPT);
        Ok(prepared.take_up(&self.sides.receiver.app, &received).await?.finish(&self.sides.receiver.app).await?)
    }

    async fn check(&self, report: &MatchReport) -> Result<()> {
        let expected = expected(self.sides.federation.population(), i32::MIN..=i32::MAX);
        assert_eq!((report.offered, report.unusable), (expected.offered, expected.unusable));
        assert_eq!(self.sides.matched(&report.session).await?, expected.matched);
        assert_eq!(report.matched, expected.matched.len() as u64);
        ensure!(report.matched > 0, "nobody was matched");
        let state = self.sides.receiver.app.state();
        ensure!(state.open_sessions().await?.is_empty(), "the receiver keeps its seed");
        let files =
            self.sides.federation.layout().adapter(RECEIVER).join("state/sessions").join(hex::encode(report.session));
        ensure!(!files.exists(), "the receiver keeps what it received");
        Ok(())
    }
}

#[test]
fn a_match_broken_off_when_the_sender_is_done_gives_exactly_the_truth_without_it() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        begun.receive().await?;
        begun.sides.restart_receiver().await?;
        // The sender could not help any more.
        begun.sides.visit().await?;
        let prepared = begun.prepare_again("").await?;
        let session = begun.accept_again().await?;
        let closed = session.open(&begun.sides.sender.app, &opening(&prepared)?).await;
        ensure!(matches!(closed, Err(MatchError::Session(SessionError::Closed))), "the sender's session is open");

        drop(prepared);
        let report = begun.resume().await?;
        begun.check(&report).await
    })
}

#[test]
fn a_comparison_that_policy_forbids_can_be_done_once_it_is_permitted_again() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        begun.keep_first()?;
        begun.receive().await?;
        begun.clock.set(begun.end);
        begun.sides.restart_receiver().await?;
        match begun.prepare_again("").await {
            Err(MatchError::Refused(refusal)) => assert_eq!(refusal.reason, ReasonCode::NoPolicyInForce),
            _ => bail!("what is kept is compared without policy"),
        }
        begun.second_bundle(begun.start, &OVERSEERS[..2]).await?;
        let report = begun.resume().await?;
        begun.check(&report).await?;
        let (leaves, _) = begun.sides.receiver.app.outstanding().await?;
        let leaves = leaves.iter().map(|leaf| SignedLeaf::decode(&leaf.leaf)).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(leaves.iter().filter(|leaf| leaf.leaf().kind == LeafKind::MatchDone).count(), 1);
        Ok(())
    })
}

/// A statement to the database of an agency's running program.
async fn edit(own: &Own, agency: &str, statement: &'static str) -> Result<()> {
    let file = own.federation.layout().adapter(agency).join("state/state.sqlite");
    let mut database = SqliteConnectOptions::new().filename(file).connect().await?;
    sqlx::raw_sql(statement).execute(&mut database).await?;
    Ok(database.close().await?)
}

/// Elements that the sender has counted, and sessions that it has open.
async fn counted(own: &Own) -> Result<(i64, i64)> {
    let file = own.federation.layout().adapter(SENDER).join("state/state.sqlite");
    let mut database = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
    let elements = "SELECT coalesce(sum(elements), 0) FROM evaluated_chunks";
    let elements = sqlx::query_scalar(elements).fetch_one(&mut database).await?;
    let open = "SELECT count(*) FROM sessions WHERE secret IS NOT NULL";
    let open = sqlx::query_scalar(open).fetch_one(&mut database).await?;
    database.close().await?;
    Ok((elements, open))
}

#[test]
fn the_sender_hears_of_the_end_only_when_the_receiver_needs_it_no_more() -> Result<()> {
    run(async {
        let mut own = Own::start(600, &[]).await?;
        let desk = Caller::connect_local(&own.federation, RECEIVER, own.live.adapter(RECEIVER)?.local).await?;
        let ask = MatchAsk::new("vaccination-round", "vaccination-round")?;

        // That everything has arrived cannot be kept: there is something else in the place of the file.
        let name = Sha256::new().chain_update(b"firebreak match session 1\nvaccination-round\n");
        let name = hex::encode(name.chain_update(ask.request_id.as_bytes()).finalize());
        let in_its_place = own.federation.layout().adapter(RECEIVER).join("state/sessions").join(name).join("received");
        std::fs::create_dir_all(&in_its_place)?;
        for _ in 0..200 {
            let ended = run_match(&desk, &ask, &mut |_| {}).await;
            ensure!(ended.is_err(), "a match of which not everything could be kept came to its end");
            if counted(&own).await?.0 > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let before = counted(&own).await?;
        ensure!(before.0 > 0, "nothing was evaluated");
        ensure!(before.1 == 1, "the sender has closed the session, and nobody has the list");

        // It can, and then nobody can be recorded.
        std::fs::remove_dir(&in_its_place)?;
        let stop = "CREATE TRIGGER stop BEFORE INSERT ON matches BEGIN SELECT raise(ABORT, 'stop'); END";
        edit(&own, RECEIVER, stop).await?;
        for _ in 0..200 {
            let ended = run_match(&desk, &ask, &mut |_| {}).await;
            ensure!(ended.is_err(), "a match of which nothing could be recorded came to its end");
            if counted(&own).await?.1 == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(counted(&own).await?, (before.0, 0), "elements counted, sessions open at the sender");

        // All is well again, but for the sender, which is gone.
        own.kill_adapter(SENDER).await?;
        own.kill_adapter(RECEIVER).await?;
        edit(&own, RECEIVER, "DROP TRIGGER stop").await?;
        own.start_adapter(RECEIVER).await?;
        let desk = Caller::connect_local(&own.federation, RECEIVER, own.live.adapter(RECEIVER)?.local).await?;
        let mut tries = 0;
        let summary = loop {
            tries += 1;
            match run_match(&desk, &ask, &mut |_| {}).await {
                Err(error) if passes(&error) && tries < 100 => tokio::time::sleep(Duration::from_millis(100)).await,
                ended => break ended?,
            }
        };
        let expected = expected(own.federation.population(), i32::MIN..=i32::MAX);
        let officer = Caller::connect_officer(&own.federation, RECEIVER, own.live.adapter(RECEIVER)?.local).await?;
        let listed: BTreeSet<_> = list_matched(&officer, &summary.session_id).await?.into_iter().collect();
        assert_eq!(listed, expected.matched);
        assert_eq!(summary.matched, expected.matched.len() as u64);
        let receipt = Receipt::decode(summary.receipt.as_bytes())?.verify(&own.federation.log_key().parse()?)?;
        assert_eq!(receipt.leaf.leaf().kind, LeafKind::MatchAuthorised);
        assert_eq!(counted(&own).await?, (before.0, 0));
        Ok(())
    })
}
