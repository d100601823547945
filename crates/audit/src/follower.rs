use crate::text::{Lines, first_line, hash_from_base64, integer, put, to_base64};
use crate::{Checkpoint, CheckpointError, Hash, SignedLeaf, TextError, VerifierKey};
use tlog_tiles::tlog::{EMPTY_HASH, Hash as TreeHash, check_record, check_tree, record_hash};

const WHAT: &str = "follower";

/// A checkpoint or proof that a follower does not accept. Its state stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// Not a checkpoint of this log and key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Fewer leaves than were already seen.
    #[error("the log shows fewer leaves than it had shown before: it was rolled back")]
    Rollback,
    /// Not shown to extend what was seen: another history, or no valid proof that it is the same.
    #[error("the checkpoint is not shown to extend the last one accepted: the log has forked, or the proof is wrong")]
    Fork,
    /// The leaf is not shown to be in the log.
    #[error("the leaf is not shown to be in the log under the last checkpoint accepted")]
    NotIncluded,
    /// The stored state is not readable.
    #[error(transparent)]
    State(#[from] TextError),
    /// The stored state belongs to another log or key.
    #[error("the stored state follows another log or key than the one configured")]
    OtherLog,
}

/// What an adapter keeps of the log: the last checkpoint that it accepted. Everything it accepts extends that.
///
/// It begins with the empty tree, which every log extends. Pure: whoever holds it stores [`Follower::encode`] durably
/// after each [`Follower::advance`] and before acting on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    key: VerifierKey,
    size: u64,
    root: Hash,
}

impl Follower {
    /// Follows the log of that key from its beginning.
    #[must_use]
    pub const fn new(key: VerifierKey) -> Self {
        Self { key, size: 0, root: EMPTY_HASH.0 }
    }

    /// Reads what [`Follower::encode`] wrote.
    ///
    /// # Errors
    /// [`FollowError::State`]; [`FollowError::OtherLog`] if it was written for another key.
    pub fn decode(state: &[u8], key: VerifierKey) -> Result<Self, FollowError> {
        let mut lines = Lines::begin(state, WHAT)?;
        let of = lines.value("key")?;
        let size = lines.parsed("size", integer)?;
        let root = lines.parsed("root", hash_from_base64)?;
        lines.end()?;
        if of == key.to_string() { Ok(Self { key, size, root }) } else { Err(FollowError::OtherLog) }
    }

    /// The state as text: format, key, size, root.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = first_line(WHAT);
        put(&mut text, "key", &self.key);
        put(&mut text, "size", self.size);
        put(&mut text, "root", to_base64(&self.root));
        text
    }

    /// Leaves under the last checkpoint accepted.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root of the last checkpoint accepted.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// Accepts a checkpoint that extends the last one. `proof` is the consistency proof from [`Follower::size`] to the
    /// new size: empty if the last size was 0, or if the log has not grown.
    ///
    /// # Errors
    /// [`FollowError::Checkpoint`], [`FollowError::Rollback`], [`FollowError::Fork`].
    pub fn advance(&mut self, note: &[u8], proof: &[Hash]) -> Result<Checkpoint, FollowError> {
        let new = self.key.open(note)?;
        if new.size() < self.size {
            return Err(FollowError::Rollback);
        }
        let extends = if self.size == 0 {
            proof.is_empty()
        } else {
            let proof = proof.iter().copied().map(TreeHash).collect();
            check_tree(&proof, new.size(), TreeHash(*new.root()), self.size, TreeHash(self.root)).is_ok()
        };
        if !extends {
            return Err(FollowError::Fork);
        }
        self.size = new.size();
        self.root = *new.root();
        Ok(new)
    }

    /// Whether the leaf is number `index` of the log under the last checkpoint accepted.
    ///
    /// # Errors
    /// [`FollowError::NotIncluded`].
    pub fn check_inclusion(&self, leaf: &SignedLeaf, index: u64, proof: &[Hash]) -> Result<(), FollowError> {
        let proof = proof.iter().copied().map(TreeHash).collect();
        check_record(&proof, self.size, TreeHash(self.root), index, record_hash(leaf.as_bytes()))
            .map_err(|_| FollowError::NotIncluded)
    }
}

#[cfg(test)]
mod tests;
