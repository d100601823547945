//! Changes to a valid input that leave most of its structure standing: bits and bytes, numbers and lengths, lines and
//! words, blocks of an element's size, pieces of another input.

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng, RngCore};

/// Numbers at which readers of lengths and counts go wrong.
const EDGES: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];
/// The same in text.
const TEXTS: [&str; 9] =
    ["0", "-1", "1e9", "00", "9223372036854775808", "18446744073709551616", "\u{0}", "\u{feff}", "\u{202e}ß"];
/// Bytes of a tag; of an element, a hash, a key; of a list's entry; of a proof.
const BLOCKS: [usize; 4] = [10, 32, 34, 64];
/// No input grows beyond it.
const MOST: usize = 64 * 1024;

/// A mutation of one of `samples`, of one to four steps.
pub fn mutate(samples: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = samples.choose(rng).cloned().unwrap_or_default();
    for _ in 0..rng.random_range(1..=4) {
        step(&mut bytes, samples, rng);
        bytes.truncate(MOST);
    }
    bytes
}

fn step(bytes: &mut Vec<u8>, samples: &[Vec<u8>], rng: &mut impl Rng) {
    match rng.random_range(0..12) {
        0 | 1 => {
            if let Some(byte) = bytes.choose_mut_index(rng) {
                bytes[byte] ^= 1 << rng.random_range(0..8);
            }
        }
        2 => {
            if let Some(byte) = bytes.choose_mut_index(rng) {
                bytes[byte] = rng.random();
            }
        }
        3 => {
            let (from, to) = range(bytes.len(), rng);
            bytes.drain(from..to);
        }
        4 => {
            let (from, to) = range(bytes.len(), rng);
            let copy = bytes[from..to].to_vec();
            let at = rng.random_range(0..=bytes.len());
            bytes.splice(at..at, copy);
        }
        5 => {
            let mut fresh = vec![0; rng.random_range(1..40)];
            rng.fill_bytes(&mut fresh);
            let at = rng.random_range(0..=bytes.len());
            bytes.splice(at..at, fresh);
        }
        6 => bytes.truncate(rng.random_range(0..=bytes.len())),
        7 => number(bytes, rng),
        8 => lines(bytes, rng),
        9 => word(bytes, samples, rng),
        10 => block(bytes, rng),
        _ => {
            let other = samples.choose(rng).cloned().unwrap_or_default();
            let (from, to) = range(other.len(), rng);
            let (start, end) = range(bytes.len(), rng);
            bytes.splice(start..end, other[from..to].iter().copied());
        }
    }
}

trait Index {
    fn choose_mut_index(&self, rng: &mut impl Rng) -> Option<usize>;
}

impl Index for Vec<u8> {
    fn choose_mut_index(&self, rng: &mut impl Rng) -> Option<usize> {
        (!self.is_empty()).then(|| rng.random_range(0..self.len()))
    }
}

fn range(length: usize, rng: &mut impl Rng) -> (usize, usize) {
    let from = rng.random_range(0..=length);
    (from, rng.random_range(from..=length.min(from + 64)))
}

/// Writes an edge over a number: big- or little-endian of some width, or the digits that stand in a text.
fn number(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    let edge = *EDGES.choose(rng).unwrap_or(&0);
    let digits = bytes.iter().position(u8::is_ascii_digit).filter(|_| rng.random());
    if let Some(first) = digits {
        let from = rng.random_range(first..bytes.len());
        let Some(from) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
        let end = bytes[from..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |at| from + at);
        bytes.splice(from..end, edge.to_string().into_bytes());
        return;
    }
    let width = *[1, 2, 4, 8].choose(rng).unwrap_or(&1);
    let Some(last) = bytes.len().checked_sub(width) else { return };
    let at = rng.random_range(0..=last);
    let (big, little) = (edge.to_be_bytes(), edge.to_le_bytes());
    let edge = if rng.random() { &big[8 - width..] } else { &little[..width] };
    bytes[at..at + width].copy_from_slice(edge);
}

fn lines(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let Some(line) = (!lines.is_empty()).then(|| rng.random_range(0..lines.len())) else { return };
    match rng.random_range(0..3) {
        0 => drop(lines.remove(line)),
        1 => lines.insert(line, lines[line].clone()),
        _ => {
            let other = rng.random_range(0..lines.len());
            lines.swap(line, other);
        }
    }
    *bytes = lines.concat();
}

/// Puts a word of another input, or one that is hard to read, in the place of a word.
fn word(bytes: &mut Vec<u8>, samples: &[Vec<u8>], rng: &mut impl Rng) {
    let Some((from, to)) = word_of(bytes, rng) else { return };
    let other = samples.choose(rng).and_then(|other| word_of(other, rng).map(|(from, to)| other[from..to].to_vec()));
    let text = TEXTS.choose(rng).map(|text| text.as_bytes().to_vec());
    let put = if rng.random_range(0..4) == 0 { text } else { other };
    bytes.splice(from..to, put.unwrap_or_default());
}

fn word_of(bytes: &[u8], rng: &mut impl Rng) -> Option<(usize, usize)> {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let from = (!bytes.is_empty()).then(|| rng.random_range(0..bytes.len()))?;
    let from = bytes[from..].iter().position(inside)? + from;
    let end = bytes[from..].iter().position(|byte| !inside(byte)).map_or(bytes.len(), |at| from + at);
    Some((from, end))
}

fn block(bytes: &mut Vec<u8>, rng: &mut impl RngCore) {
    let size = *BLOCKS.choose(rng).unwrap_or(&32);
    // Some targets have a choice or two before what they read.
    let head = bytes.drain(..rng.random_range(0..=bytes.len().min(2))).collect();
    let mut blocks: Vec<Vec<u8>> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
    let Some(one) = (!blocks.is_empty()).then(|| rng.random_range(0..blocks.len())) else { return };
    match rng.random_range(0..5) {
        0 => drop(blocks.remove(one)),
        1 => blocks.insert(one, blocks[one].clone()),
        2 => blocks[one].fill(0),
        3 => blocks.shuffle(rng),
        _ => {
            let other = rng.random_range(0..blocks.len());
            blocks.swap(one, other);
        }
    }
    blocks.insert(0, head);
    *bytes = blocks.concat();
}
