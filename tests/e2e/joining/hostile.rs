//! What a side finds in what it is sent, by name, and what becomes of the session.

use super::inside::{ALL, LEFT, Pair, own, send};
use agency_adapter::app::{JoinRun, MatchError};
use anyhow::{Context, Result, bail, ensure};
use firebreak_audit::LeafKind;
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_tests::run;

fn fault<T>(done: Result<T, MatchError>) -> Result<(ReasonCode, MatchError)> {
    match done {
        Err(MatchError::Fault(refusal)) => Ok((refusal.reason, MatchError::Fault(refusal))),
        Err(other) => bail!("no fault of the other side: {other}"),
        Ok(_) => bail!("it was taken"),
    }
}

/// A list of the right number of points that are no points.
fn no_points(run: &JoinRun) -> Vec<u8> {
    let sizes = run.own().map(|own| own.sizes.clone()).unwrap_or_default();
    let labels = (0_u16..).zip(&sizes).flat_map(|(label, size)| (0..*size).map(move |_| label));
    let mut list = Vec::new();
    for (number, label) in (0_u64..).zip(labels) {
        let mut point = [0xff; 32];
        point[..8].copy_from_slice(&number.to_be_bytes());
        list.extend(point);
        list.extend(label.to_be_bytes());
    }
    list
}

/// The right side's list with the identity in the place of its first point.
fn with_the_identity(run: &JoinRun) -> Vec<u8> {
    let mut list = own(run).unwrap_or_default();
    list.iter_mut().take(32).for_each(|byte| *byte = 0);
    list
}

#[test]
fn hostile_keys_sizes_and_lists_are_named() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let [left, right] = pair.both(1, ALL).await?;
        let (key, sizes) = (right.key(), right.own()?.sizes.clone());
        assert_eq!(fault(left.greet(&left.key(), &sizes))?.0, ReasonCode::ProofRejected, "its own key comes back");
        let mut other = key;
        other[95] ^= 1;
        fault(left.greet(&other, &sizes))?;
        assert_eq!(fault(left.greet(&key[1..], &sizes))?.0, ReasonCode::WrongCount);
        assert_eq!(fault(left.greet(&key, &[1, 2]))?.0, ReasonCode::WrongCount);
        assert_eq!(fault(left.greet(&key, &[u64::MAX]))?.0, ReasonCode::SizeExceeded);
        left.greet(&key, &sizes)?;
        assert_eq!(fault(left.greet(&key, &[sizes[0] + 1]))?.0, ReasonCode::SessionMismatch, "another size");
        let list = own(&right)?;
        let half = list.len() / 34 / 2 * 34;
        assert_eq!(fault(left.push(34, &list[34..]))?.0, ReasonCode::SessionMismatch, "not where it goes on");
        assert_eq!(fault(left.push(0, &list[..33]))?.0, ReasonCode::WrongCount);
        assert_eq!(fault(left.push(0, &[list.as_slice(), &list].concat()))?.0, ReasonCode::SizeExceeded);
        left.push(0, &list[..half])?;
        assert_eq!(fault(left.push(half as u64, &list[..34]))?.0, ReasonCode::HostileInput, "a point comes twice");
        ensure!(left.sent_on(&pair.left.app).await.is_err(), "half of a list is sent on");
        left.push(half as u64, &list[half..])?;
        left.sent_on(&pair.left.app).await?;
        Ok(())
    })
}

#[test]
fn a_side_on_another_bundle_by_another_rule_or_under_other_terms_is_named() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let [left, right] = pair.both(1, ALL).await?;
        let (bundle, normaliser, terms) = (right.bundle_sequence(), right.normaliser(), right.terms());
        left.check_alike(bundle, normaliser, terms)?;
        for (done, reason) in [
            (left.check_alike(bundle + 1, normaliser, terms), ReasonCode::BundleMismatch),
            (left.check_alike(bundle, normaliser + 1, terms), ReasonCode::NormaliserMismatch),
            (left.check_alike(bundle, normaliser, &[7; 32]), ReasonCode::SessionMismatch),
            (left.check_alike(bundle, normaliser, &terms[1..]), ReasonCode::SessionMismatch),
        ] {
            let (found, error) = fault(done)?;
            assert_eq!(found, reason);
            let refused = left.ended(&pair.left.app, error).await?;
            assert_eq!(refused.evidence.leaf.leaf().reason, Some(reason), "it is not in the log");
        }
        // None of it ends the session: the same request goes on once both mean the same.
        left.greet(&right.key(), &right.own()?.sizes)?;
        Ok(())
    })
}

#[test]
fn points_that_are_none_end_the_session_for_good() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        for (request, list) in [(1, no_points as fn(&JoinRun) -> Vec<u8>), (2, with_the_identity)] {
            let [left, right] = pair.both(request, ALL).await?;
            left.greet(&right.key(), &right.own()?.sizes)?;
            // Known when they arrive, while whoever sent them is still there to be told.
            let (reason, error) = fault(left.push(0, &list(&right)))?;
            assert_eq!((reason, left.received()), (ReasonCode::HostileInput, 0));
            let refused = left.ended(&pair.left.app, error).await?;
            assert_eq!(refused.evidence.leaf.leaf().reason, Some(ReasonCode::HostileInput));
            drop(left);
            let refused =
                pair.prepare(LEFT, &pair.request(request, ALL)?).await?.err().context("the session goes on")?;
            assert_eq!(refused.refusal.reason, ReasonCode::HostileInput);
        }
        Ok(())
    })
}

#[test]
fn what_a_gateway_says_that_it_found_is_recorded_once_as_its_word_and_ends_no_session() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let [left, right] = pair.both(1, ALL).await?;
        let app = &pair.left.app;
        ensure!(!left.has_sent_on(app).await?, "nothing was sent on");
        let first = left.found_by_gateway(app, ReasonCode::HostileInput, false).await?;
        let leaf = first.evidence.leaf.leaf();
        assert_eq!((leaf.kind, leaf.reason), (LeafKind::Refusal, Some(ReasonCode::HostileInput)));
        let said = String::from_utf8(first.evidence.opening.payload.clone())?;
        let word = "found by the gateway in the list of this agency that the other one sent on";
        assert_eq!(said.lines().next_back(), Some(word));
        // Whatever it says next, there is no second leaf.
        let second = left.found_by_gateway(app, ReasonCode::WrongCount, true).await?;
        assert_eq!(second.evidence.leaf.as_bytes(), first.evidence.leaf.as_bytes());
        // What the side finds itself ends the session all the same.
        send(&right, &left)?;
        left.sent_on(app).await?;
        ensure!(left.has_sent_on(app).await?, "it was sent on");
        let own = MatchError::Fault(Refusal::new(ReasonCode::HostileInput));
        let found = left.ended(app, own).await?;
        ensure!(found.evidence.leaf.as_bytes() != first.evidence.leaf.as_bytes(), "a gateway's word hides a fault");
        let again = left.ended(app, MatchError::Fault(Refusal::new(ReasonCode::WrongCount))).await?;
        assert_eq!(again.evidence.leaf.as_bytes(), found.evidence.leaf.as_bytes(), "of a session that is over");
        drop(left);
        let refused = pair.prepare(LEFT, &pair.request(1, ALL)?).await?.err().context("the session goes on")?;
        assert_eq!(refused.refusal.reason, ReasonCode::HostileInput);
        Ok(())
    })
}
