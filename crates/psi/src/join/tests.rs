//! Whole joins between two sides and whoever counts, and what a side can do that does not follow the protocol.

use super::list::{entry, label_of, point};
use super::*;
use crate::wire::element;
use crate::{NormalisedInput, Normaliser, SecretSeed, SessionId};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use std::collections::{BTreeMap, BTreeSet};

const SESSION: JoinSession = JoinSession { id: SessionId::from_bytes([3; 16]), terms: [4; 32] };
const LABELS: (u16, u16) = (2, 3);
/// Of 0 to 4 dummies.
const WEIGHTS: [u64; 5] = [1, 2, 4, 2, 1];

fn number(n: u32) -> NormalisedInput {
    Normaliser::V1.normalise(&format!("id-{n:08}")).unwrap()
}

fn params() -> JoinParams {
    JoinParams::new(LABELS.0, LABELS.1, WEIGHTS.to_vec()).unwrap()
}

fn party(side: JoinSide, seed: u8, records: &[(u32, u16)]) -> JoinParty {
    let records = records.iter().map(|(n, label)| (number(*n), *label)).collect();
    JoinParty::new(SESSION, side, &SecretSeed::from_bytes([seed; 32]), records, params()).unwrap()
}

fn own_list(party: &JoinParty) -> PointList {
    let mut entries = party.blind(0..party.records()).unwrap();
    entries.extend(party.own_dummies().unwrap());
    PointList::of(entries).unwrap()
}

fn sent_on(party: &JoinParty, list: &PointList, peer: &PeerKey) -> PointList {
    let mut entries = party.raise(list.entries()).unwrap();
    entries.extend(party.counterparts(peer).unwrap());
    PointList::of(entries).unwrap()
}

/// How often each pair of labels meets.
fn met(left: &PointList, right: &PointList) -> BTreeMap<(u16, u16), u32> {
    let labels: BTreeMap<[u8; 32], u16> =
        right.entries().iter().map(|entry| (*point(entry), label_of(entry))).collect();
    let mut met = BTreeMap::new();
    for one in left.entries() {
        if let Some(other) = labels.get(point(one)) {
            *met.entry((label_of(one), *other)).or_default() += 1;
        }
    }
    met
}

/// The lists of the left and of the right side's records as they come to be counted.
fn run(left: &JoinParty, right: &JoinParty) -> (PointList, PointList) {
    let (k_left, k_right) = (right.meet(&left.key()).unwrap(), left.meet(&right.key()).unwrap());
    let (of_left, of_right) = (own_list(left), own_list(right));
    (sent_on(right, &of_left, &k_left), sent_on(left, &of_right, &k_right))
}

fn cell(drawn: &[u32], (left, right): (u16, u16)) -> u32 {
    drawn[usize::from(left) * usize::from(LABELS.1) + usize::from(right)]
}

#[test]
fn a_count_is_the_truth_and_both_sides_dummies() {
    let mine: Vec<(u32, u16)> = (0..60).map(|n| (n, (n % 2) as u16)).collect();
    let theirs: Vec<(u32, u16)> = (40..100).map(|n| (n, (n % 3) as u16)).collect();
    let (left, right) = (party(JoinSide::Left, 1, &mine), party(JoinSide::Right, 2, &theirs));
    let (of_left, of_right) = run(&left, &right);
    let met = met(&of_left, &of_right);
    for i in 0..LABELS.0 {
        for j in 0..LABELS.1 {
            let truth = (40..60).filter(|n| n % 2 == u32::from(i) && n % 3 == u32::from(j)).count() as u32;
            let found = met.get(&(i, j)).copied().unwrap_or_default();
            assert_eq!(found, truth + cell(left.drawn(), (i, j)) + cell(right.drawn(), (i, j)), "{i} {j}");
        }
    }
}

/// PRIVACY: were the list longer by what was drawn, its owner and whoever counts would see the other side's draws.
#[test]
fn a_list_that_is_sent_on_is_longer_by_what_both_know() {
    for seed in 0..20 {
        let (left, right) = (party(JoinSide::Left, 1, &[(1, 0)]), party(JoinSide::Right, seed + 2, &[(1, 2), (5, 0)]));
        let own = own_list(&left).sizes(JoinSide::Left, &params()).unwrap();
        let (of_left, _) = run(&left, &right);
        let found = of_left.sizes(JoinSide::Left, &params()).unwrap();
        let due: Vec<u64> = own.iter().map(|own| own + params().added(JoinSide::Right)).collect();
        assert_eq!(found, due);
    }
    assert_eq!((params().added(JoinSide::Right), params().added(JoinSide::Left)), (12, 8));
}

/// PRIVACY: what is sent again in other bytes is a second draw, and two draws average the noise away.
#[test]
fn one_seed_makes_the_same_bytes_and_another_session_others() {
    let records = [(1, 0), (2, 1)];
    let lists = |party: &JoinParty| {
        let peer = party.meet(&self::party(JoinSide::Right, 9, &[]).key()).ok();
        let counterparts = peer.map(|peer| party.counterparts(&peer).unwrap());
        (party.key(), own_list(party).entries().to_vec(), counterparts)
    };
    let once = lists(&party(JoinSide::Left, 1, &records));
    assert!(lists(&party(JoinSide::Left, 1, &records)) == once);
    let mut reversed = records;
    reversed.reverse();
    assert!(lists(&party(JoinSide::Left, 1, &reversed)) == once, "the order of records is in no list");
    let other = party(JoinSide::Left, 2, &records);
    let session = JoinSession { terms: [5; 32], ..SESSION };
    let records = records.map(|(n, label)| (number(n), label)).to_vec();
    let further = JoinParty::new(session, JoinSide::Left, &SecretSeed::from_bytes([1; 32]), records, params()).unwrap();
    let points = |list: &[Entry]| list.iter().map(|entry| *point(entry)).collect::<BTreeSet<_>>();
    for changed in [lists(&other), lists(&further)] {
        assert!(changed.0 != once.0 && points(&changed.1).is_disjoint(&points(&once.1)));
    }
}

#[test]
fn dummies_follow_their_law() {
    let single = JoinParams::new(1, 4096, WEIGHTS.to_vec()).unwrap();
    let mut found = [0_u32; WEIGHTS.len()];
    for seed in 0..3 {
        let seed = SecretSeed::from_bytes([seed; 32]);
        let party = JoinParty::new(SESSION, JoinSide::Left, &seed, vec![], single.clone()).unwrap();
        for drawn in party.drawn() {
            found[*drawn as usize] += 1;
        }
    }
    let all = f64::from(found.iter().sum::<u32>());
    let chi_squared: f64 = (0..)
        .zip(&WEIGHTS)
        .map(|(number, weight): (usize, _)| {
            let due = all * *weight as f64 / 10.0;
            (f64::from(found[number]) - due).powi(2) / due
        })
        .sum();
    // Four degrees of freedom: beyond 23.5 once in ten thousand seeds, and these are fixed.
    assert!(chi_squared < 23.5, "{found:?}");
}

#[test]
fn a_key_is_proved_for_its_session_its_terms_and_its_side() {
    let (left, right) = (party(JoinSide::Left, 1, &[]), party(JoinSide::Right, 2, &[]));
    assert!(left.meet(&right.key()).is_ok());
    let rejected = |shown: &[u8]| left.meet(shown).err();
    // Its own key back again, and that of another left side.
    assert_eq!(rejected(&left.key()), Some(PsiError::KnowledgeRejected));
    assert_eq!(rejected(&party(JoinSide::Left, 2, &[]).key()), Some(PsiError::KnowledgeRejected));
    for session in
        [JoinSession { terms: [5; 32], ..SESSION }, JoinSession { id: SessionId::from_bytes([4; 16]), ..SESSION }]
    {
        let other =
            JoinParty::new(session, JoinSide::Right, &SecretSeed::from_bytes([2; 32]), vec![], params()).unwrap();
        assert_eq!(rejected(&other.key()), Some(PsiError::KnowledgeRejected));
    }
    // A point of which nobody knows the logarithm, under somebody's proof.
    let mut borrowed = right.key();
    let point = SESSION.point(b"x0").unwrap().compress();
    borrowed[..32].copy_from_slice(point.as_bytes());
    assert_eq!(rejected(&borrowed), Some(PsiError::KnowledgeRejected));
    for at in 32..KEY_WITH_PROOF {
        let mut changed = right.key();
        changed[at] ^= 1;
        assert!(rejected(&changed).is_some(), "{at}");
    }
    borrowed[..32].fill(0);
    assert_eq!(rejected(&borrowed), Some(PsiError::IdentityElement));
    assert!(matches!(rejected(&right.key()[1..]), Some(PsiError::WrongLength { .. })));
}

#[test]
fn hostile_lists_are_refused_by_name() {
    let left = party(JoinSide::Left, 1, &[(1, 0), (2, 1), (3, 1)]);
    let list = own_list(&left);
    let sizes = list.sizes(JoinSide::Left, &params()).unwrap();
    let read = |entries: &[Entry]| PointList::read(entries.as_flattened(), JoinSide::Left, &params(), &sizes).err();
    assert_eq!(read(list.entries()), None);
    let changed = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = list.entries().to_vec();
        change(&mut entries);
        read(&entries)
    };
    assert_eq!(changed(&|list| list.swap(0, 1)), Some(PsiError::PointOrder));
    assert_eq!(changed(&|list| list[1] = list[0]), Some(PsiError::PointOrder));
    assert_eq!(changed(&|list| list[0][33] = 2), Some(PsiError::Label));
    assert_eq!(changed(&|list| list[0][33] ^= 1), Some(PsiError::LabelSize));
    assert!(matches!(changed(&|list| list.truncate(1)), Some(PsiError::WrongLength { .. })));
    assert!(matches!(changed(&|list| list.push([255; ENTRY])), Some(PsiError::WrongLength { .. })));
    let bytes = &list.as_bytes()[1..];
    let short = PointList::read(bytes, JoinSide::Left, &params(), &sizes).err();
    assert!(matches!(short, Some(PsiError::WrongLength { .. })));
    assert_eq!(PointList::read(&[], JoinSide::Left, &params(), &[]).err(), Some(PsiError::LabelSize));
    // What is no point shows when it is raised.
    let right = party(JoinSide::Right, 2, &[]);
    assert_eq!(right.raise(&[[0; ENTRY]]).err(), Some(PsiError::IdentityElement));
    assert_eq!(right.raise(&[[255; ENTRY]]).err(), Some(PsiError::InvalidElement));
}

#[test]
fn records_that_do_not_fit_make_no_party() {
    let made = |records: &[(u32, u16)]| {
        let records = records.iter().map(|(n, label)| (number(*n), *label)).collect();
        JoinParty::new(SESSION, JoinSide::Left, &SecretSeed::from_bytes([1; 32]), records, params()).err()
    };
    assert_eq!(made(&[(1, 0), (1, 0)]), Some(PsiError::DuplicateElement));
    assert_eq!(made(&[(1, 0), (1, 1)]), Some(PsiError::DuplicateElement));
    assert_eq!(made(&[(1, 2)]), Some(PsiError::Label));
    let refused = |left, right, weights: Vec<u64>| JoinParams::new(left, right, weights).is_err();
    assert!(refused(0, 1, vec![1]) && refused(65, 64, vec![1]) && refused(1, 1, vec![]));
    assert!(refused(1, 1, vec![1, 1]) && refused(1, 1, vec![1, 0, 1]) && refused(1, 1, vec![1; 1027]));
}

/// What a side can do that does not follow the protocol, though whoever counts does: a key that it does not use. The
/// other side's dummies meet nothing, and the count less its own is exact.
#[test]
fn a_side_with_two_keys_takes_the_others_noise_off() {
    let (left, right) =
        (party(JoinSide::Left, 1, &[(1, 0), (2, 1)]), party(JoinSide::Right, 2, &[(1, 2), (2, 0), (3, 0)]));
    // It proves that it knows a key, and uses another.
    let shown = party(JoinSide::Right, 77, &[]);
    let (k_left, false_key) = (right.meet(&left.key()).unwrap(), left.meet(&shown.key()).unwrap());
    let of_left = sent_on(&right, &own_list(&left), &k_left);
    let of_right = sent_on(&left, &own_list(&right), &false_key);
    let met = met(&of_left, &of_right);
    for (cell_of, truth) in [((0, 2), 1), ((1, 0), 1), ((0, 0), 0), ((1, 2), 0)] {
        let found = met.get(&cell_of).copied().unwrap_or_default();
        assert_eq!(found - cell(right.drawn(), cell_of), truth);
    }
}

fn times(factor: u64, of: &Entry) -> Entry {
    let point: RistrettoPoint = Scalar::from(factor) * element(point(of)).unwrap();
    entry(point.compress().as_bytes(), label_of(of))
}

/// A list of multiples of one point: whoever made it knows each again behind the other side's key, in whatever order, if
/// whoever counts shows the list.
#[test]
fn a_list_of_multiples_of_one_point_is_known_again_behind_the_others_key() {
    let (left, right) = (party(JoinSide::Left, 1, &[]), party(JoinSide::Right, 2, &[(7, 0)]));
    let one = right.blind(0..1).unwrap()[0];
    let factors = [1, 5, 11, 23];
    let list = PointList::of(factors.iter().map(|factor| times(*factor, &one)).collect()).unwrap();
    let shown = PointList::of(left.raise(list.entries()).unwrap()).unwrap();
    let points: BTreeSet<[u8; 32]> = shown.entries().iter().map(|entry| *point(entry)).collect();
    // Only one of them has all multiples beside it.
    let first: Vec<&Entry> = shown
        .entries()
        .iter()
        .filter(|entry| factors.iter().all(|factor| points.contains(point(&times(*factor, entry)))))
        .collect();
    assert_eq!(first.len(), 1);
    assert!(*first[0] == left.raise(&[one]).unwrap()[0]);
}

/// Expansion: a record put in many times under factors, and the other side's points as well. One person then counts for
/// as many as there are factors. Lists that are too long are refused by whoever counts; the places of what fills them are
/// enough.
#[test]
fn a_record_under_many_factors_counts_many_times_in_a_list_of_the_right_length() {
    let factors = [1, 2];
    let left = party(JoinSide::Left, 1, &[(1, 0)]);
    let attack = |record: u32| {
        let right = party(JoinSide::Right, 2, &[(record, 0)]);
        let (k_left, k_right) = (right.meet(&left.key()).unwrap(), left.meet(&right.key()).unwrap());
        let mut own = right.own_dummies().unwrap();
        let target = right.blind(0..1).unwrap()[0];
        own.extend(factors.iter().map(|factor| times(*factor, &target)));
        let of_right = sent_on(&left, &PointList::of(own).unwrap(), &k_right);
        // Of the list that it sends on it leaves out counterparts and fill, and puts multiples of records in.
        let of_left = own_list(&left);
        let due = of_left.sizes(JoinSide::Left, &params()).unwrap();
        let due: Vec<u64> = due.iter().map(|own| own + params().added(JoinSide::Right)).collect();
        let raised = right.raise(of_left.entries()).unwrap();
        let multiples = raised.iter().flat_map(|entry| factors.iter().map(|factor| times(*factor, entry)));
        let mut left_over = due.clone();
        let multiples = multiples.chain(right.counterparts(&k_left).unwrap());
        let list: Vec<Entry> = multiples
            .filter(|entry| {
                let left = &mut left_over[usize::from(label_of(entry))];
                let fits = *left > 0;
                *left = left.saturating_sub(1);
                fits
            })
            .collect();
        let list = PointList::of(list).unwrap();
        assert_eq!(list.sizes(JoinSide::Left, &params()).unwrap(), due);
        met(&list, &of_right).get(&(0, 0)).copied().unwrap_or_default()
    };
    // The one record of the other side, and one that it does not have.
    assert_eq!(attack(1), attack(2) + 2);
}

/// Factors in an own list alone: no point of the other list is a multiple unless the side that made them puts it there.
#[test]
fn multiples_in_an_own_list_alone_meet_nothing() {
    let (left, right) = (party(JoinSide::Left, 1, &[(1, 0), (2, 0)]), party(JoinSide::Right, 2, &[(1, 0), (3, 1)]));
    let (k_left, k_right) = (right.meet(&left.key()).unwrap(), left.meet(&right.key()).unwrap());
    let of_left = sent_on(&right, &own_list(&left), &k_left);
    let met_with = |factors: &[u64]| {
        let mut own = own_list(&right).entries().to_vec();
        let records = right.blind(0..right.records()).unwrap();
        own.extend(records.iter().flat_map(|record| factors.iter().map(|factor| times(*factor, record))));
        met(&of_left, &sent_on(&left, &PointList::of(own).unwrap(), &k_right))
    };
    assert_eq!(met_with(&[2, 3, 5, 7]), met_with(&[]));
}

/// In a register larger than the places that can be filled, factors count for those of the other side's points that are
/// picked to be raised under each. Which persons these are nobody knows beforehand; the list has the right length.
#[test]
fn in_a_large_register_factors_count_for_the_points_that_were_picked() {
    const PERSONS: u32 = 60;
    let factors = [1_u64, 2, 3, 4];
    let records: Vec<(u32, u16)> = (0..PERSONS).map(|n| (n, 0)).collect();
    let left = party(JoinSide::Left, 1, &records);
    let of_left = own_list(&left);
    let due = of_left.sizes(JoinSide::Left, &params()).unwrap()[0] + params().added(JoinSide::Right);
    let picked: Vec<Entry> = of_left
        .entries()
        .iter()
        .filter(|entry| label_of(entry) == 0)
        .copied()
        .take(due as usize / factors.len())
        .collect();
    assert!((picked.len() as u32) < PERSONS / 2, "there is room for all");
    let (mut hit, mut missed) = (0, 0);
    for target in 0..PERSONS {
        let right = party(JoinSide::Right, 2, &[(target, 0)]);
        let k_right = left.meet(&right.key()).unwrap();
        let record = right.blind(0..1).unwrap()[0];
        let own = PointList::of(factors.iter().map(|factor| times(*factor, &record)).collect()).unwrap();
        let raised = right.raise(&picked).unwrap();
        let list = raised.iter().flat_map(|entry| factors.iter().map(|factor| times(*factor, entry)));
        let list = PointList::of(list.collect()).unwrap();
        assert!(list.sizes(JoinSide::Left, &params()).unwrap()[0] <= due);
        let found = met(&list, &sent_on(&left, &own, &k_right)).get(&(0, 0)).copied().unwrap_or_default();
        // Less those of the left side's own dummies that are among the picked.
        let noise = met(&list, &sent_on(&left, &PointList::of(vec![]).unwrap(), &k_right));
        let counted = found - noise.get(&(0, 0)).copied().unwrap_or_default();
        let here = picked.contains(&left.blind_records(&[(number(target), 0)]).unwrap()[0]);
        assert_eq!(counted, if here { factors.len() as u32 } else { 0 }, "{target}");
        if here { hit += 1 } else { missed += 1 }
    }
    assert!(hit > 0 && missed > 0, "{hit} and {missed}");
}

/// A factor of its own for each record: whoever made the list, and sees what is counted, knows which of the records met.
/// Counts do not show it; the points do.
#[test]
fn records_with_a_factor_each_are_known_by_name_to_whoever_sees_the_points_that_met() {
    let left = party(JoinSide::Left, 1, &[(1, 0), (2, 0), (5, 1)]);
    let right = party(JoinSide::Right, 2, &[(1, 0), (3, 1), (5, 2), (6, 2)]);
    let (k_left, k_right) = (right.meet(&left.key()).unwrap(), left.meet(&right.key()).unwrap());
    let records = right.blind(0..right.records()).unwrap();
    let factor = |record: usize| 3 + 2 * record as u64;
    let mut own = right.own_dummies().unwrap();
    own.extend(records.iter().enumerate().flat_map(|(number, record)| [*record, times(factor(number), record)]));
    let of_right = sent_on(&left, &PointList::of(own).unwrap(), &k_right);
    let of_left = sent_on(&right, &own_list(&left), &k_left);
    // What whoever counts would have to show: the points of both lists.
    let (there, back) = (points_of(&of_left), points_of(&of_right));
    let met: Vec<usize> = (0..records.len())
        .filter(|number| {
            let known = |entry: &&Entry| back.contains(point(&times(factor(*number), entry)));
            of_right.entries().iter().filter(known).any(|entry| there.contains(point(entry)))
        })
        .collect();
    assert_eq!(met, [0, 2], "the records 1 and 5 are in both registers");
}

fn points_of(list: &PointList) -> BTreeSet<[u8; 32]> {
    list.entries().iter().map(|entry| *point(entry)).collect()
}
