//! Reading group elements and scalars (RFC 9497 §4.1, `DeserializeElement` and `DeserializeScalar`; RFC 9496 §4.3.1).
//!
//! Whatever the bytes, the answer is a value or an error.

use crate::PsiError;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use std::collections::HashSet;

/// Bytes of an encoded element.
pub(crate) const ELEMENT: usize = 32;
/// Bytes of a proof: the challenge, then the response.
pub(crate) const PROOF: usize = 64;

/// One element. The identity is refused: dalek decodes it, and an evaluation of it says nothing.
pub(crate) fn element(bytes: &[u8; ELEMENT]) -> Result<RistrettoPoint, PsiError> {
    if *bytes == [0; ELEMENT] {
        return Err(PsiError::IdentityElement);
    }
    CompressedRistretto(*bytes).decompress().ok_or(PsiError::InvalidElement)
}

/// Cuts `bytes` into exactly `expected` encodings, none of them twice.
pub(crate) fn encodings<'a>(
    what: &'static str,
    bytes: &'a [u8],
    expected: usize,
) -> Result<&'a [[u8; ELEMENT]], PsiError> {
    let (encodings, rest) = bytes.as_chunks::<ELEMENT>();
    if encodings.len() != expected || !rest.is_empty() {
        let expected = expected.saturating_mul(ELEMENT);
        return Err(PsiError::WrongLength { what, expected, found: bytes.len() });
    }
    // Encodings are canonical, so equal elements have equal bytes.
    let mut seen = HashSet::with_capacity(encodings.len());
    if encodings.iter().all(|encoding| seen.insert(encoding)) { Ok(encodings) } else { Err(PsiError::DuplicateElement) }
}

/// Decodes all of them.
pub(crate) fn elements(encodings: &[[u8; ELEMENT]]) -> Result<Vec<RistrettoPoint>, PsiError> {
    encodings.iter().map(element).collect()
}

/// Encodes twice each point. Encoding costs an inversion a point, unless a batch shares one, which dalek offers for
/// doubled points alone.
///
/// INVARIANT: none is the identity.
pub(crate) fn double_and_encode(halves: &[RistrettoPoint]) -> Vec<[u8; ELEMENT]> {
    RistrettoPoint::double_and_compress_batch(halves).iter().map(CompressedRistretto::to_bytes).collect()
}

/// A reduced scalar.
pub(crate) fn scalar(bytes: &[u8; 32]) -> Result<Scalar, PsiError> {
    Option::from(Scalar::from_canonical_bytes(*bytes)).ok_or(PsiError::InvalidScalar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::RISTRETTO_BASEPOINT_COMPRESSED;
    use proptest::prelude::*;

    /// RFC 9496, appendix A.3: encodings that must be rejected. One of each kind.
    #[test]
    fn bad_encodings_of_rfc_9496_are_refused() {
        for bad in [
            // Non-canonical field elements.
            "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            // Negative field elements.
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
            // Non-square x².
            "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
        ] {
            let bytes: [u8; 32] = hex::decode(bad).unwrap().try_into().unwrap();
            assert_eq!(element(&bytes), Err(PsiError::InvalidElement), "{bad}");
        }
        assert_eq!(element(&[0; 32]), Err(PsiError::IdentityElement));
        assert!(element(RISTRETTO_BASEPOINT_COMPRESSED.as_bytes()).is_ok());
    }

    #[test]
    fn a_scalar_at_or_above_the_order_is_refused() {
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut bytes: [u8; 32] = order.try_into().unwrap();
        assert_eq!(scalar(&bytes), Err(PsiError::InvalidScalar));
        bytes[0] -= 1;
        assert_eq!(scalar(&bytes), Ok(-Scalar::ONE));
    }

    #[test]
    fn a_short_read_a_long_read_and_a_duplicate_are_errors() {
        let twice = RISTRETTO_BASEPOINT_COMPRESSED.as_bytes().repeat(2);
        assert_eq!(encodings("a chunk", &twice, 2), Err(PsiError::DuplicateElement));
        let short = PsiError::WrongLength { what: "a chunk", expected: 64, found: 63 };
        assert_eq!(encodings("a chunk", &twice[..63], 2), Err(short));
        assert!(encodings("a chunk", &twice, 1).is_err());
        assert!(encodings("a chunk", &twice, 3).is_err());
        assert!(encodings("a chunk", &twice[..33], 1).is_err());
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes: [u8; 32]) {
            if let Ok(point) = element(&bytes) {
                prop_assert_eq!(point.compress().to_bytes(), bytes);
            }
            if let Ok(found) = scalar(&bytes) {
                prop_assert_eq!(found.to_bytes(), bytes);
            }
        }
    }
}
