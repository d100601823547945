//! Hashing of the suite ristretto255-SHA512 (RFC 9497 §4.1) in one mode.

use super::{OUTPUT, Outputs};
use crate::wire::ELEMENT;
use crate::{PsiError, SecretSeed};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// Mode VOPRF (RFC 9497 §3.1), the one this crate offers.
pub(super) static VOPRF: LazyLock<Suite> = LazyLock::new(|| Suite::new(0x01));

/// The suite in one mode: the domain separation tags are all that the modes differ in here.
pub(super) struct Suite {
    hash_to_group: Vec<u8>,
    hash_to_scalar: Vec<u8>,
    derive_key_pair: Vec<u8>,
    /// The tag of the composites' seed, without the length byte that expansion appends to the others.
    seed: Vec<u8>,
    /// SHA-512 after one block of zeros, with which every expansion starts (RFC 9380 §5.3.1).
    zero_block: Sha512,
}

impl Suite {
    pub(super) fn new(mode: u8) -> Self {
        let context = [b"OPRFV1-".as_slice(), &[mode], b"-ristretto255-SHA512"].concat();
        let dst = |name: &[u8]| [name, context.as_slice()].concat();
        let dst_prime = |name: &[u8]| {
            let mut tag = dst(name);
            // At most 43 bytes: names are those below.
            tag.push(tag.len() as u8);
            tag
        };
        Self {
            hash_to_group: dst_prime(b"HashToGroup-"),
            hash_to_scalar: dst_prime(b"HashToScalar-"),
            derive_key_pair: dst_prime(b"DeriveKeyPair"),
            seed: dst(b"Seed-"),
            zero_block: Sha512::new().chain_update([0; 128]),
        }
    }

    /// `expand_message_xmd` with SHA-512 to 64 bytes (RFC 9380 §5.3.1): one output block, so no chaining.
    fn expand(&self, message: &[&[u8]], dst_prime: &[u8]) -> Zeroizing<[u8; 64]> {
        let mut first = self.zero_block.clone();
        for part in message {
            first.update(part);
        }
        first.update([0, 64, 0]);
        first.update(dst_prime);
        let first = Zeroizing::new(<[u8; 64]>::from(first.finalize()));
        let second = Sha512::new().chain_update(&first[..]).chain_update([1]).chain_update(dst_prime);
        Zeroizing::new(second.finalize().into())
    }

    /// `HashToGroup`: `hash_to_ristretto255` (RFC 9380 appendix B). Never the identity.
    pub(super) fn hash_to_group(&self, input: &[u8]) -> Result<RistrettoPoint, PsiError> {
        let point = RistrettoPoint::from_uniform_bytes(&self.expand(&[input], &self.hash_to_group));
        if point.is_identity() { Err(PsiError::DegenerateHash) } else { Ok(point) }
    }

    /// `HashToScalar` of the parts' concatenation.
    pub(super) fn hash_to_scalar(&self, message: &[&[u8]]) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.expand(message, &self.hash_to_scalar))
    }

    /// The secret half of `DeriveKeyPair` (RFC 9497 §3.2.1).
    pub(super) fn derive_secret(&self, seed: &SecretSeed, info: &[u8]) -> Result<Scalar, PsiError> {
        let length = u16::try_from(info.len()).map_err(|_| PsiError::InputLength)?.to_be_bytes();
        for counter in 0..=u8::MAX {
            let wide = self.expand(&[seed.expose(), &length, info, &[counter]], &self.derive_key_pair);
            let secret = Scalar::from_bytes_mod_order_wide(&wide);
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
