//! What stands in the records that a session keeps on the disk.

use super::MatchError;
use firebreak_psi::Slot;
use firebreak_store::RecordFile;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of records that are held while they are sorted. What is beyond goes to the disk.
pub(in crate::app) const SORTED_IN_MEMORY: usize = 64 * 1024 * 1024;

/// Bytes of a place's content: its length, and zeros after it.
pub(in crate::app) const ITEM: usize = 1 + Slot::LONGEST;
/// Bytes of a person's key: its length, and zeros after it.
pub(in crate::app) const KEY: usize = 1 + LONGEST_KEY;
/// Bytes of the longest key of a person with whom a match can be recorded.
pub(super) const LONGEST_KEY: usize = 64;
/// In place of a length: the key is longer, and its hash stands for it.
const TOO_LONG: u8 = u8::MAX;

/// Adds `bytes`, their length before them, in as many bytes as `room` has.
fn put(record: &mut Vec<u8>, length: u8, bytes: &[u8], room: usize) {
    let end = record.len().saturating_add(room);
    record.push(length);
    record.extend_from_slice(bytes);
    record.resize(end, 0);
}

/// Adds what a place holds; nothing at all for none.
pub(in crate::app) fn put_item(record: &mut Vec<u8>, item: &[u8]) {
    // INVARIANT: no item is longer than the longest slot.
    put(record, item.len() as u8, item, ITEM);
}

/// What a place holds.
pub(in crate::app) fn item(record: &[u8]) -> Option<Slot> {
    let (length, bytes) = record.split_first()?;
    Slot::from_bytes(bytes.get(..usize::from(*length))?)
}

/// Adds a person's key. One that is too long is told from others, and cannot be read again.
pub(in crate::app) fn put_key(record: &mut Vec<u8>, key: &str) {
    match u8::try_from(key.len()) {
        Ok(length) if key.len() <= LONGEST_KEY => put(record, length, key.as_bytes(), KEY),
        _ => put(record, TOO_LONG, &Sha256::digest(key.as_bytes()), KEY),
    }
}

/// Whether a key can be read again.
pub(in crate::app) fn is_readable(key: &[u8]) -> bool {
    key.first().is_some_and(|length| *length != TOO_LONG)
}

/// How many different beginnings of `prefix` bytes there are among sorted records.
pub(super) fn distinct(records: &RecordFile, prefix: usize) -> Result<u64, MatchError> {
    let mut reader = records.read()?;
    let (mut count, mut last) = (0_u64, Zeroizing::new(Vec::new()));
    while let Some(record) = reader.next()? {
        let beginning = record.get(..prefix).ok_or(MatchError::Failed)?;
        if last.as_slice() != beginning {
            count = count.saturating_add(1);
            last.clear();
            last.extend_from_slice(beginning);
        }
    }
    Ok(count)
}

/// A person's key.
pub(in crate::app) fn key(record: &[u8]) -> Result<Zeroizing<Vec<u8>>, MatchError> {
    let (length, bytes) = record.split_first().ok_or(MatchError::Failed)?;
    Ok(Zeroizing::new(bytes.get(..usize::from(*length)).ok_or(MatchError::Failed)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_or_not_at_all() {
        let longest = "ä".repeat(LONGEST_KEY / 2);
        for text in ["", "P-1", longest.as_str()] {
            let mut record = Vec::new();
            put_key(&mut record, text);
            assert_eq!(record.len(), KEY);
            assert!(is_readable(&record));
            assert_eq!(key(&record).unwrap().as_slice(), text.as_bytes());
        }
        let (mut one, mut other) = (Vec::new(), Vec::new());
        put_key(&mut one, &format!("{longest}1"));
        put_key(&mut other, &format!("{longest}2"));
        assert!(!is_readable(&one) && key(&one).is_err());
        assert_eq!(one.len(), KEY);
        assert_ne!(one, other, "two persons are taken for one");
    }

    #[test]
    fn a_place_that_holds_nothing_is_no_slot() {
        let mut record = Vec::new();
        put_item(&mut record, &[]);
        assert_eq!(record, [0; ITEM]);
        assert!(item(&record).is_none());
        record.clear();
        put_item(&mut record, b"AB123456");
        assert_eq!(item(&record).unwrap().as_ref(), b"AB123456");
    }
}
