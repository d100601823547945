use crate::bundle::require_quorum;
use crate::candidate::Candidate;
use crate::error::BundleError;
use base64::Engine as _;
use firebreak_domain::{OrgId, SealKey, UnknownFormat, check_format};
use serde::{Deserialize, Serialize};
use signed_note::{Note, StandardVerifier, Verifier as _};
use std::collections::BTreeSet;

/// `overseers.toml`: who signs policy, how many it takes, and the keys with which agencies sign their contracts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overseers {
    /// Format number of the file.
    pub format: u32,
    /// How many distinct overseers a bundle takes: at least two, and more than half.
    pub threshold: u32,
    /// The overseers.
    #[serde(rename = "overseer")]
    pub overseers: Vec<Overseer>,
    /// The agencies' contract keys.
    #[serde(default, rename = "agency")]
    pub agencies: Vec<AgencyKey>,
}

/// Somebody who signs policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overseer {
    /// A short name, unique in the file.
    pub id: OrgId,
    /// In words.
    pub title: String,
    /// The C2SP note verifier key, `name+id+key`.
    pub key: String,
    /// The key to which openings of leaves are sealed, so that this overseer can review what was asked.
    pub seal_key: SealKey,
}

/// The key with which an agency signs the contracts of its datasets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgencyKey {
    /// The agency.
    pub id: OrgId,
    /// The C2SP note verifier key.
    pub key: String,
}

/// An `overseers.toml` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverseersError {
    /// Not TOML of that shape.
    #[error("not an overseers file: {0}")]
    Syntax(String),
    /// Written for a later program.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// Two disjoint groups could each be a quorum, or one person is one, or nobody can be.
    #[error("threshold must be at least 2, more than half of the overseers and no more than there are")]
    Threshold,
    /// A key that is not an ed25519 note verifier key.
    #[error("the key of {0} is not an ed25519 C2SP verifier key (name+id+key)")]
    Key(OrgId),
    /// One name or one key stands twice: nobody counts twice.
    #[error("{0} shares a name or a key with another entry")]
    Shared(OrgId),
    /// A seal key to which nothing can be sealed.
    #[error("{0} is not a key to which openings can be sealed: make one with `firebreak bundle opening-key`")]
    SealKey(SealKey),
}

/// The overseers whose quorum the first bundle needs, pinned by a program's configuration.
///
/// It is the content of an `overseers.toml`; agency keys in it are not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRoot(Overseers);

impl TrustRoot {
    /// Reads the content of an `overseers.toml`.
    ///
    /// # Errors
    /// [`OverseersError`].
    pub fn parse(text: &str) -> Result<Self, OverseersError> {
        Overseers::parse(text).map(Self)
    }

    /// The overseers pinned.
    #[must_use]
    pub const fn overseers(&self) -> &Overseers {
        &self.0
    }

    /// Demands that a quorum of the overseers pinned has signed the candidate; nothing else of it is looked at.
    ///
    /// # Errors
    /// [`BundleError::Unsigned`], [`BundleError::TooFewSignatures`].
    pub fn require(&self, candidate: &Candidate) -> Result<(), BundleError> {
        require_quorum(&candidate.note, &self.0)
    }
}

impl Overseers {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`OverseersError`].
    pub fn parse(text: &str) -> Result<Self, OverseersError> {
        let this: Self = toml::from_str(text).map_err(|e| OverseersError::Syntax(e.message().to_owned()))?;
        this.check()?;
        Ok(this)
    }

    fn check(&self) -> Result<(), OverseersError> {
        check_format("overseers.toml", self.format)?;
        let n = self.overseers.len();
        let k = self.threshold as usize;
        // INVARIANT: k > n/2, so that two quorums always share an overseer and one history cannot be signed as two.
        if k < 2 || k > n || 2 * k <= n {
            return Err(OverseersError::Threshold);
        }
        let (mut ids, mut agencies, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut seal_keys = BTreeSet::new();
        if let Some(twice) = self.overseers.iter().find(|o| !seal_keys.insert(*o.seal_key.as_bytes())) {
            return Err(OverseersError::Shared(twice.id.clone()));
        }
        let overseers = self.overseers.iter().map(|o| (&o.id, &o.key, ids.insert(&o.id)));
        let agencies = self.agencies.iter().map(|a| (&a.id, &a.key, agencies.insert(&a.id)));
        for (id, key, new) in overseers.chain(agencies) {
            let public = public_key(key).ok_or_else(|| OverseersError::Key(id.clone()))?;
            // SECURITY: the raw key counts, not its note name: one key under two names is one signer.
            if !new || !keys.insert(public) {
                return Err(OverseersError::Shared(id.clone()));
            }
        }
        Ok(())
    }

    /// The contract key of an agency.
    #[must_use]
    pub fn agency_key(&self, agency: &OrgId) -> Option<&str> {
        self.agencies.iter().find(|a| a.id == *agency).map(|a| a.key.as_str())
    }

    /// The overseers whose valid signature stands on the note, each once.
    pub(crate) fn signers(&self, note: &SignedText) -> BTreeSet<&OrgId> {
        self.overseers.iter().filter(|o| note.is_signed_by(&o.key)).map(|o| &o.id).collect()
    }

    /// The keys to which openings are sealed, in the file's order.
    #[must_use]
    pub fn seal_keys(&self) -> Vec<SealKey> {
        self.overseers.iter().map(|o| o.seal_key).collect()
    }

    /// The overseers of both who have another seal key here.
    pub(crate) fn with_another_seal_key<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a OrgId> {
        let changed = |now: &&Overseer| before.overseers.iter().any(|o| o.id == now.id && o.seal_key != now.seal_key);
        self.overseers.iter().filter(changed).map(|o| &o.id)
    }

    /// Whether both name the same overseers, keys and threshold; agency keys and seal keys aside.
    pub(crate) fn same_quorum(&self, other: &Self) -> bool {
        let keys = |o: &Self| o.overseers.iter().map(|o| o.key.clone()).collect::<BTreeSet<_>>();
        self.threshold == other.threshold && keys(self) == keys(other)
    }
}

fn public_key(key: &str) -> Option<Vec<u8>> {
    StandardVerifier::new(key).ok()?;
    let encoded = key.splitn(3, '+').nth(2)?;
    base64::engine::general_purpose::STANDARD.decode(encoded).ok()
}

/// A signed note as read: its text, and whichever signatures it carries.
#[derive(Debug)]
pub(crate) struct SignedText {
    text: String,
    signatures: Vec<signed_note::Signature>,
}

impl SignedText {
    /// Reads a note; a text with no signature block at all is read as unsigned.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if Note::from_bytes(bytes).is_err() {
            let text = text.trim_end_matches('\n');
            return (!text.is_empty() && !text.contains("\n\n"))
                .then(|| Self { text: format!("{text}\n"), signatures: Vec::new() });
        }
        let (text, block) = text.rsplit_once("\n\n")?;
        let signatures = block.lines().map(|line| signed_note::Signature::from_bytes(line.as_bytes()));
        Some(Self { text: format!("{text}\n"), signatures: signatures.collect::<Result<_, _>>().ok()? })
    }

    /// What is signed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it carries any signature, by whomever.
    pub(crate) const fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }

    /// Whether a valid signature of that verifier key stands on it. Signatures of anybody else change nothing.
    pub(crate) fn is_signed_by(&self, key: &str) -> bool {
        let Ok(verifier) = StandardVerifier::new(key) else { return false };
        self.signatures
            .iter()
            .filter(|s| s.name() == verifier.name() && s.id() == verifier.key_id())
            .any(|s| verifier.verify(self.text.as_bytes(), s.signature()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::SigningKey;

    fn file(threshold: u32, keys: &[(&str, &str)]) -> String {
        let mut text = format!("format = 1\nthreshold = {threshold}\n");
        for (id, key) in keys {
            text += &format!("[[overseer]]\nid = \"{id}\"\ntitle = \"t\"\nkey = \"{key}\"\n");
            let seal = hex::encode([id.as_bytes()[0]; 32]);
            text += &format!("seal_key = \"x25519:{seal}\"\n");
        }
        text
    }

    #[test]
    fn a_threshold_that_lets_two_groups_decide_apart_is_refused() {
        let keys: Vec<_> = (0..4).map(|n| SigningKey::generate(&format!("o{n}")).unwrap().verifier_key()).collect();
        let named: Vec<_> = ["a", "b", "c", "d"].into_iter().zip(keys.iter().map(String::as_str)).collect();
        for (threshold, n, accepted) in
            [(1, 1, false), (1, 2, false), (2, 2, true), (2, 3, true), (2, 4, false), (3, 4, true), (5, 4, false)]
        {
            let read = Overseers::parse(&file(threshold, &named[..n]));
            assert_eq!(read.is_ok(), accepted, "{threshold} of {n}");
        }
    }

    #[test]
    fn one_key_under_two_names_is_refused() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]).verifying_key();
        let one = signed_note::new_ed25519_verifier_key("one", &key);
        let two = signed_note::new_ed25519_verifier_key("two", &key);
        let other = SigningKey::generate("other").unwrap().verifier_key();
        assert_eq!(
            Overseers::parse(&file(2, &[("a", &one), ("b", &two)])),
            Err(OverseersError::Shared(OrgId::new("b").unwrap()))
        );
        assert!(Overseers::parse(&file(2, &[("a", &one), ("b", &other)])).is_ok());
        // Nor does one read openings for two: the seal keys are those of their first letters.
        let shared = Overseers::parse(&file(2, &[("a", &one), ("aa", &other)]));
        assert_eq!(shared, Err(OverseersError::Shared(OrgId::new("aa").unwrap())));
    }

    #[test]
    fn a_later_format_is_refused_by_name() {
        let text = "format = 2\nthreshold = 2\noverseer = []\n";
        assert!(matches!(Overseers::parse(text), Err(OverseersError::Format(_))));
    }
}
