use crate::normalise::LONGEST;
use crate::secret::Prf;
use crate::{
    Commitment, CommitmentBuilder, NormalisedInput, Normaliser, Opening, PsiError, Root, SampleBuilder, SecretSeed,
};
use zeroize::{Zeroize, Zeroizing};

/// What a place in the receiver's list holds: an input of its own, or padding. Both are blinded, evaluated and unblinded
/// alike, so that neither bytes nor time tell them apart. Wiped when dropped; has no `Debug`.
///
/// INVARIANT: padding starts with a byte of 0x80 or above, which no normalised input does, and is as long as the longest
/// input of the rule by which the set is written.
#[derive(Clone)]
pub struct Slot {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Slot {
    /// Bytes of the longest.
    pub const LONGEST: usize = LONGEST;

    /// One that holds an input.
    #[must_use]
    pub fn own(input: &NormalisedInput) -> Self {
        let mut slot = Self { bytes: [0; LONGEST], length: 0 };
        for (to, from) in slot.bytes.iter_mut().zip(input.as_bytes()) {
            *to = *from;
            slot.length += 1;
        }
        slot
    }

    /// Reads what [`Slot::as_ref`] gave; `None` for bytes that are too many or none.
    #[must_use]
    pub fn from_bytes(held: &[u8]) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..held.len())?.copy_from_slice(held);
        let length = u8::try_from(held.len()).ok().filter(|length| *length > 0)?;
        Some(Self { bytes, length })
    }

    /// The input that it holds; `None` for padding, and for bytes that no rule gives.
    #[must_use]
    pub fn input(&self) -> Option<NormalisedInput> {
        NormalisedInput::from_normal_form(self.as_ref())
    }

    /// Whether it is padding.
    #[must_use]
    pub const fn is_padding(&self) -> bool {
        self.bytes[0] >= 0x80 && NormalisedInput::is_longest(self.length as usize)
    }

    fn padding(random: &[u8; 64], length: usize) -> Self {
        let mut slot = Self { bytes: [0; LONGEST], length: 0 };
        for (to, from) in slot.bytes.iter_mut().zip(random).take(length) {
            *to = *from;
            slot.length += 1;
        }
        slot.bytes[0] |= 0x80;
        slot
    }
}

impl AsRef<[u8]> for Slot {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// By what the receiver's list is filled up and shuffled: the padding, and the order in which inputs and padding stand.
///
/// It follows from an *opening seed*, which gives neither blind nor key.
pub struct Shuffle {
    seed: SecretSeed,
    secrets: Prf,
}

/// Bytes of a place's rank.
const RANK: usize = 16;

impl Shuffle {
    /// That of an opening seed.
    #[must_use]
    pub fn new(seed: SecretSeed) -> Self {
        let secrets = Prf::new(seed.expose(), "firebreak match committed set");
        Self { seed, secrets }
    }

    /// The opening seed.
    #[must_use]
    pub const fn opening_seed(&self) -> &SecretSeed {
        &self.seed
    }

    /// The padding of that number, from 0, in a set that is written by that rule.
    #[must_use]
    pub fn padding(&self, number: u64, rule: Normaliser) -> Slot {
        self.padding_of(number, rule.longest())
    }

    fn padding_of(&self, number: u64, length: usize) -> Slot {
        Slot::padding(&self.secrets.block(b'P', &[&number.to_be_bytes()]), length)
    }

    /// What the list is sorted by: pseudorandom, so that the order says nothing of the inputs.
    #[must_use]
    pub fn rank(&self, slot: &Slot) -> Zeroizing<[u8; RANK]> {
        let mut rank = Zeroizing::new([0; RANK]);
        for (to, from) in rank.iter_mut().zip(self.secrets.block(b'O', &[slot.as_ref()]).iter()) {
            *to = *from;
        }
        rank
    }

    /// A commitment to the list, to which its places are added in their order.
    #[must_use]
    pub fn commitment(&self) -> CommitmentBuilder {
        CommitmentBuilder::new(&self.salt())
    }

    /// The same, which opens those places on the way.
    #[must_use]
    pub fn sample(&self, wanted: Vec<u32>) -> SampleBuilder {
        SampleBuilder::new(&self.salt(), wanted)
    }

    fn salt(&self) -> SecretSeed {
        self.secrets.block_seed(b"commitment")
    }
}

/// The receiver's set as it is committed to: filled up with padding, shuffled, each place under a salt of its own.
///
/// It follows from the inputs and an *opening seed* ([`Receiver::opening_seed`](crate::Receiver::opening_seed)), so
/// that places can be opened when the session's seed is destroyed and nobody can blind or unblind any longer.
pub struct CommittedSet {
    slots: Vec<Slot>,
    commitment: Commitment,
}

impl CommittedSet {
    /// The set of `inputs`, all of one rule, of which one written twice counts once, in `size` places.
    ///
    /// # Errors
    /// [`PsiError::SetTooLarge`] if there are more inputs than places; [`PsiError::NoSuchSlot`] for no place.
    pub fn new(opening: &SecretSeed, mut inputs: Vec<NormalisedInput>, size: u32) -> Result<Self, PsiError> {
        inputs.sort_unstable();
        inputs.dedup();
        let shuffle = Shuffle::new(opening.clone());
        let missing = (size as usize).checked_sub(inputs.len()).ok_or(PsiError::SetTooLarge)? as u64;
        let length = NormalisedInput::longest_beside(&inputs);
        let padding = (0..missing).map(|number| shuffle.padding_of(number, length));
        let mut slots: Vec<_> = inputs.iter().map(Slot::own).chain(padding).collect();
        slots.sort_by_cached_key(|slot| *shuffle.rank(slot));
        let commitment = Commitment::new(&slots, &shuffle.salt())?;
        Ok(Self { slots, commitment })
    }

    /// The commitment.
    #[must_use]
    pub fn root(&self) -> Root {
        self.commitment.root()
    }

    /// Opens the place at `index`: what stands there, and that it was committed to.
    ///
    /// # Errors
    /// [`PsiError::NoSuchSlot`].
    pub fn open(&self, index: u32) -> Result<Opening, PsiError> {
        let slot = self.slots.get(index as usize).ok_or(PsiError::NoSuchSlot)?;
        self.commitment.open(index, slot.as_ref())
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }
}
