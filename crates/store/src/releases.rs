//! Releases: stored once, together with the leaf that tells of them, and given to whoever asks the same again.
//!
//! A release is for everybody who may ask. Its evidence (what opens the leaf of the agency that measured) holds what
//! the first caller signed, and is given back to that very request alone.

mod question;
mod recent;
mod settle;

pub use question::AnsweredQuestion;
pub(crate) use recent::{Kept, Recent};
pub(crate) use settle::by_key;

use crate::{LeafHash, accounts::RequestRef, codec::put_bytes};
use firebreak_domain::Timestamp;
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// What is released: a hash over canonical query, cut and mechanism, and over what the contract makes of them. Two
/// requests with the same key are answered by the same release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReleaseKey([u8; 32]);

/// A release's name: SHA-256 over its key, its bytes, the request that settled it and the evidence of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReleaseId([u8; 32]);

/// A release as it was first stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRelease {
    /// Its name.
    pub id: ReleaseId,
    /// What was asked.
    pub release_key: ReleaseKey,
    /// The release given to [`State::settle`](crate::State::settle) by whoever came first.
    pub bytes: Arc<[u8]>,
    /// The leaf that was stored with it.
    pub leaf: LeafHash,
    /// The leaf's place in the log, once that is confirmed.
    pub log_index: Option<u64>,
    /// When it was stored.
    pub stored_at: Timestamp,
}

/// A release for the request that settled it.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnRelease {
    /// The release.
    pub release: StoredRelease,
    /// The evidence given to [`State::settle`](crate::State::settle) with it.
    pub evidence: Arc<[u8]>,
}

// PRIVACY: evidence holds what a caller signed.
impl fmt::Debug for OwnRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnRelease").field("release", &self.release).finish_non_exhaustive()
    }
}

/// What settling a reservation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Stored now, with the evidence and the leaf given.
    Now(StoredRelease),
    /// An earlier run of this very request stored one, which stays.
    Stored(OwnRelease),
    /// Another request stored one meanwhile, which stays. What was charged to this one stays charged.
    // PRIVACY: without the evidence, which tells of the other request.
    Repeat(StoredRelease),
}

/// A release as one request may have it.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// It settled it.
    Own(OwnRelease),
    /// Another did.
    Others(StoredRelease),
}

/// A release as it is stored.
pub(crate) struct Settlement {
    pub(crate) release: StoredRelease,
    /// The request that settled it.
    settler: RequestRef,
    evidence: Arc<[u8]>,
}

impl Settlement {
    // PRIVACY: the one place where evidence is handed out.
    pub(crate) fn known_to(self, request: &RequestRef) -> Known {
        if self.settler == *request {
            Known::Own(OwnRelease { release: self.release, evidence: self.evidence })
        } else {
            Known::Others(self.release)
        }
    }
}

impl Known {
    pub(crate) fn release(&self) -> &StoredRelease {
        match self {
            Self::Own(own) => &own.release,
            Self::Others(release) => release,
        }
    }

    /// Bytes of memory, about.
    fn size(&self) -> usize {
        match self {
            Self::Own(own) => own.release.bytes.len() + own.evidence.len(),
            Self::Others(release) => release.bytes.len(),
        }
    }
}

impl From<Known> for Settled {
    fn from(known: Known) -> Self {
        match known {
            Known::Own(own) => Self::Stored(own),
            Known::Others(release) => Self::Repeat(release),
        }
    }
}

impl Settled {
    /// The release that stands.
    #[must_use]
    pub fn release(&self) -> &StoredRelease {
        match self {
            Self::Now(release) | Self::Repeat(release) => release,
            Self::Stored(own) => &own.release,
        }
    }
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

    pub(crate) fn of(key: &ReleaseKey, bytes: &[u8], settler: &RequestRef, evidence: &[u8]) -> Self {
        let mut named = b"firebreak release 1\n".to_vec();
        named.extend_from_slice(key.as_bytes());
        named.extend_from_slice(&settler.principal);
        named.extend_from_slice(&settler.id);
        put_bytes(&mut named, bytes);
        put_bytes(&mut named, evidence);
        Self(Sha256::digest(&named).into())
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
