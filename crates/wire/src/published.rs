//! What is stored of a publication.

use crate::publication::v1::{PublishedFigures, StoredPublication};
use firebreak_domain::check_format;
use prost::Message;

/// A publication as it is stored.
#[must_use]
pub fn stored_publication_to_bytes(publication: &StoredPublication) -> Vec<u8> {
    publication.encode_to_vec()
}

/// Reads what [`stored_publication_to_bytes`] wrote; `None` for anything else, and for a later format.
#[must_use]
pub fn stored_publication_from_bytes(bytes: &[u8]) -> Option<StoredPublication> {
    let read = StoredPublication::decode(bytes).ok()?;
    check_format("a publication", read.format).is_ok().then_some(read)
}

/// What a publication shows, as it is stored and committed to.
#[must_use]
pub fn figures_to_bytes(figures: &PublishedFigures) -> Vec<u8> {
    figures.encode_to_vec()
}

/// Reads what [`figures_to_bytes`] wrote; `None` for anything else, and for a later format.
#[must_use]
pub fn figures_from_bytes(bytes: &[u8]) -> Option<PublishedFigures> {
    let read = PublishedFigures::decode(bytes).ok()?;
    check_format("published figures", read.format).is_ok().then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_domain::FORMAT;

    #[test]
    fn a_later_format_is_not_read() {
        for (format, reads) in [(FORMAT, true), (FORMAT + 1, false), (0, false)] {
            let stored = StoredPublication { format, ..StoredPublication::default() };
            assert_eq!(stored_publication_from_bytes(&stored_publication_to_bytes(&stored)).is_some(), reads);
            let figures = PublishedFigures { format, ..PublishedFigures::default() };
            assert_eq!(figures_from_bytes(&figures_to_bytes(&figures)).is_some(), reads);
        }
    }
}
