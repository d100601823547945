//! Rows that go to the receiver beside the tags, each opened by whoever has the PRF output of its identifier.
//!
//! An entry of the sender's list is a tag and, behind it, a sealed row of one length. A tag is the first bytes of a PRF
//! output; the key that seals the row is made of its last 32, which nobody is sent. Of a PRF all bytes look random and
//! independent (RFC 9497 §7.1), so a tag says nothing of the key, and a receiver has the keys of its own elements alone.
//!
//! The proof that comes with a chunk says nothing of rows, as it says nothing of the list.

use crate::oprf::OUTPUT;
use crate::params::ROWS_OF_SEVERAL;
use crate::secret::Prf;
use crate::tag::Tag;
use crate::{Evaluator, MatchParams, NormalisedInput, PsiError, Tags};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use zeroize::{Zeroize, Zeroizing};

/// How much longer a sealed row is than the row: the cipher's tag.
pub const SEAL_BYTES: usize = 16;

/// The bytes of a key as they are kept until the comparison.
pub const PAYLOAD_KEY_BYTES: usize = 32;

/// The longest row.
pub(crate) const LONGEST_ROW: u32 = 1024;

/// The key of one row. Wiped when dropped; has no `Debug`.
pub struct PayloadKey([u8; PAYLOAD_KEY_BYTES]);

impl Drop for PayloadKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PayloadKey {
    /// HMAC-SHA512, cut to 32 bytes, under the last 32 bytes of a PRF output, over a label of this use.
    ///
    /// SECURITY: what the session is bound to is in the PRF's own key ([`KeyContext`](crate::KeyContext)): another
    /// agreement, receiver, field, rule or session gives other outputs, and so other keys.
    pub(crate) fn of(output: &[u8; OUTPUT]) -> Self {
        let mut end = Zeroizing::new([0; PAYLOAD_KEY_BYTES]);
        for (to, from) in end.iter_mut().zip(output.iter().skip(OUTPUT - PAYLOAD_KEY_BYTES)) {
            *to = *from;
        }
        let block = Prf::new(&end, "firebreak match payload").block(b'K', &[]);
        let mut key = Self([0; PAYLOAD_KEY_BYTES]);
        for (to, from) in key.0.iter_mut().zip(block.iter()) {
            *to = *from;
        }
        key
    }

    /// Takes the bytes of a key that was kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; PAYLOAD_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a caller that keeps them sealed until it has the list.
    #[must_use]
    pub const fn expose(&self) -> &[u8; PAYLOAD_KEY_BYTES] {
        &self.0
    }

    /// Seals a row for the entry of that tag (ChaCha20-Poly1305, RFC 8439): [`SEAL_BYTES`] more than the row.
    ///
    /// SECURITY: the nonce is fixed. A key is one identifier's in one session, in which a set is formed once: it never
    /// meets two rows.
    ///
    /// # Errors
    /// [`PsiError::Parameters`] for a row that no cipher takes.
    pub fn seal(&self, tag: &[u8], row: &[u8]) -> Result<Vec<u8>, PsiError> {
        let cipher = ChaCha20Poly1305::new((&self.0).into());
        let sealed = cipher.encrypt(&Nonce::default(), Payload { msg: row, aad: tag });
        sealed.map_err(|_| PsiError::Parameters("a row of a payload is too long"))
    }

    /// Opens the row of the entry of that tag; `None` for bytes that were not sealed for it under this key.
    #[must_use]
    pub fn open(&self, tag: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let cipher = ChaCha20Poly1305::new((&self.0).into());
        cipher.decrypt(&Nonce::default(), Payload { msg: sealed, aad: tag }).ok().map(Zeroizing::new)
    }
}

impl MatchParams {
    /// The same with rows of so many bytes behind the tags, before they are sealed; without this there are none.
    ///
    /// # Errors
    /// [`PsiError::Parameters`] for a row of no byte, or of more than 1,024, and for a list that serves several sessions.
    pub const fn with_rows(self, row_bytes: u32) -> Result<Self, PsiError> {
        if self.is_shared() {
            return Err(ROWS_OF_SEVERAL);
        }
        if row_bytes == 0 || row_bytes > LONGEST_ROW {
            return Err(PsiError::Parameters("a row of a payload has 1 to 1,024 bytes"));
        }
        Ok(self.sealing(row_bytes + SEAL_BYTES as u32))
    }
}

impl Evaluator {
    /// The tags of records, as [`Evaluator::tags`], and the key of each one's row.
    ///
    /// # Errors
    /// As there.
    pub fn tags_and_keys(&self, inputs: &[NormalisedInput]) -> Result<(Tags, Vec<PayloadKey>), PsiError> {
        let length = self.params.tag_bytes();
        let mut tags = Zeroizing::new(Vec::with_capacity(inputs.len()));
        let mut keys = Vec::with_capacity(inputs.len());
        for piece in inputs.chunks(4096) {
            let outputs = self.key.pair.outputs(piece)?;
            tags.extend(outputs.iter().map(|output| Tag::cut(output, length)));
            keys.extend(outputs.iter().map(PayloadKey::of));
        }
        Ok((Tags { tags, length }, keys))
    }

    /// What stands behind the padding tag of that number: bytes that look random, as many as a sealed row has; the same
    /// for each number.
    #[must_use]
    pub fn padding_row(&self, number: u64) -> Vec<u8> {
        let due = self.params.sealed_bytes();
        let mut bytes = Vec::with_capacity(due.saturating_add(64));
        let mut block: u32 = 0;
        while bytes.len() < due {
            bytes.extend_from_slice(&*self.key.padding.block(b'R', &[&number.to_be_bytes(), &block.to_be_bytes()]));
            block = block.saturating_add(1);
        }
        bytes.truncate(due);
        bytes
    }
}

#[cfg(test)]
mod tests;
