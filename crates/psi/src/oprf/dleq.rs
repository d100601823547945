//! The batched proof that one key evaluated a whole batch (RFC 9497 §2.2, `GenerateProof` and `VerifyProof`).
//!
//! Names as in the RFC: `B` the public key, `C` the blinded and `D` the evaluated elements, `M` and `Z` their
//! composites under weights hashed from all of them.

use super::{KeyPair, PublicKey, Suite};
use crate::PsiError;
use crate::wire::{self, ELEMENT, PROOF};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use zeroize::Zeroizing;

/// `GenerateProof` with `ComputeCompositesFast`. `nonce` is asked once, for the composite `M`.
pub(super) fn prove(
    suite: &Suite,
    key: &KeyPair,
    blinded: &[RistrettoPoint],
    blinded_bytes: &[[u8; ELEMENT]],
    evaluated_bytes: &[[u8; ELEMENT]],
    nonce: impl FnOnce(&RistrettoPoint) -> Result<Scalar, PsiError>,
) -> Result<[u8; PROOF], PsiError> {
    let weights = weights(suite, &key.public, blinded_bytes, evaluated_bytes);
    // SECURITY: variable time on what the other side sent or is about to receive, and on hashes of it.
    let m = RistrettoPoint::vartime_multiscalar_mul(&weights, blinded);
    let z = key.secret * m;
    let nonce = Zeroizing::new(nonce(&m)?);
    let t2 = RistrettoPoint::mul_base(&nonce);
    let t3 = *nonce * m;
    let challenge = challenge(suite, &key.public, &m, &z, &t2, &t3);
    let response = *nonce - challenge * key.secret;
    let mut proof = [0; PROOF];
    for (to, from) in proof.iter_mut().zip(challenge.as_bytes().iter().chain(response.as_bytes())) {
        *to = *from;
    }
    Ok(proof)
}

/// Blinded elements, as whoever blinded them has them.
pub(super) enum Blinded {
    /// Half of each, as they were made.
    Halves(Vec<RistrettoPoint>),
    /// Each itself, as they were read.
    Elements(Vec<RistrettoPoint>),
}

impl Blinded {
    /// The composite `M`.
    ///
    /// SECURITY: variable time on what went over the line, and on hashes of it. The halves are public as well: anyone
    /// halves an element.
    fn composite(&self, weights: &[Scalar]) -> RistrettoPoint {
        match self {
            Self::Halves(halves) => {
                let half = RistrettoPoint::vartime_multiscalar_mul(weights, halves);
                half + half
            }
            Self::Elements(elements) => RistrettoPoint::vartime_multiscalar_mul(weights, elements),
        }
    }
}

/// `VerifyProof` with `ComputeComposites`. `blinded_bytes` encode what `blinded` are.
pub(super) fn verify(
    suite: &Suite,
    public: &PublicKey,
    blinded: &Blinded,
    blinded_bytes: &[[u8; ELEMENT]],
    evaluated: &[RistrettoPoint],
    evaluated_bytes: &[[u8; ELEMENT]],
    proof: &[u8; PROOF],
) -> Result<(), PsiError> {
    let [c, s] = proof.as_chunks::<32>().0 else { return Err(PsiError::ProofRejected) };
    let (c, s) = (wire::scalar(c)?, wire::scalar(s)?);
    let weights = weights(suite, public, blinded_bytes, evaluated_bytes);
    let m = blinded.composite(&weights);
    // SECURITY: variable time on what went over the line, and on hashes of it.
    let z = RistrettoPoint::vartime_multiscalar_mul(&weights, evaluated);
    let t2 = RistrettoPoint::vartime_double_scalar_mul_basepoint(&c, &public.point, &s);
    let t3 = RistrettoPoint::vartime_multiscalar_mul([&s, &c], [&m, &z]);
    if challenge(suite, public, &m, &z, &t2, &t3) == c { Ok(()) } else { Err(PsiError::ProofRejected) }
}

/// The weights `di` of `ComputeComposites` (RFC 9497 §2.2.1).
///
/// INVARIANT: at most 65,535 elements, so that each has a two-byte number of its own.
fn weights(suite: &Suite, public: &PublicKey, blinded: &[[u8; ELEMENT]], evaluated: &[[u8; ELEMENT]]) -> Vec<Scalar> {
    let seed = suite.composite_seed(&public.bytes);
    let pairs = (0..=u16::MAX).zip(blinded.iter().zip(evaluated));
    let weight = |(number, (c, d)): (u16, (&[u8; ELEMENT], &[u8; ELEMENT]))| {
        suite.hash_to_scalar(&[&[0, 64], &seed, &number.to_be_bytes(), &[0, 32], c, &[0, 32], d, b"Composite"])
    };
    pairs.map(weight).collect()
}

fn challenge(
    suite: &Suite,
    public: &PublicKey,
    m: &RistrettoPoint,
    z: &RistrettoPoint,
    t2: &RistrettoPoint,
    t3: &RistrettoPoint,
) -> Scalar {
    let [m, z, t2, t3] = [m, z, t2, t3].map(|point| point.compress().to_bytes());
    let l = [0, 32].as_slice();
    suite.hash_to_scalar(&[l, &public.bytes, l, &m, l, &z, l, &t2, l, &t3, b"Challenge"])
}
