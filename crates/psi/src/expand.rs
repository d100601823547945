use crate::PsiError;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// SHA-512 after one block of zeros, with which every expansion starts (RFC 9380 §5.3.1).
static ZERO_BLOCK: LazyLock<Sha512> = LazyLock::new(|| Sha512::new().chain_update([0; 128]));

/// A domain separation tag, and hashing under it: a message goes in as the concatenation of its parts.
pub(crate) struct Domain(Vec<u8>);

impl Domain {
    /// The domain of a tag of at most 255 bytes.
    pub(crate) fn new(tag: &[u8]) -> Self {
        let mut tag = tag.to_vec();
        // Of this crate's tags none is longer than 64 bytes.
        tag.push(tag.len() as u8);
        Self(tag)
    }

    /// `expand_message_xmd` with SHA-512 to 64 bytes (RFC 9380 §5.3.1): one output block, so no chaining.
    pub(crate) fn expand(&self, message: &[&[u8]]) -> Zeroizing<[u8; 64]> {
        let mut first = ZERO_BLOCK.clone();
        for part in message {
            first.update(part);
        }
        first.update([0, 64, 0]);
        first.update(&self.0);
        let first = Zeroizing::new(<[u8; 64]>::from(first.finalize()));
        let second = Sha512::new().chain_update(&first[..]).chain_update([1]).chain_update(&self.0);
        Zeroizing::new(second.finalize().into())
    }

    /// `hash_to_ristretto255` (RFC 9380 appendix B). Never the identity.
    pub(crate) fn to_group(&self, message: &[&[u8]]) -> Result<RistrettoPoint, PsiError> {
        let point = RistrettoPoint::from_uniform_bytes(&self.expand(message));
        if point.is_identity() { Err(PsiError::DegenerateHash) } else { Ok(point) }
    }

    /// A scalar (RFC 9497 §4.1, `HashToScalar`).
    pub(crate) fn to_scalar(&self, message: &[&[u8]]) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.expand(message))
    }
}
