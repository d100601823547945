use crate::{MatchParams, PsiError};

/// The longest tag in bytes, for padded sizes below 2³².
pub(crate) const LONGEST: usize = 13;

/// A PRF output cut to the session's length; zeros after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Tag([u8; LONGEST]);

impl Tag {
    /// The first `length` bytes of `bytes`.
    pub(crate) fn cut(bytes: &[u8], length: usize) -> Self {
        let mut tag = Self::default();
        for (to, from) in tag.0.iter_mut().zip(bytes.iter().take(length)) {
            *to = *from;
        }
        tag
    }

    pub(crate) fn cut_to(&self, length: usize) -> &[u8] {
        self.0.get(..length).unwrap_or_default()
    }
}

impl zeroize::DefaultIsZeroes for Tag {}

/// The sender's whole list as it crosses the line: tags of equal length in strictly ascending order, random ones
/// among them up to the declared size. Order and size say nothing of the records behind it.
pub struct TagList(Vec<u8>);

impl TagList {
    pub(crate) fn encode(params: &MatchParams, tags: &[Tag]) -> Self {
        let length = params.tag_bytes();
        Self(tags.iter().flat_map(|tag| tag.0.into_iter().take(length)).collect())
    }

    /// All bytes; [`MatchParams::tag_bytes`] for each tag. Sent in pieces of whole tags, in order.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the sender's list as it comes, in pieces of whole tags, each with the sealed row that stands behind it.
pub struct TagStream {
    params: MatchParams,
    last: Option<Tag>,
    tags: u32,
}

impl TagStream {
    /// Before its first piece.
    #[must_use]
    pub const fn new(params: MatchParams) -> Self {
        Self { params, last: None, tags: 0 }
    }

    /// Checks the next piece. One that is refused leaves the stream as it was.
    ///
    /// # Errors
    /// [`PsiError::WrongLength`] for a tag cut short, and for no tag at all; [`PsiError::TagOrder`];
    /// [`PsiError::TooManyTags`].
    pub fn check(&mut self, piece: &[u8]) -> Result<(), PsiError> {
        self.take(piece).map(drop)
    }

    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<Vec<Tag>, PsiError> {
        let (entry, length) = (self.params.entry_bytes(), self.params.tag_bytes());
        let whole = piece.chunks_exact(entry);
        // An empty piece as well, or a sender could send pieces for ever.
        if piece.is_empty() || !whole.remainder().is_empty() {
            let expected = piece.len().max(1).next_multiple_of(entry);
            return Err(PsiError::WrongLength { what: "a piece of the tag list", expected, found: piece.len() });
        }
        if whole.len() > (self.params.sender_padded() - self.tags) as usize {
            return Err(PsiError::TooManyTags);
        }
        let tags: Vec<_> = whole.map(|bytes| Tag::cut(bytes, length)).collect();
        if !self.last.iter().chain(&tags).is_sorted_by(|left, right| left < right) {
            return Err(PsiError::TagOrder);
        }
        self.last = tags.last().copied().or(self.last);
        // INVARIANT: no more than are declared, by 32 bits.
        self.tags += tags.len() as u32;
        Ok(tags)
    }

    /// Bytes that have arrived: where a resumed transfer goes on.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.tags as u64 * self.params.entry_bytes() as u64
    }

    /// Whether all tags are there.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.tags == self.params.sender_padded()
    }
}
