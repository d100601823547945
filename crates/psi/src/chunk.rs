use sha2::{Digest, Sha256};

/// The name of one match session: 16 bytes, chosen at random by the receiver's adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// Wraps 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// By what a chunk is known: a sender that has evaluated this very chunk does it again without counting it again.
///
/// Two chunks with the same id hold the same blinded elements, because the hash is over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId {
    /// The session.
    pub session: SessionId,
    /// The chunk's number, from 0.
    pub number: u32,
    /// SHA-256 of the blinded bytes.
    pub hash: [u8; 32],
}

impl ChunkId {
    /// The id of the chunk with these blinded bytes.
    #[must_use]
    pub fn of(session: SessionId, number: u32, blinded: &[u8]) -> Self {
        Self { session, number, hash: Sha256::digest(blinded).into() }
    }
}
