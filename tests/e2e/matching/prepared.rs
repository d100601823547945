//! What a receiver's own adapter refuses before a match leaves a leaf, and reads no row.

use super::side::{RECEIVER, SENDER, Side, log_in, opening, submitted};
use agency_adapter::app::{MatchError, accept_match, prepare_receiver};
use anyhow::{Context, Result, bail, ensure};
use firebreak_audit::{LeafKind, SignedLeaf};
use firebreak_domain::{Clock, Closed, ReasonCode, SystemClock};
use firebreak_store::NewLeaf;
use firebreak_testbed::Federation;
use firebreak_tests::{Own, run};
use std::sync::Arc;

async fn side(federation: &Federation, closed: Vec<Closed>) -> Result<Side> {
    Side::open(federation, RECEIVER, Arc::new(SystemClock), closed).await
}

/// The reason for which a match over `selection` is refused, which its one new leaf gives as well; `None` if it is not.
async fn refused(side: &Side, federation: &Federation, selection: &str) -> Result<Option<ReasonCode>> {
    let submitted = submitted(federation, SystemClock.now())?;
    let identity = federation.issue(RECEIVER, "adapter", "main")?.identity().clone();
    let before = side.app.outstanding().await?.0;
    let reason = match prepare_receiver(&side.app, submitted, &identity, selection).await {
        Ok(_) => None,
        Err(MatchError::Refused(refusal)) => {
            ensure!(refusal.contest.is_some(), "nobody says how to contest it");
            Some(refusal.reason)
        }
        Err(error) => bail!("failed: {error}"),
    };
    let leaves = side.app.outstanding().await?.0;
    let new: Vec<_> = leaves.iter().filter(|leaf| !before.contains(leaf)).collect();
    let Some(reason) = reason else {
        ensure!(new.is_empty(), "a leaf of no refusal");
        return Ok(None);
    };
    let [leaf] = new.as_slice() else { bail!("{} leaves of {reason}", new.len()) };
    let leaf = SignedLeaf::decode(&leaf.leaf)?;
    let leaf = leaf.leaf();
    ensure!(leaf.kind == LeafKind::Refusal && leaf.reason == Some(reason), "a leaf of something else");
    let agreement = leaf.agreement.as_ref().context("a leaf without its agreement")?;
    ensure!(agreement.as_str() == "vaccination-round", "a leaf of {agreement}");
    Ok(Some(reason))
}

#[test]
fn whatever_is_refused_before_a_match_leaves_a_leaf() -> Result<()> {
    run(async {
        let (federation, folder) = Own::prepare(300)?;
        let mut log = log_in(&federation, &folder.path().join("log"))?;
        let shut = side(&federation, Vec::new()).await?;
        assert_eq!(refused(&shut, &federation, "").await?, Some(ReasonCode::EvidenceOutstanding), "the gate");
        shut.visit(&mut log).await?;
        for (selection, reason) in [
            ("birth_year >=", ReasonCode::SqlSyntax),
            ("national_number = 'AB123456789'", ReasonCode::IdentifierColumn),
            ("birth_year >= 1990 GROUP BY region", ReasonCode::UnsupportedClause),
        ] {
            assert_eq!(refused(&shut, &federation, selection).await?, Some(reason), "{selection}");
        }
        // The twin of them all.
        shut.visit(&mut log).await?;
        assert_eq!(refused(&shut, &federation, "birth_year >= 1990").await?, None);
        shut.app.state().clone().close().await;

        let closed = vec![Closed { dataset: "health.visits".parse()?, column: None }];
        let closed = side(&federation, closed).await?;
        assert_eq!(refused(&closed, &federation, "").await?, Some(ReasonCode::ClosedByAgency));
        Ok(())
    })
}

/// More leaves than are looked at in one visit wait before the commitment: that it is out of sight says nothing.
#[test]
fn a_commitment_counts_when_it_stands_in_the_log_however_much_waits_before_it() -> Result<()> {
    run(async {
        let (federation, folder) = Own::prepare(300)?;
        let mut log = log_in(&federation, &folder.path().join("log"))?;
        let receiver = side(&federation, Vec::new()).await?;
        let sender = Side::open(&federation, SENDER, Arc::new(SystemClock), Vec::new()).await?;
        for side in [&receiver, &sender] {
            side.visit(&mut log).await?;
        }
        let submitted = submitted(&federation, SystemClock.now())?;
        let identity = federation.issue(RECEIVER, "adapter", "main")?.identity().clone();
        let prepared = prepare_receiver(&receiver.app, submitted.clone(), &identity, "").await?;
        let Ok((session, _)) = accept_match(&sender.app, &submitted, &identity).await? else {
            bail!("the sender refused")
        };
        let (key, tags) = session.open(&sender.app, &opening(&prepared)?).await?;
        for number in 0..1100_u32 {
            let leaf = NewLeaf { leaf: number.to_be_bytes().to_vec(), sealed: Vec::new() };
            receiver.app.state().record_leaf(leaf).await?;
        }
        match prepared.begin(&receiver.app, &key, tags).await {
            Err(MatchError::Refused(refusal)) => assert_eq!(refusal.reason, ReasonCode::EvidenceOutstanding),
            Err(error) => bail!("failed: {error}"),
            Ok(_) => bail!("the match began, and its commitment is in no log"),
        }
        Ok(())
    })
}

/// What the gateway fetches fits a message, however large the requests that were refused.
#[test]
fn large_openings_are_offered_a_part_at_a_time_and_one_always() -> Result<()> {
    run(async {
        let (federation, _folder) = Own::prepare(100)?;
        let side = side(&federation, Vec::new()).await?;
        let before = side.app.outstanding().await?.0.len();
        let offered = async |number: u8, bytes: usize| -> Result<Vec<NewLeaf>> {
            side.app.state().record_leaf(NewLeaf { leaf: vec![number], sealed: vec![0; bytes] }).await?;
            Ok(side.app.outstanding().await?.0)
        };
        for number in 0..10 {
            let offered = offered(number, 200 * 1024).await?;
            let bytes: usize = offered.iter().map(|leaf| leaf.sealed.len()).sum();
            ensure!(bytes <= 1024 * 1024, "{bytes} bytes are offered at once");
            assert_eq!(offered.len(), (before + usize::from(number) + 1).min(before + 5));
        }
        let all: Vec<_> = side.app.state().outstanding(1024).await?.into_iter().map(|leaf| (leaf.hash, 0)).collect();
        side.app.state().confirm(&all).await?;
        assert_eq!(offered(200, 2 * 1024 * 1024).await?.len(), 1);
        Ok(())
    })
}
