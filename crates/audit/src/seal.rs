//! What overseers read: openings, and the requests that they are about, sealed to each overseer's key.

use crate::{Hash, Leaf, NoRandomness, Opening, SignedLeaf};
use chacha20poly1305::aead::{Aead as _, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use firebreak_domain::SealKey;
use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// DHKEM(X25519, HKDF-SHA256) with HKDF-SHA256 and ChaCha20-Poly1305 (RFC 9180, section 7).
type Kem = hpke::kem::X25519HkdfSha256;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::ChaCha20Poly1305;

const FORMAT: u8 = 1;
/// HPKE's `info`: what keeps a key wrapped here from being taken for one wrapped elsewhere.
const INFO: &[u8] = b"firebreak sealed opening format 1";
const KEY: usize = 32;
const ENCAPSULATED: usize = 32;
/// A content key and its tag.
const WRAPPED: usize = KEY + 16;
const NONCE: usize = 12;
/// The longest that one content key is used.
const LONGEST: Duration = Duration::from_secs(3600);
/// The largest sealed opening that is made or taken. A question has at most 16 KiB of SQL, and its canonical form a few
/// times that.
const LARGEST: usize = 256 * 1024;
/// Before the hash of a request in a payload, which ends with the line.
const REQUEST: &str = "request sha256 ";
const SECRET: &str = "x25519-secret:";

/// An opening that cannot be sealed or read. Says nothing of what is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Nobody to seal to.
    #[error("openings are sealed to the overseers, and no policy names any")]
    NoReaders,
    /// A public key that is none.
    #[error("{0} is not an X25519 public key to which anything can be sealed")]
    Key(SealKey),
    /// A secret key that is none.
    #[error("not an overseer's secret key for openings ({SECRET} and 64 hexadecimal digits)")]
    Secret,
    /// Not what the leaf's signer sealed.
    #[error("this is not what the leaf's signer sealed: whoever kept it has changed or exchanged it")]
    Changed,
    /// Not for this key, or the signer sealed what nobody can open.
    #[error("it does not open: it is not sealed to this key, or its signer sealed what nobody can open")]
    Open,
    /// It opens, and is not what the leaf commits to.
    #[error("what was sealed is not what the leaf commits to: its signer sealed something else")]
    Mismatch,
    /// Bytes that are none.
    #[error("these bytes are no sealed opening")]
    Malformed,
    /// Of a later format.
    #[error("a sealed opening has format {0}, this program reads up to {FORMAT}: upgrade it")]
    Format(u8),
    /// Larger than any that is made here.
    #[error("a sealed opening of more than {LARGEST} bytes")]
    Large,
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// The secret half of a [`SealKey`]. It has no `Debug`.
pub struct OpeningKey(<Kem as hpke::Kem>::PrivateKey);

impl OpeningKey {
    /// Draws a key from the system's randomness.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut seed = Zeroizing::new([0; KEY]);
        getrandom::fill(seed.as_mut()).map_err(|_| NoRandomness)?;
        Ok(Self(Kem::derive_keypair(seed.as_ref()).0))
    }

    /// Reads what [`OpeningKey::secret`] gave.
    ///
    /// # Errors
    /// [`SealError::Secret`].
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; KEY]);
        let digits = text.trim().strip_prefix(SECRET).ok_or(SealError::Secret)?;
        hex::decode_to_slice(digits, bytes.as_mut()).map_err(|_| SealError::Secret)?;
        Deserializable::from_bytes(bytes.as_ref()).map(Self).map_err(|_| SealError::Secret)
    }

    /// The key as text, for its owner's own file.
    #[must_use]
    pub fn secret(&self) -> Zeroizing<String> {
        let bytes: Zeroizing<[u8; KEY]> = Zeroizing::new(self.0.to_bytes().into());
        Zeroizing::new(format!("{SECRET}{}", *Zeroizing::new(hex::encode(bytes.as_ref()))))
    }

    /// The public half, for `overseers.toml`.
    #[must_use]
    pub fn seal_key(&self) -> SealKey {
        SealKey::from_bytes(Kem::sk_to_pk(&self.0).to_bytes().into())
    }
}

/// An opening and its request, sealed to the overseers of one policy: only they read it, each by themselves.
///
/// A format byte; the number of readers; for each, a content key wrapped by HPKE (RFC 9180, base mode): 32 bytes
/// encapsulated key, 48 bytes ciphertext; a nonce of 12 bytes; then ChaCha20-Poly1305 (RFC 8439) under the content key,
/// with the leaf's commitment as associated data, of: the opening's 32 random bytes, the length of its payload in 4
/// bytes (big-endian), the payload, and the request. The leaf holds SHA-256 of all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedOpening(Vec<u8>);

/// A sealed opening taken apart.
struct Parts<'a> {
    wrapped: &'a [u8],
    nonce: &'a [u8; NONCE],
    ciphertext: &'a [u8],
}

impl fmt::Debug for SealedOpening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedOpening(..)")
    }
}

/// What an overseer reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// What opens the leaf's commitment.
    pub opening: Opening,
    /// The request that the act was about, whose hash is in the payload; empty where the payload holds the request
    /// itself, or there was none.
    pub request: Vec<u8>,
}

/// The first line of a payload that commits to a request.
#[must_use]
pub fn request_line(request: &[u8]) -> String {
    format!("{REQUEST}{}\n", hex::encode(Sha256::digest(request)))
}

impl SealedOpening {
    /// Takes bytes that somebody else made. What is in them shows when they are opened.
    ///
    /// # Errors
    /// [`SealError::Large`], [`SealError::Format`], or [`SealError::Malformed`] for a shape that none has.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SealError> {
        if bytes.len() > LARGEST {
            return Err(SealError::Large);
        }
        let sealed = Self(bytes);
        sealed.parts().map(|_| ())?;
        Ok(sealed)
    }

    /// SHA-256, as it stands in the leaf.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Sha256::digest(&self.0).into()
    }

    fn parts(&self) -> Result<Parts<'_>, SealError> {
        let (format, rest) = self.0.split_first().ok_or(SealError::Malformed)?;
        if *format != FORMAT {
            return Err(SealError::Format(*format));
        }
        let (readers, rest) = rest.split_first().filter(|(n, _)| **n > 0).ok_or(SealError::Malformed)?;
        let (wrapped, rest) =
            rest.split_at_checked(usize::from(*readers) * (ENCAPSULATED + WRAPPED)).ok_or(SealError::Malformed)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Malformed)?;
        Ok(Parts { wrapped, nonce, ciphertext: rest })
    }

    /// As it is stored and sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Opens it as what the signer of `leaf` sealed.
    ///
    /// # Errors
    /// [`SealError`]. [`SealError::Changed`] is the fault of whoever kept it, every other of the leaf's signer,
    /// unless the key is not one to which it was sealed.
    pub fn open(&self, key: &OpeningKey, leaf: &Leaf) -> Result<Opened, SealError> {
        // SECURITY: first of all, so that nobody who keeps it can have its signer blamed.
        if self.hash() != leaf.sealed {
            return Err(SealError::Changed);
        }
        self.open_committed(key, &leaf.commitment)
    }

    fn open_committed(&self, key: &OpeningKey, commitment: &Hash) -> Result<Opened, SealError> {
        let Parts { wrapped, nonce, ciphertext } = self.parts()?;
        let content = wrapped.chunks_exact(ENCAPSULATED + WRAPPED).find_map(|wrapped| unwrap(key, wrapped));
        let cipher = ChaCha20Poly1305::new_from_slice(content.ok_or(SealError::Open)?.as_slice());
        let payload = Payload { msg: ciphertext, aad: commitment };
        let plain = cipher.map_err(|_| SealError::Open)?.decrypt(&Nonce::from(*nonce), payload);
        let opened = Opened::decode(&plain.map_err(|_| SealError::Open)?).ok_or(SealError::Mismatch)?;
        let holds = opened.opening.commitment() == *commitment && opened.is_of_its_request();
        if holds { Ok(opened) } else { Err(SealError::Mismatch) }
    }
}

fn unwrap(key: &OpeningKey, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (encapsulated, wrapped) = wrapped.split_at_checked(ENCAPSULATED)?;
    let encapsulated = Deserializable::from_bytes(encapsulated).ok()?;
    let opened =
        hpke::single_shot_open::<Aead, Kdf, Kem>(&OpModeR::Base, &key.0, &encapsulated, INFO, wrapped, b"").ok()?;
    Some(Zeroizing::new(opened))
}

impl Opened {
    fn encode(opening: &Opening, request: &[u8]) -> Option<Vec<u8>> {
        let length = u32::try_from(opening.payload.len()).ok()?;
        Some([opening.nonce.as_slice(), &length.to_be_bytes(), &opening.payload, request].concat())
    }

    /// SECURITY: the commitment covers the payload. A request beside it counts only if the payload names it.
    fn is_of_its_request(&self) -> bool {
        if self.request.is_empty() {
            !self.opening.payload.starts_with(REQUEST.as_bytes())
        } else {
            self.opening.payload.starts_with(request_line(&self.request).as_bytes())
        }
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let (nonce, rest) = plain.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (payload, request) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let opening = Opening { nonce: *nonce, payload: payload.to_vec() };
        Some(Self { opening, request: request.to_vec() })
    }
}

/// A leaf for the log and its sealed opening for the store beside it.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// The leaf.
    pub leaf: SignedLeaf,
    /// What the overseers read.
    pub sealed: SealedOpening,
}

/// Seals a program's openings to the overseers of the policy in force.
///
/// SECURITY: a content key is in memory alone and is used for an hour at most; each nonce under it is used once,
/// because it counts.
#[derive(Default)]
pub struct Sealer {
    current: Mutex<Option<Epoch>>,
}

/// A content key, wrapped once for all that is sealed under it.
struct Epoch {
    readers: Vec<SealKey>,
    /// Format, number of readers, and the content key wrapped for each.
    head: Vec<u8>,
    cipher: ChaCha20Poly1305,
    used: u64,
    since: Instant,
}

impl Epoch {
    fn begin(readers: &[SealKey]) -> Result<Self, SealError> {
        let number = u8::try_from(readers.len()).ok().filter(|n| *n > 0).ok_or(SealError::NoReaders)?;
        let mut content = Zeroizing::new([0; KEY]);
        getrandom::fill(content.as_mut()).map_err(|_| NoRandomness)?;
        let mut head = vec![FORMAT, number];
        for reader in readers {
            let unusable = |_| SealError::Key(*reader);
            let public = Deserializable::from_bytes(reader.as_bytes()).map_err(unusable)?;
            let (encapsulated, wrapped) =
                hpke::single_shot_seal::<Aead, Kdf, Kem>(&OpModeS::Base, &public, INFO, content.as_ref(), b"")
                    .map_err(unusable)?;
            head.extend_from_slice(&encapsulated.to_bytes());
            head.extend_from_slice(&wrapped);
        }
        let cipher = ChaCha20Poly1305::new_from_slice(content.as_ref()).map_err(|_| NoRandomness)?;
        Ok(Self { readers: readers.to_vec(), head, cipher, used: 0, since: Instant::now() })
    }

    fn seal(&mut self, opening: &Opening, request: &[u8]) -> Result<SealedOpening, SealError> {
        let plain = Zeroizing::new(Opened::encode(opening, request).ok_or(SealError::Large)?);
        let mut nonce = [0; NONCE];
        if let Some(counter) = nonce.last_chunk_mut() {
            *counter = self.used.to_be_bytes();
        }
        self.used += 1;
        let aad = opening.commitment();
        let payload = Payload { msg: &plain, aad: &aad };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| SealError::Large)?;
        SealedOpening::from_bytes([self.head.as_slice(), &nonce, &sealed].concat())
    }
}

impl Sealer {
    /// Seals to `readers` from now on.
    ///
    /// # Errors
    /// [`SealError::NoReaders`], or [`SealError::Key`] for one to which nothing can be sealed. Those before stay.
    pub fn seal_to(&self, readers: &[SealKey]) -> Result<(), SealError> {
        let epoch = Epoch::begin(readers)?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(epoch);
        Ok(())
    }

    /// Seals an opening and the request that its payload names.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, opening: &Opening, request: &[u8]) -> Result<SealedOpening, SealError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = current.as_mut().ok_or(SealError::NoReaders)?;
        if epoch.since.elapsed() > LONGEST {
            *epoch = Epoch::begin(&epoch.readers)?;
        }
        epoch.seal(opening, request)
    }
}

#[cfg(test)]
mod tests;
