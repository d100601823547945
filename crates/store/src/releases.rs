//! Releases: stored once, together with the leaf that tells of them, and given to whoever asks the same again.

mod recent;
mod settle;

pub(crate) use recent::Recent;
pub(crate) use settle::by_key;

use crate::LeafHash;
use firebreak_domain::Timestamp;
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// What is released: a hash over canonical query, cut and mechanism. Two requests with the same key are answered by
/// the same release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReleaseKey([u8; 32]);

/// A release's name: SHA-256 over its key and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReleaseId([u8; 32]);

/// A release as it was first stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRelease {
    /// Its name.
    pub id: ReleaseId,
    /// What was asked.
    pub release_key: ReleaseKey,
    /// The bytes given to [`State::settle`](crate::State::settle) by whoever came first.
    pub bytes: Arc<[u8]>,
    /// The leaf that was stored with it.
    pub leaf: LeafHash,
    /// The leaf's place in the log, once that is confirmed.
    pub log_index: Option<u64>,
    /// When it was stored.
    pub stored_at: Timestamp,
}

impl ReleaseKey {
    /// Wraps a hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl ReleaseId {
    /// Wraps a hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn of(key: &ReleaseKey, bytes: &[u8]) -> Self {
        Self(
            Sha256::new()
                .chain_update(b"firebreak release 1\n")
                .chain_update(key.as_bytes())
                .chain_update(bytes)
                .finalize()
                .into(),
        )
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
