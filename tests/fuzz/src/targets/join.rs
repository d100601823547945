//! What the sides of a join of two registers send each other and the third party.

use firebreak_domain::Epsilon;
use firebreak_privacy::join::{DummyLaw, JoinList, ListSide, count, points};
use firebreak_psi::join::{ENTRY, JoinParams, JoinParty, JoinSession, JoinSide, KEY_WITH_PROOF, PointList};
use firebreak_psi::{Normaliser, SecretSeed, SessionId};

const SESSION: JoinSession = JoinSession { id: SessionId::from_bytes([3; 16]), terms: [4; 32] };
const LABELS: u16 = 2;

fn params() -> JoinParams {
    JoinParams::new(LABELS, LABELS, vec![1, 2, 1]).unwrap()
}

fn party(side: JoinSide, seed: u8) -> JoinParty {
    let record = |n: u16| (Normaliser::V1.normalise(&format!("id-{n:08}")).unwrap(), n % LABELS);
    let records = (0..5).map(record).collect();
    JoinParty::new(SESSION, side, &SecretSeed::from_bytes([seed; 32]), records, params()).unwrap()
}

/// The other side's key with its proof: in this session nobody else has another that is taken.
pub fn key(bytes: &[u8]) -> bool {
    if party(JoinSide::Left, 1).meet(bytes).is_err() {
        return false;
    }
    assert!(bytes.len() == KEY_WITH_PROOF && keys().iter().any(|key| key == bytes), "a proof was made up");
    true
}

pub fn keys() -> Vec<Vec<u8>> {
    vec![party(JoinSide::Right, 2).key().to_vec(), party(JoinSide::Right, 3).key().to_vec()]
}

/// The other side's list. Each of the first two bytes says how many points of that label are due.
pub fn list(bytes: &[u8]) -> bool {
    let Some((sizes, list)) = bytes.split_first_chunk::<2>() else { return false };
    let sizes = sizes.map(u64::from);
    let Ok(read) = PointList::read(list, JoinSide::Right, &params(), &sizes) else { return false };
    assert_eq!(read.as_bytes(), list);
    assert_eq!(read.entries().len() as u64, sizes.iter().sum::<u64>());
    // A point need not be one: that shows where it is raised, and there as an error.
    if let Ok(raised) = party(JoinSide::Left, 1).raise(read.entries()) {
        assert_eq!(raised.len(), read.entries().len());
    }
    true
}

pub fn lists() -> Vec<Vec<u8>> {
    let party = party(JoinSide::Right, 2);
    let mut entries = party.blind(0..party.records()).unwrap();
    let encoded = |entries| {
        let list = PointList::of(entries).unwrap();
        let sizes = list.sizes(JoinSide::Right, &params()).unwrap();
        let sizes: Vec<u8> = sizes.into_iter().map(|size| u8::try_from(size).unwrap()).collect();
        [sizes, list.as_bytes().to_vec()].concat()
    };
    let own = encoded(entries.clone());
    entries.extend(party.own_dummies().unwrap());
    vec![own, encoded(entries), vec![0, 0]]
}

/// Both lists, as they come to be counted: how many bytes the first has (2 bytes), then the two. Each side has one record
/// of each of its labels.
pub fn counts(bytes: &[u8]) -> bool {
    let Some((length, lists)) = bytes.split_first_chunk() else { return false };
    let Some((left, right)) = lists.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { return false };
    let (Ok(left_points), Ok(right_points)) = (points(ListSide::Left, left), points(ListSide::Right, right)) else {
        assert!(!left.len().is_multiple_of(ENTRY) || !right.len().is_multiple_of(ENTRY));
        return false;
    };
    let own_sizes = &[1; LABELS as usize];
    let (one, other) = (JoinList { points: left_points, own_sizes }, JoinList { points: right_points, own_sizes });
    let law = law();
    let Ok(cells) = count(&law, one, other) else { return false };
    assert_eq!(cells.counts().len(), usize::from(LABELS * LABELS));
    // What was met in a cell is at most what either list has of its labels.
    let due = 1 + i64::from(law.most()) * i64::from(LABELS);
    assert!(cells.counts().iter().all(|count| (-i64::from(law.most())..=due).contains(count)));
    true
}

fn law() -> DummyLaw {
    DummyLaw::new(Epsilon::at_least(1.0).unwrap()).unwrap()
}

pub fn count_samples() -> Vec<Vec<u8>> {
    let due = 1 + u64::from(law().most()) * u64::from(LABELS);
    // Points of which both lists have every third.
    let list = |apart: u64| {
        let entry = |(label, n): (u16, u64)| {
            let number = (u64::from(label) * due + n) * 6 + if n.is_multiple_of(3) { 0 } else { apart };
            [[0; 24].as_slice(), &number.to_be_bytes(), &label.to_be_bytes()].concat()
        };
        (0..LABELS).flat_map(|label| (0..due).map(move |n| (label, n))).flat_map(entry).collect::<Vec<u8>>()
    };
    let (left, right) = (list(1), list(2));
    vec![[u16::try_from(left.len()).unwrap().to_be_bytes().as_slice(), &left, &right].concat()]
}
