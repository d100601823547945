use super::JoinSide;
use crate::expand::Domain;
use crate::secret::Prf;
use crate::wire::{self, ELEMENT};
use crate::{PsiError, PublicKey, SessionId};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul as _;
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// Bytes of a side's public key with the proof that it knows the secret one: key, challenge, response.
pub const KEY_WITH_PROOF: usize = ELEMENT + 64;

static CHALLENGE: LazyLock<Domain> = LazyLock::new(|| Domain::new(b"firebreak-join-V1-knowledge-of-key"));
static RECORDS: LazyLock<Domain> = LazyLock::new(|| Domain::new(b"firebreak-join-V1-records-R255MAP_RO"));

/// What a join's points and proofs are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinSession {
    /// The session.
    pub id: SessionId,
    /// SHA-256 of all that both sides agreed on: agreement, question, keys of the connection.
    pub terms: [u8; 32],
}

impl JoinSession {
    /// The point of a record, which no other session has.
    pub(super) fn point(&self, input: &[u8]) -> Result<RistrettoPoint, PsiError> {
        RECORDS.to_group(&[self.id.as_bytes(), &self.terms, input])
    }

    /// The challenge of a proof that `side` knows the secret of `public`.
    fn challenge(&self, side: JoinSide, public: &[u8; ELEMENT], commitment: &RistrettoPoint) -> Scalar {
        let commitment = commitment.compress();
        CHALLENGE.to_scalar(&[&[side.byte()], self.id.as_bytes(), &self.terms, public, commitment.as_bytes()])
    }

    /// A side's public key and Schnorr's proof that it knows the secret one, made non-interactive (Schnorr 1991; RFC 8235
    /// §3). The nonce follows from secrets and from what is proved, so that none serves two statements.
    pub(super) fn prove(&self, side: JoinSide, secrets: &Prf, secret: &Scalar) -> [u8; KEY_WITH_PROOF] {
        let public = RistrettoPoint::mul_base(secret).compress().to_bytes();
        let wide = secrets.block(b'N', &[&[side.byte()], self.id.as_bytes(), &self.terms, &public]);
        let nonce = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide));
        let challenge = self.challenge(side, &public, &RistrettoPoint::mul_base(&nonce));
        let response = *nonce - challenge * secret;
        let mut out = [0; KEY_WITH_PROOF];
        let parts = public.iter().chain(challenge.as_bytes()).chain(response.as_bytes());
        for (to, from) in out.iter_mut().zip(parts) {
            *to = *from;
        }
        out
    }

    /// The key that a side showed, if it knows the secret one.
    pub(super) fn verify(&self, side: JoinSide, shown: &[u8]) -> Result<PublicKey, PsiError> {
        let length = PsiError::WrongLength { what: "a join's key", expected: KEY_WITH_PROOF, found: shown.len() };
        let shown: &[u8; KEY_WITH_PROOF] = shown.try_into().map_err(|_| length)?;
        let [key, challenge, response] = shown.as_chunks::<32>().0 else { return Err(length) };
        let (challenge, response) = (wire::scalar(challenge)?, wire::scalar(response)?);
        let public = PublicKey::from_bytes(key)?;
        let point = wire::element(key)?;
        // SECURITY: variable time on what went over the line.
        let base = curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
        let commitment = RistrettoPoint::vartime_multiscalar_mul([&response, &challenge], [&base, &point]);
        let due = self.challenge(side, key, &commitment);
        if due == challenge { Ok(public) } else { Err(PsiError::KnowledgeRejected) }
    }
}
