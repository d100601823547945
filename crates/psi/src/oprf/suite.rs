//! Hashing of the suite ristretto255-SHA512 (RFC 9497 §4.1) in one mode.

use super::{OUTPUT, Outputs};
use crate::expand::Domain;
use crate::wire::{ELEMENT, PROOF};
use crate::{PsiError, SecretSeed};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha512};
use std::sync::LazyLock;
use zeroize::Zeroizing;

static OPRF: LazyLock<Suite> = LazyLock::new(|| Suite::new(0x00));
static VOPRF: LazyLock<Suite> = LazyLock::new(|| Suite::new(0x01));

/// A mode of RFC 9497 (§3.1). Keys, blinded elements and outputs of one have nothing to do with those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Without proofs: an evaluated chunk is what its sender says it is.
    Oprf,
    /// With one proof for each chunk that all of it was raised to the session's key.
    Voprf,
}

impl Mode {
    pub(super) fn suite(self) -> &'static Suite {
        match self {
            Self::Oprf => &OPRF,
            Self::Voprf => &VOPRF,
        }
    }

    /// Bytes of the proof that follows an evaluated chunk.
    pub(crate) const fn proof_bytes(self) -> usize {
        match self {
            Self::Oprf => 0,
            Self::Voprf => PROOF,
        }
    }
}

/// The suite in one mode: the domain separation tags are all that the modes differ in here.
pub(super) struct Suite {
    hash_to_group: Domain,
    hash_to_scalar: Domain,
    derive_key_pair: Domain,
    /// The tag of the composites' seed, without the length byte that expansion appends to the others.
    seed: Vec<u8>,
}

impl Suite {
    fn new(mode: u8) -> Self {
        let context = [b"OPRFV1-".as_slice(), &[mode], b"-ristretto255-SHA512"].concat();
        let tag = |name: &[u8]| [name, context.as_slice()].concat();
        Self {
            hash_to_group: Domain::new(&tag(b"HashToGroup-")),
            hash_to_scalar: Domain::new(&tag(b"HashToScalar-")),
            derive_key_pair: Domain::new(&tag(b"DeriveKeyPair")),
            seed: tag(b"Seed-"),
        }
    }

    /// `HashToGroup`. Never the identity.
    pub(super) fn hash_to_group(&self, input: &[u8]) -> Result<RistrettoPoint, PsiError> {
        self.hash_to_group.to_group(&[input])
    }

    /// `HashToScalar` of the parts' concatenation.
    pub(super) fn hash_to_scalar(&self, message: &[&[u8]]) -> Scalar {
        self.hash_to_scalar.to_scalar(message)
    }

    /// The secret half of `DeriveKeyPair` (RFC 9497 §3.2.1).
    pub(super) fn derive_secret(&self, seed: &SecretSeed, info: &[u8]) -> Result<Scalar, PsiError> {
        let length = u16::try_from(info.len()).map_err(|_| PsiError::InputLength)?.to_be_bytes();
        for counter in 0..=u8::MAX {
            let secret = self.derive_key_pair.to_scalar(&[seed.expose(), &length, info, &[counter]]);
            if secret != Scalar::ZERO {
                return Ok(secret);
            }
        }
        Err(PsiError::DegenerateHash)
    }

    /// The seed of the composites' weights (RFC 9497 §2.2.1).
    pub(super) fn composite_seed(&self, public: &[u8; ELEMENT]) -> [u8; 64] {
        let hash = Sha512::new().chain_update([0, 32]).chain_update(public);
        hash.chain_update([0, self.seed.len() as u8]).chain_update(&self.seed).finalize().into()
    }

    /// The hash that ends `Finalize` and `Evaluate` (RFC 9497 §3.3.1), for each input and its unblinded element.
    pub(super) fn finalize_all<I: AsRef<[u8]>>(
        &self,
        inputs: &[I],
        unblinded: &[[u8; ELEMENT]],
    ) -> Result<Outputs, PsiError> {
        let mut outputs = Zeroizing::new(Vec::with_capacity(inputs.len()));
        for (input, element) in inputs.iter().zip(unblinded) {
            let input = input.as_ref();
            let length = u16::try_from(input.len()).map_err(|_| PsiError::InputLength)?.to_be_bytes();
            let hash = Sha512::new().chain_update(length).chain_update(input);
            let hash = hash.chain_update([0, 32]).chain_update(element).chain_update(b"Finalize");
            outputs.push(<[u8; OUTPUT]>::from(hash.finalize()));
        }
        Ok(outputs)
    }
}
