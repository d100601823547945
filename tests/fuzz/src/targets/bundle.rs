//! The signed parts of a policy bundle.

use super::{text, texts};
use firebreak_domain::Timestamp;
use firebreak_policy::constitution::{Constitution, SOURCES};
use firebreak_policy::signing::{SigningKey, cosign, write_manifest};
use firebreak_policy::{Candidate, Manifest, Overseers, TrustRoot, Validity};
use std::fs;
use std::sync::LazyLock;
use tempfile::TempDir;

const ENDPOINTS: &str = include_str!("../../../../deploy/sample/bundle/endpoints.toml");
const MADE: Timestamp = Timestamp::from_secs(1_735_689_600);
const VALIDITY: Validity =
    Validity { made: MADE, valid_from: MADE.plus_secs(86_400), valid_until: MADE.plus_secs(86_400 * 300) };

pub fn manifest(bytes: &[u8]) -> bool {
    let Some(Ok(manifest)) = text(bytes).map(Manifest::parse) else { return false };
    assert_eq!(manifest.to_string().as_bytes(), bytes, "a manifest has two texts");
    assert!(manifest.validity.valid_from < manifest.validity.valid_until);
    assert_eq!(manifest.sequence == 1, manifest.previous.is_none());
    true
}

pub fn manifests() -> Vec<Vec<u8>> {
    let files = [("agreements/a.toml", [1; 32]), ("endpoints.toml", [2; 32]), ("policies/all.cedar", [3; 32])];
    let files = files.map(|(path, hash)| (path.to_owned(), hash)).into();
    let first = Manifest { sequence: 1, previous: None, validity: VALIDITY, files };
    let next = Manifest { sequence: 2, previous: Some(first.digest()), ..first.clone() };
    [first, next].map(|manifest| manifest.to_string().into_bytes()).into()
}

struct Signed {
    keys: Vec<SigningKey>,
    note: Vec<u8>,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let keys: Vec<_> = ["amina", "bela", "chidi"].map(|name| SigningKey::generate(name).unwrap()).into();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("endpoints.toml"), ENDPOINTS).unwrap();
    write_manifest(folder.path(), 1, None, VALIDITY).unwrap();
    keys.iter().take(2).for_each(|key| cosign(folder.path(), key).unwrap());
    let note = fs::read(folder.path().join("manifest.note")).unwrap();
    Signed { keys, note }
});

fn overseers_file() -> String {
    let mut text = String::from("format = 1\nthreshold = 2\n");
    for (number, key) in (1_u8..).zip(&SIGNED.keys) {
        let key = key.verifier_key();
        let id = key.split('+').next().unwrap();
        let seal = hex::encode([number; 32]);
        text += &format!("[[overseer]]\nid = \"{id}\"\ntitle = \"Overseer {id}\"\n");
        text += &format!("key = \"{key}\"\nseal_key = \"x25519:{seal}\"\n");
    }
    text
}

/// `manifest.note` of a folder that holds one file beside it.
pub fn note(bytes: &[u8]) -> bool {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("endpoints.toml"), ENDPOINTS).unwrap();
    fs::write(folder.path().join("manifest.note"), bytes).unwrap();
    let Ok(candidate) = Candidate::read(folder.path()) else { return false };
    let root = TrustRoot::parse(&overseers_file()).unwrap();
    if root.require(&candidate).is_ok() {
        let signed = |note: &[u8]| note.windows(2).position(|pair| pair == b"\n\n").map(|end| note[..end].to_vec());
        assert_eq!(signed(bytes), signed(&SIGNED.note), "a manifest was signed by nobody");
    }
    true
}

pub fn notes() -> Vec<Vec<u8>> {
    vec![SIGNED.note.clone()]
}

pub fn overseers(bytes: &[u8]) -> bool {
    let Some(Ok(overseers)) = text(bytes).map(Overseers::parse) else { return false };
    assert!(overseers.threshold >= 2 && overseers.threshold as usize <= overseers.overseers.len());
    assert!(overseers.threshold as usize * 2 > overseers.overseers.len(), "two quorums share nobody");
    assert_eq!(overseers.seal_keys().len(), overseers.overseers.len());
    let again = Overseers::parse(&toml::to_string(&overseers).unwrap());
    assert!(again.is_ok_and(|again| again == overseers));
    true
}

pub fn overseers_samples() -> Vec<Vec<u8>> {
    texts(&[&overseers_file()])
}

pub fn signing_key(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let Ok(key) = SigningKey::parse(text) else { return false };
    assert_eq!(key.secret().as_str(), text.trim());
    let again = SigningKey::parse(key.secret()).unwrap();
    assert_eq!(again.verifier_key(), key.verifier_key());
    true
}

pub fn signing_keys() -> Vec<Vec<u8>> {
    SIGNED.keys.iter().map(|key| key.secret().as_bytes().to_vec()).collect()
}

/// Policies, as the constitution is read: whatever is taken as part of it only forbids.
pub fn policy(bytes: &[u8]) -> bool {
    text(bytes).is_some_and(|text| Constitution::parse([text]).is_ok())
}

pub fn policies() -> Vec<Vec<u8>> {
    texts(&SOURCES.map(|(_, text)| text))
}
