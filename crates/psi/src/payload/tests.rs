use super::*;
use crate::{
    Blinding, FORMAT, KeyContext, Mode, Normaliser, SecretSeed, SessionId, Shuffle, Slot, TagStream,
    derive_session_key, padded_size,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const ROW: u32 = 12;
const CHUNK: u32 = 16;

fn number(n: u32) -> NormalisedInput {
    Normaliser::V1.normalise(&format!("id-{n:08}")).unwrap()
}

fn params() -> MatchParams {
    MatchParams::new(FORMAT, CHUNK, CHUNK, 32).unwrap().with_rows(ROW).unwrap()
}

fn evaluator(session: u8) -> Evaluator {
    let context = KeyContext {
        agreement: "school-round",
        receiver: "health",
        field: "number",
        normaliser: Normaliser::V1,
        session: &[session; 16],
        mode: Mode::Voprf,
    };
    Evaluator::new(derive_session_key(&SecretSeed::from_bytes([1; 32]), &context).unwrap(), params())
}

/// The tag, the key and the row sealed for each number.
fn sealed(evaluator: &Evaluator, numbers: &[u32]) -> Vec<(Vec<u8>, PayloadKey, Vec<u8>)> {
    let inputs: Vec<_> = numbers.iter().map(|n| number(*n)).collect();
    let (tags, keys) = evaluator.tags_and_keys(&inputs).unwrap();
    let rows = numbers.iter().map(|n| format!("row {n:08}").into_bytes());
    let entries = tags.iter().zip(keys).zip(rows);
    entries
        .map(|((tag, key), row)| (tag.to_vec(), key.seal(tag, &row).unwrap(), key))
        .map(|(t, s, k)| (t, k, s))
        .collect()
}

/// What a receiver of those numbers has of each of its places.
fn received(evaluator: &Evaluator, numbers: &[u32]) -> Vec<(Vec<u8>, PayloadKey)> {
    let seed = SecretSeed::from_bytes([2; 32]);
    let shuffle = Shuffle::of_session(&seed);
    let own = numbers.iter().map(|n| Slot::own(&number(*n)));
    let slots: Vec<_> = own.chain((0..).map(|n| shuffle.padding(n, Normaliser::V1))).take(CHUNK as usize).collect();
    let blinding =
        Blinding::new(SessionId::from_bytes([3; 16]), &seed, evaluator.public_key().clone(), *evaluator.params());
    let chunk = blinding.blind(0, &slots).unwrap();
    let evaluated = evaluator.evaluate(0, chunk.as_bytes()).unwrap();
    let verified = blinding.verify(&chunk, &slots, &evaluated).unwrap();
    assert_eq!(verified.bytes(), CHUNK as usize * (params().tag_bytes() + PAYLOAD_KEY_BYTES));
    let keys = verified.keys().iter().map(|key| PayloadKey::from_bytes(*key.expose()));
    verified.tags().map(<[u8]>::to_vec).zip(keys).collect()
}

#[test]
fn a_receiver_opens_the_rows_of_its_own_numbers_and_no_others() {
    let evaluator = evaluator(3);
    let theirs = sealed(&evaluator, &[1, 2, 3, 4]);
    let ours = received(&evaluator, &[3, 4, 5]);
    let mut opened = BTreeSet::new();
    for (tag, key) in &ours {
        for (their, _, row) in &theirs {
            let row = key.open(their, row);
            // The tag says which one it is, and the key opens that one alone.
            assert_eq!(row.is_some(), tag == their);
            opened.extend(row.map(|row| row.to_vec()));
        }
    }
    assert_eq!(opened, BTreeSet::from([b"row 00000003".to_vec(), b"row 00000004".to_vec()]));
}

#[test]
fn no_other_session_opens_a_row_and_no_bit_of_it_can_be_changed_or_moved() {
    let (one, other) = (evaluator(3), evaluator(4));
    let theirs = sealed(&one, &[1, 2]);
    let elsewhere = sealed(&other, &[1, 2]);
    let [(tag, key, row), (second, _, second_row)] = theirs.as_slice() else { panic!("two entries") };
    assert_eq!(key.open(tag, row).unwrap().as_slice(), b"row 00000001");
    for (_, key, _) in &elsewhere {
        assert!(key.open(tag, row).is_none(), "a key of another session");
    }
    assert!(key.open(second, row).is_none() && key.open(tag, second_row).is_none(), "moved to another tag");
    for place in 0..row.len() {
        for bit in 0..8 {
            let mut changed = row.clone();
            changed[place] ^= 1 << bit;
            assert!(key.open(tag, &changed).is_none(), "byte {place}, bit {bit}");
        }
        assert!(key.open(tag, &row[..place]).is_none(), "cut to {place}");
    }
}

/// The tag is sent, and the key is not: no byte of the one stands in the other.
#[test]
fn the_key_is_made_of_bytes_that_are_in_no_tag() {
    let (mut output, mut changed) = ([0; OUTPUT], [0; OUTPUT]);
    for (place, byte) in output.iter_mut().enumerate() {
        *byte = place as u8;
    }
    changed.copy_from_slice(&output);
    changed[..OUTPUT - PAYLOAD_KEY_BYTES].fill(0xff);
    assert_eq!(PayloadKey::of(&output).expose(), PayloadKey::of(&changed).expose());
    changed = output;
    changed[OUTPUT - 1] ^= 1;
    assert_ne!(PayloadKey::of(&output).expose(), PayloadKey::of(&changed).expose());
    assert_ne!(PayloadKey::of(&output).expose().as_slice(), &output[OUTPUT - PAYLOAD_KEY_BYTES..]);
    assert!(MatchParams::new(FORMAT, 1, u32::MAX, u32::MAX).unwrap().tag_bytes() <= OUTPUT - PAYLOAD_KEY_BYTES);
}

#[test]
fn padding_is_as_long_as_a_sealed_row_and_the_same_for_each_number() {
    let evaluator = evaluator(3);
    let (_, _, row) = sealed(&evaluator, &[1]).remove(0);
    let rows: BTreeSet<_> = (0..100).map(|number| evaluator.padding_row(number)).collect();
    assert_eq!(rows.len(), 100);
    assert!(rows.iter().all(|padding| padding.len() == row.len() && row.len() == params().sealed_bytes()));
    assert_eq!(evaluator.padding_row(7), evaluator.padding_row(7));
    // Of uniform bytes each value of 1,600 of these comes up: about 6 times, and never with odds of 2⁻⁹.
    let seen: BTreeSet<u8> = rows.iter().flatten().copied().collect();
    assert!(seen.len() > 240, "{} values", seen.len());
}

#[test]
fn a_list_with_rows_is_read_in_whole_entries_by_the_order_of_its_tags() {
    let entry = params().entry_bytes();
    assert_eq!(entry, params().tag_bytes() + ROW as usize + SEAL_BYTES);
    assert_eq!(params().tag_list_bytes(), 32 * entry);
    let one = |first: u8, rest: u8| {
        let mut bytes = vec![rest; entry];
        bytes[0] = first;
        bytes
    };
    let mut stream = TagStream::new(params());
    let short = one(1, 0)[1..].to_vec();
    assert!(matches!(stream.check(&short), Err(PsiError::WrongLength { .. })), "cut short");
    stream.check(&[one(1, 0), one(2, 0xff)].concat()).unwrap();
    assert_eq!(stream.bytes(), 2 * entry as u64);
    // What stands behind a tag is no part of the order.
    let mut same = one(2, 0xff);
    *same.last_mut().unwrap() = 0;
    assert_eq!(stream.check(&same), Err(PsiError::TagOrder), "one tag with two rows");
    stream.check(&one(3, 0)).unwrap();
}

#[test]
fn rows_of_no_byte_or_too_many_are_no_parameters() {
    let params = MatchParams::new(FORMAT, CHUNK, padded_size(3, CHUNK).unwrap(), 32).unwrap();
    assert!(params.with_rows(0).is_err() && params.with_rows(LONGEST_ROW + 1).is_err());
    assert_eq!((params.entry_bytes(), params.sealed_bytes()), (params.tag_bytes(), 0));
    assert!(params.with_rows(LONGEST_ROW).is_ok());
}

proptest! {
    #[test]
    fn every_row_of_one_length_is_sealed_to_one_length_and_opened(row: [u8; 12], key: [u8; 32], tag: [u8; 10]) {
        let key = PayloadKey::from_bytes(key);
        let sealed = key.seal(&tag, &row).unwrap();
        prop_assert_eq!(sealed.len(), row.len() + SEAL_BYTES);
        let opened = key.open(&tag, &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), row.as_slice());
    }

    #[test]
    fn arbitrary_bytes_open_under_no_key(bytes: Vec<u8>, key: [u8; 32], tag: [u8; 10]) {
        prop_assert!(PayloadKey::from_bytes(key).open(&tag, &bytes).is_none());
    }
}
