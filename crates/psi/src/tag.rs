use crate::{MatchParams, PsiError};

/// The longest tag in bytes, for padded sizes below 2³².
const LONGEST: usize = 13;

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

/// Reads a piece of a list that so far ends in `before`.
pub(crate) fn decode_piece(params: &MatchParams, before: Option<Tag>, piece: &[u8]) -> Result<Vec<Tag>, PsiError> {
    let length = params.tag_bytes();
    let whole = piece.chunks_exact(length);
    if !whole.remainder().is_empty() {
        let expected = piece.len() / length * length;
        return Err(PsiError::WrongLength { what: "a piece of the tag list", expected, found: piece.len() });
    }
    let tags: Vec<_> = whole.map(|bytes| Tag::cut(bytes, length)).collect();
    let ascending = before.iter().chain(&tags).is_sorted_by(|left, right| left < right);
    if ascending { Ok(tags) } else { Err(PsiError::TagOrder) }
}
