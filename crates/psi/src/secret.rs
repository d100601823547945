use crate::PsiError;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use zeroize::{Zeroize, Zeroizing};

/// 32 secret bytes from which keys, blinds, padding or salts are derived. Wiped when dropped; has no `Debug`.
#[derive(Clone)]
pub struct SecretSeed([u8; 32]);

impl Drop for SecretSeed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl SecretSeed {
    /// Takes 32 uniformly random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Draws a seed from the operating system.
    ///
    /// # Errors
    /// [`PsiError::Randomness`].
    pub fn generate() -> Result<Self, PsiError> {
        let mut seed = Self([0; 32]);
        getrandom::fill(&mut seed.0).map_err(|_| PsiError::Randomness)?;
        Ok(seed)
    }

    /// The bytes, for a caller that seals them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// HMAC-SHA512 under a key and a domain, as a PRF to 64 bytes.
///
/// INVARIANT: within one domain, every message starts with a label byte of its own use, and only the last part of
/// a message varies in length, so that no two uses share a message.
#[derive(Clone)]
pub(crate) struct Prf(Hmac<Sha512>);

impl Prf {
    pub(crate) fn new(key: &[u8; 32], domain: &'static str) -> Self {
        let mut block = Zeroizing::new([0; 128]);
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
        let mut mac = Hmac::<Sha512>::new((&*block).into());
        mac.update(domain.as_bytes());
        mac.update(&[0]);
        Self(mac)
    }

    pub(crate) fn block(&self, label: u8, parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
        let mut mac = self.0.clone();
        mac.update(&[label]);
        for part in parts {
            mac.update(part);
        }
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    /// A seed of its own for one message.
    pub(crate) fn block_seed(&self, message: &[u8]) -> SecretSeed {
        let block = self.block(b'D', &[message]);
        let mut seed = SecretSeed([0; 32]);
        for (to, from) in seed.0.iter_mut().zip(block.iter()) {
            *to = *from;
        }
        seed
    }
}
