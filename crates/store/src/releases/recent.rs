use super::Known;
use crate::accounts::RequestRef;
use std::collections::HashMap;

/// The releases last given out, so that a repeated request waits for no disk.
///
/// Two generations: what was asked for since the younger was begun is in it; when it is full it becomes the older, and
/// what is left in that one is forgotten. So nothing asked for lately is lost, and every step takes constant time.
#[derive(Default)]
pub(crate) struct Recent {
    younger: HashMap<RequestRef, Kept>,
    older: HashMap<RequestRef, Kept>,
    /// Bytes in the younger.
    bytes: usize,
}

/// What is remembered of a request.
#[derive(Clone)]
pub(crate) struct Kept {
    /// Its digest.
    pub(crate) digest: [u8; 32],
    /// Its release.
    pub(crate) known: Known,
}

/// For each generation.
const MOST_BYTES: usize = 32 << 20;
/// What an entry takes beside its release and evidence, about.
const OVERHEAD: usize = 512;

impl Recent {
    pub(crate) fn get(&mut self, request: &RequestRef) -> Option<Kept> {
        if let Some(kept) = self.younger.get(request) {
            return Some(kept.clone());
        }
        let kept = self.older.remove(request)?;
        self.put(*request, kept.clone());
        Some(kept)
    }

    pub(crate) fn put(&mut self, request: RequestRef, kept: Kept) {
        let size = OVERHEAD + kept.known.size();
        if self.bytes + size > MOST_BYTES {
            self.older = std::mem::take(&mut self.younger);
            self.bytes = 0;
        }
        if self.younger.insert(request, kept).is_none() {
            self.bytes += size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeafHash, OwnRelease, ReleaseId, ReleaseKey, StoredRelease};
    use firebreak_domain::Timestamp;

    fn kept(size: usize) -> Kept {
        let release = StoredRelease {
            id: ReleaseId::from_bytes([0; 32]),
            release_key: ReleaseKey::from_bytes([0; 32]),
            bytes: vec![0; size / 2].into(),
            leaf: LeafHash::of(b""),
            log_index: Some(0),
            stored_at: Timestamp::from_secs(0),
        };
        let evidence = vec![0; size / 2].into();
        Kept { digest: [0; 32], known: Known::Own(OwnRelease { release, evidence }) }
    }

    fn request(number: u8) -> RequestRef {
        RequestRef { principal: [0; 32], id: [number; 16] }
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let mut recent = Recent::default();
        for number in 0..40 {
            recent.put(request(number), kept(MOST_BYTES / 8));
            assert!(recent.get(&request(0)).is_some(), "asked for all the time, lost at {number}");
        }
        assert!(recent.get(&request(1)).is_none());
        assert!(recent.get(&request(39)).is_some());
        assert!(recent.younger.len() + recent.older.len() <= 16);
    }
}
