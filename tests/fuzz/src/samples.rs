//! Valid things of which several targets make their samples.

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use firebreak_audit::{
    Hour, Leaf, LeafKind, LeafSignatureError, LeafSigner, LeafVerifier, NoteKey, Opening, OutputKind, SignedLeaf,
    SignerRole,
};
use firebreak_domain::{Charge, Contract, LegalBasis, Pin, RecipientClass, Rho, Timestamp};
use firebreak_wire::query::v1::{Question, RequestHeader};
use firebreak_wire::{question_to_wire, sql_question};
use std::sync::LazyLock;

/// The key of the examples in the documentation of `golang.org/x/mod/sumdb/note`, as a log keeps it.
pub const NOTE_KEY: &str = "firebreak note key format 1\n\
    key PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz\n";

/// The recipes of the cookbook, which are statements of every kind that there is.
pub fn recipes() -> Vec<&'static str> {
    let text = include_str!("../../../docs/COOKBOOK.md");
    text.split("\n```sql\n").skip(1).filter_map(|block| block.split("\n```").next()).collect()
}

/// The contracts of the sample federation.
pub fn contracts() -> &'static [Contract] {
    static CONTRACTS: LazyLock<Vec<Contract>> = LazyLock::new(|| {
        [
            include_str!("../../../deploy/sample/bundle/contracts/education.enrolments.toml"),
            include_str!("../../../deploy/sample/bundle/contracts/health.vaccinations.toml"),
            include_str!("../../../deploy/sample/bundle/contracts/health.visits.toml"),
        ]
        .map(|text| toml::from_str(text).expect("a sample contract"))
        .into()
    });
    &CONTRACTS
}

pub fn note_key() -> NoteKey {
    NoteKey::decode(NOTE_KEY.as_bytes()).expect("the example key")
}

/// An agency's key. Ed25519: a log does not care which algorithm signs leaves.
pub struct AgencyKey;

impl AgencyKey {
    fn secret() -> SigningKey {
        SigningKey::from_bytes(&[1; 32])
    }
}

impl LeafSigner for AgencyKey {
    fn key(&self) -> Pin {
        Pin::from_bytes(Self::secret().verifying_key().to_bytes())
    }

    fn sign(&self, leaf: &[u8]) -> Result<Vec<u8>, LeafSignatureError> {
        Ok(Self::secret().sign(leaf).to_vec())
    }
}

impl LeafVerifier for AgencyKey {
    fn accepts(&self, _: &Leaf, text: &[u8], key: &Pin, signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature);
        *key == self.key() && signature.is_ok_and(|s| Self::secret().verifying_key().verify_strict(text, &s).is_ok())
    }
}

pub fn opening() -> Opening {
    Opening { nonce: [7; 32], payload: b"canonical 1\nmeasure count_rows".to_vec() }
}

/// A leaf that opens to [`opening`]; `sealed` is the hash of what the overseers got.
pub fn leaf(number: u64, sealed: [u8; 32]) -> Leaf {
    Leaf {
        hour: Hour::of(Timestamp::from_secs(1_735_725_600)),
        kind: LeafKind::Release,
        signer_org: "health".parse().expect("an id"),
        signer_role: SignerRole::Adapter,
        organisations: ["health", "nso"].map(|id| id.parse().expect("an id")).into(),
        agreement: Some("health-statistics".parse().expect("an id")),
        purpose: Some("public-health".parse().expect("an id")),
        legal_basis: Some(LegalBasis::PublicTask),
        recipient_class: Some(RecipientClass::Statistics),
        output_kind: Some(OutputKind::DpAggregate),
        dataset: Some("health.visits".parse().expect("an id")),
        reason: None,
        bundle_sequence: number,
        charge: Charge::of_rho(Rho::from_nano(5_000_000)),
        ledger_head: [4; 32],
        ledger_total: Charge::of_rho(Rho::from_nano(10_000_000)),
        commitment: opening().commitment(),
        sealed,
    }
}

pub fn signed_leaf(number: u64) -> SignedLeaf {
    SignedLeaf::sign(leaf(number, [5; 32]), &AgencyKey).expect("signs")
}

pub fn header() -> RequestHeader {
    RequestHeader {
        format: 1,
        request_id: (0..16).collect(),
        agreement: "health-statistics".to_owned(),
        purpose: "public-health".to_owned(),
        expires: 1_740_830_400,
        certificates: vec![vec![0x30, 0x03, 0x02, 0x01, 0x05]],
        signature: vec![9; 64],
    }
}

/// Each recipe as SQL and as a message.
pub fn questions() -> Vec<Question> {
    let read = |sql: &str| question_to_wire(&firebreak_query::parse_sql(sql).expect("a recipe"));
    recipes().into_iter().flat_map(|sql| [sql_question(sql), read(sql)]).collect()
}
