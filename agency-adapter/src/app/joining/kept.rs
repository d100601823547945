//! What a side keeps of a join beyond its session: what it is replayed from.

use crate::app::matching::MatchError;
use firebreak_domain::AgreementId;
use firebreak_node::Evidence;
use firebreak_psi::join::KEY_WITH_PROOF;
use firebreak_store::LeafHash;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What was committed to before the first byte.
pub(super) struct Committed {
    /// From which everything random follows.
    pub(super) seed: Zeroizing<[u8; 32]>,
    /// SHA-256 of all that both sides go by.
    pub(super) terms: [u8; 32],
    /// What is released at the join's price: the question with its meaning under both contracts.
    pub(super) release_key: [u8; 32],
    /// SHA-256 of the own list.
    pub(super) own: [u8; 32],
    /// The moment whose choices counted.
    pub(super) moment: i64,
    /// To when it is kept, in seconds since 1970.
    pub(super) until: i64,
    /// The agreement.
    pub(super) agreement: AgreementId,
    /// The purpose.
    pub(super) purpose: String,
    /// Whether consent is the ground.
    pub(super) by_consent: bool,
    /// The question.
    pub(super) question: Vec<u8>,
    /// The evidence that tells of the commitment.
    pub(super) evidence: Vec<u8>,
}

/// What was sent after the own list, as hashes, and the key that it was made by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// Of the other side's list, as it came.
    pub(super) received: [u8; 32],
    /// Of the points that were added to it.
    pub(super) added: [u8; 32],
    /// Of the list that was sent on.
    pub(super) sent_on: [u8; 32],
    /// The other side's key with its proof, as it was shown.
    pub(super) key: [u8; KEY_WITH_PROOF],
}

/// The line by which a leaf commits to a seed.
pub(super) fn seed_line(seed: &[u8; 32]) -> String {
    let hash = Sha256::new().chain_update(b"firebreak join seed 1\n").chain_update(seed).finalize();
    format!("seed sha256 {}", hex::encode(hash))
}

impl Committed {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        for fixed in [&*self.seed, &self.terms, &self.release_key, &self.own] {
            bytes.extend_from_slice(fixed);
        }
        bytes.extend(self.moment.to_be_bytes());
        bytes.extend(self.until.to_be_bytes());
        bytes.push(u8::from(self.by_consent));
        let parts = [self.agreement.as_str().as_bytes(), self.purpose.as_bytes(), &self.question, &self.evidence];
        for part in parts {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// # Errors
    /// [`MatchError::Failed`] for anything but what [`Committed::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, MatchError> {
        Self::read(bytes).ok_or(MatchError::Failed)
    }

    fn read(mut rest: &[u8]) -> Option<Self> {
        let seed = Zeroizing::new(fixed(&mut rest)?);
        let (terms, release_key, own) = (fixed(&mut rest)?, fixed(&mut rest)?, fixed(&mut rest)?);
        let (moment, until) = (i64::from_be_bytes(fixed(&mut rest)?), i64::from_be_bytes(fixed(&mut rest)?));
        let [by_consent] = fixed::<1>(&mut rest)?;
        let agreement = AgreementId::new(String::from_utf8(part(&mut rest)?).ok()?).ok()?;
        let purpose = String::from_utf8(part(&mut rest)?).ok()?;
        let (question, evidence) = (part(&mut rest)?, part(&mut rest)?);
        let by_consent = by_consent == 1;
        let read =
            Self { seed, terms, release_key, own, moment, until, agreement, purpose, by_consent, question, evidence };
        rest.is_empty().then_some(read)
    }
}

impl Sent {
    pub(super) fn encode(&self) -> Vec<u8> {
        [self.received.as_slice(), &self.added, &self.sent_on, &self.key].concat()
    }

    /// # Errors
    /// [`MatchError::Failed`] for anything but what [`Sent::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, MatchError> {
        Self::read(bytes).ok_or(MatchError::Failed)
    }

    fn read(mut rest: &[u8]) -> Option<Self> {
        let (received, added, sent_on) = (fixed(&mut rest)?, fixed(&mut rest)?, fixed(&mut rest)?);
        let read = Self { received, added, sent_on, key: fixed(&mut rest)? };
        rest.is_empty().then_some(read)
    }
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn part(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(u64::from_be_bytes(fixed(rest)?)).ok()?;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head.to_vec())
}

/// The leaf of stored evidence.
pub(super) fn leaf_of(evidence: &Evidence) -> LeafHash {
    LeafHash::of(evidence.leaf.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was_written_or_not_at_all() {
        let kept = Committed {
            seed: Zeroizing::new([1; 32]),
            terms: [2; 32],
            release_key: [3; 32],
            own: [4; 32],
            moment: -5,
            until: 6,
            agreement: "a".parse().unwrap(),
            purpose: "p".into(),
            by_consent: true,
            question: b"question".to_vec(),
            evidence: Vec::new(),
        };
        let bytes = kept.encode();
        assert!(Committed::decode(&bytes).is_ok_and(|read| read.encode() == bytes));
        assert!(Committed::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Committed::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        let sent = Sent { received: [1; 32], added: [2; 32], sent_on: [3; 32], key: [4; KEY_WITH_PROOF] };
        assert!(Sent::decode(&sent.encode()).is_ok_and(|read| read == sent));
        assert!(Sent::decode(&sent.encode()[1..]).is_err());
        assert_ne!(seed_line(&[1; 32]), seed_line(&[2; 32]));
    }
}
