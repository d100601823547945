//! The audit of a join: whether what the gateway sees of it tells more of one person than is charged.
//!
//! `bench-audit-join [SESSIONS]`. Whole sessions between two sides of the protocol, keys, points and all, of a register
//! with and without one person, whom the other register has or has not. Of each the gateway's view is recorded: the
//! sizes of both lists, and how many points met. Over all thresholds of each number in it, and of their difference, the
//! largest ε that the two frequencies bear out is worked out, at δ as charged; a view that keeps the theorem stays
//! below the ε of the law. By a bound of large deviations [Chernoff 1952] a finding is false in fewer than one of 10⁶
//! runs.

use anyhow::{Context, Result, ensure};
use firebreak_domain::Epsilon;
use firebreak_privacy::join::{DummyLaw, JoinList, ListSide, count, points};
use firebreak_psi::join::{JoinParams, JoinParty, JoinSession, JoinSide, PointList};
use firebreak_psi::{NormalisedInput, Normaliser, SecretSeed, SessionId};
use firebreak_tests::bench::{Aim, aimed, argument, conditions, figure};
use std::collections::BTreeMap;
use std::thread;

const SESSIONS: u32 = 4_000;
/// The chance that a finding is false, over all thresholds.
const FALSE: f64 = 1e-6;
/// Thresholds that are looked at, at most.
const THRESHOLDS: f64 = 2_000.0;
/// The loss that is audited: the most that a join may have.
const LOSS: f64 = 1.0;

/// What the gateway sees of one session of one label a side: V, and the sizes of both own lists.
type View = [i64; 3];

fn main() -> Result<()> {
    conditions();
    let sessions = argument(SESSIONS)?;
    let law = DummyLaw::new(Epsilon::at_least(LOSS).context("no such loss")?)?;
    let delta = law.charge().delta.atto() as f64 / 1e18;
    let mut most = f64::NEG_INFINITY;
    for (name, also_there) in [("in both registers", true), ("in one register", false)] {
        let found = audit(&law, &law.weights(), sessions, also_there, delta)?;
        figure(&format!("join_view_epsilon_{}", if also_there { "both" } else { "one" }), found, name);
        most = most.max(found);
    }
    aimed("join_view_epsilon", most, "epsilon borne out", Aim::AtMost(1.0));
    ensure!(most <= LOSS, "the gateway's view tells more than is charged");
    Ok(())
}

/// The largest ε that the views bear out, of sides whose dummies follow `weights`.
fn audit(law: &DummyLaw, weights: &[u64], sessions: u32, also_there: bool, delta: f64) -> Result<f64> {
    let (with, without) = thread::scope(|scope| {
        let with = scope.spawn(|| views(law, weights, sessions, true, also_there));
        let without = views(law, weights, sessions, false, also_there);
        (with.join(), without)
    });
    let (with, without) = (with.map_err(|_| anyhow::anyhow!("a thread died"))??, without?);
    let statistics: [fn(&View) -> i64; 5] = [|v| v[0], |v| v[1], |v| v[2], |v| v[1] - v[0], |v| v[2] - v[0]];
    let found = statistics.iter().flat_map(|of| {
        let (with, without) = (counted(&with, of), counted(&without, of));
        [borne_out(&with, &without, sessions, delta), borne_out(&without, &with, sessions, delta)]
    });
    Ok(found.fold(f64::NEG_INFINITY, f64::max))
}

fn views(law: &DummyLaw, weights: &[u64], sessions: u32, with: bool, also_there: bool) -> Result<Vec<View>> {
    // The person audited is number 0. Of the others some are in both registers, some in one.
    let first = u32::from(!with);
    let own: Vec<u32> = (first..4).collect();
    let theirs: Vec<u32> = if also_there { (0..3).collect() } else { (1..4).collect() };
    (0..sessions).map(|_| session(law, weights, &own, &theirs)).collect()
}

/// One session, as its gateway sees it.
fn session(law: &DummyLaw, weights: &[u64], own: &[u32], theirs: &[u32]) -> Result<View> {
    let bound = JoinSession { id: SessionId::from_bytes([1; 16]), terms: [2; 32] };
    let params = JoinParams::new(1, 1, weights.to_vec())?;
    let record = |n: &u32| Normaliser::V1.normalise(&format!("id-{n:08}")).map(|input| (input, 0));
    let side = |side: JoinSide, of: &[u32]| {
        let records: Option<Vec<(NormalisedInput, u16)>> = of.iter().map(record).collect();
        let seed = SecretSeed::generate()?;
        Ok::<_, anyhow::Error>(JoinParty::new(bound, side, &seed, records.context("no number")?, params.clone())?)
    };
    let (left, right) = (side(JoinSide::Left, own)?, side(JoinSide::Right, theirs)?);
    let list = |party: &JoinParty| -> Result<PointList> {
        let mut points = party.blind(0..party.records())?;
        points.extend(party.own_dummies()?);
        Ok(PointList::of(points)?)
    };
    let sent_on = |party: &JoinParty, other: &JoinParty, list: &PointList| -> Result<PointList> {
        let mut points = party.raise(list.entries())?;
        points.extend(party.counterparts(&party.meet(&other.key())?)?);
        Ok(PointList::of(points)?)
    };
    let (of_left, of_right) = (list(&left)?, list(&right)?);
    let (to_left, to_right) = (sent_on(&right, &left, &of_left)?, sent_on(&left, &right, &of_right)?);
    let sizes = |list: &PointList, side| list.sizes(side, &params);
    let (left_sizes, right_sizes) = (sizes(&of_left, JoinSide::Left)?, sizes(&of_right, JoinSide::Right)?);
    let one = JoinList { points: points(ListSide::Left, to_left.as_bytes())?, own_sizes: &left_sizes };
    let other = JoinList { points: points(ListSide::Right, to_right.as_bytes())?, own_sizes: &right_sizes };
    let met = count(law, one, other)?.counts().first().copied().context("no count")?;
    let size = |sizes: &[u64]| sizes.first().map_or(0, |size| *size as i64);
    Ok([met, size(&left_sizes), size(&right_sizes)])
}

/// How many views have each value.
fn counted(views: &[View], of: &fn(&View) -> i64) -> BTreeMap<i64, u32> {
    let mut counts = BTreeMap::new();
    for view in views {
        *counts.entry(of(view)).or_default() += 1;
    }
    counts
}

/// The largest ε for which some threshold, from below or above, is passed too often for the other register.
fn borne_out(one: &BTreeMap<i64, u32>, other: &BTreeMap<i64, u32>, sessions: u32, delta: f64) -> f64 {
    let values: Vec<i64> = one.keys().chain(other.keys()).copied().collect();
    let mut most = f64::NEG_INFINITY;
    for threshold in values {
        let above = |counts: &BTreeMap<i64, u32>| counts.range(threshold..).map(|(_, n)| *n).sum::<u32>();
        let (p, q) = (above(one), above(other));
        for (p, q) in [(p, q), (sessions - p, sessions - q)] {
            let (least, largest) = (bound(p, sessions, false), bound(q, sessions, true));
            if least > delta {
                most = most.max(((least - delta) / largest).ln());
            }
        }
    }
    most
}

/// The largest, or least, chance under which `hits` of `sessions` are not unlikely.
fn bound(hits: u32, sessions: u32, upper: bool) -> f64 {
    let (found, all) = (f64::from(hits) / f64::from(sessions), f64::from(sessions));
    let allowed = (2.0 * THRESHOLDS / FALSE).ln() / all;
    let term = |p: f64, q: f64| if p == 0.0 { 0.0 } else { p * (p / q).ln() };
    let far = |chance: f64| term(found, chance) + term(1.0 - found, 1.0 - chance) > allowed;
    let (mut near, mut beyond) = (found, if upper { 1.0 } else { 0.0 });
    for _ in 0..60 {
        let middle = f64::midpoint(near, beyond);
        if far(middle) { beyond = middle } else { near = middle }
    }
    beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law() -> DummyLaw {
        DummyLaw::new(Epsilon::at_least(LOSS).unwrap()).unwrap()
    }

    #[test]
    fn bounds_hold_what_was_found_and_narrow_with_more_sessions() {
        for (hits, sessions) in [(0, 100), (50, 100), (100, 100), (5_000, 10_000)] {
            let found = f64::from(hits) / f64::from(sessions);
            assert!(bound(hits, sessions, false) <= found && found <= bound(hits, sessions, true));
        }
        assert!(bound(0, 10_000, true) < bound(0, 100, true));
        assert_eq!(bound(0, 100, false), 0.0);
    }

    #[test]
    fn views_without_dummies_are_found_to_tell_more_than_is_charged() {
        // A law of one outcome: each side has no dummies at all.
        let found = audit(&law(), &[1], 100, true, 0.0);
        // The counting knows by how much a list is to be longer, and refuses it before it is counted.
        assert!(found.is_err());
        // As many dummies as on average, always.
        let mut always = vec![1; law().weights().len()];
        let centre = always.len() / 2;
        always[centre] = u64::MAX / 2;
        assert!(audit(&law(), &always, 100, true, 0.0).unwrap() > LOSS);
    }
}
