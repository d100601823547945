use crate::tag::Tag;
use crate::{MatchParams, NormalisedInput, PsiError, PublicKey, ReadBatch, SessionKey, TagList};
use std::ops::Range;
use zeroize::Zeroizing;

/// The sender's arithmetic for one session: evaluates chunks, and makes the tags of its own records.
///
/// PRIVACY: nothing that it is given or keeps depends on which of the sender's records match, and nothing here could:
/// it receives blinded elements alone, which are uniformly distributed whatever they hide. It has no state that a
/// chunk changes.
///
/// It holds no part of the set: a caller whose set does not fit into memory gives it piece by piece.
pub struct Evaluator {
    pub(crate) key: SessionKey,
    pub(crate) params: MatchParams,
}

impl Evaluator {
    /// That of a session.
    #[must_use]
    pub const fn new(key: SessionKey, params: MatchParams) -> Self {
        Self { key, params }
    }

    /// What the session declares.
    #[must_use]
    pub const fn params(&self) -> &MatchParams {
        &self.params
    }

    /// The public half of the session's key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// Evaluates chunk `number`: the evaluated elements in the same order, then the proof
    /// ([`MatchParams::evaluated_chunk_bytes`]). The same chunk again gives the same elements under a fresh proof.
    ///
    /// The caller counts the evaluation, by [`ChunkId`](crate::ChunkId), before it calls this.
    ///
    /// # Errors
    /// [`PsiError::NoSuchChunk`]; [`PsiError::WrongLength`], [`PsiError::InvalidElement`],
    /// [`PsiError::IdentityElement`], [`PsiError::DuplicateElement`] for a hostile chunk; [`PsiError::Randomness`].
    pub fn evaluate(&self, number: u32, blinded: &[u8]) -> Result<Vec<u8>, PsiError> {
        self.evaluate_read(&self.read(number, blinded.to_vec())?)
    }

    /// Reads chunk `number` without evaluating it: what is hostile is found before anything is counted.
    ///
    /// # Errors
    /// Those of [`Self::evaluate`] for a hostile chunk.
    pub fn read(&self, number: u32, blinded: Vec<u8>) -> Result<ReadBatch, PsiError> {
        if number >= self.params.chunks() {
            return Err(PsiError::NoSuchChunk);
        }
        ReadBatch::new(blinded, self.params.chunk_elements() as usize)
    }

    /// Evaluates a chunk that [`Self::read`] gave; otherwise as [`Self::evaluate`].
    ///
    /// # Errors
    /// [`PsiError::Randomness`].
    pub fn evaluate_read(&self, chunk: &ReadBatch) -> Result<Vec<u8>, PsiError> {
        self.key.pair.evaluate_read(chunk)
    }

    /// The tags of records, in their order. Sorted among those of the whole set and padding, they say nothing of the
    /// records' order.
    ///
    /// # Errors
    /// [`PsiError::DegenerateHash`], which does not happen.
    pub fn tags(&self, inputs: &[NormalisedInput]) -> Result<Tags, PsiError> {
        let length = self.params.tag_bytes();
        let mut tags = Zeroizing::new(Vec::with_capacity(inputs.len()));
        // In pieces, so that what has to be wiped stays small.
        for piece in inputs.chunks(4096) {
            let outputs = self.key.pair.outputs(piece)?;
            tags.extend(outputs.iter().map(|output| Tag::cut(output, length)));
        }
        Ok(Tags { tags, length })
    }

    /// Random tags that fill up the list, from the one of number `first` on: the same for each number.
    #[must_use]
    pub fn padding(&self, first: u64, count: usize) -> Tags {
        let length = self.params.tag_bytes();
        let tag = |number: u64| Tag::cut(&*self.key.padding.block(b'T', &[&number.to_be_bytes()]), length);
        Tags { tags: Zeroizing::new((first..).take(count).map(tag).collect()), length }
    }
}

/// Tags of a part of the sender's list. Wiped when dropped.
pub struct Tags {
    pub(crate) tags: Zeroizing<Vec<Tag>>,
    pub(crate) length: usize,
}

impl Tags {
    /// Each tag, of [`MatchParams::tag_bytes`].
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.tags.iter().map(|tag| tag.cut_to(self.length))
    }
}

/// The side that is asked, with its whole set in memory. It learns the receiver's padded size.
///
/// The receiver can see how long a call takes. The tag list takes a time that grows with the true size of the set:
/// make it before the session starts.
pub struct Sender {
    evaluator: Evaluator,
    inputs: Vec<NormalisedInput>,
}

impl Sender {
    /// A session over `inputs`, of which one written twice counts once.
    ///
    /// # Errors
    /// [`PsiError::SetTooLarge`] if the set is larger than the declared padded size; [`PsiError::Parameters`] for a list
    /// with rows, which a caller makes of an [`Evaluator`].
    pub fn new(key: SessionKey, mut inputs: Vec<NormalisedInput>, params: MatchParams) -> Result<Self, PsiError> {
        no_rows(&params)?;
        inputs.sort_unstable();
        inputs.dedup();
        if inputs.len() > params.sender_padded() as usize {
            return Err(PsiError::SetTooLarge);
        }
        Ok(Self { evaluator: Evaluator::new(key, params), inputs })
    }

    /// What it evaluates with.
    #[must_use]
    pub const fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Records after duplicates are dropped: the end of the range that [`Self::tags`] takes.
    #[must_use]
    pub const fn set_size(&self) -> usize {
        self.inputs.len()
    }

    /// As [`Evaluator::evaluate`].
    ///
    /// # Errors
    /// As there.
    pub fn evaluate(&self, number: u32, blinded: &[u8]) -> Result<Vec<u8>, PsiError> {
        self.evaluator.evaluate(number, blinded)
    }

    /// The tags of a part of the set, for callers that spread the work; ranges cover `0..set_size()`.
    ///
    /// # Errors
    /// [`PsiError::NoSuchRange`].
    pub fn tags(&self, range: Range<usize>) -> Result<Tags, PsiError> {
        self.evaluator.tags(self.inputs.get(range).ok_or(PsiError::NoSuchRange)?)
    }

    /// The tag list, from the tags of the whole set in parts. The same session gives the same list.
    ///
    /// # Errors
    /// [`PsiError::Incomplete`] if the parts are not as many as the records.
    pub fn tag_list_of(&self, parts: &[Tags]) -> Result<TagList, PsiError> {
        let due = self.evaluator.params.sender_padded() as usize;
        let mut tags = Zeroizing::new(Vec::with_capacity(due));
        for part in parts {
            tags.extend_from_slice(&part.tags);
        }
        if tags.len() != self.inputs.len() {
            return Err(PsiError::Incomplete);
        }
        // PRF outputs look random, so sorted they say nothing of the order of the records. A tag that comes twice
        // is dropped and made up by padding: the list's size does not change.
        tags.sort_unstable();
        tags.dedup();
        let mut counter: u64 = 0;
        while tags.len() < due {
            let missing = due.saturating_sub(tags.len());
            tags.extend_from_slice(&self.evaluator.padding(counter, missing).tags);
            counter = counter.wrapping_add(missing as u64);
            tags.sort_unstable();
            tags.dedup();
        }
        Ok(TagList::encode(&self.evaluator.params, &tags))
    }

    /// The tag list, made on this thread.
    ///
    /// # Errors
    /// Those of [`Self::tags`].
    pub fn tag_list(&self) -> Result<TagList, PsiError> {
        self.tag_list_of(&[self.tags(0..self.set_size())?])
    }
}

/// That a list has tags alone: what is held in memory whole carries no rows.
pub(crate) const fn no_rows(params: &MatchParams) -> Result<(), PsiError> {
    if params.sealed_bytes() == 0 {
        Ok(())
    } else {
        Err(PsiError::Parameters("a side with its whole set in memory takes no rows beside tags"))
    }
}
