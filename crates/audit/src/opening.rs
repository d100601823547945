use crate::{Hash, NoRandomness};
use sha2::{Digest, Sha256};
use std::fmt;

/// What separates this commitment from every other use of SHA-256, and its format number.
const DOMAIN: &[u8] = b"firebreak opening format 1";

/// What opens the commitment in a leaf: 32 random bytes and what was committed to, for instance the canonical query.
///
/// It goes to the caller, in the receipt, and to the overseers' sealed store; never into the log. Without the random
/// bytes a commitment says nothing about its payload, however few payloads are possible.
///
/// PRIVACY: no `Debug` of the contents; the payload can hold a constant that the caller typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    /// What was committed to.
    pub payload: Vec<u8>,
}

impl Opening {
    /// Commits to `payload` under fresh random bytes.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new(payload: Vec<u8>) -> Result<Self, NoRandomness> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|_| NoRandomness)?;
        Ok(Self { nonce, payload })
    }

    /// SHA-256(`firebreak opening format 1` ‖ nonce ‖ payload), as it stands in the leaf.
    #[must_use]
    pub fn commitment(&self) -> Hash {
        Sha256::new().chain_update(DOMAIN).chain_update(self.nonce).chain_update(&self.payload).finalize().into()
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opening(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_commitments_to_one_payload_differ() {
        let one = Opening::new(b"count".to_vec()).unwrap();
        let two = Opening::new(b"count".to_vec()).unwrap();
        assert_ne!(one.commitment(), two.commitment());
    }

    #[test]
    fn a_commitment_is_the_documented_hash() {
        let opening = Opening { nonce: [7; 32], payload: b"payload".to_vec() };
        let mut bytes = b"firebreak opening format 1".to_vec();
        bytes.extend([7; 32]);
        bytes.extend(b"payload");
        assert_eq!(opening.commitment(), <Hash>::from(Sha256::digest(&bytes)));
    }

    #[test]
    fn debug_shows_nothing_of_the_payload() {
        let opening = Opening { nonce: [7; 32], payload: b"secret".to_vec() };
        assert_eq!(format!("{opening:?}"), "Opening(..)");
    }
}
