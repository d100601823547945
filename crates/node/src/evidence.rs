use firebreak_audit::{
    Hour, Leaf, LeafKind, LeafSignatureError, LeafSigner, LogEntry, NoRandomness, Opening, OutputKind as LoggedOutput,
    SealError, SealedOpening, Sealer, SignedLeaf, SignerRole, SignerRoleError, request_line,
};
use firebreak_domain::{Charge, Intent, OrgId, Pin, ReasonCode, ReleaseName};
use firebreak_policy::{DecisionFacts, OutputKind};
use firebreak_store::{NewLeaf, State};
use firebreak_transport::{Credential, sign};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Evidence that could not be made. Nothing is answered without evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The key could not sign.
    #[error(transparent)]
    Signature(#[from] LeafSignatureError),
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// What opens it could not be sealed to the overseers.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The certificate is of somebody who signs no leaves.
    #[error(transparent)]
    Role(#[from] SignerRoleError),
}

/// What the leaf of a release commits to: what the caller signed, and the noisy numbers, so that whoever has the
/// opening can tell whether the figures that were shown are those that the agency released.
fn release_payload(intent: &[u8], release: &[u8]) -> Vec<u8> {
    let mut payload = intent.to_vec();
    payload.extend_from_slice(b"release sha256 ");
    payload.extend_from_slice(hex::encode(Sha256::digest(release)).as_bytes());
    payload.push(b'\n');
    payload
}

/// Whether `payload` is what [`Content::of_release`] commits to, of that release and of `intent` or an earlier
/// sending of it, which may have had another expiry.
#[must_use]
pub fn is_release_payload(payload: &[u8], intent: &Intent, release: &[u8]) -> bool {
    let lines = |bytes: &[u8]| bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (found, expected) = (lines(payload), lines(&release_payload(&intent.signing_bytes(), release)));
    // The expiry is the last line but one.
    let expiry = expected.len().saturating_sub(2);
    found.len() == expected.len()
        && found.iter().zip(&expected).enumerate().all(|(number, (found, expected))| {
            found == expected || (number == expiry && found.starts_with(b"expires "))
        })
}

/// Whether `payload` is what [`Content::of_request`] commits to.
#[must_use]
pub fn is_request_payload(payload: &[u8], intent: &Intent) -> bool {
    payload == request_line(&intent.signing_bytes()).as_bytes()
}

/// The name of a release: the beginning of the hash that its leaf commits to.
#[must_use]
pub fn release_name(release: &[u8]) -> String {
    ReleaseName::of(release).to_string()
}

/// What a leaf commits to, and what the overseers read beside it.
pub struct Content {
    payload: Vec<u8>,
    request: Vec<u8>,
}

impl Content {
    /// Of an act that commits to `payload` and follows from no request.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        Self { payload: payload.to_vec(), request: Vec::new() }
    }

    /// Of a release: its payload holds the request.
    #[must_use]
    pub fn of_release(intent: &Intent, release: &[u8]) -> Self {
        Self::of(&release_payload(&intent.signing_bytes(), release))
    }

    /// Of a request that was refused or let in; `None` for one that names something as nothing can be named.
    ///
    /// PRIVACY: the payload, which goes back to the caller in the receipt and through the gateway, is a hash over the
    /// request with its random id. What was typed, the overseers alone can read.
    #[must_use]
    pub fn of_request(intent: Option<&Intent>) -> Self {
        let Some(intent) = intent else { return Self::of(b"") };
        let request = intent.signing_bytes();
        Self { payload: request_line(&request).into_bytes(), request }
    }

    /// Of a publication, which commits to `payload` and follows from the request whose signed bytes those are.
    ///
    /// PRIVACY: everybody gets the opening, and the overseers alone the request.
    #[must_use]
    pub fn of_publication(payload: &str, request: &[u8]) -> Self {
        Self { payload: payload.as_bytes().to_vec(), request: request.to_vec() }
    }

    /// The same, committed to together with a further line.
    #[must_use]
    pub fn with_line(mut self, line: &str) -> Self {
        self.payload.extend_from_slice(line.as_bytes());
        self.payload.push(b'\n');
        self
    }
}

/// A signed leaf and what opens its commitment.
pub struct Evidence {
    /// For the log.
    pub leaf: SignedLeaf,
    /// For the caller.
    pub opening: Opening,
    /// For the overseers: the opening, and the request.
    pub sealed: SealedOpening,
}

const STORED_FORMAT: u8 = 1;

impl Evidence {
    /// For the outbox: the leaf, and what the overseers read.
    #[must_use]
    pub fn new_leaf(&self) -> NewLeaf {
        NewLeaf { leaf: self.leaf.as_bytes().to_vec(), sealed: self.sealed.as_bytes().to_vec() }
    }

    /// For the log.
    #[must_use]
    pub fn entry(&self) -> LogEntry {
        LogEntry { leaf: self.leaf.clone(), sealed: self.sealed.clone() }
    }

    /// As it is stored: a format number, the leaf and the sealed opening, each behind its length, the opening's random
    /// bytes and its payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![STORED_FORMAT];
        for part in [self.leaf.as_bytes(), self.sealed.as_bytes()] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
        bytes.extend(self.opening.nonce);
        bytes.extend(&self.opening.payload);
        bytes
    }

    /// Reads what [`Evidence::encode`] wrote; `None` for anything else, and for an opening that is not the leaf's.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (_, rest) = bytes.split_first().filter(|(format, _)| **format == STORED_FORMAT)?;
        let (leaf, rest) = behind_length(rest)?;
        let (sealed, rest) = behind_length(rest)?;
        let (nonce, payload) = rest.split_first_chunk()?;
        let leaf = SignedLeaf::decode(leaf).ok()?;
        let opening = Opening { nonce: *nonce, payload: payload.to_vec() };
        let sealed = SealedOpening::from_bytes(sealed.to_vec()).ok()?;
        Self { leaf, opening, sealed }.checked()
    }

    /// Evidence of an answer over a join as it is stored: the gateway's of the release, and each agency's of its
    /// commitment, each behind its length.
    #[must_use]
    pub fn encode_join(all: [&Self; 3]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for one in all.map(Self::encode) {
            bytes.extend((one.len() as u64).to_be_bytes());
            bytes.extend(one);
        }
        bytes
    }

    /// Reads what [`Evidence::encode_join`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode_join(mut rest: &[u8]) -> Option<[Self; 3]> {
        let mut one = || {
            let (evidence, behind) = behind_length(rest)?;
            rest = behind;
            Self::decode(evidence)
        };
        let all = [one()?, one()?, one()?];
        rest.is_empty().then_some(all)
    }

    /// Itself, if opening and sealed opening are those of the leaf.
    #[must_use]
    pub fn checked(self) -> Option<Self> {
        let leaf = self.leaf.leaf();
        let fits = leaf.commitment == self.opening.commitment() && leaf.sealed == self.sealed.hash();
        fits.then_some(self)
    }
}

fn behind_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)
}

/// Makes the leaves of one program, signed with the key of its certificate, their openings sealed to the overseers.
pub struct Recorder {
    credential: Credential,
    sealer: Arc<Sealer>,
    role: SignerRole,
}

/// Signs one leaf: the key that the leaf names is the one that signs it, whatever is renewed meanwhile.
struct OneKey(Credential);

impl LeafSigner for OneKey {
    fn key(&self) -> Pin {
        self.0.pin()
    }

    fn sign(&self, leaf: &[u8]) -> Result<Vec<u8>, LeafSignatureError> {
        sign(&self.0, leaf).map_err(|_| LeafSignatureError)
    }
}

impl Recorder {
    /// A recorder for the program whose certificate this is, and what seals to its overseers
    /// ([`PolicyInForce::sealer`](crate::PolicyInForce::sealer)).
    ///
    /// # Errors
    /// [`EvidenceError::Role`] for a certificate of neither a gateway nor an adapter.
    pub fn new(credential: &Credential, sealer: &Arc<Sealer>) -> Result<Self, EvidenceError> {
        let role = SignerRole::try_from(credential.identity().role)?;
        Ok(Self { credential: credential.clone(), sealer: Arc::clone(sealer), role })
    }

    /// The organisation that signs.
    #[must_use]
    pub fn organisation(&self) -> &OrgId {
        &self.credential.identity().org
    }

    /// Signs what was done, with the state's ledger as it stands.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn record(
        &self,
        kind: LeafKind,
        facts: &DecisionFacts,
        reason: Option<ReasonCode>,
        charge: Charge,
        content: Content,
        state: &State,
    ) -> Result<Evidence, EvidenceError> {
        let Content { payload, request } = content;
        let (own, opening) = self.leaf(kind, facts.bundle_sequence, payload, state)?;
        let mut organisations = own.organisations.clone();
        organisations.extend(facts.organisation.iter().cloned());
        let leaf = Leaf {
            organisations,
            agreement: facts.agreement.clone(),
            purpose: facts.purpose.clone(),
            legal_basis: facts.legal_basis,
            recipient_class: Some(facts.recipient_class),
            output_kind: Some(logged(facts.output)),
            dataset: facts.datasets.first().cloned(),
            reason,
            charge,
            ..own
        };
        self.sign_and_seal(leaf, opening, &request)
    }

    /// Signs that something was done which nobody is to hear of yet: the leaf names the signer alone.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn record_unnamed(
        &self,
        kind: LeafKind,
        bundle_sequence: u64,
        content: Content,
        state: &State,
    ) -> Result<Evidence, EvidenceError> {
        let Content { payload, request } = content;
        let (leaf, opening) = self.leaf(kind, bundle_sequence, payload, state)?;
        self.sign_and_seal(leaf, opening, &request)
    }

    /// Signs what became of a policy bundle: `bundle_sequence` is the one in force from then on.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn record_policy(
        &self,
        kind: LeafKind,
        bundle_sequence: u64,
        payload: &[u8],
        state: &State,
    ) -> Result<Evidence, EvidenceError> {
        let (leaf, opening) = self.leaf(kind, bundle_sequence, payload.to_vec(), state)?;
        self.sign_and_seal(leaf, opening, b"")
    }

    fn sign_and_seal(&self, leaf: Leaf, opening: Opening, request: &[u8]) -> Result<Evidence, EvidenceError> {
        let sealed = self.sealer.seal(&opening, request)?;
        let leaf = Leaf { sealed: sealed.hash(), ..leaf };
        let signer = OneKey(self.credential.snapshot());
        Ok(Evidence { leaf: SignedLeaf::sign(leaf, &signer)?, opening, sealed })
    }

    /// A leaf of this program that is about nobody else, and what opens its commitment.
    fn leaf(
        &self,
        kind: LeafKind,
        bundle_sequence: u64,
        payload: Vec<u8>,
        state: &State,
    ) -> Result<(Leaf, Opening), EvidenceError> {
        let opening = Opening::new(payload)?;
        let ledger = state.ledger_head();
        let leaf = Leaf {
            hour: Hour::of(state.now()),
            kind,
            signer_org: self.organisation().clone(),
            signer_role: self.role,
            organisations: [self.organisation().clone()].into(),
            agreement: None,
            purpose: None,
            legal_basis: None,
            recipient_class: None,
            output_kind: None,
            dataset: None,
            reason: None,
            bundle_sequence,
            charge: Charge::default(),
            ledger_head: ledger.head,
            ledger_total: ledger.total,
            commitment: opening.commitment(),
            sealed: [0; 32],
        };
        Ok((leaf, opening))
    }
}

const fn logged(output: OutputKind) -> LoggedOutput {
    match output {
        OutputKind::DpAggregate => LoggedOutput::DpAggregate,
        OutputKind::PublishedRelease => LoggedOutput::PublishedRelease,
        OutputKind::Match => LoggedOutput::Match,
        OutputKind::Identifiable => LoggedOutput::Identifiable,
        OutputKind::Pseudonymous => LoggedOutput::Pseudonymous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_domain::{Act, AgreementId, PurposeId, Recipient, RequestId, Timestamp};

    fn intent(id: u8, expires: i64) -> Intent {
        Intent {
            request_id: RequestId::from_bytes([id; 16]),
            agreement: AgreementId::new("a").unwrap(),
            purpose: PurposeId::new("p").unwrap(),
            act: Act::Aggregate { canonical_query: "one\nexpires 1 x\n".into() },
            recipient: Recipient::Organisation(OrgId::new("nso").unwrap()),
            expires: Timestamp::from_secs(expires),
        }
    }

    #[test]
    fn an_opening_is_of_its_own_request_whatever_the_expiry() {
        let payload = release_payload(&intent(1, 1000).signing_bytes(), b"numbers");
        assert!(is_release_payload(&payload, &intent(1, 1000), b"numbers"));
        assert!(is_release_payload(&payload, &intent(1, 2000), b"numbers"), "an earlier sending");
        assert!(!is_release_payload(&payload, &intent(2, 1000), b"numbers"), "another request");
        assert!(!is_release_payload(&payload, &intent(1, 1000), b"others"), "another release");
        let other = Intent { purpose: PurposeId::new("q").unwrap(), ..intent(1, 1000) };
        assert!(!is_release_payload(&payload, &other, b"numbers"), "another purpose");
        let more = [payload.as_slice(), b"request 1 x\n"].concat();
        assert!(!is_release_payload(&more, &intent(1, 1000), b"numbers"), "a line more");
        assert!(!is_release_payload(b"", &intent(1, 1000), b"numbers"));
    }
}
