//! Leaves and logs that tests and the example program share.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use firebreak_audit::{
    Hour, Leaf, LeafKind, LeafSignatureError, LeafSigner, LeafVerifier, Log, NoteKey, Opening, OutputKind, Receipt,
    SignedLeaf, SignerRole,
};
use firebreak_domain::{
    AgreementId, Charge, DatasetId, LegalBasis, OrgId, Pin, PurposeId, ReasonCode, RecipientClass, Rho, Timestamp,
};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Name of the sample log.
pub const ORIGIN: &str = "firebreak.example/log";

/// An agency's key; Ed25519, because the log does not care which algorithm signs leaves.
pub struct AgencyKey(SigningKey);

impl AgencyKey {
    /// The key of that number, always the same.
    pub fn new(number: u8) -> Self {
        Self(SigningKey::from_bytes(&[number; 32]))
    }

    fn public(&self) -> VerifyingKey {
        self.0.verifying_key()
    }
}

impl LeafSigner for AgencyKey {
    fn key(&self) -> Pin {
        // SubjectPublicKeyInfo of an Ed25519 key (RFC 8410).
        let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        spki.extend_from_slice(self.public().as_bytes());
        Pin::from_bytes(Sha256::digest(&spki).into())
    }

    fn sign(&self, leaf: &[u8]) -> Result<Vec<u8>, LeafSignatureError> {
        Ok(self.0.sign(leaf).to_vec())
    }
}

impl LeafVerifier for AgencyKey {
    fn accepts(&self, leaf: &Leaf, text: &[u8], key: &Pin, signature: &[u8]) -> bool {
        leaf.signer_org.as_str() == "health"
            && *key == self.key()
            && Signature::from_slice(signature).is_ok_and(|s| self.public().verify_strict(text, &s).is_ok())
    }
}

/// A leaf that opens to `opening`: a release, every fifth a refusal.
pub fn leaf(number: u64, opening: &Opening) -> Leaf {
    let refused = number % 5 == 4;
    let charge = if refused { Charge::default() } else { Charge::of_rho(Rho::from_nano(5_000_000)) };
    Leaf {
        hour: Hour::of(Timestamp::from_secs(1_735_725_600 + i64::try_from(number).unwrap_or(0) * 60)),
        kind: if refused { LeafKind::Refusal } else { LeafKind::Release },
        signer_org: OrgId::new("health").expect("well formed"),
        signer_role: SignerRole::Adapter,
        organisations: ["health", "nso"].into_iter().map(|id| OrgId::new(id).expect("well formed")).collect(),
        agreement: Some(AgreementId::new("health-stats-2024").expect("well formed")),
        purpose: Some(PurposeId::new("public-health").expect("well formed")),
        legal_basis: Some(LegalBasis::PublicTask),
        recipient_class: Some(RecipientClass::Statistics),
        output_kind: Some(OutputKind::DpAggregate),
        dataset: Some(DatasetId::new("health.visits").expect("well formed")),
        reason: refused.then_some(ReasonCode::PurposeNotCovered),
        bundle_sequence: 7,
        charge,
        ledger_head: Sha256::digest(number.to_be_bytes()).into(),
        ledger_total: Charge::of_rho(Rho::from_nano(5_000_000 * number)),
        commitment: opening.commitment(),
        sealed: Sha256::digest(b"sealed elsewhere").into(),
    }
}

/// The opening of leaf `number`, the same at each call.
pub fn opening(number: u64) -> Opening {
    Opening { nonce: Sha256::digest(number.to_le_bytes()).into(), payload: format!("query {number}").into_bytes() }
}

/// Leaves with these numbers, signed.
pub fn leaves(numbers: std::ops::Range<u64>) -> Vec<SignedLeaf> {
    let agency = AgencyKey::new(1);
    numbers.map(|n| SignedLeaf::sign(leaf(n, &opening(n)), &agency).expect("signs")).collect()
}

/// A new key for the sample log.
pub fn note_key() -> NoteKey {
    NoteKey::generate(ORIGIN).expect("randomness")
}

/// A log in `dir` that has published the given sizes one after the other, and the receipts that the first leaf of each
/// publication got. Gives the text of the verifier key as well.
pub fn make_log(
    dir: &Path,
    sizes: &[u64],
    leaves: impl Fn(std::ops::Range<u64>) -> Vec<SignedLeaf>,
) -> (String, Vec<Receipt>) {
    let key = note_key();
    let verifier = key.verifier().to_string();
    let mut log = Log::open(dir, key).expect("opens");
    let mut receipts = Vec::new();
    for &size in sizes {
        let new = leaves(log.appended()..size);
        let first = log.append(&new).expect("fits").start;
        let published = log.publish().expect("publishes");
        let leaf = new.first().expect("sizes grow").clone();
        receipts.push(published.receipt(first, leaf, Some(opening(first))).expect("published"));
    }
    (verifier, receipts)
}
