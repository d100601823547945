/// What a match can fail on. Carries sizes that both sides know already, and never a value or an exact set size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PsiError {
    /// Bytes that are not the one encoding of a group element.
    #[error("not the canonical encoding of a ristretto255 element")]
    InvalidElement,
    /// The neutral element, which would make an evaluation say nothing.
    #[error("the identity stands where a group element is due")]
    IdentityElement,
    /// One element twice in a chunk.
    #[error("an element stands twice in one chunk")]
    DuplicateElement,
    /// Bytes that are not a reduced scalar, or a zero that must not be.
    #[error("not the canonical encoding of a usable scalar")]
    InvalidScalar,
    /// Too few or too many bytes.
    #[error("{what} has {found} bytes, {expected} are due")]
    WrongLength {
        /// What was read, in words.
        what: &'static str,
        /// Bytes due.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The proof does not fit the key and the chunk.
    #[error("the proof of evaluation does not verify under the session's key")]
    ProofRejected,
    /// A batch of no element or of more than 65,535.
    #[error("a batch has 1 to 65,535 elements")]
    BatchSize,
    /// An input of more than 65,535 bytes.
    #[error("an input has at most 65,535 bytes")]
    InputLength,
    /// An input that hashes to the identity, or a key that comes out as zero: neither happens by chance.
    #[error("a hash came out as the identity or as zero")]
    DegenerateHash,
    /// The set does not fit the padded size that was declared.
    #[error("the set is larger than the padded size that the session declares")]
    SetTooLarge,
    /// Parameters that do not fit each other.
    #[error("{0}")]
    Parameters(&'static str),
    /// A format of a later version.
    #[error("a match session has format {found}, this program reads up to {max}: upgrade it", max = crate::FORMAT)]
    UnknownFormat {
        /// The number found.
        found: u32,
    },
    /// A key context that does not fit.
    #[error("a key context has at most 65,535 bytes in all")]
    KeyContextLength,
    /// A range that the sender's set does not have.
    #[error("the sender's set has no such range")]
    NoSuchRange,
    /// A slot that the receiver's list does not have.
    #[error("the committed list has no such position")]
    NoSuchSlot,
    /// A chunk that the session does not have.
    #[error("the session has no chunk of that number")]
    NoSuchChunk,
    /// A chunk of another session, or other bytes under the same number.
    #[error("the chunk belongs to another session")]
    ForeignChunk,
    /// A chunk accepted before.
    #[error("the chunk was accepted before")]
    ChunkRepeated,
    /// Tags out of order, or one twice.
    #[error("tags are not in strictly ascending order")]
    TagOrder,
    /// More tags than declared.
    #[error("there are more tags than the session declares")]
    TooManyTags,
    /// Not all chunks, or not all tags, have arrived.
    #[error("the session is not complete: resume it from the first chunk or tag that is missing")]
    Incomplete,
    /// An opening that does not lead to the root.
    #[error("the opening does not fit the commitment")]
    OpeningRejected,
    /// The proof that the other side of a join knows the secret of its key.
    #[error("the other side's proof that it knows the secret of its key does not verify in this session")]
    KnowledgeRejected,
    /// Points of a join's list out of order, or one twice.
    #[error("points are not in strictly ascending order")]
    PointOrder,
    /// A label that a join does not declare.
    #[error("a point has a label that the join does not declare")]
    Label,
    /// More or fewer points of a label than were stated.
    #[error("a list does not have the stated number of points of each label")]
    LabelSize,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}
