//! What a side can commit to or send that its seed and records do not make, one by one.

use super::*;
use firebreak_audit::{
    Hour, Leaf, LeafSignatureError, LeafSigner, Opening, OpeningKey, Sealer, SignedLeaf, SignerRole,
};
use firebreak_domain::{Charge, OrgId, Pin, SystemClock, Timestamp};
use firebreak_psi::Normaliser;
use firebreak_psi::join::{ENTRY, Entry};
use firebreak_records::{Agreed, Drawn, JoinRecord, item_record};
use firebreak_store::{ScratchFiles, State, StateKey};
use std::ops::Range;
use tempfile::TempDir;
use zeroize::Zeroizing;

const SESSION: [u8; 32] = [7; 32];
const TERMS: [u8; 32] = [8; 32];
const RELEASED: [u8; 32] = [3; 32];
const WEIGHTS: [u64; 5] = [1, 2, 4, 2, 1];
/// The seed of the side that is made again, the right one, and of the other.
const SEED: u8 = 2;
const OTHER: u8 = 1;

struct Folder {
    state: State,
    _folder: TempDir,
}

impl Folder {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), StateKey::from_bytes([1; 32]), Arc::new(SystemClock)).await.unwrap();
        Self { state, _folder: folder }
    }

    fn files(&self) -> ScratchFiles {
        self.state.scratch_files().unwrap()
    }

    /// The own list of a side whose records have these numbers and the first label.
    fn own(&self, party: &JoinParty, labels: u16, numbers: Range<u32>) -> Vec<Entry> {
        let scratch = self.files();
        let mut records = scratch.files().write_records("records", JoinRecord::BYTES).unwrap();
        for number in numbers {
            let input = Normaliser::V1.normalise(&format!("id-{number:08}")).unwrap();
            let mut record = Vec::new();
            JoinRecord { item: &item_record(input.as_ref()), label: 0 }.put(&mut record);
            records.push(&record).unwrap();
        }
        let list = lists::own(party, &records.finish().unwrap(), labels, scratch.files()).unwrap();
        let entries = list.piece(0).unwrap().as_chunks::<ENTRY>().0.to_vec();
        assert_eq!(hash(&entries), list.hash);
        entries
    }
}

fn params() -> JoinParams {
    JoinParams::new(1, 2, WEIGHTS.to_vec()).unwrap()
}

fn side(side: JoinSide, seed: u8) -> JoinParty {
    party(&SESSION, TERMS, side, &[seed; 32], params()).unwrap()
}

fn right() -> JoinParty {
    side(JoinSide::Right, SEED)
}

/// SHA-256 of a list of these points, in its order.
fn hash(entries: &[Entry]) -> [u8; 32] {
    lists::hash_of_added(entries)
}

/// A multiple of a point, under the same label.
fn multiple(point: &Entry, factor: u8) -> Entry {
    side(JoinSide::Right, factor).raise(&[*point]).unwrap()[0]
}

struct Key;

impl LeafSigner for Key {
    fn key(&self) -> Pin {
        Pin::from_bytes([9; 32])
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, LeafSignatureError> {
        Ok(vec![1])
    }
}

/// Evidence of that kind, which commits to those lines.
fn evidence(kind: LeafKind, lines: &[String]) -> Evidence {
    let request = [format!("request sha256 {}", "00".repeat(32))];
    let payload = [&request[..], lines].concat().join("\n") + "\n";
    let opening = Opening::new(payload.into_bytes()).unwrap();
    let sealer = Sealer::default();
    sealer.seal_to(&[OpeningKey::generate().unwrap().seal_key()]).unwrap();
    let sealed = sealer.seal(&opening, b"request").unwrap();
    let org = OrgId::new("health-agency").unwrap();
    let leaf = Leaf {
        hour: Hour::of(Timestamp::from_secs(0)),
        kind,
        organisations: [org.clone()].into(),
        signer_org: org,
        signer_role: SignerRole::Adapter,
        agreement: None,
        purpose: None,
        legal_basis: None,
        recipient_class: None,
        output_kind: None,
        dataset: None,
        reason: None,
        bundle_sequence: 1,
        charge: Charge::default(),
        ledger_head: [0; 32],
        ledger_total: Charge::default(),
        commitment: opening.commitment(),
        sealed: sealed.hash(),
    };
    Evidence { leaf: SignedLeaf::sign(leaf, &Key).unwrap(), opening, sealed }
}

/// What both sides go by.
fn agreed() -> Agreed {
    let names = ["left", "right", "number"].map(str::to_owned);
    Agreed { pins: [[1; 32], [2; 32]], normaliser: 1, labels: [1, 2], names, weights: WEIGHTS.to_vec() }
}

/// What the right side keeps, with the evidence that commits to it.
fn kept(own: [u8; 32], key: [u8; 32]) -> Committed {
    let mut kept = Committed {
        seed: Zeroizing::new([SEED; 32]),
        terms: TERMS,
        release_key: RELEASED,
        own,
        moment: 0,
        until: 1,
        agreement: "a".parse().unwrap(),
        purpose: "p".into(),
        by_consent: false,
        question: Vec::new(),
        evidence: Vec::new(),
        drawn: Some(Drawn { side: JoinSide::Right, key, agreed: agreed() }),
    };
    kept.evidence = evidence(LeafKind::JoinCommitted, &kept.lines()).encode();
    kept
}

/// What is known of what is kept, whatever became of agreement and contracts.
fn known(kept: &Committed, sent: Option<&Sent>) -> Replayed {
    let mut replayed = Replayed::of(SESSION, kept, sent);
    let (side, params) = drawn(kept).unwrap();
    let party = party(&SESSION, kept.terms, side, &kept.seed, params).unwrap();
    replayed.key = key_again(kept, &party);
    replayed
}

#[test]
fn a_key_of_another_seed_is_found_without_a_contract() {
    let (honest, shown) = (join_key_hash(&right().key()), join_key_hash(&side(JoinSide::Right, 77).key()));
    let found = |key| {
        let replayed = known(&kept([4; 32], key), None);
        (replayed.commitment, replayed.key, replayed.own_list, replayed.added)
    };
    assert_eq!(found(honest), (Replay::Equal, Replay::Equal, Replay::Gone, Replay::NotSent));
    assert_eq!(found(shown), (Replay::Equal, Replay::Different, Replay::Gone, Replay::NotSent));
    // The proof beside a key may be another: the commitment is to the key.
    let mut proved = right().key();
    proved[95] ^= 1;
    assert_eq!(join_key_hash(&proved), honest);
    let left = join_key_hash(&side(JoinSide::Left, SEED).key());
    assert_eq!(found(left).1, Replay::Different, "the key of the other side under the same seed");
}

type Change<'a> = &'a dyn Fn(&mut Committed);

/// A side that draws by another law, under other labels or for another question than the two have compared.
#[test]
fn what_is_drawn_by_other_terms_than_those_compared_is_found_without_a_contract() {
    let genuine = agreed().terms(&SESSION, &RELEASED);
    let found = |change: &dyn Fn(&mut Committed)| {
        let mut kept = kept([4; 32], join_key_hash(&right().key()));
        kept.terms = genuine;
        change(&mut kept);
        kept.evidence = evidence(LeafKind::JoinCommitted, &kept.lines()).encode();
        let replayed = Replayed::of(SESSION, &kept, None);
        // It is said of whatever is kept, also of a law that no side can draw by.
        (replayed.commitment, replayed.terms, drawn(&kept).is_some())
    };
    assert_eq!(found(&|_| ()), (Replay::Equal, Replay::Equal, true));
    let changes: [(Change, bool); 7] = [
        // All of the law's mass in one place: no noise, and a list of the same length.
        (&|kept| kept.drawn.as_mut().unwrap().agreed.weights = vec![1, 1, 1 << 60, 1, 1], true),
        (&|kept| kept.drawn.as_mut().unwrap().agreed.weights = vec![0, 0, 1, 0, 0], false),
        (&|kept| kept.drawn.as_mut().unwrap().agreed.labels = [0, 2], false),
        (&|kept| kept.drawn.as_mut().unwrap().agreed.labels = [2, 1], true),
        (&|kept| kept.drawn.as_mut().unwrap().agreed.pins[1] = [9; 32], true),
        (&|kept| kept.release_key = [9; 32], true),
        (&|kept| kept.terms = [9; 32], true),
    ];
    for (number, (change, draws)) in changes.iter().enumerate() {
        assert_eq!(found(change), (Replay::Equal, Replay::Different, *draws), "change {number}");
    }
}

#[test]
fn what_the_leaf_does_not_open_to_is_found() {
    let honest = || kept([4; 32], join_key_hash(&right().key()));
    let opens = |kept: &Committed| Replayed::of(SESSION, kept, None).commitment;
    assert_eq!(opens(&honest()), Replay::Equal);
    let changes: [&dyn Fn(&mut Committed); 7] = [
        &|kept| kept.seed[0] ^= 1,
        &|kept| kept.terms[0] ^= 1,
        &|kept| kept.own[0] ^= 1,
        &|kept| kept.drawn.as_mut().unwrap().key[0] ^= 1,
        &|kept| kept.drawn = None,
        &|kept| kept.evidence = evidence(LeafKind::JoinSent, &kept.lines()).encode(),
        &|kept| {
            kept.evidence.pop();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = honest();
        change(&mut changed);
        assert_eq!(opens(&changed), Replay::Different, "change {number}");
    }
    let mut more = honest();
    more.evidence = evidence(LeafKind::JoinCommitted, &[more.lines(), vec!["more".into()]].concat()).encode();
    assert_eq!(opens(&more), Replay::Different, "a line more");
    let replayed = Replayed::of(SESSION, &honest(), None);
    let leaf = Evidence::decode(&honest().evidence).map(|evidence| leaf_of(&evidence));
    assert!(replayed.leaf.is_some() && leaf.is_some(), "it has a leaf to be looked up in the log");
    assert_eq!(replayed.committed.seed, join_seed_hash(&[SEED; 32]));
}

#[test]
fn a_join_that_committed_to_no_key_is_said_to_have_committed_to_none() {
    let mut old = kept([4; 32], [0; 32]);
    old.drawn = None;
    old.evidence = evidence(LeafKind::JoinCommitted, &old.lines()).encode();
    let replayed = Replayed::of(SESSION, &old, None);
    assert_eq!((replayed.commitment, replayed.key), (Replay::Equal, Replay::NotCommitted));
    assert!(drawn(&old).is_none() && replayed.committed.key.is_none());
    assert_eq!(key_again(&old, &right()), Replay::NotCommitted);
}

/// Each list is one that its reader takes, and that is committed to as it is: the records of the cut do not make it.
#[tokio::test]
async fn factors_multiples_and_records_beside_the_cut_are_found_in_an_own_list() {
    let folder = Folder::open().await;
    let own = folder.own(&right(), 2, 0..6);
    let again = |list: &[Entry]| compared(&hash(&folder.own(&right(), 2, 0..6)), &hash(list));
    assert_eq!(again(&own), Replay::Equal);
    let changed = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut list = own.clone();
        change(&mut list);
        again(&list)
    };
    let record = right().blind_records(&[(Normaliser::V1.normalise("id-00000003").unwrap(), 0)]).unwrap()[0];
    assert!(own.contains(&record));
    let place = own.iter().position(|entry| *entry == record).unwrap();
    assert_eq!(changed(&|list| list.push(multiple(&record, 99))), Replay::Different, "a record under two factors");
    assert_eq!(changed(&|list| list[place] = multiple(&record, 99)), Replay::Different, "a record under another key");
    let multiples: Vec<Entry> = (0..own.len()).map(|factor| multiple(&record, 100 + factor as u8)).collect();
    assert_eq!(again(&multiples), Replay::Different, "multiples of one point");
    assert_eq!(changed(&|list| list[place][33] = 1), Replay::Different, "a record under another label");
    assert_eq!(changed(&|list| list.retain(|entry| *entry != record)), Replay::Different, "a record left out");
    assert_eq!(again(&folder.own(&right(), 2, 0..7)), Replay::Different, "a record that is not in the cut");
    assert_eq!(again(&folder.own(&side(JoinSide::Right, 77), 2, 0..6)), Replay::Different, "another seed");
}

#[test]
fn a_point_that_the_seed_does_not_draw_is_found_among_those_added() {
    let shown = side(JoinSide::Left, OTHER).key();
    let added = right().counterparts(&right().meet(&shown).unwrap()).unwrap();
    let sent = |added: &[Entry], key| Sent { received: [0; 32], added: hash(added), sent_on: [0; 32], key };
    let found = |sent: &Sent| added_again(sent, &right()).unwrap();
    assert_eq!(found(&sent(&added, shown)), Replay::Equal);
    let strange = side(JoinSide::Right, 77).counterparts(&right().meet(&shown).unwrap()).unwrap();
    for place in [0, added.len() - 1] {
        let mut changed = added.clone();
        changed[place] = strange[place];
        assert_eq!(found(&sent(&changed, shown)), Replay::Different, "a point of another seed");
    }
    assert_eq!(found(&sent(&added[1..], shown)), Replay::Different, "a point less");
    let other = side(JoinSide::Left, 66).key();
    assert_eq!(found(&sent(&added, other)), Replay::Different, "added under another key than is kept as shown");
    assert_eq!(found(&sent(&added, right().key())), Replay::Different, "its own key is kept as the other side's");
}

#[tokio::test]
async fn a_list_sent_on_that_seed_and_received_list_do_not_make_is_found() {
    let folder = Folder::open().await;
    let left = side(JoinSide::Left, OTHER);
    let received = folder.own(&left, 1, 3..9);
    let theirs = folder.files();
    let stated = [left.key().as_slice(), &(received.len() as u64).to_be_bytes()].concat();
    theirs.files().spool("their-key").unwrap().add(&stated).unwrap();
    theirs.files().spool("their-points").unwrap().add(received.as_flattened()).unwrap();
    let again = |theirs: &ScratchFiles, sent: &Sent| {
        let scratch = folder.files();
        sent_on_again(theirs.files(), sent, JoinSide::Right, &params(), &right(), scratch.files()).unwrap()
    };
    let sent =
        |list: &[Entry]| Sent { received: hash(&received), added: [0; 32], sent_on: hash(list), key: left.key() };
    let raised = right().raise(&received).unwrap();
    let added = right().counterparts(&right().meet(&left.key()).unwrap()).unwrap();
    let whole = [raised.as_slice(), &added].concat();
    assert_eq!(again(&theirs, &sent(&whole)), Replay::Equal);
    let changed = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut list = whole.clone();
        change(&mut list);
        again(&theirs, &sent(&list))
    };
    assert_eq!(changed(&|list| list[0] = multiple(&list[0], 99)), Replay::Different, "raised to another key");
    assert_eq!(changed(&|list| list.retain(|entry| *entry != whole[0])), Replay::Different, "a point left out");
    let fill = whole.len() - 1;
    assert_eq!(changed(&|list| list[fill] = multiple(&list[0], 99)), Replay::Different, "a multiple in place of fill");
    let under_another = [side(JoinSide::Right, 77).raise(&received).unwrap(), added.clone()].concat();
    assert_eq!(again(&theirs, &sent(&under_another)), Replay::Different, "raised to the key of another seed");
    let other = Sent { received: [5; 32], ..sent(&whole) };
    assert_eq!(again(&theirs, &other), Replay::Different, "another list is said to have come");
    assert_eq!(again(&folder.files(), &sent(&whole)), Replay::Gone, "what came is not there any more");
}
