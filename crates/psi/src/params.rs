use crate::tag::LONGEST;
use crate::{Mode, PsiError};

/// The most elements in a chunk: RFC 9497 counts the elements of a batched proof with two bytes (§2.2.1).
pub const MAX_CHUNK: u32 = 65_535;

/// SECURITY: a row's key follows from the list's, and the nonce that it is sealed with stands still. So a list's key is of
/// one session where rows go with it: under one that several share, a second row of a person would give both away, and
/// the outputs of a later session would open the rows that came in an earlier one.
pub(crate) const ROWS_OF_SEVERAL: PsiError = PsiError::Parameters("a list that serves several sessions has no rows");

/// What both sides of a session declare before its first byte. Everything else that crosses the line has a size
/// that follows from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchParams {
    chunk_elements: u32,
    receiver_padded: u32,
    sender_padded: u32,
    /// Evaluations that there can be under the key: those of this session, or of all that share it.
    evaluations: u64,
    mode: Mode,
    /// Bytes of a sealed row behind each tag; 0 where there is none.
    sealed: u32,
}

impl MatchParams {
    /// Parameters of a session.
    ///
    /// `chunk_elements` blinded elements go into each chunk (1 to [`MAX_CHUNK`]); the receiver sends
    /// `receiver_padded` of them in all, a whole number of chunks; the sender sends `sender_padded` tags.
    /// [`padded_size`] gives fitting sizes.
    ///
    /// # Errors
    /// [`PsiError::UnknownFormat`] for a `format` other than 1 to [`FORMAT`](crate::FORMAT);
    /// [`PsiError::Parameters`] for sizes out of range.
    pub const fn new(
        format: u32,
        chunk_elements: u32,
        receiver_padded: u32,
        sender_padded: u32,
    ) -> Result<Self, PsiError> {
        if format == 0 || format > crate::FORMAT {
            return Err(PsiError::UnknownFormat { found: format });
        }
        if chunk_elements == 0 || chunk_elements > MAX_CHUNK {
            return Err(PsiError::Parameters("a chunk has 1 to 65,535 elements"));
        }
        if receiver_padded == 0 || !receiver_padded.is_multiple_of(chunk_elements) {
            return Err(PsiError::Parameters("the receiver's padded size is a whole number of chunks, at least one"));
        }
        if sender_padded == 0 {
            return Err(PsiError::Parameters("the sender's padded size is at least one tag"));
        }
        let (evaluations, mode) = (receiver_padded as u64, Mode::Voprf);
        Ok(Self { chunk_elements, receiver_padded, sender_padded, evaluations, mode, sealed: 0 })
    }

    /// The same under a key, and against a list, that serve several sessions with at most so many evaluations in all.
    /// Tags are as long as all of them together need.
    ///
    /// # Errors
    /// [`PsiError::Parameters`] for so many that no tag is long enough, and for a list with rows.
    pub const fn of_epoch(self, evaluations: u64) -> Result<Self, PsiError> {
        if self.sealed > 0 {
            return Err(ROWS_OF_SEVERAL);
        }
        let evaluations = if evaluations > self.evaluations { evaluations } else { self.evaluations };
        let shared = Self { evaluations, ..self };
        if shared.tag_bytes() > LONGEST {
            return Err(PsiError::Parameters("there are too many evaluations under one key for any tag"));
        }
        Ok(shared)
    }

    /// Whether key and list serve several sessions.
    pub(crate) const fn is_shared(&self) -> bool {
        self.evaluations > self.receiver_padded as u64
    }

    /// The same in another mode; without this it is [`Mode::Voprf`].
    #[must_use]
    pub const fn in_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    pub(crate) const fn sealing(self, sealed: u32) -> Self {
        Self { sealed, ..self }
    }

    /// The mode.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The format of everything in the session.
    #[must_use]
    pub const fn format(&self) -> u32 {
        crate::FORMAT
    }

    /// Blinded elements in each chunk.
    #[must_use]
    pub const fn chunk_elements(&self) -> u32 {
        self.chunk_elements
    }

    /// Blinded elements in all.
    #[must_use]
    pub const fn receiver_padded(&self) -> u32 {
        self.receiver_padded
    }

    /// Tags in all.
    #[must_use]
    pub const fn sender_padded(&self) -> u32 {
        self.sender_padded
    }

    /// Chunks, numbered from 0.
    #[must_use]
    pub const fn chunks(&self) -> u32 {
        self.receiver_padded / self.chunk_elements
    }

    /// Bytes of a chunk of blinded elements: 32 each.
    #[must_use]
    pub const fn blinded_chunk_bytes(&self) -> usize {
        self.chunk_elements as usize * 32
    }

    /// Bytes of an evaluated chunk: 32 an element, then, in mode VOPRF, the proof of 64.
    #[must_use]
    pub const fn evaluated_chunk_bytes(&self) -> usize {
        self.blinded_chunk_bytes() + self.mode.proof_bytes()
    }

    /// Bits of a tag: at least 80, and 40 more than the product of the evaluations and the list needs, so that the odds
    /// of any false match, in the session or in all that share its key, stay below 2⁻⁴⁰.
    #[must_use]
    pub const fn tag_bits(&self) -> u32 {
        let bits = 40 + ceil_log2(self.evaluations) + ceil_log2(self.sender_padded as u64);
        if bits < 80 { 80 } else { bits }
    }

    /// Bytes of a tag: [`Self::tag_bits`] rounded up; 10 to 13.
    #[must_use]
    pub const fn tag_bytes(&self) -> usize {
        self.tag_bits().div_ceil(8) as usize
    }

    /// Bytes of the sealed row behind each tag; 0 where the match has no payload.
    #[must_use]
    pub const fn sealed_bytes(&self) -> usize {
        self.sealed as usize
    }

    /// Bytes of an entry of the tag list: a tag, and its sealed row.
    #[must_use]
    pub const fn entry_bytes(&self) -> usize {
        self.tag_bytes() + self.sealed_bytes()
    }

    /// Bytes of the whole tag list.
    #[must_use]
    pub const fn tag_list_bytes(&self) -> usize {
        self.sender_padded as usize * self.entry_bytes()
    }
}

const fn ceil_log2(size: u64) -> u32 {
    // INVARIANT: sizes are at least 1.
    u64::BITS - (size - 1).leading_zeros()
}

/// The smallest whole multiple of `step` that holds `size` elements, at least one step.
///
/// The other side learns this number and not `size`: a coarse step says less.
///
/// # Errors
/// [`PsiError::Parameters`] if `step` is 0 or the result does not fit into 32 bits.
pub fn padded_size(size: usize, step: u32) -> Result<u32, PsiError> {
    let none = PsiError::Parameters("a padded size is a multiple of at least 1 and below 2^32");
    let size = u32::try_from(size).map_err(|_| none)?.max(1);
    size.checked_next_multiple_of(step).ok_or(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_forty_bits_more_than_the_product_of_the_sizes_and_never_less_than_eighty() {
        let bits = |n, m| MatchParams::new(1, 1, n, m).unwrap().tag_bits();
        assert_eq!(bits(1, 1), 80);
        assert_eq!(bits(1 << 20, 1 << 20), 80);
        assert_eq!(bits((1 << 20) + 1, 1 << 20), 81);
        assert_eq!(bits(u32::MAX, u32::MAX), 104);
        assert_eq!(MatchParams::new(1, 1, (1 << 20) + 1, 1 << 20).unwrap().tag_bytes(), 11);
    }

    #[test]
    fn under_a_shared_key_tags_are_as_long_as_all_its_evaluations_need() {
        let alone = MatchParams::new(1, 1024, 1024, 10_000_000).unwrap();
        assert_eq!(alone.tag_bits(), 80);
        assert_eq!(alone.of_epoch(10_500_000).unwrap().tag_bits(), 40 + 24 + 24);
        assert_eq!(alone.of_epoch(1).unwrap(), alone, "fewer than the session itself has");
        assert_eq!(alone.of_epoch(1 << 40).unwrap().tag_bytes(), 13);
        assert!(matches!(alone.of_epoch(1 << 41), Err(PsiError::Parameters(_))));
        assert!(alone.of_epoch(u64::MAX).is_err());
    }

    #[test]
    fn no_row_goes_with_the_tags_under_a_shared_key() {
        let alone = MatchParams::new(1, 1024, 1024, 10_000_000).unwrap();
        assert_eq!(alone.with_rows(8).unwrap().of_epoch(1 << 24), Err(ROWS_OF_SEVERAL));
        assert_eq!(alone.of_epoch(1 << 24).unwrap().with_rows(8), Err(ROWS_OF_SEVERAL));
        assert!(alone.with_rows(8).is_ok() && alone.of_epoch(1 << 24).is_ok(), "each by itself");
    }

    #[test]
    fn parameters_that_do_not_fit_are_refused() {
        assert_eq!(MatchParams::new(2, 1, 1, 1), Err(PsiError::UnknownFormat { found: 2 }));
        assert_eq!(MatchParams::new(0, 1, 1, 1), Err(PsiError::UnknownFormat { found: 0 }));
        assert!(MatchParams::new(1, 0, 1, 1).is_err());
        assert!(MatchParams::new(1, 65_536, 65_536, 1).is_err());
        assert!(MatchParams::new(1, 10, 15, 1).is_err());
        assert!(MatchParams::new(1, 10, 0, 1).is_err());
        assert!(MatchParams::new(1, 10, 20, 0).is_err());
        assert_eq!(MatchParams::new(1, 10, 20, 5).unwrap().chunks(), 2);
    }

    #[test]
    fn a_padded_size_is_the_next_multiple() {
        assert_eq!(padded_size(0, 8), Ok(8));
        assert_eq!(padded_size(8, 8), Ok(8));
        assert_eq!(padded_size(9, 8), Ok(16));
        assert!(padded_size(9, 0).is_err());
        assert!(padded_size(usize::MAX, 8).is_err());
        assert!(padded_size(u32::MAX as usize, 8).is_err());
    }
}
