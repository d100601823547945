use crate::normalise::LONGEST;
use crate::secret::Prf;
use crate::{Commitment, NormalisedInput, Opening, PsiError, Root, SecretSeed};
use zeroize::Zeroize;

/// A place in the receiver's list: an input of its own, or padding. Both are blinded, evaluated and unblinded
/// alike, so that neither bytes nor time tell them apart.
///
/// INVARIANT: padding starts with a byte of 0x80 or above, which no normalised input does.
pub(crate) struct Slot {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Slot {
    fn own(input: &NormalisedInput) -> Self {
        let mut slot = Self { bytes: [0; LONGEST], length: 0 };
        for (to, from) in slot.bytes.iter_mut().zip(input.as_bytes()) {
            *to = *from;
            slot.length += 1;
        }
        slot
    }

    fn padding(random: &[u8; 64]) -> Self {
        let mut slot = Self { bytes: [0; LONGEST], length: LONGEST as u8 };
        for (to, from) in slot.bytes.iter_mut().zip(random) {
            *to = *from;
        }
        if let Some(first) = slot.bytes.first_mut() {
            *first |= 0x80;
        }
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

/// The receiver's set as it is committed to: filled up with padding, shuffled, each place under a salt of its own.
///
/// It follows from the inputs and an *opening seed* ([`Receiver::opening_seed`](crate::Receiver::opening_seed)), so
/// that places can be opened when the session's seed is destroyed and nobody can blind or unblind any longer.
pub struct CommittedSet {
    slots: Vec<Slot>,
    commitment: Commitment,
}

impl CommittedSet {
    /// The set of `inputs`, of which one written twice counts once, in `size` places.
    ///
    /// # Errors
    /// [`PsiError::SetTooLarge`] if there are more inputs than places; [`PsiError::NoSuchSlot`] for no place.
    pub fn new(opening: &SecretSeed, mut inputs: Vec<NormalisedInput>, size: u32) -> Result<Self, PsiError> {
        inputs.sort_unstable();
        inputs.dedup();
        let secrets = Prf::new(opening.expose(), "firebreak match committed set");
        let missing = (size as usize).checked_sub(inputs.len()).ok_or(PsiError::SetTooLarge)? as u64;
        let own = inputs.iter().map(Slot::own);
        let padding = (0..missing).map(|number| Slot::padding(&secrets.block(b'P', &[&number.to_be_bytes()])));
        let mut slots: Vec<_> = own.chain(padding).collect();
        slots.sort_by_cached_key(|slot| *secrets.block(b'O', &[slot.as_ref()]));
        let commitment = Commitment::new(&slots, &secrets.block_seed(b"commitment"))?;
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
