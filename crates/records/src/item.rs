//! What a place of a set holds.

use crate::fields::{padded, put_padded};
use firebreak_psi::Slot;

/// Bytes of a place's content: its length, the content, and zeros.
pub const ITEM: usize = 1 + Slot::LONGEST;

/// Adds what a place holds, which is no longer than the longest slot; nothing at all for none.
pub fn put_item(record: &mut Vec<u8>, item: &[u8]) {
    // INVARIANT: no item is longer than the longest slot.
    put_padded(record, item.len() as u8, item, ITEM);
}

/// What a place holds; `None` for one that holds nothing, and for what [`put_item`] does not write.
#[must_use]
#[inline]
pub fn item(record: &[u8]) -> Option<Slot> {
    Slot::from_bytes(padded(record, ITEM)?)
}

/// Whether a place was written that holds nothing.
#[must_use]
pub fn holds_nothing(record: &[u8]) -> bool {
    padded(record, ITEM) == Some(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_holds_nothing_is_no_slot() {
        let mut record = Vec::new();
        put_item(&mut record, &[]);
        assert_eq!(record, [0; ITEM]);
        assert!(item(&record).is_none() && holds_nothing(&record));
        record.clear();
        put_item(&mut record, b"AB123456");
        assert_eq!(item(&record).unwrap().as_ref(), b"AB123456");
        assert!(!holds_nothing(&record) && !holds_nothing(&[]) && item(&record[1..]).is_none());
        record[20] = 1;
        assert!(item(&record).is_none(), "an identifier has two texts");
    }
}
