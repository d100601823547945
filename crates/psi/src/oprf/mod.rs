//! The oblivious PRF of RFC 9497: suite ristretto255-SHA512 (§4.1), modes OPRF (§3.3.1) and VOPRF (§3.3.2).
//!
//! A batch is blinded by [`BlindedBatch::new`] (`Blind`), evaluated, in mode VOPRF with one proof, by
//! [`KeyPair::evaluate`] (`BlindEvaluate`), checked and unblinded by [`BlindedBatch::finalize`] (`Finalize`); the key's owner computes the
//! same outputs directly by [`KeyPair::outputs`] (`Evaluate`).
//!
//! Scalars that are secret (the key, the blinds, the nonces of proofs) meet constant-time code only.
//!
//! # Halves
//! Encoding costs an inversion a point, unless a batch shares one, which dalek offers for doubled points alone.
//! So every product that is to be encoded is made with half the scalar; the encoding doubles it back.

mod dleq;
mod suite;
#[cfg(test)]
mod tests;

use crate::secret::Prf;
use crate::wire::{self, ELEMENT, PROOF};
use crate::{MAX_CHUNK, PsiError, SecretSeed};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use dleq::Blinded;
pub use suite::Mode;
use suite::Suite;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a PRF output.
pub const OUTPUT: usize = 64;

/// PRF outputs, in the order of the inputs. Wiped when dropped.
pub type Outputs = Zeroizing<Vec<[u8; OUTPUT]>>;

/// The public half of a key: a group element other than the identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    point: RistrettoPoint,
    bytes: [u8; ELEMENT],
}

impl PublicKey {
    /// Reads 32 bytes.
    ///
    /// # Errors
    /// [`PsiError::WrongLength`], [`PsiError::InvalidElement`], [`PsiError::IdentityElement`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PsiError> {
        let length = PsiError::WrongLength { what: "a public key", expected: ELEMENT, found: bytes.len() };
        let bytes: [u8; ELEMENT] = bytes.try_into().map_err(|_| length)?;
        Ok(Self { point: wire::element(&bytes)?, bytes })
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ELEMENT] {
        &self.bytes
    }
}

/// A key. Wiped when dropped; has no `Debug`.
pub struct KeyPair {
    mode: Mode,
    secret: Scalar,
    public: PublicKey,
}

impl Drop for KeyPair {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl KeyPair {
    /// `DeriveKeyPair` (RFC 9497 §3.2.1).
    ///
    /// # Errors
    /// [`PsiError::InputLength`] for an `info` of more than 65,535 bytes; [`PsiError::DegenerateHash`], which does
    /// not happen.
    pub fn derive(mode: Mode, seed: &SecretSeed, info: &[u8]) -> Result<Self, PsiError> {
        let secret = mode.suite().derive_secret(seed, info)?;
        let point = RistrettoPoint::mul_base(&secret);
        Ok(Self { mode, secret, public: PublicKey { point, bytes: point.compress().to_bytes() } })
    }

    /// The mode for which it was derived.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The public half.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// `BlindEvaluate` on `count` blinded elements of 32 bytes: as many evaluated elements, then, in mode VOPRF, the
    /// proof.
    ///
    /// # Errors
    /// [`PsiError::BatchSize`], [`PsiError::WrongLength`], [`PsiError::InvalidElement`],
    /// [`PsiError::IdentityElement`], [`PsiError::DuplicateElement`], [`PsiError::Randomness`].
    pub fn evaluate(&self, blinded: &[u8], count: usize) -> Result<Vec<u8>, PsiError> {
        self.evaluate_read(&ReadBatch::new(blinded.to_vec(), count)?)
    }

    /// `BlindEvaluate` on a batch that was read before.
    ///
    /// # Errors
    /// [`PsiError::Randomness`].
    pub fn evaluate_read(&self, batch: &ReadBatch) -> Result<Vec<u8>, PsiError> {
        self.evaluate_with(batch, |composite| self.nonce(composite))
    }

    fn evaluate_with(
        &self,
        batch: &ReadBatch,
        nonce: impl FnOnce(&RistrettoPoint) -> Result<Scalar, PsiError>,
    ) -> Result<Vec<u8>, PsiError> {
        let (encodings, _) = batch.blinded.as_chunks::<ELEMENT>();
        let evaluated = evaluate_elements(&self.secret, &batch.points);
        let mut out = evaluated.concat();
        if self.mode == Mode::Voprf {
            out.extend(dleq::prove(self.mode.suite(), self, &batch.points, encodings, &evaluated, nonce)?);
        }
        Ok(out)
    }

    /// A nonce for a proof over `composite`: fresh randomness, mixed under the key with what is proved.
    ///
    /// SECURITY: a nonce used for two statements gives the key away. With the statement mixed in, not even a
    /// broken source of randomness repeats one.
    fn nonce(&self, composite: &RistrettoPoint) -> Result<Scalar, PsiError> {
        let mut fresh = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *fresh).map_err(|_| PsiError::Randomness)?;
        let prf = Prf::new(self.secret.as_bytes(), "firebreak proof nonce");
        let wide = prf.block(b'N', &[&*fresh, composite.compress().as_bytes()]);
        Ok(Scalar::from_bytes_mod_order_wide(&wide))
    }

    /// `Evaluate` (RFC 9497 §3.3.1): the outputs of the key's owner, without another party.
    ///
    /// # Errors
    /// [`PsiError::InputLength`]; [`PsiError::DegenerateHash`], which does not happen.
    pub fn outputs<I: AsRef<[u8]>>(&self, inputs: &[I]) -> Result<Outputs, PsiError> {
        let (half, suite) = (Zeroizing::new(self.secret.div_by_2()), self.mode.suite());
        // Room from the start: a vector that grows leaves copies behind that nobody wipes.
        let mut products = Zeroizing::new(Vec::with_capacity(inputs.len()));
        for input in inputs {
            products.push(*half * suite.hash_to_group(input.as_ref())?);
        }
        suite.finalize_all(inputs, &wire::double_and_encode(&products))
    }
}

/// Blinded elements as the other side sent them, each read and none twice: what hostile bytes can do, they have done.
pub struct ReadBatch {
    blinded: Vec<u8>,
    points: Vec<RistrettoPoint>,
}

impl ReadBatch {
    /// Reads `count` elements of 32 bytes.
    ///
    /// # Errors
    /// [`PsiError::BatchSize`], [`PsiError::WrongLength`], [`PsiError::InvalidElement`],
    /// [`PsiError::IdentityElement`], [`PsiError::DuplicateElement`].
    pub fn new(blinded: Vec<u8>, count: usize) -> Result<Self, PsiError> {
        check_batch(count)?;
        let points = wire::elements(wire::encodings("a chunk of blinded elements", &blinded, count)?)?;
        Ok(Self { blinded, points })
    }
}

/// A nonzero secret scalar that hides one input. Wiped when dropped; has no `Debug`.
pub struct Blind(Scalar);

impl Drop for Blind {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Blind {
    /// Reduces 64 uniformly random bytes.
    ///
    /// # Errors
    /// [`PsiError::InvalidScalar`] if they reduce to zero, which does not happen by chance.
    pub fn from_uniform_bytes(bytes: &[u8; 64]) -> Result<Self, PsiError> {
        Self::of(Scalar::from_bytes_mod_order_wide(bytes))
    }

    /// Reads the canonical encoding of a nonzero scalar.
    ///
    /// # Errors
    /// [`PsiError::InvalidScalar`].
    pub fn from_canonical_bytes(bytes: &[u8; 32]) -> Result<Self, PsiError> {
        Self::of(wire::scalar(bytes)?)
    }

    fn of(scalar: Scalar) -> Result<Self, PsiError> {
        if scalar == Scalar::ZERO { Err(PsiError::InvalidScalar) } else { Ok(Self(scalar)) }
    }

    /// The canonical encoding. It unhides the input to whoever has the blinded element and guesses.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

/// A batch of blinded elements and what is needed to unblind it. Wiped when dropped; has no `Debug`.
pub struct BlindedBatch {
    mode: Mode,
    blinds: Vec<Blind>,
    blinded: Blinded,
    encodings: Vec<[u8; ELEMENT]>,
}

impl BlindedBatch {
    /// `Blind` on each input, with the blind of the same place. A blind serves one input once.
    ///
    /// # Errors
    /// [`PsiError::BatchSize`] also where the two differ in number; [`PsiError::InputLength`];
    /// [`PsiError::DegenerateHash`], which does not happen.
    pub fn new<I: AsRef<[u8]>>(mode: Mode, inputs: &[I], blinds: Vec<Blind>) -> Result<Self, PsiError> {
        check_blinds(inputs.len(), &blinds)?;
        let mut halves = Vec::with_capacity(inputs.len());
        for (input, blind) in inputs.iter().zip(&blinds) {
            let point = Zeroizing::new(mode.suite().hash_to_group(input.as_ref())?);
            let half = Zeroizing::new(blind.0.div_by_2());
            halves.push(*half * *point);
        }
        let encodings = wire::double_and_encode(&halves);
        Ok(Self { mode, blinds, blinded: Blinded::Halves(halves), encodings })
    }

    /// The batch that was blinded before under these blinds, from the bytes that it was. They are believed: bytes of
    /// another batch unblind to nothing that anybody lists.
    ///
    /// # Errors
    /// [`PsiError::BatchSize`]; [`PsiError::WrongLength`], [`PsiError::InvalidElement`], [`PsiError::IdentityElement`],
    /// [`PsiError::DuplicateElement`] for bytes that are none of a batch of as many.
    pub fn kept(mode: Mode, blinds: Vec<Blind>, blinded: &[u8]) -> Result<Self, PsiError> {
        check_blinds(blinds.len(), &blinds)?;
        let encodings = wire::encodings("a chunk that was blinded", blinded, blinds.len())?.to_vec();
        Ok(Self { mode, blinds, blinded: Blinded::Elements(wire::elements(&encodings)?), encodings })
    }

    /// The blinded elements, 32 bytes each.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.encodings.as_flattened()
    }

    /// `Finalize` on a whole batch: verifies the proof, which mode VOPRF has, then unblinds. `inputs` are those that were
    /// blinded.
    ///
    /// # Errors
    /// [`PsiError::WrongLength`], [`PsiError::InvalidElement`], [`PsiError::IdentityElement`],
    /// [`PsiError::DuplicateElement`], [`PsiError::InvalidScalar`], [`PsiError::ProofRejected`];
    /// [`PsiError::BatchSize`] if `inputs` are not as many as were blinded.
    pub fn finalize<I: AsRef<[u8]>>(
        &self,
        inputs: &[I],
        public: &PublicKey,
        evaluated: &[u8],
    ) -> Result<Outputs, PsiError> {
        let count = self.encodings.len();
        let due = count.saturating_mul(ELEMENT);
        let what = "an evaluated chunk";
        let length = PsiError::WrongLength {
            what,
            expected: due.saturating_add(self.mode.proof_bytes()),
            found: evaluated.len(),
        };
        let (elements, proof) = evaluated.split_at_checked(due).ok_or(length)?;
        if proof.len() != self.mode.proof_bytes() {
            return Err(length);
        }
        let encodings = wire::encodings(what, elements, count)?;
        let points = wire::elements(encodings)?;
        if self.mode == Mode::Voprf {
            let proof: &[u8; PROOF] = proof.try_into().map_err(|_| length)?;
            let suite = self.mode.suite();
            dleq::verify(suite, public, &self.blinded, &self.encodings, &points, encodings, proof)?;
        }
        self.unblind(inputs, &points)
    }

    fn unblind<I: AsRef<[u8]>>(&self, inputs: &[I], evaluated: &[RistrettoPoint]) -> Result<Outputs, PsiError> {
        if inputs.len() != self.blinds.len() {
            return Err(PsiError::BatchSize);
        }
        // INVARIANT: no blind is zero, as the batch inversion demands.
        let mut inverses = Zeroizing::new(self.blinds.iter().map(|blind| blind.0).collect::<Vec<_>>());
        Scalar::invert_batch_alloc(&mut inverses);
        let products = evaluated.iter().zip(inverses.iter()).map(|(point, inverse)| {
            let half = Zeroizing::new(inverse.div_by_2());
            *half * point
        });
        let products = Zeroizing::new(products.collect::<Vec<_>>());
        self.mode.suite().finalize_all(inputs, &wire::double_and_encode(&products))
    }
}

fn check_blinds(count: usize, blinds: &[Blind]) -> Result<(), PsiError> {
    check_batch(count)?;
    if blinds.len() == count { Ok(()) } else { Err(PsiError::BatchSize) }
}

fn check_batch(count: usize) -> Result<(), PsiError> {
    if (1..=MAX_CHUNK as usize).contains(&count) { Ok(()) } else { Err(PsiError::BatchSize) }
}

fn evaluate_elements(secret: &Scalar, points: &[RistrettoPoint]) -> Vec<[u8; ELEMENT]> {
    let half = Zeroizing::new(secret.div_by_2());
    let products: Vec<_> = points.iter().map(|point| *half * point).collect();
    wire::double_and_encode(&products)
}
