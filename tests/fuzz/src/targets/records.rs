//! The records of which a match or a join goes on at its adapter. The first byte of an input chooses the record, and
//! what was read is written again as it was.

use super::payload::{layout_of, rows};
use super::{text, texts};
use firebreak_domain::{CutId, JoinSide};
use firebreak_psi::join::KEY_WITH_PROOF;
use firebreak_psi::{PAYLOAD_KEY_BYTES, Root, SecretSeed, Slot};
use firebreak_records::{
    Agreed, AtPlace, Behind, Committed, Compared, Drawn, EvaluatedChunk, FormedSet, Holder, InEpoch, JoinRecord,
    JoinRow, JoinStated, LONGEST_KEY, Matched, NO_LABEL, OfferedEntry, OfferedRecord, OwnTag, RANK, Ranked, Reading,
    RowStatus, Selected, Sent, SentPiece, SetOpening, Stands, Stated, VALUE, WithheldPlaces, holds_nothing, identifier,
    is_readable, item_of, item_record, key_record, name_hash, read_item, read_key,
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

type Reader = fn(&[u8]) -> bool;

/// By the one of the readers that the first byte chooses.
fn by_one(readers: &[Reader], bytes: &[u8]) -> bool {
    let Some((which, record)) = bytes.split_first() else { return false };
    readers[usize::from(*which) % readers.len()](record)
}

/// Records, each behind the number of its reader.
fn numbered(records: impl IntoIterator<Item = (u8, Vec<u8>)>) -> Vec<Vec<u8>> {
    records.into_iter().map(|(which, record)| [&[which], record.as_slice()].concat()).collect()
}

/// That what was read of `bytes`, if it was, is written again as it was.
fn again<T>(bytes: &[u8], read: Option<T>, put: impl FnOnce(&T, &mut Vec<u8>)) -> bool {
    let Some(read) = read else { return false };
    assert_eq!(written(|record| put(&read, record)), bytes, "a record has two texts");
    true
}

fn written(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = Vec::new();
    put(&mut record);
    record
}

/// What a place holds, and a person's key.
pub fn parts(bytes: &[u8]) -> bool {
    by_one(&[held, person], bytes)
}

fn held(bytes: &[u8]) -> bool {
    let Some(record) = bytes.as_array() else { return false };
    if holds_nothing(record) {
        assert!(read_item(record).is_none() && item_record(&[]).as_slice() == bytes);
        return true;
    }
    again(bytes, read_item(record), |slot, out| out.extend_from_slice(&*item_record(slot.as_ref())))
}

fn person(bytes: &[u8]) -> bool {
    let Some(record) = bytes.as_array() else { return false };
    let key = read_key(record);
    assert!(key.is_none() || is_readable(record));
    again(bytes, key, |key, out| out.extend_from_slice(&*key_record(text(key).unwrap())))
}

pub fn part_samples() -> Vec<Vec<u8>> {
    let items: [&[u8]; 3] = [&[], b"AB123456", &[7; Slot::LONGEST]];
    let keys = ["", "P-1", &"ż".repeat(LONGEST_KEY / 2)];
    let items = items.map(|item| (0, item_record(item).to_vec()));
    numbered(items.into_iter().chain(keys.map(|key| (1, key_record(key).to_vec()))))
}

/// The rows of which a set is formed, and the persons among whom it is found whose an identifier is.
pub fn forming(bytes: &[u8]) -> bool {
    let readers: [Reader; 4] = [
        |bytes| again(bytes, Selected::read(bytes), Selected::put),
        |bytes| again(bytes, Ranked::read(bytes), Ranked::put),
        |bytes| {
            again(bytes, Ranked::read_with_name(bytes), |(person, name), record| {
                person.put_with_name(name.unwrap_or(&name_hash(None)), record);
            })
        },
        |bytes| again(bytes, Holder::read(bytes), Holder::put),
    ];
    by_one(&readers, bytes)
}

pub fn forming_samples() -> Vec<Vec<u8>> {
    let (key, item) = (&key_record("P-1"), &item_record(b"AB123456"));
    let identifier = &identifier(&[5; RANK], item);
    assert_eq!(item_of(identifier), item.as_slice());
    let each = [Stands::TakesPart, Stands::Matched, Stands::Outside].into_iter().flat_map(|stands| {
        let ranked = Ranked { identifier, stands, key };
        let row = Selected { key, stands, row: 300, item, name: &[6; 16] };
        [
            (0, written(|record| row.put(record))),
            (1, written(|record| ranked.put(record))),
            (2, written(|record| ranked.put_with_name(&[7; 16], record))),
            (2, written(|record| ranked.put_with_name(&name_hash(None), record))),
        ]
    });
    numbered(each.chain([(3, written(|record| Holder { item, key }.put(record)))]))
}

/// A set that was formed, the epoch in which it is matched, and who stands behind a place.
pub fn formed(bytes: &[u8]) -> bool {
    let readers: [Reader; 3] = [
        |bytes| again(bytes, FormedSet::decode(bytes), |formed, record| record.extend(formed.encode())),
        |bytes| again(bytes, InEpoch::decode(bytes), |epoch, record| record.extend(epoch.encode())),
        |bytes| again(bytes, Behind::read(bytes), Behind::put),
    ];
    by_one(&readers, bytes)
}

pub fn formed_samples() -> Vec<Vec<u8>> {
    let cut = CutId::new("2024-Q4").unwrap();
    let key = &key_record("P-1");
    numbered([
        (0, FormedSet { terms: [1; 32], offered: 7, unusable: 1, places: 1024, cut }.encode()),
        (1, InEpoch { number: 20_000, name: [2; 32] }.encode()),
        (2, written(|record| Behind { place: 3, stands: Stands::Matched, key }.put(record))),
        (2, written(|record| Behind { place: u32::MAX, stands: Stands::TakesPart, key }.put(record))),
    ])
}

/// Whom a chunk leaves out; the first byte says how many places it has.
pub fn withheld(bytes: &[u8]) -> bool {
    let Some((places, record)) = bytes.split_first() else { return false };
    let places = u32::from(*places);
    let Some(read) = WithheldPlaces::read(Zeroizing::new(record.to_vec()), places) else { return false };
    let mut written = WithheldPlaces::none_of(places);
    let (next, persons) = read.head();
    written.set_head(next, persons);
    (0..places).filter(|place| read.withholds(*place).unwrap()).for_each(|place| written.withhold(place).unwrap());
    assert_eq!(written.as_bytes(), record, "places behind the last are withheld");
    assert!(read.withholds(places).is_none());
    true
}

pub fn withheld_samples() -> Vec<Vec<u8>> {
    let sample = |(places, withhold): (u8, &[u32])| {
        let mut withheld = WithheldPlaces::none_of(places.into());
        withheld.set_head(300, withhold.len() as u64);
        withhold.iter().for_each(|place| withheld.withhold(*place).unwrap());
        (places, withheld.as_bytes().to_vec())
    };
    numbered([(0, [].as_slice()), (1, &[]), (8, &[0, 7]), (11, &[3, 10]), (255, &[254])].map(sample))
}

/// What opens the commitment to a set.
pub fn set_opening(bytes: &[u8]) -> bool {
    again(bytes, SetOpening::decode(bytes), |(opening, root), record| {
        // Of all that a leaf commits to, the last line alone is the set's.
        assert!(opening.payload.ends_with(format!("{}\n", SetOpening::line(root)).as_bytes()));
        record.extend_from_slice(&opening.encode());
    })
}

pub fn set_openings() -> Vec<Vec<u8>> {
    let opening = |(before, size, hash): (&str, u32, [u8; 32])| {
        let (leaf, seed) = (LeafHash::from_bytes([1; 32]), SecretSeed::from_bytes([2; 32]));
        let payload = format!("{before}{}\n", SetOpening::line(&Root { size, hash }));
        SetOpening { leaf, seed, nonce: &[3; 32], payload: payload.as_bytes() }.encode().to_vec()
    };
    [("request sha256 00\n", 1024, [4; 32]), ("", 1, [0xab; 32])].map(opening).into()
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

/// What a receiver has of its sender, and how its own tags are compared with that.
pub fn received(bytes: &[u8]) -> bool {
    let readers: [Reader; 7] = [
        |bytes| again(bytes, Stated::decode(bytes), |stated, record| record.extend(stated.encode())),
        |bytes| own_tags(bytes, false),
        |bytes| own_tags(bytes, true),
        |bytes| again(bytes, Compared::read(bytes, TAG, false), Compared::put),
        |bytes| again(bytes, Compared::read(bytes, TAG, true), Compared::put),
        |bytes| {
            again(bytes, AtPlace::read(bytes), |place, record| {
                assert_eq!(bytes.len(), AtPlace::bytes(place.status.len()));
                place.put(record);
            })
        },
        |bytes| {
            again(bytes, Matched::read(bytes), |matched, record| {
                assert_eq!(bytes.len(), Matched::bytes(matched.status.len()));
                matched.put(record);
            })
        },
    ];
    by_one(&readers, bytes)
}

fn own_tags(bytes: &[u8], with_keys: bool) -> bool {
    let tags = OwnTag::read_all(bytes, PLACES, TAG, with_keys).map(Iterator::collect::<Vec<_>>);
    again(bytes, tags, |tags, record| {
        assert!(tags.len() == PLACES as usize && tags.iter().all(|own| own.key.is_some() == with_keys));
        tags.iter().for_each(|own| own.put(record));
    })
}

pub fn received_samples() -> Vec<Vec<u8>> {
    let (tag, row_key, person) = ([1; TAG], [2; PAYLOAD_KEY_BYTES], &key_record("P-1"));
    let of = |key, with_keys: u8| {
        let own = OwnTag { tag: &tag, key };
        let status: &[u8] = if key.is_some() { &[1, 2] } else { &[] };
        [
            (1 + with_keys, written(|record| (0..PLACES).for_each(|_| own.put(record)))),
            (3 + with_keys, written(|record| Compared { own, place: 7 }.put(record))),
            (5, written(|record| AtPlace { place: 7, status }.put(record))),
            (6, written(|record| Matched { index: &[4; 32], key: person, status }.put(record))),
        ]
    };
    let stated = (0, Stated { public_key: [3; 32], tags: 1024 }.encode());
    numbered([stated].into_iter().chain(of(None, 0)).chain(of(Some(&row_key), 1)))
}

/// What a row came to; the first byte chooses its layout.
pub fn row_status(bytes: &[u8]) -> bool {
    let Some((choice, status)) = bytes.split_first() else { return false };
    let layout = layout_of(*choice);
    let Some(read) = RowStatus::read(layout, status) else { return false };
    assert_eq!(status.len(), RowStatus::bytes(Some(layout)));
    let (head, row) = match read {
        RowStatus::Values(values) => (1, layout.encode(values)),
        RowStatus::Undisclosed => (1, layout.empty()),
        RowStatus::Unreadable => (0, layout.empty()),
    };
    assert_eq!([&[head], row.as_slice()].concat(), status, "what a row came to has two texts");
    true
}

pub fn row_statuses() -> Vec<Vec<u8>> {
    let read = rows().into_iter().map(|row| [&[row[0], 1], &row[1..]].concat());
    let unreadable = (0..3).map(|choice| [&[choice, 0], layout_of(choice).empty().as_slice()].concat());
    let undisclosed = (0..3).map(|choice| [&[choice], RowStatus::undisclosed(layout_of(choice)).as_slice()].concat());
    read.chain(unreadable).chain(undisclosed).collect()
}

/// What a sender offers, what it has sent of its list, and a chunk that it evaluated.
pub fn offered(bytes: &[u8]) -> bool {
    let readers: [Reader; 4] = [
        |bytes| {
            again(bytes, OfferedRecord::read(bytes), |offered, record| {
                assert_eq!(bytes.len(), OfferedRecord::bytes(offered.row.len()));
                offered.put(record);
            })
        },
        |bytes| {
            again(bytes, OfferedEntry::read(bytes), |offered, record| {
                assert_eq!(bytes.len(), OfferedEntry::bytes(offered.entry.len()));
                offered.put(record);
            })
        },
        |bytes| {
            again(bytes, SentPiece::read(bytes, ENTRY), |piece, record| {
                assert_eq!(
                    piece.last_tag(TAG, ENTRY),
                    piece.entries.chunks_exact(ENTRY).last().map(|last| &last[..TAG])
                );
                record.extend(piece.encode());
            })
        },
        |bytes| again(bytes, EvaluatedChunk::read(bytes), |chunk, record| record.extend(chunk.encode())),
    ];
    by_one(&readers, bytes)
}

pub fn offered_samples() -> Vec<Vec<u8>> {
    let (item, person) = (&item_record(b"AB123456"), &[3; 16]);
    let entries: Vec<u8> = (0..2 * ENTRY as u8).collect();
    numbered([
        (0, written(|record| OfferedRecord { item, person, row: &[] }.put(record))),
        (0, written(|record| OfferedRecord { item, person, row: &[1, 2, 3] }.put(record))),
        (1, written(|record| OfferedEntry { entry: &[4; ENTRY], person }.put(record))),
        (2, SentPiece { position: 4096, entries: &entries }.encode()),
        (3, EvaluatedChunk { number: 7, evaluated: &[6; 64] }.encode()),
    ])
}

/// The records of a join, and what its other side stated.
pub fn joined(bytes: &[u8]) -> bool {
    let readers: [Reader; 3] = [
        |bytes| {
            again(bytes, JoinRow::read(bytes, COLUMNS), |row, record| {
                assert!(row.values.len() == COLUMNS && bytes.len() == JoinRow::bytes(COLUMNS));
                row.put(record);
            })
        },
        |bytes| again(bytes, JoinRecord::read(bytes), JoinRecord::put),
        |bytes| again(bytes, JoinStated::decode(bytes), |stated, record| record.extend(stated.encode())),
    ];
    by_one(&readers, bytes)
}

pub fn joined_samples() -> Vec<Vec<u8>> {
    let (key, item) = (&key_record("P-1"), &item_record(b"AB123456"));
    let values = &[[1; VALUE], [0xff; VALUE]];
    let records = [0, 300, NO_LABEL].into_iter().flat_map(|label| {
        [
            (0, written(|record| JoinRow { key, values, label, item }.put(record))),
            (1, written(|record| JoinRecord { item, label }.put(record))),
        ]
    });
    let stated = [vec![], vec![3, 0, u64::MAX]];
    numbered(records.chain(stated.map(|sizes| (2, JoinStated { key: [2; KEY_WITH_PROOF], sizes }.encode()))))
}

/// What a join is replayed from.
pub fn replayed(bytes: &[u8]) -> bool {
    let readers: [Reader; 2] = [
        |bytes| {
            again(bytes, Committed::decode(bytes), |committed, record| {
                // A line of each that is committed to.
                assert_eq!(committed.lines().len(), if committed.drawn.is_some() { 4 } else { 3 });
                record.extend_from_slice(&committed.encode());
            })
        },
        |bytes| again(bytes, Sent::decode(bytes), |sent, record| record.extend(sent.encode())),
    ];
    by_one(&readers, bytes)
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
    let agreed = Agreed {
        pins: [[6; 32], [7; 32]],
        normaliser: 1,
        labels: [2, 300],
        names: ["education.enrolments", "health.vaccinations", "national_number"].map(str::to_owned),
        weights: vec![1, u64::MAX, 1],
    };
    let drawn = Drawn { side: JoinSide::Right, key: [5; 32], agreed: agreed.clone() };
    let left = Drawn { side: JoinSide::Left, key: [5; 32], agreed: Agreed { weights: Vec::new(), ..agreed } };
    let all = [committed(None, false), committed(Some(drawn), true), committed(Some(left), false)];
    let sent = Sent { received: [1; 32], added: [2; 32], sent_on: [3; 32], key: [4; KEY_WITH_PROOF] };
    numbered(all.map(|committed| (0, committed.encode().to_vec())).into_iter().chain([(1, sent.encode())]))
}
