//! A person's key, as the agency's own dataset has it.

use crate::fields::{padded, put_padded};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a person's key: its length, the key, and zeros.
pub const KEY: usize = 1 + LONGEST_KEY;
/// Bytes of the longest key of a person with whom a match can be recorded.
pub const LONGEST_KEY: usize = 64;
/// In place of a length: the key is longer, and its hash stands for it.
const TOO_LONG: u8 = u8::MAX;

/// Adds a person's key. One that is too long is told from others, and cannot be read again.
pub fn put_key(record: &mut Vec<u8>, key: &str) {
    match u8::try_from(key.len()) {
        Ok(length) if key.len() <= LONGEST_KEY => put_padded(record, length, key.as_bytes(), KEY),
        _ => put_padded(record, TOO_LONG, &Sha256::digest(key.as_bytes()), KEY),
    }
}

/// Whether a key that was written can be read again.
#[must_use]
pub fn is_readable(key: &[u8]) -> bool {
    key.first().is_some_and(|length| *length != TOO_LONG)
}

/// A person's key, which is text; `None` for one that was too long, and for what [`put_key`] does not write.
#[must_use]
pub fn key(record: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = padded(record, KEY)?;
    str::from_utf8(key).ok().map(|key| Zeroizing::new(key.as_bytes().to_vec()))
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
        assert!(!is_readable(&one) && key(&one).is_none());
        assert_eq!(one.len(), KEY);
        assert_ne!(one, other, "two persons are taken for one");
    }
}
