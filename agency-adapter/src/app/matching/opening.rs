//! What a receiver names when it opens a session, and what the sender compares it with.

use super::payload::PayloadOffer;
use firebreak_domain::{ReasonCode, Refusal, RequestId};

/// What the receiver names when it opens a session.
pub struct OpenRequest {
    /// The session: the request that was permitted.
    pub session: RequestId,
    /// The agreement.
    pub agreement: String,
    /// The purpose.
    pub purpose: String,
    /// Sequence of the receiver's bundle.
    pub bundle_sequence: u64,
    /// The receiver's rule for identifiers.
    pub normaliser: u32,
    /// The receiver's key and its columns ([`MatchKey::field`](firebreak_domain::MatchKey::field)).
    pub field: String,
    /// Padded number of elements.
    pub elements: u32,
    /// Elements in a chunk.
    pub chunk_elements: u32,
    /// Whether evaluations are proved.
    pub proofs: bool,
    /// What goes with the tags.
    pub payload: PayloadOffer,
    /// The number of the epoch in which it is matched; `None` for a session with a key of its own.
    pub epoch: Option<u64>,
}

impl OpenRequest {
    /// That both sides mean the same match: `decided` is what the sender decided. Sizes and epochs are not compared.
    pub(super) fn compare(&self, decided: &Self) -> Result<(), Refusal> {
        let mismatch = |reason, what| Err(Refusal::new(reason).because(what));
        if self.session != decided.session || self.agreement != decided.agreement || self.purpose != decided.purpose {
            return mismatch(ReasonCode::SessionMismatch, "session, agreement or purpose differ between the two sides");
        }
        // The rest follows from the agreement, which may read differently in another bundle.
        if self.bundle_sequence != decided.bundle_sequence {
            return mismatch(ReasonCode::BundleMismatch, "the sequences of the two sides' bundles differ");
        }
        if self.normaliser != decided.normaliser {
            return mismatch(ReasonCode::NormaliserMismatch, "the receiver writes identifiers by another version");
        }
        if self.field != decided.field || self.chunk_elements != decided.chunk_elements {
            return mismatch(
                ReasonCode::SessionMismatch,
                "the key, its columns or the size of a chunk differ between the two sides",
            );
        }
        if self.proofs != decided.proofs {
            return mismatch(
                ReasonCode::SessionMismatch,
                "one side goes by proofs of evaluation and the other by none",
            );
        }
        if self.payload != decided.payload {
            let what = "the payload's columns, or how rows are written, differ between the two sides";
            return mismatch(ReasonCode::SessionMismatch, what);
        }
        Ok(())
    }
}
