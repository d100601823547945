//! What a side keeps of a join beyond its session: what it is replayed from.

use crate::app::matching::MatchError;
use firebreak_domain::{AgreementId, JoinSide};
use firebreak_node::Evidence;
use firebreak_psi::join::KEY_WITH_PROOF;
use firebreak_store::LeafHash;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a public key.
const PUBLIC_KEY: usize = 32;

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
    /// What was drawn, and under which key; nothing in what a program kept that committed to no key.
    pub(super) drawn: Option<Drawn>,
}

/// What a side's draws follow from beside its seed, whatever becomes of agreement and contracts, and the key that they
/// are made under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drawn {
    /// Which side it is.
    pub(super) side: JoinSide,
    /// SHA-256 of the public key that it shows.
    pub(super) key: [u8; 32],
    /// How many labels the left and the right side's records have.
    pub(super) labels: [u16; 2],
    /// The weights of 0, 1, 2 … dummies.
    pub(super) weights: Vec<u64>,
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

/// What a leaf says of a seed.
pub(super) fn seed_hash(seed: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(b"firebreak join seed 1\n").chain_update(seed).finalize().into()
}

/// SHA-256 of the public key in what a side shows. The proof beside it is of the same key, whichever it is.
pub(super) fn key_hash(shown: &[u8; KEY_WITH_PROOF]) -> [u8; 32] {
    let (key, _proof) = shown.split_at(PUBLIC_KEY);
    Sha256::digest(key).into()
}

/// The lines by which a leaf commits to a side before its first byte, behind that of the request.
pub(super) fn lines(seed: &[u8; 32], key: Option<&[u8; 32]>, terms: &[u8; 32], own: &[u8; 32]) -> Vec<String> {
    let seed = seed_hash(seed);
    let hashes = [("seed", Some(&seed)), ("key", key), ("terms", Some(terms)), ("own list", Some(own))];
    let line = |(what, hash): (&str, Option<&[u8; 32]>)| Some(format!("{what} sha256 {}", hex::encode(hash?)));
    hashes.into_iter().filter_map(line).collect()
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
        let drawn = self.drawn.as_ref().map(Drawn::encode);
        for part in parts.into_iter().chain(drawn.as_deref()) {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// The lines that its leaf commits to, behind that of the request.
    pub(super) fn lines(&self) -> Vec<String> {
        lines(&self.seed, self.drawn.as_ref().map(|drawn| &drawn.key), &self.terms, &self.own)
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
        // What a program kept that committed to no key ends here.
        let drawn = if rest.is_empty() { None } else { Some(Drawn::read(&part(&mut rest)?)?) };
        let read = Self {
            seed,
            terms,
            release_key,
            own,
            moment,
            until,
            agreement,
            purpose,
            by_consent: match by_consent {
                0 => false,
                1 => true,
                _ => return None,
            },
            question,
            evidence,
            drawn,
        };
        rest.is_empty().then_some(read)
    }
}

impl Drawn {
    fn encode(&self) -> Vec<u8> {
        let side = match self.side {
            JoinSide::Left => b'L',
            JoinSide::Right => b'R',
        };
        let mut bytes = vec![side];
        bytes.extend_from_slice(&self.key);
        bytes.extend(self.labels.iter().flat_map(|labels| labels.to_be_bytes()));
        bytes.extend(self.weights.iter().flat_map(|weight| weight.to_be_bytes()));
        bytes
    }

    fn read(mut rest: &[u8]) -> Option<Self> {
        let side = match fixed(&mut rest)? {
            [b'L'] => JoinSide::Left,
            [b'R'] => JoinSide::Right,
            _ => return None,
        };
        let key = fixed(&mut rest)?;
        let labels = [u16::from_be_bytes(fixed(&mut rest)?), u16::from_be_bytes(fixed(&mut rest)?)];
        let (weights, rest) = rest.as_chunks();
        let weights = weights.iter().map(|weight| u64::from_be_bytes(*weight)).collect();
        rest.is_empty().then_some(Self { side, key, labels, weights })
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
    use proptest::prelude::*;
    use proptest::sample::Index;

    fn drawn() -> Drawn {
        Drawn { side: JoinSide::Right, key: [5; 32], labels: [2, 300], weights: vec![1, u64::MAX, 1] }
    }

    fn kept() -> Committed {
        Committed {
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
            drawn: Some(drawn()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_bytes_are_read_are_written_again_as_they_were(
            changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
            end in any::<Index>(),
            more in prop::collection::vec(any::<u8>(), 0..9),
            cut in any::<bool>(),
        ) {
            let sent = Sent { received: [1; 32], added: [2; 32], sent_on: [3; 32], key: [4; KEY_WITH_PROOF] };
            for mut bytes in [kept().encode().to_vec(), sent.encode()] {
                for (place, value) in &changes {
                    *place.get_mut(&mut bytes) = *value;
                }
                if cut {
                    bytes.truncate(end.index(bytes.len()));
                }
                bytes.extend(&more);
                prop_assert!(Committed::decode(&bytes).map_or(true, |kept| *kept.encode() == bytes));
                prop_assert!(Sent::decode(&bytes).map_or(true, |sent| sent.encode() == bytes));
            }
        }
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_written_or_not_at_all() {
        let bytes = kept().encode();
        assert!(
            Committed::decode(&bytes).is_ok_and(|read| read.encode() == bytes && read.drawn.as_ref() == Some(&drawn()))
        );
        assert!(Committed::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Committed::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        let sent = Sent { received: [1; 32], added: [2; 32], sent_on: [3; 32], key: [4; KEY_WITH_PROOF] };
        assert!(Sent::decode(&sent.encode()).is_ok_and(|read| read == sent));
        assert!(Sent::decode(&sent.encode()[1..]).is_err());
        assert_ne!(seed_hash(&[1; 32]), seed_hash(&[2; 32]));
    }

    #[test]
    fn what_a_program_kept_that_committed_to_no_key_is_read_and_has_no_line_of_one() {
        // Seed, terms, release key, list, two moments, no consent; agreement, purpose, question and evidence.
        let mut bytes: Vec<u8> = [[1; 32], [2; 32], [3; 32], [4; 32]].concat();
        bytes.extend([[0; 8], [0, 0, 0, 0, 0, 0, 0, 6]].concat());
        bytes.push(0);
        for part in [b"a".as_slice(), b"p", b"question", b"evidence"] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
        let read = Committed::decode(&bytes).unwrap();
        assert!(read.drawn.is_none() && *read.encode() == bytes);
        assert_eq!((read.question.as_slice(), read.evidence.as_slice()), (&b"question"[..], &b"evidence"[..]));
        let begin: Vec<_> = read.lines().iter().map(|line| line.split_once(" sha256").unwrap().0.to_owned()).collect();
        assert_eq!(begin, ["seed", "terms", "own list"]);
    }
}
