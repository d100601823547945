use crate::text::{Lines, first_line, from_base64, hash_from_base64, integer, put, to_base64};
use crate::{Checkpoint, CheckpointError, Hash, Opening, SignedLeaf, TextError, VerifierKey};
use tlog_tiles::tlog::{Hash as TreeHash, check_record, record_hash};

const WHAT: &str = "receipt";
/// Where another receipt begins.
const NEXT: &[u8] = b"\nfirebreak receipt format ";
/// A tree has at most as many levels.
const MAX_PROOF: usize = 64;

/// What a caller keeps: its leaf, the proof that the leaf is in the log, and what opens the leaf's commitment.
///
/// Its text: the line `firebreak receipt format 1`; `index <number>`; `opening <base64 of the random bytes> <base64 of
/// the payload>`, if there is one; `proof <base64>` for each hash from the leaf up; `leaf <number of lines>` and the
/// lines of the signed leaf; a blank line; the checkpoint's signed note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Number of the leaf in the log.
    pub index: u64,
    /// The leaf.
    pub leaf: SignedLeaf,
    /// Inclusion proof, from the leaf up (RFC 6962, section 2.1.1).
    pub proof: Vec<Hash>,
    /// The signed note under which the leaf is proved.
    pub checkpoint: String,
    /// What opens the leaf's commitment, for whoever may know.
    pub opening: Option<Opening>,
}

/// A receipt that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt {
    /// Number of the leaf in the log.
    pub index: u64,
    /// The leaf. Whether its signer's key signed it is for [`SignedLeaf::is_signed`].
    pub leaf: SignedLeaf,
    /// The checkpoint that commits to it.
    pub checkpoint: Checkpoint,
    /// What opens the leaf's commitment.
    pub opening: Option<Opening>,
}

/// A receipt that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not of its form.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Its checkpoint does not count.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The proof does not lead from the leaf to the root.
    #[error("the proof does not lead from the leaf to the checkpoint's root")]
    NotIncluded,
    /// The opening is another's.
    #[error("the opening does not open the leaf's commitment")]
    OpeningMismatch,
}

impl Receipt {
    /// The receipt's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = first_line(WHAT);
        put(&mut text, "index", self.index);
        if let Some(Opening { nonce, payload }) = &self.opening {
            put(&mut text, "opening", format_args!("{} {}", to_base64(nonce), to_base64(payload)));
        }
        for hash in &self.proof {
            put(&mut text, "proof", to_base64(hash));
        }
        put(&mut text, "leaf", self.leaf.as_str().lines().count());
        text.push_str(self.leaf.as_str());
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a text that [`Receipt::encode`] could have written; no other text is read. Nothing is verified yet.
    ///
    /// # Errors
    /// [`TextError`], which names the line.
    pub fn decode(bytes: &[u8]) -> Result<Self, TextError> {
        let mut lines = Lines::begin(bytes, WHAT)?;
        let index = lines.parsed("index", integer)?;
        let opening = lines.parsed_optional("opening", |value| {
            let (nonce, payload) = value.split_once(' ')?;
            Some(Opening { nonce: hash_from_base64(nonce)?, payload: from_base64(payload)? })
        })?;
        let mut proof = Vec::new();
        while let Some(hash) = lines.parsed_optional("proof", hash_from_base64)? {
            if proof.len() == MAX_PROOF {
                return Err(TextError::Value("proof"));
            }
            proof.push(hash);
        }
        let count = lines.parsed("leaf", integer)?;
        let after = lines.rest();
        for _ in 0..count {
            lines.line().ok_or(TextError::Value("leaf"))?;
        }
        let leaf = after.get(..after.len() - lines.rest().len()).unwrap_or_default();
        let leaf = SignedLeaf::decode(leaf.as_bytes())?;
        if lines.line() != Some("") {
            return Err(TextError::Line("checkpoint"));
        }
        Ok(Self { index, leaf, proof, checkpoint: lines.rest().to_owned(), opening })
    }

    /// The texts of one receipt each in a text of several, one behind the other, as an answer over several agencies has
    /// them. Nothing of them is read yet.
    pub fn each(text: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut rest = Some(text);
        std::iter::from_fn(move || {
            let text = rest.take()?;
            // No line of a receipt but its first begins so: its other lines have words of their own.
            let next = text.windows(NEXT.len()).position(|window| window == NEXT).map(|end| end + 1);
            let (one, others) = next.and_then(|end| text.split_at_checked(end)).unwrap_or((text, &[]));
            rest = Some(others).filter(|others| !others.is_empty());
            Some(one)
        })
    }

    /// Checks everything that the log's key vouches for, offline: the checkpoint's signature, the proof, the opening.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify(&self, key: &VerifierKey) -> Result<VerifiedReceipt, ReceiptError> {
        let checkpoint = key.open(self.checkpoint.as_bytes())?;
        let proof = self.proof.iter().copied().map(TreeHash).collect();
        let (size, root) = (checkpoint.size(), TreeHash(*checkpoint.root()));
        check_record(&proof, size, root, self.index, record_hash(self.leaf.as_bytes()))
            .map_err(|_| ReceiptError::NotIncluded)?;
        if self.opening.as_ref().is_some_and(|opening| opening.commitment() != self.leaf.leaf().commitment) {
            return Err(ReceiptError::OpeningMismatch);
        }
        Ok(VerifiedReceipt { index: self.index, leaf: self.leaf.clone(), checkpoint, opening: self.opening.clone() })
    }
}

#[cfg(test)]
mod tests;
