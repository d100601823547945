use firebreak_audit::{
    Hour, Leaf, LeafKind, LeafSignatureError, LeafSigner, NoRandomness, Opening, OutputKind as LoggedOutput,
    SignedLeaf, SignerRole, SignerRoleError,
};
use firebreak_domain::{Charge, OrgId, Pin, ReasonCode};
use firebreak_policy::{DecisionFacts, OutputKind};
use firebreak_store::State;
use firebreak_transport::{Credential, sign};
use sha2::{Digest, Sha256};

/// Evidence that could not be made. Nothing is answered without evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The key could not sign.
    #[error(transparent)]
    Signature(#[from] LeafSignatureError),
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The certificate is of somebody who signs no leaves.
    #[error(transparent)]
    Role(#[from] SignerRoleError),
}

/// What the leaf of a release commits to: what the caller signed, and the noisy numbers, so that whoever has the opening
/// can tell whether the figures that were shown are those that the agency released.
#[must_use]
pub fn release_payload(intent: &[u8], release: &[u8]) -> Vec<u8> {
    let mut payload = intent.to_vec();
    payload.extend_from_slice(b"release sha256 ");
    payload.extend_from_slice(hex::encode(Sha256::digest(release)).as_bytes());
    payload.push(b'\n');
    payload
}

/// The name of a release: the beginning of the hash that its leaf commits to.
#[must_use]
pub fn release_name(release: &[u8]) -> String {
    hex::encode(Sha256::digest(release)).chars().take(32).collect()
}

/// A signed leaf and what opens its commitment.
pub struct Evidence {
    /// For the log.
    pub leaf: SignedLeaf,
    /// For the caller and the overseers.
    pub opening: Opening,
}

/// Makes the leaves of one program, signed with the key of its certificate.
pub struct Recorder {
    credential: Credential,
    role: SignerRole,
}

impl LeafSigner for Recorder {
    fn key(&self) -> Pin {
        self.credential.pin()
    }

    fn sign(&self, leaf: &[u8]) -> Result<Vec<u8>, LeafSignatureError> {
        sign(&self.credential, leaf).map_err(|_| LeafSignatureError)
    }
}

impl Recorder {
    /// A recorder for the program whose certificate this is.
    ///
    /// # Errors
    /// [`EvidenceError::Role`] for a certificate of neither a gateway nor an adapter.
    pub fn new(credential: &Credential) -> Result<Self, EvidenceError> {
        let role = SignerRole::try_from(credential.identity().role)?;
        Ok(Self { credential: credential.clone(), role })
    }

    /// The organisation that signs.
    #[must_use]
    pub fn organisation(&self) -> &OrgId {
        &self.credential.identity().org
    }

    /// Signs what was done, with the state's ledger as it stands.
    ///
    /// `payload` is what the leaf commits to and does not show, for instance the canonical query.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn record(
        &self,
        kind: LeafKind,
        facts: &DecisionFacts,
        reason: Option<ReasonCode>,
        charge: Charge,
        payload: &[u8],
        state: &State,
    ) -> Result<Evidence, EvidenceError> {
        let opening = Opening::new(payload.to_vec())?;
        let ledger = state.ledger_head();
        let mut organisations: std::collections::BTreeSet<OrgId> = facts.organisation.iter().cloned().collect();
        organisations.insert(self.organisation().clone());
        let leaf = Leaf {
            hour: Hour::of(state.now()),
            kind,
            signer_org: self.organisation().clone(),
            signer_role: self.role,
            organisations,
            agreement: facts.agreement.clone(),
            purpose: facts.purpose.clone(),
            legal_basis: facts.legal_basis,
            recipient_class: Some(facts.recipient_class),
            output_kind: Some(logged(facts.output)),
            dataset: facts.datasets.first().cloned(),
            reason,
            bundle_sequence: facts.bundle_sequence,
            charge,
            ledger_head: ledger.head,
            ledger_total: ledger.total,
            commitment: opening.commitment(),
        };
        Ok(Evidence { leaf: SignedLeaf::sign(leaf, self)?, opening })
    }
}

const fn logged(output: OutputKind) -> LoggedOutput {
    match output {
        OutputKind::DpAggregate | OutputKind::PublishedRelease => LoggedOutput::DpAggregate,
        OutputKind::Match => LoggedOutput::Match,
        OutputKind::Identifiable => LoggedOutput::Identifiable,
        OutputKind::Pseudonymous => LoggedOutput::Pseudonymous,
    }
}
