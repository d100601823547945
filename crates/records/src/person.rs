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

/// A person's key. One that is too long is told from others, and cannot be read again.
#[must_use]
pub fn key_record(key: &str) -> Zeroizing<[u8; KEY]> {
    match u8::try_from(key.len()) {
        Ok(length) if key.len() <= LONGEST_KEY => put_padded(length, key.as_bytes()),
        _ => put_padded(TOO_LONG, &Sha256::digest(key.as_bytes())),
    }
}

/// Whether a key that was written can be read again.
#[must_use]
pub const fn is_readable(key: &[u8; KEY]) -> bool {
    key[0] != TOO_LONG
}

/// A person's key, which is text; `None` for one that was too long, and for what [`key_record`] does not write.
#[must_use]
pub fn read_key(record: &[u8; KEY]) -> Option<Zeroizing<Vec<u8>>> {
    let key = padded(record)?;
    str::from_utf8(key).ok().map(|key| Zeroizing::new(key.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_or_not_at_all() {
        let longest = "ä".repeat(LONGEST_KEY / 2);
        for text in ["", "P-1", longest.as_str()] {
            let record = key_record(text);
            assert!(is_readable(&record));
            assert_eq!(read_key(&record).unwrap().as_slice(), text.as_bytes());
        }
        let (one, other) = (key_record(&format!("{longest}1")), key_record(&format!("{longest}2")));
        assert!(!is_readable(&one) && read_key(&one).is_none());
        assert_ne!(one, other, "two persons are taken for one");
    }
}
