//! What the sides of a join of two registers send each other and the third party.

use firebreak_domain::Epsilon;
use firebreak_privacy::join::{DummyLaw, JoinList, ListSide, count, points};
use firebreak_psi::join::{
    ENTRY, JoinParams, JoinParty, JoinSession, JoinSide, KEY_WITH_PROOF, PointList, PointStream,
};
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

/// A list of records alone, one with dummies, and one of nothing, each with the sizes that it has.
fn right_lists() -> Vec<(Vec<u64>, Vec<u8>)> {
    let party = party(JoinSide::Right, 2);
    let mut entries = party.blind(0..party.records()).unwrap();
    let listed = |entries| {
        let list = PointList::of(entries).unwrap();
        (list.sizes(JoinSide::Right, &params()).unwrap(), list.as_bytes().to_vec())
    };
    let own = listed(entries.clone());
    entries.extend(party.own_dummies().unwrap());
    vec![own, listed(entries), (vec![0; usize::from(LABELS)], Vec::new())]
}

pub fn lists() -> Vec<Vec<u8>> {
    let encoded = |(sizes, list): (Vec<u64>, Vec<u8>)| {
        let sizes: Vec<u8> = sizes.into_iter().map(|size| u8::try_from(size).unwrap()).collect();
        [sizes, list].concat()
    };
    right_lists().into_iter().map(encoded).collect()
}

/// What stands before the pieces of a list: how many sizes are stated (1 byte, up to 4) and each (8 bytes), how many
/// cuts there are (1 byte) and each (1 byte).
fn stated(bytes: &[u8]) -> Option<(Vec<u64>, &[u8], &[u8])> {
    let (labels, rest) = bytes.split_first()?;
    let (sizes, rest) = rest.split_at_checked(usize::from(labels % 5) * 8)?;
    let sizes = sizes.as_chunks::<8>().0.iter().map(|size| u64::from_be_bytes(*size)).collect();
    let (cuts, rest) = rest.split_first()?;
    let (cuts, list) = rest.split_at_checked(usize::from(*cuts))?;
    Some((sizes, cuts, list))
}

/// The other side's list as it arrives. A cut below 128 is behind so many points, any other behind so many bytes beyond
/// 128. From a piece on that is refused all comes as one: whatever the cuts, a list is taken that is one in whole.
pub fn pieces(bytes: &[u8]) -> bool {
    let Some((sizes, cuts, list)) = stated(bytes) else { return false };
    let whole = PointList::read(list, JoinSide::Right, &params(), &sizes);
    let Ok(mut stream) = PointStream::new(JoinSide::Right, &params(), &sizes) else {
        assert!(sizes.len() != usize::from(LABELS) && whole.is_err());
        return false;
    };
    let due = sizes.iter().fold(0_u64, |all, size| all.saturating_add(*size)).saturating_mul(ENTRY as u64);
    let mut rest = list;
    for cut in cuts {
        let length = if *cut < 128 { usize::from(*cut) * ENTRY } else { usize::from(*cut - 128) };
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        let before = stream.bytes();
        if stream.check(piece).is_err() {
            assert_eq!(stream.bytes(), before, "a refused piece counts");
            break;
        }
        assert!(!piece.is_empty() && piece.len().is_multiple_of(ENTRY), "a part of a point was taken");
        assert_eq!(stream.bytes(), before + piece.len() as u64);
        assert!(stream.bytes() <= due, "more points than stated");
        rest = behind;
    }
    let last = rest.is_empty() || stream.check(rest).is_ok();
    let taken = last && stream.is_complete();
    assert_eq!(taken, whole.is_ok(), "a list in pieces is another than in whole");
    assert!(!taken || stream.bytes() == list.len() as u64);
    taken
}

/// Each list at once, point by point, and in cuts that are none.
pub fn piece_samples() -> Vec<Vec<u8>> {
    let lists = right_lists();
    let encoded = |(sizes, list): &(Vec<u64>, Vec<u8>), cuts: &[u8]| {
        let counted = |length: usize| vec![u8::try_from(length).unwrap()];
        let sizes: Vec<u8> =
            [counted(sizes.len()), sizes.iter().flat_map(|size| size.to_be_bytes()).collect()].concat();
        [sizes, counted(cuts.len()), cuts.to_vec(), list.clone()].concat()
    };
    let cuts = [vec![], vec![1; 5], vec![3, 1, 127], vec![2, 128 + 33], vec![1, 0]];
    lists.iter().flat_map(|list| cuts.iter().map(move |cuts| encoded(list, cuts))).collect()
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
