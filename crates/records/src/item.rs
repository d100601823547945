//! What a place of a set holds.

use crate::fields::{padded, put_padded};
use firebreak_psi::Slot;
use zeroize::Zeroizing;

/// Bytes of a place's content: its length, the content, and zeros.
pub const ITEM: usize = 1 + Slot::LONGEST;

/// What a place holds, which is no longer than the longest slot; of no byte for nothing at all.
#[must_use]
pub fn item_record(item: &[u8]) -> Zeroizing<[u8; ITEM]> {
    // INVARIANT: no item is longer than the longest slot.
    put_padded(item.len() as u8, item)
}

/// What a place holds; `None` for one that holds nothing, and for what [`item_record`] does not write.
#[must_use]
#[inline]
pub fn read_item(record: &[u8; ITEM]) -> Option<Slot> {
    Slot::from_bytes(padded(record)?)
}

/// Whether a place was written that holds nothing.
#[must_use]
pub fn holds_nothing(record: &[u8; ITEM]) -> bool {
    padded(record) == Some(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_holds_nothing_is_no_slot() {
        let record = item_record(&[]);
        assert_eq!(*record, [0; ITEM]);
        assert!(read_item(&record).is_none() && holds_nothing(&record));
        let mut record = item_record(b"AB123456");
        assert_eq!(read_item(&record).unwrap().as_ref(), b"AB123456");
        assert!(!holds_nothing(&record));
        record[20] = 1;
        assert!(read_item(&record).is_none(), "an identifier has two texts");
        let longest = [7; Slot::LONGEST];
        assert_eq!(read_item(&item_record(&longest)).unwrap().as_ref(), longest);
    }
}
