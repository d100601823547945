//! What the two sides of a match send each other, what overseers are shown of it, and how identifiers are read.

use super::{text, texts};
use firebreak_psi::oprf::{Blind, BlindedBatch, KeyPair};
use firebreak_psi::{
    Commitment, MatchParams, Mode, Normaliser, Opening, PublicKey, ReadBatch, Root, SecretSeed, Slot, TagStream,
    verify_opening,
};

/// Of RFC 9497, appendix A.1.2, test vector 3: a batch of two under one proof.
const RFC_SEED: [u8; 32] = [0xa3; 32];
const RFC_INFO: &[u8] = b"test key";
const RFC_INPUTS: [&str; 2] = ["00", "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"];
const RFC_BLINDS: [&str; 2] = [
    "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
    "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
];
const RFC_ANSWER: &str = "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e\
    cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a\
    cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a\
    5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08";

/// Elements that the test reads at most: what is more costs time and shows nothing new.
const MOST: usize = 16;

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn key() -> KeyPair {
    KeyPair::derive(Mode::Voprf, &SecretSeed::from_bytes(RFC_SEED), RFC_INFO).unwrap()
}

fn inputs() -> Vec<Vec<u8>> {
    RFC_INPUTS.map(unhex).into()
}

fn blinds() -> Vec<Blind> {
    RFC_BLINDS.map(|text| Blind::from_canonical_bytes(&unhex(text).try_into().unwrap()).unwrap()).into()
}

fn batch() -> BlindedBatch {
    BlindedBatch::new(Mode::Voprf, &inputs(), blinds()).unwrap()
}

/// A chunk of blinded elements, as a sender reads it, and a receiver that has kept it.
pub fn blinded(bytes: &[u8]) -> bool {
    let count = bytes.len() / 32;
    let read = ReadBatch::new(bytes.to_vec(), count);
    if count == RFC_BLINDS.len() {
        let kept = BlindedBatch::kept(Mode::Voprf, blinds(), bytes);
        assert!(kept.is_ok() == read.is_ok() && kept.is_ok_and(|kept| kept.as_bytes() == bytes) == read.is_ok());
    }
    let Ok(read) = read else { return false };
    assert!(bytes.len() == count * 32 && bytes.chunks(32).all(|element| element.iter().any(|byte| *byte != 0)));
    if count > MOST {
        return true;
    }
    let answer = key().evaluate_read(&read).unwrap();
    assert_eq!(answer.len(), bytes.len() + 64);
    assert!(answer[..bytes.len()].chunks(32).all(|element| PublicKey::from_bytes(element).is_ok()));
    true
}

pub fn blinded_samples() -> Vec<Vec<u8>> {
    let both = batch().as_bytes().to_vec();
    vec![both[..32].to_vec(), both[32..].to_vec(), both]
}

/// A sender's answer, as a receiver reads it: the one that is taken is the honest one.
pub fn evaluated(bytes: &[u8]) -> bool {
    let (key, inputs) = (key(), inputs());
    let outputs = batch().finalize(&inputs, key.public_key(), bytes);
    let kept = BlindedBatch::kept(Mode::Voprf, blinds(), batch().as_bytes()).unwrap();
    assert_eq!(kept.finalize(&inputs, key.public_key(), bytes), outputs);
    let Ok(outputs) = outputs else { return false };
    assert_eq!(*outputs, *key.outputs(&inputs).unwrap(), "a wrong evaluation was accepted");
    true
}

pub fn evaluated_samples() -> Vec<Vec<u8>> {
    vec![unhex(RFC_ANSWER), key().evaluate(batch().as_bytes(), 2).unwrap()]
}

fn unproved() -> (KeyPair, BlindedBatch) {
    let key = KeyPair::derive(Mode::Oprf, &SecretSeed::from_bytes(RFC_SEED), RFC_INFO).unwrap();
    (key, BlindedBatch::new(Mode::Oprf, &inputs(), blinds()).unwrap())
}

/// An answer without a proof: any elements are taken, one for each that was sent. Those alone that the key gives make
/// the key's outputs.
pub fn unproved_answer(bytes: &[u8]) -> bool {
    let ((key, batch), inputs) = (unproved(), inputs());
    let Ok(outputs) = batch.finalize(&inputs, key.public_key(), bytes) else { return false };
    assert_eq!(bytes.len(), 32 * inputs.len());
    assert!(bytes.chunks(32).all(|element| PublicKey::from_bytes(element).is_ok()), "an answer is no element");
    assert_ne!(bytes[..32], bytes[32..], "an element stands twice");
    let honest = key.evaluate(batch.as_bytes(), inputs.len()).unwrap();
    let due = key.outputs(&inputs).unwrap();
    for (place, (given, honest)) in bytes.chunks(32).zip(honest.chunks(32)).enumerate() {
        assert_eq!(given == honest, outputs[place] == due[place], "a wrong evaluation gives the key's output");
    }
    true
}

/// The honest answer, the same in another order, and one under another key.
pub fn unproved_answers() -> Vec<Vec<u8>> {
    let (key, batch) = unproved();
    let honest = key.evaluate(batch.as_bytes(), 2).unwrap();
    let other = KeyPair::derive(Mode::Oprf, &SecretSeed::from_bytes([7; 32]), RFC_INFO).unwrap();
    let swapped = [&honest[32..], &honest[..32]].concat();
    vec![honest, swapped, other.evaluate(batch.as_bytes(), 2).unwrap()]
}

/// A public key, a blind, and what a place of the receiver's list holds: each has one encoding.
pub fn encodings(bytes: &[u8]) -> bool {
    let mut taken = false;
    if let Ok(key) = PublicKey::from_bytes(bytes) {
        assert_eq!(key.as_bytes(), bytes);
        taken = true;
    }
    if let Some(scalar) = bytes.first_chunk::<32>().filter(|_| bytes.len() == 32)
        && let Ok(blind) = Blind::from_canonical_bytes(scalar)
    {
        assert_eq!(*blind.expose(), *scalar);
        taken = true;
    }
    if let Some(slot) = Slot::from_bytes(bytes) {
        assert_eq!(slot.as_ref(), bytes);
        assert!((1..=Slot::LONGEST).contains(&bytes.len()));
        assert!(!slot.is_padding() || slot.input().is_none(), "padding is an input");
        assert!(slot.input().is_none_or(|input| input.as_bytes() == bytes));
        taken = true;
    }
    taken
}

pub fn encoding_samples() -> Vec<Vec<u8>> {
    let slot = Normaliser::V1.normalise("AB-123456").unwrap().as_bytes().to_vec();
    vec![key().public_key().as_bytes().to_vec(), unhex(RFC_BLINDS[0]), slot, [[1].as_slice(), &[7; 32]].concat()]
}

/// By what a list of tags is read: bare ones, ones with a row behind each, ones of an epoch, which are longer.
fn tag_params() -> [MatchParams; 3] {
    let bare = MatchParams::new(1, 16, 64, TAGS).unwrap();
    [bare, bare.with_rows(8).unwrap(), bare.of_epoch(1 << 40).unwrap()]
}

/// Tags of each list.
const TAGS: u32 = 20;

/// The list that a sender sends: the first byte chooses by what it is read, the second cuts it into pieces of 1 to 256
/// bytes. Taken is a whole list in its order, however it is cut into whole entries.
pub fn tags(bytes: &[u8]) -> bool {
    let [which, piece, list @ ..] = bytes else { return false };
    let params = tag_params()[usize::from(*which) % 3];
    let (entry, piece) = (params.entry_bytes(), usize::from(*piece) + 1);
    let tag = |entry: &[u8]| entry[..params.tag_bytes().min(entry.len())].to_vec();
    let all: Vec<_> = list.chunks(entry).map(tag).collect();
    let whole = list.len() == params.tag_list_bytes() && all.is_sorted_by(|one, next| one < next);
    let mut stream = TagStream::new(params);
    for piece in list.chunks(piece) {
        let before = stream.bytes();
        if stream.check(piece).is_err() {
            assert_eq!(stream.bytes(), before, "a refused piece counts");
            break;
        }
        assert_eq!(stream.bytes(), before + piece.len() as u64);
        assert!(stream.bytes() <= params.tag_list_bytes() as u64, "more tags than declared");
    }
    let taken = stream.is_complete() && stream.bytes() == list.len() as u64;
    assert!(whole || !taken, "a list was taken that is none");
    assert!(taken || !whole || !piece.is_multiple_of(entry), "a list in whole entries was refused");
    taken
}

pub fn tag_samples() -> Vec<Vec<u8>> {
    let lists = (0_u8..).zip(tag_params()).flat_map(|(which, params)| {
        let entry = params.entry_bytes();
        // What stands behind a tag is in no order.
        let one = move |tag: u8| [vec![tag; params.tag_bytes()], vec![!tag; params.sealed_bytes()]].concat();
        let list = move |first: u8| (0..TAGS as u8).flat_map(move |n| one(first + n)).collect::<Vec<_>>();
        let cut = move |tags: usize| u8::try_from(tags * entry - 1).unwrap();
        [[vec![which, cut(1)], list(3)].concat(), [vec![which, cut(4)], list(90)].concat()]
    });
    lists.collect()
}

fn committed() -> (Commitment, Vec<Vec<u8>>) {
    let items: Vec<Vec<u8>> = (0..11_u8).map(|n| vec![n; usize::from(n) + 1]).collect();
    (Commitment::new(&items, &SecretSeed::from_bytes([5; 32])).unwrap(), items)
}

/// A place of a committed list, opened: its number (4 bytes), salt (32), the item behind its length (1), the path.
pub fn opening(bytes: &[u8]) -> bool {
    let read = || {
        let (index, rest) = bytes.split_first_chunk::<4>()?;
        let (salt, rest) = rest.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first()?;
        let (item, path) = rest.split_at_checked(usize::from(*length))?;
        let path = path.as_chunks::<32>().0.to_vec();
        Some(Opening { index: u32::from_be_bytes(*index), item: item.to_vec(), salt: *salt, path })
    };
    let (commitment, items) = committed();
    let Some(opening) = read() else { return false };
    // A root of which an attacker chooses the size alone opens to nothing else either.
    let lying = Root { size: u32::MAX, hash: commitment.root().hash };
    assert!(verify_opening(&lying, &opening).is_err());
    if verify_opening(&commitment.root(), &opening).is_err() {
        return false;
    }
    assert_eq!(items.get(opening.index as usize), Some(&opening.item), "an item was not committed to");
    true
}

pub fn openings() -> Vec<Vec<u8>> {
    let (commitment, items) = committed();
    let encoded = |(index, item): (u32, &Vec<u8>)| {
        let opening = commitment.open(index, item).unwrap();
        let length = u8::try_from(item.len()).unwrap();
        [index.to_be_bytes().as_slice(), &opening.salt, &[length], item, opening.path.as_flattened()].concat()
    };
    (0..).zip(&items).map(encoded).collect()
}

/// A national number as a register writes it.
pub fn number(bytes: &[u8]) -> bool {
    let Some(written) = text(bytes) else { return false };
    let Some(number) = Normaliser::V1.normalise(written) else { return false };
    let normal = text(number.as_bytes()).unwrap();
    assert!((6..=20).contains(&normal.len()) && normal.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert!(Normaliser::V1.normalise(normal) == Some(number.clone()), "the normal form has another normal form");
    assert!(Slot::own(&number).input() == Some(number), "a number and a place that holds it differ");
    true
}

pub fn numbers() -> Vec<Vec<u8>> {
    texts(&[
        "AB-12 34/56.C",
        "ＡＢ１２３４５６Ｃ",
        "1234567890",
        "\u{200e}ab\u{ad}123456c\u{200f}",
        "00000000000000000001",
    ])
}

/// Family name, given name and birth date on a line each.
pub fn person(bytes: &[u8]) -> bool {
    let Some(written) = text(bytes) else { return false };
    let parts: Vec<_> = written.split('\n').map(Some).collect();
    let Some(form) = Normaliser::V2.normalise_parts(&parts) else { return false };
    assert!(parts.len() == 3, "a person without one of three parts has a form");
    assert!(form.as_bytes().len() == 33, "forms of persons differ in length");
    let spaced: Vec<_> = parts.iter().map(|part| part.map(|part| format!("\u{a0}{part} "))).collect();
    let spaced: Vec<_> = spaced.iter().map(Option::as_deref).collect();
    let again = Normaliser::V2.normalise_parts(&spaced);
    assert!(again.is_none_or(|again| again == form), "white space around a part makes another person");
    assert!(Slot::own(&form).input() == Some(form), "a person and a place that holds it differ");
    true
}

pub fn persons() -> Vec<Vec<u8>> {
    texts(&[
        "Müller\nAnna-Maria\n1987-03-09",
        "Шевченко\nОлександр\n09.03.1987",
        "O’Brien\nSéan\n19870309",
        "Þórsdóttir\nBjörk\n21/11/1965",
        "de la Cruz\nJosé Ángel\n2001.12.31.",
    ])
}
