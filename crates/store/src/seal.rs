//! Sealing values about a person before they touch the disk.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use zeroize::Zeroizing;

/// XChaCha20-Poly1305 under one key, each value bound to the place where it is kept.
///
/// A sealed value is a format byte, a random nonce of 24 bytes, and the ciphertext with its tag of 16: 41 bytes more
/// than the value.
pub struct Sealer(XChaCha20Poly1305);

/// A value that could not be sealed or opened. Says nothing of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Damaged, moved from its place, or sealed under another key.
    #[error("a sealed value does not open: it was damaged, moved from its place, or sealed under another key")]
    Open,
    /// Of a later format.
    #[error("a sealed value has format {0}, this program reads up to {FORMAT}: upgrade it")]
    Format(u8),
    /// No randomness, or a value beyond the cipher's size.
    #[error("a value could not be sealed: no random bytes, or it is too large")]
    Seal,
}

const FORMAT: u8 = 1;
const NONCE: usize = 24;
/// How much longer a sealed value is: format, nonce and tag.
pub(crate) const OVERHEAD: usize = 1 + NONCE + 16;

impl Sealer {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    /// Seals `value` for one row of one table. It opens nowhere else.
    ///
    /// # Errors
    /// [`SealError::Seal`] if the system gives no random bytes.
    pub fn seal(&self, table: &str, row: &[u8], value: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Seal)?;
        let aad = place(table, row);
        let sealed =
            self.0.encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &aad }).map_err(|_| SealError::Seal)?;
        let mut out = Vec::with_capacity(1 + NONCE + sealed.len());
        out.push(FORMAT);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens a value sealed for this row of this table.
    ///
    /// # Errors
    /// [`SealError`]: damaged, from another place, under another key, or of a later format.
    pub fn open(&self, table: &str, row: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (format, rest) = sealed.split_first().ok_or(SealError::Open)?;
        if *format != FORMAT {
            return Err(SealError::Format(*format));
        }
        let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Open)?;
        let aad = place(table, row);
        self.0
            .decrypt(&XNonce::from(*nonce), Payload { msg: rest, aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| SealError::Open)
    }
}

/// The associated data: the format, the table's name with its length, the row's key.
// SECURITY: the length keeps a longer table name from being taken for a shorter one with another row.
fn place(table: &str, row: &[u8]) -> Vec<u8> {
    let mut aad = vec![FORMAT];
    aad.extend_from_slice(&(table.len() as u64).to_be_bytes());
    aad.extend_from_slice(table.as_bytes());
    aad.extend_from_slice(row);
    aad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StateKey;

    fn sealer(purpose: &'static str) -> Sealer {
        StateKey::from_bytes([7; 32]).sealer(purpose)
    }

    #[test]
    fn a_value_opens_in_its_own_place_alone() {
        let sealed = sealer("register").seal("matched", b"row", b"value").unwrap();
        assert_eq!(sealer("register").open("matched", b"row", &sealed).unwrap().as_slice(), b"value");
        assert_eq!(sealer("register").open("matched", b"row2", &sealed), Err(SealError::Open));
        assert_eq!(sealer("register").open("matchedr", b"ow", &sealed), Err(SealError::Open));
        assert_eq!(sealer("session").open("matched", b"row", &sealed), Err(SealError::Open));
        let other = StateKey::from_bytes([8; 32]).sealer("register");
        assert_eq!(other.open("matched", b"row", &sealed), Err(SealError::Open));
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let sealed = sealer("register").seal("matched", b"row", b"value").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer("register").open("matched", b"row", &changed).is_err(), "byte {at}");
            assert!(sealer("register").open("matched", b"row", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let one = sealer("register").seal("matched", b"row", b"value").unwrap();
        let two = sealer("register").seal("matched", b"row", b"value").unwrap();
        assert_ne!(one, two);
        assert_eq!(one.len(), 5 + OVERHEAD);
        assert_eq!(OVERHEAD, 41);
    }
}
