//! The records of which a match or a join goes on at its adapter. Each is written again as it was read.

use super::payload::{layout_of, rows};
use super::{text, texts};
use firebreak_domain::{CutId, JoinSide};
use firebreak_psi::join::KEY_WITH_PROOF;
use firebreak_psi::{PAYLOAD_KEY_BYTES, Root, SecretSeed};
use firebreak_records::{
    AtPlace, Behind, Committed, Compared, Drawn, EvaluatedChunk, FormedSet, ITEM, InEpoch, JoinRecord, JoinRow,
    JoinStated, KEY, LONGEST_KEY, Matched, NO_LABEL, OfferedEntry, OfferedRecord, OwnTag, RANK, Ranked, Reading,
    RowStatus, Selected, Sent, SentPiece, SetOpening, Stands, Stated, VALUE, Withheld, holds_nothing, is_readable,
    item, key, name_hash, put_item, put_key,
};
use firebreak_store::LeafHash;
use zeroize::Zeroizing;

/// Bytes of a tag in the samples, and of a tag with its row.
const TAG: usize = 9;
const ENTRY: usize = 24;
/// Places of a chunk.
const PLACES: u32 = 3;
/// Columns of a row.
const COLUMNS: usize = 2;

/// That what was read of `bytes`, if it was, is written again as it was.
fn again<T>(bytes: &[u8], read: Option<T>, put: impl FnOnce(&T, &mut Vec<u8>)) -> bool {
    let Some(read) = read else { return false };
    let mut written = Vec::new();
    put(&read, &mut written);
    assert_eq!(written, bytes, "a record has two texts");
    true
}

fn written(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = Vec::new();
    put(&mut record);
    record
}

fn item_of(text: &str) -> Vec<u8> {
    written(|record| put_item(record, text.as_bytes()))
}

fn key_of(text: &str) -> Vec<u8> {
    written(|record| put_key(record, text))
}

/// A place's content, and a person's key.
pub fn parts(bytes: &[u8]) -> bool {
    let held = again(bytes, item(bytes), |slot, record| put_item(record, slot.as_ref()));
    let nothing = holds_nothing(bytes);
    assert!(!held || !nothing, "nothing is held and read");
    assert!(!nothing || bytes == item_of(""));
    let person = again(bytes, key(bytes), |key, record| put_key(record, std::str::from_utf8(key).unwrap()));
    assert!(!person || is_readable(bytes));
    held || nothing || person
}

pub fn part_samples() -> Vec<Vec<u8>> {
    let longest = "ż".repeat(LONGEST_KEY / 2);
    vec![item_of(""), item_of("AB123456"), key_of("P-1"), key_of(""), key_of(&longest)]
}

/// The rows of which a set is formed, and the persons among whom it is found whose an identifier is.
pub fn forming(bytes: &[u8]) -> bool {
    let selected = again(bytes, Selected::read(bytes), Selected::put);
    let named = again(bytes, Ranked::read_with_name(bytes), |(person, name), record| {
        person.put(record);
        record.extend_from_slice(name.unwrap_or(&name_hash(None)));
    });
    let ranked = again(bytes, Ranked::read(bytes), |person, record| {
        assert_eq!(person.identifier.len(), Ranked::IDENTIFIER);
        person.put(record);
    });
    selected || named || ranked
}

pub fn forming_samples() -> Vec<Vec<u8>> {
    let (key, item, none) = (key_of("P-1"), item_of("AB123456"), name_hash(None));
    let identifier = [[5; RANK].as_slice(), &item].concat();
    let each = [Stands::TakesPart, Stands::Matched, Stands::Outside].into_iter().flat_map(|stands| {
        let ranked = written(|record| Ranked { identifier: &identifier, stands, key: &key }.put(record));
        let named = |name: &[u8; 16]| [ranked.as_slice(), name].concat();
        let row = Selected { key: &key, stands, row: 300, item: &item, name: &[6; 16] };
        [written(|record| row.put(record)), named(&none), named(&[7; 16]), ranked.clone()]
    });
    each.collect()
}

/// A set that was formed, the epoch in which it is matched, and who stands behind a place.
pub fn formed(bytes: &[u8]) -> bool {
    let formed = again(bytes, FormedSet::decode(bytes), |formed, record| record.extend(formed.encode()));
    let epoch = again(bytes, InEpoch::decode(bytes), |epoch, record| record.extend(epoch.encode()));
    formed || epoch || again(bytes, Behind::read(bytes), Behind::put)
}

pub fn formed_samples() -> Vec<Vec<u8>> {
    let cut = CutId::new("2024-Q4").unwrap();
    let key = key_of("P-1");
    vec![
        FormedSet { terms: [1; 32], offered: 7, unusable: 1, places: 1024, cut }.encode(),
        InEpoch { number: 20_000, name: [2; 32] }.encode(),
        written(|record| Behind { place: 3, stands: Stands::Matched, key: &key }.put(record)),
    ]
}

/// Whom a chunk leaves out; the first byte says how many places it has.
pub fn withheld(bytes: &[u8]) -> bool {
    let Some((places, record)) = bytes.split_first() else { return false };
    let places = u32::from(*places);
    let Some(withheld) = Withheld::read(Zeroizing::new(record.to_vec()), places) else { return false };
    assert_eq!(withheld.as_bytes(), record);
    let mut written = Withheld::nobody(places);
    let (next, persons) = withheld.head();
    written.set_head(next, persons);
    (0..places).filter(|place| withheld.withholds(*place).unwrap()).for_each(|place| written.withhold(place).unwrap());
    assert_eq!(written.as_bytes(), record, "places beyond the last are withheld");
    true
}

pub fn withheld_samples() -> Vec<Vec<u8>> {
    let sample = |(places, withhold): (u8, &[u32])| {
        let mut withheld = Withheld::nobody(places.into());
        withheld.set_head(300, withhold.len() as u64);
        withhold.iter().for_each(|place| withheld.withhold(*place).unwrap());
        [&[places], withheld.as_bytes()].concat()
    };
    [(1, [].as_slice()), (8, &[0, 7]), (11, &[3, 10]), (255, &[254])].map(sample).into()
}

/// What opens the commitment to a set.
pub fn set_opening(bytes: &[u8]) -> bool {
    again(bytes, SetOpening::decode(bytes), |(opening, root), record| {
        assert_eq!(text(&opening.payload).unwrap().lines().next_back(), Some(SetOpening::line(root).as_str()));
        record.extend_from_slice(&opening.encode());
    })
}

pub fn set_openings() -> Vec<Vec<u8>> {
    let opening = |end: &str| SetOpening {
        leaf: LeafHash::from_bytes([1; 32]),
        seed: SecretSeed::from_bytes([2; 32]),
        nonce: [3; 32],
        payload: format!("request\n{}{end}", SetOpening::line(&Root { size: 1024, hash: [4; 32] })).into_bytes(),
    };
    ["", "\n"].map(|end| opening(end).encode().to_vec()).into()
}

/// Of what a set is read.
pub fn reading(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let Some(reading) = Reading::of(text) else { return false };
    assert_eq!(reading.text(), text);
    let columns = reading.columns();
    assert!(reading.forms(&vec![None; columns.len()]).is_some_and(|(own, name)| own.is_none() && name.is_none()));
    assert!(columns.len() > reading.own.columns.len() || !reading.tells_apart());
    true
}

pub fn readings() -> Vec<Vec<u8>> {
    texts(&["national_number 1", "family+given+born 2", "national_number 1 family+given+born 2"])
}

/// What a receiver has of its sender, and how its own tags are compared with that. The first byte says whether keys of rows
/// stand with tags.
pub fn received(bytes: &[u8]) -> bool {
    let Some((with_keys, record)) = bytes.split_first() else { return false };
    let with_keys = with_keys % 2 == 1;
    let stated = again(record, Stated::decode(record), |stated, out| out.extend(stated.encode()));
    let own = again(record, OwnTag::read_all(record, PLACES, TAG, with_keys).map(Iterator::collect), |all, out| {
        let all: &Vec<OwnTag<'_>> = all;
        assert!(all.len() == PLACES as usize && all.iter().all(|own| own.key.is_some() == with_keys));
        all.iter().for_each(|own| own.put(out));
    });
    let compared = again(record, Compared::read(record, TAG), |compared, out| {
        assert_eq!(record.len(), Compared::bytes(TAG, compared.own.key.is_some()));
        compared.put(out);
    });
    let place = again(record, AtPlace::read(record), AtPlace::put);
    let matched = again(record, Matched::read(record), |matched, out| {
        assert_eq!(record.len(), Matched::bytes(matched.status.len()));
        matched.put(out);
    });
    stated || own || compared || place || matched
}

pub fn received_samples() -> Vec<Vec<u8>> {
    let (tag, row_key, person) = ([1; TAG], [2; PAYLOAD_KEY_BYTES], key_of("P-1"));
    let samples = [None, Some(&row_key)].into_iter().flat_map(|key| {
        let own = OwnTag { tag: &tag, key };
        let status: &[u8] = if key.is_some() { &[1, 2] } else { &[] };
        let head = u8::from(key.is_some());
        [
            Stated { public_key: [3; 32], tags: 1024 }.encode(),
            written(|record| (0..PLACES).for_each(|_| own.put(record))),
            written(|record| Compared { own, place: 7 }.put(record)),
            written(|record| AtPlace { place: 7, status }.put(record)),
            written(|record| Matched { index: &[4; 32], key: &person, status }.put(record)),
        ]
        .map(|record| [&[head], record.as_slice()].concat())
    });
    samples.collect()
}

/// What a row came to; the first byte chooses its layout.
pub fn row_status(bytes: &[u8]) -> bool {
    let Some((choice, status)) = bytes.split_first() else { return false };
    let layout = layout_of(*choice);
    let Some(read) = RowStatus::read(layout, status) else { return false };
    assert_eq!(status.len(), RowStatus::bytes(Some(layout)));
    match read {
        RowStatus::Values(values) => assert_eq!(layout.encode(values.into_iter()), status[1..]),
        RowStatus::Undisclosed => assert_eq!(*RowStatus::undisclosed(layout), status),
        // Only that differs from a row of which nothing is disclosed.
        RowStatus::Unreadable => assert_eq!(RowStatus::undisclosed(layout)[1..], status[1..]),
    }
    true
}

pub fn row_statuses() -> Vec<Vec<u8>> {
    let read = rows().into_iter().map(|row| [&[row[0], 1], &row[1..]].concat());
    let unreadable = (0..3).map(|choice| [&[choice, 0], layout_of(choice).empty().as_slice()].concat());
    read.chain(unreadable).collect()
}

/// What a sender offers, what it has sent of its list, and a chunk that it evaluated.
pub fn offered(bytes: &[u8]) -> bool {
    let record = again(bytes, OfferedRecord::read(bytes), |offered, record| {
        assert_eq!(bytes.len(), OfferedRecord::bytes(offered.row.len()));
        offered.put(record);
    });
    let entry = again(bytes, OfferedEntry::read(bytes), |offered, record| {
        assert_eq!(bytes.len(), OfferedEntry::bytes(offered.entry.len()));
        offered.put(record);
    });
    let piece = again(bytes, SentPiece::read(bytes, ENTRY), |piece, record| {
        assert_eq!(piece.last_tag(TAG, ENTRY).map(<[u8]>::len), Some(TAG), "a piece of no entry");
        record.extend(piece.encode());
    });
    let chunk = again(bytes, EvaluatedChunk::read(bytes), |chunk, record| record.extend(chunk.encode()));
    record || entry || piece || chunk
}

pub fn offered_samples() -> Vec<Vec<u8>> {
    let (item, person) = (item_of("AB123456"), [3; 16]);
    let rows = [[].as_slice(), &[1, 2, 3]];
    let records = rows.map(|row| written(|record| OfferedRecord { item: &item, person: &person, row }.put(record)));
    let others = [
        written(|record| OfferedEntry { entry: &[4; ENTRY], person: &person }.put(record)),
        SentPiece { position: 4096, entries: &[5; 2 * ENTRY] }.encode(),
        EvaluatedChunk { number: 7, evaluated: &[6; 64] }.encode(),
    ];
    records.into_iter().chain(others).collect()
}

/// The records of a join, and what its other side stated.
pub fn joined(bytes: &[u8]) -> bool {
    let row = again(bytes, JoinRow::read(bytes, COLUMNS), |row, record| {
        assert!(row.values.len() == COLUMNS && bytes.len() == JoinRow::bytes(COLUMNS));
        assert!(row.key.len() == KEY && row.item.len() == ITEM);
        row.put(record);
    });
    let record = again(bytes, JoinRecord::read(bytes), JoinRecord::put);
    row || record || again(bytes, JoinStated::decode(bytes), |stated, record| record.extend(stated.encode()))
}

pub fn joined_samples() -> Vec<Vec<u8>> {
    let (key, item) = (key_of("P-1"), item_of("AB123456"));
    let values = [[1; VALUE], [0xff; VALUE]];
    let mut samples: Vec<_> =
        [vec![], vec![3, 0, u64::MAX]].map(|sizes| JoinStated { key: [2; KEY_WITH_PROOF], sizes }.encode()).into();
    for label in [0, 300, NO_LABEL] {
        samples.push(written(|record| JoinRow { key: &key, values: &values, label, item: &item }.put(record)));
        samples.push(written(|record| JoinRecord { item: &item, label }.put(record)));
    }
    samples
}

/// What a join is replayed from.
pub fn replayed(bytes: &[u8]) -> bool {
    let committed = again(bytes, Committed::decode(bytes), |committed, record| {
        // As many lines as what was committed to, each of its own subject.
        assert_eq!(committed.lines().len(), if committed.drawn.is_some() { 4 } else { 3 });
        record.extend_from_slice(&committed.encode());
    });
    committed || again(bytes, Sent::decode(bytes), |sent, record| record.extend(sent.encode()))
}

pub fn replayed_samples() -> Vec<Vec<u8>> {
    let committed = |drawn: Option<Drawn>, by_consent| Committed {
        seed: Zeroizing::new([1; 32]),
        terms: [2; 32],
        release_key: [3; 32],
        own: [4; 32],
        moment: -5,
        until: 1_750_000_000,
        agreement: "schools-and-clinics".parse().unwrap(),
        purpose: "public-health".to_owned(),
        by_consent,
        question: b"question".to_vec(),
        evidence: Vec::new(),
        drawn,
    };
    let drawn = Drawn { side: JoinSide::Right, key: [5; 32], labels: [2, 300], weights: vec![1, u64::MAX, 1] };
    let left = Drawn { side: JoinSide::Left, weights: Vec::new(), ..drawn.clone() };
    let sent = Sent { received: [1; 32], added: [2; 32], sent_on: [3; 32], key: [4; KEY_WITH_PROOF] };
    let all = [committed(None, false), committed(Some(drawn), true), committed(Some(left), false)];
    all.iter().map(|committed| committed.encode().to_vec()).chain([sent.encode()]).collect()
}
