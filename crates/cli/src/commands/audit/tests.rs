use super::*;
use firebreak_audit::{Hour, LeafKind, LeafSignatureError, LeafSigner, Log, NoteKey, SignedLeaf, SignerRole};
use firebreak_domain::{Charge, DatasetId, OrgId, ReasonCode, Rho, Timestamp};
use firebreak_transport::{Ca, Credential, Validity, sign};
use std::fs;

struct Adapter(Credential);

impl LeafSigner for Adapter {
    fn key(&self) -> Pin {
        self.0.pin()
    }

    fn sign(&self, leaf: &[u8]) -> Result<Vec<u8>, LeafSignatureError> {
        sign(&self.0, leaf).map_err(|_| LeafSignatureError)
    }
}

fn leaf(refused: bool) -> Leaf {
    let id = |name: &str| OrgId::new(name).unwrap();
    Leaf {
        hour: Hour::of(Timestamp::from_secs(1_735_725_600)),
        kind: if refused { LeafKind::Refusal } else { LeafKind::Release },
        signer_org: id("health"),
        signer_role: SignerRole::Adapter,
        organisations: [id("health"), id("nso")].into(),
        agreement: None,
        purpose: None,
        legal_basis: None,
        recipient_class: None,
        output_kind: None,
        dataset: Some(DatasetId::new("health.visits").unwrap()),
        reason: refused.then_some(ReasonCode::OnwardTransfer),
        bundle_sequence: 1,
        charge: if refused { Charge::default() } else { Charge::of_rho(Rho::from_nano(5_000_000)) },
        ledger_head: [0; 32],
        ledger_total: Charge::default(),
        commitment: [0; 32],
        sealed: [0; 32],
    }
}

struct Sample {
    folder: tempfile::TempDir,
    key: String,
}

/// A log of two releases and a refusal, a receipt of the first, the signer's certificate and a stranger's.
fn sample() -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::generate("test", "firebreak.test").unwrap();
    for (name, org) in [("health", "health"), ("stranger", "education")] {
        let who = format!("spiffe://firebreak.test/org/{org}/adapter/main").parse().unwrap();
        ca.issue(&who, &[], Validity::days(1)).unwrap().save(&folder.path().join(name)).unwrap();
    }
    let adapter = Adapter(Credential::load(&folder.path().join("health")).unwrap());
    let key = NoteKey::generate("firebreak.test/log").unwrap();
    let verifier = key.verifier().to_string();
    let mut log = Log::open(&folder.path().join("log"), key).unwrap();
    let leaves = [false, false, true].map(|refused| SignedLeaf::sign(leaf(refused), &adapter).unwrap());
    log.append(&leaves).unwrap();
    let published = log.publish().unwrap();
    let receipt = published.receipt(0, leaves[0].clone(), None).unwrap();
    fs::write(folder.path().join("receipt"), receipt.encode()).unwrap();
    fs::write(folder.path().join("log.pub"), format!("{verifier}\n")).unwrap();
    Sample { folder, key: verifier }
}

impl Sample {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verify(&self, key: &str, signer: Option<&str>) -> (Result<(), Failure>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal =
            Terminal { out: &mut out, err: &mut err, width: 80, out_is_terminal: false, err_is_terminal: false };
        let arguments = Verify {
            log: self.path("log"),
            key: key.to_owned(),
            receipt: vec![self.path("receipt")],
            signer: signer.map(|name| self.path(name).join("cert.pem")).into_iter().collect(),
        };
        let end = verify_log(&arguments, &mut terminal);
        (end, String::from_utf8(out).unwrap())
    }
}

#[test]
fn a_log_that_holds_is_reported_by_kind_reason_and_charge() {
    let sample = sample();
    let file = sample.path("log.pub");
    for key in [sample.key.as_str(), file.to_str().unwrap()] {
        let (end, out) = sample.verify(key, Some("health"));
        end.unwrap();
        let lines: Vec<String> = out.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in ["all 3", "release 2", "refusal 1", "refused: ONWARD_TRANSFER 1"] {
            assert!(lines.iter().any(|l| l == line), "{line}\n{out}");
        }
        for part in ["health.visits  ρ 0.01 ", "The receipt holds", "Every leaf is signed"] {
            assert!(out.contains(part), "{part}\n{out}");
        }
    }
}

#[test]
fn a_changed_file_is_named() {
    let sample = sample();
    let changed = sample.path("log/checkpoint");
    let mut bytes = fs::read(&changed).unwrap();
    bytes[20] ^= 1;
    fs::write(&changed, bytes).unwrap();
    let error = sample.verify(&sample.key, None).0.unwrap_err();
    assert!(error.to_string().contains("log/checkpoint"), "{error}");
}

#[test]
fn leaves_that_nobody_given_has_signed_are_found() {
    let sample = sample();
    assert!(matches!(sample.verify(&sample.key, Some("stranger")).0, Err(Failure::Verify(_))));
    let (end, out) = sample.verify(&sample.key, None);
    end.unwrap();
    assert!(out.contains("was not checked"), "{out}");
}

#[test]
fn a_key_that_is_neither_a_key_nor_a_file_is_said_to_be_unreadable() {
    let sample = sample();
    assert!(matches!(sample.verify("no such key", None).0, Err(Failure::File { .. })));
}

#[test]
fn a_signer_counts_for_its_own_organisation_and_its_own_key_alone() {
    let sample = sample();
    let (own, stranger) = (
        Adapter(Credential::load(&sample.path("health")).unwrap()),
        Adapter(Credential::load(&sample.path("stranger")).unwrap()),
    );
    let both = ["health", "stranger"].map(|name| sample.path(name).join("cert.pem"));
    let signers = Signers::read(&both).unwrap();
    let (leaf, text) = (leaf(false), b"text of a leaf");
    let accepts = |signer: &Adapter, key: Pin| signers.accepts(&leaf, text, &key, &signer.sign(text).unwrap());
    assert!(accepts(&own, own.key()));
    assert!(!accepts(&stranger, stranger.key()), "another organisation signs for this one");
    assert!(!accepts(&own, stranger.key()), "the leaf names another key than the one that signed");
    assert!(!accepts(&stranger, own.key()));
}
