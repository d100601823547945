//! What a side of a join keeps beyond its session: what it is replayed from.

use crate::fields::{Fields, put_part};
use firebreak_domain::{AgreementId, JoinSide};
use firebreak_psi::join::KEY_WITH_PROOF;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a public key.
const PUBLIC_KEY: usize = 32;
/// Bytes before the first part of what was committed to: seed, three hashes, two times, and whether consent is the
/// ground.
const FIXED: usize = 4 * 32 + 2 * 8 + 1;

/// What a side committed to before the first byte.
pub struct Committed {
    /// From which everything random follows.
    pub seed: Zeroizing<[u8; 32]>,
    /// SHA-256 of all that both sides go by.
    pub terms: [u8; 32],
    /// What is released at the join's price: the question with its meaning under both contracts.
    pub release_key: [u8; 32],
    /// SHA-256 of the own list.
    pub own: [u8; 32],
    /// The moment whose choices counted.
    pub moment: i64,
    /// To when it is kept, in seconds since 1970.
    pub until: i64,
    /// The agreement.
    pub agreement: AgreementId,
    /// The purpose.
    pub purpose: String,
    /// Whether consent is the ground.
    pub by_consent: bool,
    /// The question.
    pub question: Vec<u8>,
    /// The evidence that tells of the commitment.
    pub evidence: Vec<u8>,
    /// What was drawn, and under which key; nothing in what a program kept that committed to no key.
    pub drawn: Option<Drawn>,
}

/// What a side's draws follow from beside its seed, whatever becomes of agreement and contracts, and the key that they
/// are made under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// Which side it is.
    pub side: JoinSide,
    /// SHA-256 of the public key that it shows.
    pub key: [u8; 32],
    /// What both sides go by.
    pub agreed: Agreed,
}

/// What both sides of a join go by, beside the session and what is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The pinned keys of the left and the right side.
    pub pins: [[u8; 32]; 2],
    /// The number of the rule by which identifiers are written.
    pub normaliser: u32,
    /// How many labels the left and the right side's records have.
    pub labels: [u16; 2],
    /// The left and the right dataset, and the match key.
    pub names: [String; 3],
    /// The weights of 0, 1, 2 … dummies.
    pub weights: Vec<u64>,
}

/// What a side sent after its own list, as hashes, and the key that it was made by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Of the other side's list, as it came.
    pub received: [u8; 32],
    /// Of the points that were added to it.
    pub added: [u8; 32],
    /// Of the list that was sent on.
    pub sent_on: [u8; 32],
    /// The other side's key with its proof, as it was shown.
    pub key: [u8; KEY_WITH_PROOF],
}

/// What a leaf says of a seed.
#[must_use]
pub fn join_seed_hash(seed: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(b"firebreak join seed 1\n").chain_update(seed).finalize().into()
}

/// SHA-256 of the public key in what a side shows. The proof beside it is of the same key, whichever it is.
#[must_use]
pub fn join_key_hash(shown: &[u8; KEY_WITH_PROOF]) -> [u8; 32] {
    let (key, _proof) = shown.split_at(PUBLIC_KEY);
    Sha256::digest(key).into()
}

/// The lines by which a leaf commits to a side before its first byte, behind that of the request.
#[must_use]
pub fn commitment_lines(seed: &[u8; 32], key: Option<&[u8; 32]>, terms: &[u8; 32], own: &[u8; 32]) -> Vec<String> {
    let seed = join_seed_hash(seed);
    let hashes = [("seed", Some(&seed)), ("key", key), ("terms", Some(terms)), ("own list", Some(own))];
    let line = |(what, hash): (&str, Option<&[u8; 32]>)| Some(format!("{what} sha256 {}", hex::encode(hash?)));
    hashes.into_iter().filter_map(line).collect()
}

impl Committed {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let drawn = self.drawn.as_ref().map(Drawn::encode);
        let parts = [self.agreement.as_str().as_bytes(), self.purpose.as_bytes(), &self.question, &self.evidence];
        let parts = || parts.into_iter().chain(drawn.as_deref());
        // SECURITY: in one piece, since what a vector leaves behind as it grows is not wiped, and the seed is in it.
        let length = parts().fold(FIXED, |length, part| length.saturating_add(8).saturating_add(part.len()));
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        for fixed in [&*self.seed, &self.terms, &self.release_key, &self.own] {
            bytes.extend_from_slice(fixed);
        }
        bytes.extend(self.moment.to_be_bytes());
        bytes.extend(self.until.to_be_bytes());
        bytes.push(u8::from(self.by_consent));
        for part in parts() {
            put_part(&mut bytes, part);
        }
        bytes
    }

    /// The lines that its leaf commits to, behind that of the request.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        commitment_lines(&self.seed, self.drawn.as_ref().map(|drawn| &drawn.key), &self.terms, &self.own)
    }

    /// Reads it.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let seed = Zeroizing::new(*fields.array()?);
        let (terms, release_key, own) = (*fields.array()?, *fields.array()?, *fields.array()?);
        let (moment, until) = (fields.i64()?, fields.i64()?);
        let by_consent = match fields.array()? {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let agreement = AgreementId::new(str::from_utf8(fields.part()?).ok()?).ok()?;
        let purpose = str::from_utf8(fields.part()?).ok()?.to_owned();
        let (question, evidence) = (fields.part()?.to_vec(), fields.part()?.to_vec());
        // What a program kept that committed to no key ends here.
        let drawn = if fields.end().is_some() { None } else { Some(Drawn::decode(fields.part()?)?) };
        let read = Self {
            seed,
            terms,
            release_key,
            own,
            moment,
            until,
            agreement,
            purpose,
            by_consent,
            question,
            evidence,
            drawn,
        };
        fields.end().map(|()| read)
    }
}

impl Drawn {
    fn encode(&self) -> Vec<u8> {
        let side = match self.side {
            JoinSide::Left => b'L',
            JoinSide::Right => b'R',
        };
        [[side].as_slice(), &self.key, &self.agreed.encode()].concat()
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let side = match fields.array()? {
            b"L" => JoinSide::Left,
            b"R" => JoinSide::Right,
            _ => return None,
        };
        let key = *fields.array()?;
        Some(Self { side, key, agreed: Agreed::decode(fields)? })
    }
}

impl Agreed {
    /// SHA-256 of all that both sides go by: the session, the question with its meaning under both contracts and its
    /// loss, the key of each side, how identifiers are written, the labels, and the law of the dummies.
    // SECURITY: both sides compare it and commit to it. So what either keeps of it to be replayed from is what the other
    // went by as well, or is found to be something else.
    #[must_use]
    pub fn terms(&self, session: &[u8; 32], release_key: &[u8; 32]) -> [u8; 32] {
        let hash = Sha256::new().chain_update(b"firebreak join terms 2\n");
        hash.chain_update(session).chain_update(release_key).chain_update(self.encode()).finalize().into()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.pins.concat();
        bytes.extend(self.normaliser.to_be_bytes());
        bytes.extend(self.labels.iter().flat_map(|labels| labels.to_be_bytes()));
        for name in &self.names {
            put_part(&mut bytes, name.as_bytes());
        }
        bytes.extend(self.weights.iter().flat_map(|weight| weight.to_be_bytes()));
        bytes
    }

    fn decode(mut fields: Fields<'_>) -> Option<Self> {
        let pins = [*fields.array()?, *fields.array()?];
        let (normaliser, labels) = (fields.u32()?, [fields.u16()?, fields.u16()?]);
        let mut name = || str::from_utf8(fields.part()?).ok().map(str::to_owned);
        let names = [name()?, name()?, name()?];
        let (weights, rest) = fields.rest().as_chunks();
        let weights = weights.iter().copied().map(u64::from_be_bytes).collect();
        rest.is_empty().then_some(Self { pins, normaliser, labels, names, weights })
    }
}

impl Sent {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.received.as_slice(), &self.added, &self.sent_on, &self.key].concat()
    }

    /// Reads it.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        let (received, added, sent_on) = (*fields.array()?, *fields.array()?, *fields.array()?);
        let read = Self { received, added, sent_on, key: *fields.array()? };
        fields.end().map(|()| read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn() -> Drawn {
        Drawn { side: JoinSide::Right, key: [5; 32], agreed: agreed() }
    }

    fn agreed() -> Agreed {
        Agreed {
            pins: [[6; 32], [7; 32]],
            normaliser: 8,
            labels: [2, 300],
            names: ["left".into(), "right".into(), "field".into()],
            weights: vec![1, u64::MAX, 1],
        }
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

    #[test]
    fn what_is_kept_is_read_as_it_was_written_or_not_at_all() {
        let bytes = kept().encode();
        assert_eq!(bytes.len(), bytes.capacity(), "it grew, and left the seed behind");
        assert!(
            Committed::decode(&bytes)
                .is_some_and(|read| read.encode() == bytes && read.drawn.as_ref() == Some(&drawn()))
        );
        assert!(Committed::decode(&bytes[..bytes.len() - 1]).is_none());
        assert!(Committed::decode(&[bytes.as_slice(), &[0]].concat()).is_none());
        let sent = Sent { received: [1; 32], added: [2; 32], sent_on: [3; 32], key: [4; KEY_WITH_PROOF] };
        assert!(Sent::decode(&sent.encode()).is_some_and(|read| read == sent));
        assert!(Sent::decode(&sent.encode()[1..]).is_none());
        assert_ne!(join_seed_hash(&[1; 32]), join_seed_hash(&[2; 32]));
    }

    #[test]
    fn whatever_both_sides_go_by_makes_other_terms() {
        let honest = agreed().terms(&[1; 32], &[2; 32]);
        assert_eq!(agreed().terms(&[1; 32], &[2; 32]), honest);
        assert_ne!(agreed().terms(&[9; 32], &[2; 32]), honest, "the session");
        assert_ne!(agreed().terms(&[1; 32], &[9; 32]), honest, "what is released");
        let changes: [fn(&mut Agreed); 10] = [
            |agreed| agreed.pins.swap(0, 1),
            |agreed| agreed.normaliser = 9,
            |agreed| agreed.labels = [300, 2],
            |agreed| agreed.labels[0] = 3,
            |agreed| agreed.names[0].push('s'),
            |agreed| agreed.names = ["leftr".into(), "ight".into(), "field".into()],
            |agreed| agreed.names[2] = "another".into(),
            |agreed| agreed.weights[1] -= 1,
            |agreed| agreed.weights.push(0),
            |agreed| agreed.weights.truncate(2),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = agreed();
            change(&mut changed);
            assert_ne!(changed.terms(&[1; 32], &[2; 32]), honest, "change {number}");
        }
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
