use super::*;
use crate::app::agencies::AgencyError;
use async_trait::async_trait;
use firebreak_domain::Epsilon;
use std::collections::VecDeque;

struct Said(VecDeque<JoinStep>);

#[async_trait]
impl JoinSteps for Said {
    async fn next(&mut self) -> Result<JoinStep, AgencyError> {
        self.0.pop_front().ok_or(AgencyError::Lost)
    }
}

fn law() -> DummyLaw {
    DummyLaw::new(Epsilon::at_least(1.0).unwrap()).unwrap()
}

/// A list of so many points of label 0, of which the first `shared` are in every list.
fn list(own: u64, shared: u64, mark: u8) -> Vec<u8> {
    let all = own + u64::from(law().most());
    let point = |number: u64| {
        let mut point = vec![if number < shared { 0 } else { mark }; 24];
        point.extend(number.to_be_bytes());
        point.extend([0, 0]);
        point
    };
    (0..all).flat_map(point).collect()
}

fn said(list: &[u8], piece: usize, done: bool) -> Box<dyn JoinSteps> {
    let points = list.chunks(piece).map(|piece| JoinStep::Points(piece.to_vec()));
    Box::new(Said(points.chain(done.then_some(JoinStep::Sent)).collect()))
}

/// Counts: the left side sends the right one's list, and the other way round.
async fn counts(by_left: Box<dyn JoinSteps>, by_right: Box<dyn JoinSteps>, own: u64) -> Result<Vec<i64>, String> {
    let org = |name: &str| OrgId::new(name).unwrap();
    let sides = [(org("a"), by_left, vec![own]), (org("b"), by_right, vec![own])];
    let mut lists = Lists { law: law(), sides, bound: Duration::from_secs(5) };
    match counted(&mut lists).await {
        Ok(counted) => Ok(counted.cells.counts().to_vec()),
        Err(Halted::List(found)) => {
            let refusal = found.refusal();
            let list = refusal.detail.split(" sent on").next().unwrap_or_default();
            Err(format!("{}: {list}", refusal.reason))
        }
        Err(Halted::Silent(agency, what)) => Err(format!("{agency} {what}")),
        Err(_) => Err("something else".into()),
    }
}

#[tokio::test]
async fn lists_in_pieces_are_counted_as_whole_ones() {
    let (right, left) = (list(30, 12, 1), list(30, 12, 2));
    for piece in [34, 10 * 34, right.len()] {
        let counted = counts(said(&right, piece, true), said(&left, piece, true), 30).await;
        assert_eq!(counted, Ok(vec![12 - i64::from(law().most())]));
    }
}

#[tokio::test]
async fn what_each_side_sent_is_known_by_its_hash_however_it_was_cut() {
    let org = |name: &str| OrgId::new(name).unwrap();
    let (right, left) = (list(30, 12, 1), list(30, 12, 2));
    for piece in [34, right.len()] {
        let sides = [(org("a"), said(&right, piece, true), vec![30]), (org("b"), said(&left, piece, true), vec![30])];
        let mut lists = Lists { law: law(), sides, bound: Duration::from_secs(5) };
        let Ok(counted) = counted(&mut lists).await else { panic!() };
        let hash = |list: &[u8]| <[u8; 32]>::from(Sha256::digest(list));
        assert_eq!(counted.sent, [(org("a"), hash(&right)), (org("b"), hash(&left))]);
    }
}

#[tokio::test]
async fn a_side_that_stops_or_sends_another_list_has_nothing_counted() {
    let (right, left) = (list(30, 12, 1), list(30, 12, 2));
    let good = || said(&left, 340, true);
    let named = |reason: &str, owner: &str, by: &str| Err(format!("{reason}: the list of {owner}, which {by}"));
    assert_eq!(counts(said(&right, 340, false), good(), 30).await, Err("a gave no answer".into()));
    assert_eq!(counts(said(&right, 33, true), good(), 30).await, named("WRONG_COUNT", "b", "a"));
    assert_eq!(counts(said(&right[34..], 340, true), good(), 30).await, named("WRONG_COUNT", "b", "a"));
    assert_eq!(counts(said(&list(31, 12, 1), 340, true), good(), 30).await, named("SIZE_EXCEEDED", "b", "a"));
    assert_eq!(counts(said(&right, 340, true), said(&left[34..], 340, true), 30).await, named("WRONG_COUNT", "a", "b"));
    let backwards: Vec<u8> = right.chunks(34).rev().flatten().copied().collect();
    // Nor does it help to end it with something else than the list.
    for done in [true, false] {
        assert_eq!(counts(said(&backwards, 340, done), good(), 30).await, named("HOSTILE_INPUT", "b", "a"));
        assert_eq!(counts(good(), said(&backwards, 340, done), 30).await, named("HOSTILE_INPUT", "a", "b"));
    }
}
