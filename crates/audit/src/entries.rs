//! An entries bundle: up to 256 entries, each after its length in two bytes, big-endian (C2SP tlog-tiles).

/// The longest entry that a bundle holds.
pub(crate) const MAX_ENTRY: usize = 0xffff;

/// Adds an entry to a bundle; `false`, and nothing added, if it is too long.
pub(crate) fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(length) = u16::try_from(entry.len()) else { return false };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    true
}

/// The entries of a bundle; `None` unless it holds `count` of them and not a byte more.
pub(crate) fn split_entries(bundle: &[u8], count: usize) -> Option<Vec<&[u8]>> {
    let mut rest = bundle;
    let mut entries = Vec::with_capacity(count);
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        rest = after;
    }
    (rest.is_empty() && entries.len() == count).then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_too_long_for_its_length_field_is_not_added() {
        let mut bundle = Vec::new();
        assert!(!push_entry(&mut bundle, &vec![0; MAX_ENTRY + 1]));
        assert!(bundle.is_empty());
        assert!(push_entry(&mut bundle, &vec![0; MAX_ENTRY]));
    }

    #[test]
    fn a_bundle_is_the_documented_bytes() {
        let mut bundle = Vec::new();
        assert!(push_entry(&mut bundle, b"ab") && push_entry(&mut bundle, b""));
        assert_eq!(bundle, [0, 2, b'a', b'b', 0, 0]);
    }

    proptest! {
        #[test]
        fn a_bundle_gives_back_its_entries_and_no_prefix_of_it_does(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bundle = Vec::new();
            for entry in &entries {
                prop_assert!(push_entry(&mut bundle, entry));
            }
            let read: Vec<Vec<u8>> =
                split_entries(&bundle, entries.len()).unwrap().into_iter().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&read, &entries);
            prop_assert!(split_entries(&bundle, entries.len() + 1).is_none());
            prop_assert!(split_entries(&bundle[..cut.index(bundle.len())], entries.len()).is_none());
        }
    }
}
