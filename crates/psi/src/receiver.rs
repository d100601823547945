use crate::oprf::{Blind, BlindedBatch};
use crate::set::{CommittedSet, Shuffle, Slot};
use crate::tag::{Tag, TagList, TagStream};
use crate::{
    BlindedChunk, Blinding, MatchParams, Mode, NormalisedInput, Opening, PsiError, PublicKey, Root, SecretSeed,
    SessionId, VerifiedChunk, verify_opening,
};
use std::ops::Range;
use zeroize::Zeroizing;

/// A place of the committed list, opened: for an overseer, inside the agency. Holds an identifier; has no `Debug`.
#[derive(Clone)]
pub struct SlotOpening {
    /// The place and its content, tied to the root.
    pub opening: Opening,
    /// The session's mode.
    pub mode: Mode,
    /// The blind with which the content was sent (32 bytes).
    pub blind: Zeroizing<[u8; 32]>,
}

impl SlotOpening {
    /// Checks that the content was committed to and that `blinded` (32 bytes, from the chunk that the sender
    /// evaluated) is that content, blinded. Gives the identifier, or `None` for padding.
    ///
    /// # Errors
    /// [`PsiError::OpeningRejected`], also for content that is neither an identifier in normal form nor padding.
    pub fn verify(&self, root: &Root, blinded: &[u8]) -> Result<Option<NormalisedInput>, PsiError> {
        verify_opening(root, &self.opening)?;
        let blind = Blind::from_canonical_bytes(&self.blind)?;
        if BlindedBatch::new(self.mode, &[&self.opening.item], vec![blind])?.as_bytes() != blinded {
            return Err(PsiError::OpeningRejected);
        }
        let slot = Slot::from_bytes(&self.opening.item).ok_or(PsiError::OpeningRejected)?;
        if slot.is_padding() { Ok(None) } else { slot.input().map(Some).ok_or(PsiError::OpeningRejected) }
    }
}

/// What the receiver learns: which of its own inputs the sender's list holds.
pub struct Matches(Vec<NormalisedInput>);

impl Matches {
    /// The matched inputs in ascending order, each once.
    #[must_use]
    pub fn inputs(&self) -> &[NormalisedInput] {
        &self.0
    }

    /// Whether that input matched.
    #[must_use]
    pub fn contains(&self, input: &NormalisedInput) -> bool {
        self.0.binary_search(input).is_ok()
    }
}

/// The side that learns, with its whole set in memory. Chunks may be blinded and verified in any order and on several threads; accepting takes
/// the session itself.
///
/// All that it sends follows from the session's seed and the set: resumed, it sends the same bytes. After a dropped
/// connection it goes on with [`Self::next_chunk`]; after a restart, made again from the same seed and set, it sends
/// its chunks again, which a sender knows by their [`ChunkId`] and does not count twice.
///
/// Its memory grows with the padded size: about 50 bytes an element, and 100 for the commitment. A caller with a larger
/// set keeps the list itself, and takes [`Shuffle`], [`CommitmentBuilder`](crate::CommitmentBuilder), [`Blinding`] and
/// [`TagStream`], of which this is made.
pub struct Receiver {
    blinding: Blinding,
    set: CommittedSet,
    opening_seed: SecretSeed,
    own_tags: Zeroizing<Vec<Tag>>,
    accepted: Vec<bool>,
    stream: TagStream,
    received: Vec<Tag>,
}

impl Receiver {
    /// A session over `inputs`, of which one written twice counts once. `seed` is secret, fresh and this session's
    /// own; `public_key` is the sender's, from the session's manifest.
    ///
    /// The set is filled up to the declared size with padding and shuffled.
    ///
    /// # Errors
    /// [`PsiError::SetTooLarge`] if the set is larger than the declared padded size; [`PsiError::Parameters`] for a list
    /// with rows, which a caller reads with [`Blinding`] and [`TagStream`].
    pub fn new(
        session: SessionId,
        seed: &SecretSeed,
        inputs: Vec<NormalisedInput>,
        public_key: PublicKey,
        params: MatchParams,
    ) -> Result<Self, PsiError> {
        crate::sender::no_rows(&params)?;
        let opening_seed = Shuffle::of_session(seed).opening_seed().clone();
        let set = CommittedSet::new(&opening_seed, inputs, params.receiver_padded())?;
        let own_tags = Zeroizing::new(vec![Tag::default(); params.receiver_padded() as usize]);
        let accepted = vec![false; params.chunks() as usize];
        let blinding = Blinding::new(session, seed, public_key, params);
        let stream = TagStream::new(params);
        Ok(Self { blinding, set, opening_seed, own_tags, accepted, stream, received: Vec::new() })
    }

    /// What the session declares.
    #[must_use]
    pub const fn params(&self) -> &MatchParams {
        self.blinding.params()
    }

    /// The commitment to the set, padding included. It goes to the log before the first chunk goes to the sender.
    #[must_use]
    pub fn root(&self) -> Root {
        self.set.root()
    }

    /// Opens a place of the list for an overseer, who checks it with [`SlotOpening::verify`] against the element at
    /// the same place in the chunks that were sent.
    ///
    /// # Errors
    /// [`PsiError::NoSuchSlot`].
    pub fn open(&self, index: u32) -> Result<SlotOpening, PsiError> {
        let slot = self.set.slots().get(index as usize).ok_or(PsiError::NoSuchSlot)?;
        let mode = self.params().mode();
        Ok(SlotOpening { opening: self.set.open(index)?, mode, blind: self.blinding.blind_of(index, slot)?.expose() })
    }

    /// From this and the inputs [`CommittedSet::new`] makes the committed set again, when the session's own seed is
    /// destroyed: each place can be opened, and none be blinded or unblinded.
    #[must_use]
    pub const fn opening_seed(&self) -> &SecretSeed {
        &self.opening_seed
    }

    /// The first chunk that has not been accepted; `None` once all have.
    #[must_use]
    pub fn next_chunk(&self) -> Option<u32> {
        self.accepted.iter().position(|accepted| !accepted).map(|number| number as u32)
    }

    /// Chunks accepted so far.
    #[must_use]
    pub fn accepted_chunks(&self) -> usize {
        self.accepted.iter().filter(|accepted| **accepted).count()
    }

    /// Blinds chunk `number`; the same bytes each time.
    ///
    /// # Errors
    /// [`PsiError::NoSuchChunk`].
    pub fn blind_chunk(&self, number: u32) -> Result<BlindedChunk, PsiError> {
        self.blinding.blind(number, self.slots(number)?)
    }

    /// Verifies the sender's answer to a chunk and unblinds it.
    ///
    /// # Errors
    /// [`PsiError::ForeignChunk`] for another session's chunk; [`PsiError::WrongLength`],
    /// [`PsiError::InvalidElement`], [`PsiError::IdentityElement`], [`PsiError::DuplicateElement`],
    /// [`PsiError::InvalidScalar`], [`PsiError::ProofRejected`] for a wrong answer.
    pub fn verify_chunk(&self, chunk: &BlindedChunk, evaluated: &[u8]) -> Result<VerifiedChunk, PsiError> {
        self.blinding.verify(chunk, self.slots(chunk.id().number)?, evaluated)
    }

    /// Takes up a verified chunk.
    ///
    /// # Errors
    /// [`PsiError::ForeignChunk`], [`PsiError::NoSuchChunk`], [`PsiError::ChunkRepeated`].
    pub fn accept(&mut self, chunk: &VerifiedChunk) -> Result<(), PsiError> {
        if chunk.id().session != self.blinding.session() {
            return Err(PsiError::ForeignChunk);
        }
        let range = self.range(chunk.id().number);
        let accepted = self.accepted.get_mut(chunk.id().number as usize).ok_or(PsiError::NoSuchChunk)?;
        if *accepted {
            return Err(PsiError::ChunkRepeated);
        }
        self.own_tags.get_mut(range).ok_or(PsiError::NoSuchChunk)?.copy_from_slice(chunk.raw());
        *accepted = true;
        Ok(())
    }

    /// Takes the next piece of the sender's tag list: whole tags, in order. An error leaves the list as it was.
    ///
    /// # Errors
    /// [`PsiError::WrongLength`] for a tag cut short; [`PsiError::TagOrder`]; [`PsiError::TooManyTags`].
    pub fn push_tags(&mut self, piece: &[u8]) -> Result<(), PsiError> {
        self.received.extend(self.stream.take(piece)?);
        Ok(())
    }

    /// Bytes of the tag list that have arrived: where a resumed transfer goes on.
    #[must_use]
    pub const fn tag_bytes_received(&self) -> u64 {
        self.stream.bytes()
    }

    /// The list as it arrived, to be kept until the comparison is done and recorded: pushed as one piece into the same
    /// session made again, it stands for the sender.
    ///
    /// # Errors
    /// [`PsiError::Incomplete`] if a chunk or a tag is missing.
    pub fn tag_list(&self) -> Result<TagList, PsiError> {
        if self.is_complete() { Ok(TagList::encode(self.params(), &self.received)) } else { Err(PsiError::Incomplete) }
    }

    /// Whether all chunks and all tags are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.next_chunk().is_none() && self.stream.is_complete()
    }

    /// Compares, and says which inputs matched.
    ///
    /// PRIVACY: the caller's last message to the sender goes out **before** this call, so that neither an error nor
    /// the time it takes can tell the sender anything.
    ///
    /// # Errors
    /// [`PsiError::Incomplete`] if a chunk or a tag is missing.
    pub fn finish(self) -> Result<Matches, PsiError> {
        if !self.is_complete() {
            return Err(PsiError::Incomplete);
        }
        let found = self.set.slots().iter().zip(self.own_tags.iter()).filter(|(_, tag)| {
            // Strictly ascending, which `push_tags` has seen to.
            self.received.binary_search(tag).is_ok()
        });
        let mut inputs: Vec<_> = found.filter_map(|(slot, _)| slot.input()).collect();
        inputs.sort_unstable();
        Ok(Matches(inputs))
    }

    fn slots(&self, number: u32) -> Result<&[Slot], PsiError> {
        self.set.slots().get(self.range(number)).ok_or(PsiError::NoSuchChunk)
    }

    fn range(&self, number: u32) -> Range<usize> {
        let elements = self.params().chunk_elements() as usize;
        let start = (number as usize).saturating_mul(elements);
        start..start.saturating_add(elements)
    }
}
