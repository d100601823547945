use crate::oprf::{Blind, BlindedBatch};
use crate::payload::{PAYLOAD_KEY_BYTES, PayloadKey};
use crate::secret::Prf;
use crate::set::{Shuffle, Slot};
use crate::tag::Tag;
use crate::{ChunkId, MatchParams, PsiError, PublicKey, SecretSeed, SessionId};
use zeroize::Zeroizing;

/// A chunk of blinded elements, to be sent, and what is needed to unblind the answer. Wiped when dropped.
pub struct BlindedChunk {
    id: ChunkId,
    batch: BlindedBatch,
}

impl BlindedChunk {
    /// By what both sides know it.
    #[must_use]
    pub const fn id(&self) -> &ChunkId {
        &self.id
    }

    /// What is sent: [`MatchParams::blinded_chunk_bytes`].
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.batch.as_bytes()
    }
}

/// The tags of a chunk whose proof has been verified. Wiped when dropped.
pub struct VerifiedChunk {
    id: ChunkId,
    tags: Zeroizing<Vec<Tag>>,
    keys: Vec<PayloadKey>,
    length: usize,
}

impl VerifiedChunk {
    /// The chunk's id.
    #[must_use]
    pub const fn id(&self) -> &ChunkId {
        &self.id
    }

    /// The tags, of [`MatchParams::tag_bytes`] each, in the order of the chunk's places.
    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.tags.iter().map(|tag| tag.cut_to(self.length))
    }

    /// The key of the row that stands behind each tag, in the same order; none where the session has no rows.
    #[must_use]
    pub fn keys(&self) -> &[PayloadKey] {
        &self.keys
    }

    /// Bytes of all tags and keys.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let keys = self.keys.len().saturating_mul(PAYLOAD_KEY_BYTES);
        self.tags.len().saturating_mul(self.length).saturating_add(keys)
    }

    pub(crate) fn raw(&self) -> &[Tag] {
        &self.tags
    }
}

/// The receiver's arithmetic for one session: blinds chunks of its list, verifies and unblinds the answers. Chunks may
/// be done in any order, on several threads and more than once: the same list gives the same bytes.
///
/// It holds no part of the list: a caller whose list does not fit into memory gives it chunk by chunk.
pub struct Blinding {
    session: SessionId,
    public_key: PublicKey,
    params: MatchParams,
    secrets: Prf,
}

impl Blinding {
    /// That of a session. `seed` is secret, fresh and this session's own; `public_key` is the sender's, from the
    /// session's manifest.
    #[must_use]
    pub fn new(session: SessionId, seed: &SecretSeed, public_key: PublicKey, params: MatchParams) -> Self {
        Self { session, public_key, params, secrets: secrets(seed) }
    }

    /// What the session declares.
    #[must_use]
    pub const fn params(&self) -> &MatchParams {
        &self.params
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Blinds chunk `number`, whose places hold `slots`.
    ///
    /// # Errors
    /// [`PsiError::NoSuchChunk`], also where there are not as many slots as a chunk has places.
    pub fn blind(&self, number: u32, slots: &[Slot]) -> Result<BlindedChunk, PsiError> {
        let batch = BlindedBatch::new(self.params.mode(), slots, self.blinds(number, slots)?)?;
        Ok(self.chunk(number, batch))
    }

    /// Chunk `number`, whose places hold `slots`, as [`Blinding::blind`] gave it before: from its bytes, at a fraction
    /// of the cost.
    ///
    /// # Errors
    /// As those of [`Blinding::blind`]; those of [`BlindedBatch::kept`](crate::oprf::BlindedBatch::kept) for bytes that
    /// are no chunk's.
    pub fn kept(&self, number: u32, slots: &[Slot], blinded: &[u8]) -> Result<BlindedChunk, PsiError> {
        let batch = BlindedBatch::kept(self.params.mode(), self.blinds(number, slots)?, blinded)?;
        Ok(self.chunk(number, batch))
    }

    /// Verifies the sender's answer to a chunk that was blinded from `slots`, and unblinds it.
    ///
    /// # Errors
    /// [`PsiError::ForeignChunk`] for another session's chunk; [`PsiError::NoSuchChunk`] for other slots by number;
    /// [`PsiError::WrongLength`], [`PsiError::InvalidElement`], [`PsiError::IdentityElement`],
    /// [`PsiError::DuplicateElement`], [`PsiError::InvalidScalar`], [`PsiError::ProofRejected`] for a wrong answer.
    pub fn verify(&self, chunk: &BlindedChunk, slots: &[Slot], evaluated: &[u8]) -> Result<VerifiedChunk, PsiError> {
        if chunk.id.session != self.session {
            return Err(PsiError::ForeignChunk);
        }
        self.check(chunk.id.number, slots)?;
        let outputs = chunk.batch.finalize(slots, &self.public_key, evaluated)?;
        let length = self.params.tag_bytes();
        let tags = Zeroizing::new(outputs.iter().map(|output| Tag::cut(output, length)).collect());
        let rows = if self.params.sealed_bytes() == 0 { &[][..] } else { outputs.as_slice() };
        let keys = rows.iter().map(PayloadKey::of).collect();
        Ok(VerifiedChunk { id: chunk.id, tags, keys, length })
    }

    fn chunk(&self, number: u32, batch: BlindedBatch) -> BlindedChunk {
        BlindedChunk { id: ChunkId::of(self.session, number, batch.as_bytes()), batch }
    }

    fn blinds(&self, number: u32, slots: &[Slot]) -> Result<Vec<Blind>, PsiError> {
        self.check(number, slots)?;
        let places = number.saturating_mul(self.params.chunk_elements())..;
        places.zip(slots).map(|(index, slot)| self.blind_of(index, slot)).collect()
    }

    /// SECURITY: the input is in it as well as the place, so that a session made again with another set by mistake
    /// does not send two inputs under one blind.
    pub(crate) fn blind_of(&self, index: u32, slot: &Slot) -> Result<Blind, PsiError> {
        Blind::from_uniform_bytes(&self.secrets.block(b'B', &[&index.to_be_bytes(), slot.as_ref()]))
    }

    const fn check(&self, number: u32, slots: &[Slot]) -> Result<(), PsiError> {
        let whole = slots.len() == self.params.chunk_elements() as usize;
        if whole && number < self.params.chunks() { Ok(()) } else { Err(PsiError::NoSuchChunk) }
    }
}

impl Shuffle {
    /// That of the session whose receiver has that seed.
    #[must_use]
    pub fn of_session(seed: &SecretSeed) -> Self {
        Self::new(secrets(seed).block_seed(b"opening"))
    }
}

fn secrets(seed: &SecretSeed) -> Prf {
    Prf::new(seed.expose(), "firebreak match receiver")
}
