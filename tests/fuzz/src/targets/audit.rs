//! What the log is made of, and what callers, agencies and overseers keep of it.

use super::{text, texts};
use crate::samples::{
    AgencyKey, NOTE_KEY, leaf as sample_leaf, note_key as sample_key, opening, signed_leaf as signed,
};
use firebreak_audit::{
    Follower, Leaf, Log, NoteKey, OpeningKey, PublishedLog, Receipt, SealedOpening, Sealer, SignedLeaf, VerifierKey,
    tile_path_again, verified_leaves, verify_folder,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

/// Leaves of the sample log when it published.
const SIZES: [u64; 3] = [1, 5, 12];

/// What stands in a log's folder, and what it gave out at each size.
struct Sample {
    files: Vec<(PathBuf, Vec<u8>)>,
    checkpoints: Vec<Vec<u8>>,
    receipts: Vec<Vec<u8>>,
    /// Proofs that each checkpoint extends the one before.
    extends: Vec<Vec<[u8; 32]>>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    let mut log = Log::open(folder.path(), sample_key()).unwrap();
    let (mut checkpoints, mut receipts, mut extends) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = 0;
    for size in SIZES {
        let leaves: Vec<_> = (before..size).map(signed).collect();
        log.append(&leaves).unwrap();
        let published: Arc<PublishedLog> = Arc::clone(log.publish().unwrap());
        checkpoints.push(published.checkpoint().note().as_bytes().to_vec());
        extends.push(published.consistency_proof(before, size).unwrap());
        for opening in [None, Some(opening())] {
            receipts.push(published.receipt(before, leaves[0].clone(), opening).unwrap().encode().into_bytes());
        }
        before = size;
    }
    let mut files = Vec::new();
    walk(folder.path(), folder.path(), &mut files);
    files.sort();
    Sample { files, checkpoints, receipts, extends }
});

fn walk(root: &Path, folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, files);
        } else {
            files.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap()));
        }
    }
}

fn verifier() -> VerifierKey {
    sample_key().verifier().clone()
}

pub fn leaf(bytes: &[u8]) -> bool {
    let Ok(leaf) = Leaf::decode(bytes) else { return false };
    assert_eq!(leaf.encode().as_bytes(), bytes, "a leaf has two texts");
    true
}

pub fn leaves() -> Vec<Vec<u8>> {
    let bare = Leaf { agreement: None, purpose: None, legal_basis: None, dataset: None, ..sample_leaf(1, [0; 32]) };
    let refused = Leaf { reason: Some(firebreak_domain::ReasonCode::PurposeNotCovered), ..sample_leaf(9, [8; 32]) };
    [sample_leaf(7, [1; 32]), bare, refused].map(|leaf| leaf.encode().into_bytes()).into()
}

pub fn signed_leaf(bytes: &[u8]) -> bool {
    let Ok(leaf) = SignedLeaf::decode(bytes) else { return false };
    assert_eq!(leaf.as_bytes(), bytes);
    let ours = signed_leaves();
    assert!(!leaf.is_signed(&AgencyKey) || ours.iter().any(|our| our == bytes), "a leaf was signed by nobody");
    true
}

pub fn signed_leaves() -> Vec<Vec<u8>> {
    (0..3).map(|number| signed(number).as_bytes().to_vec()).collect()
}

pub fn checkpoint(bytes: &[u8]) -> bool {
    let Ok(checkpoint) = verifier().open(bytes) else { return false };
    assert_eq!(checkpoint.note().as_bytes(), bytes);
    assert!(SIZES.contains(&checkpoint.size()), "a checkpoint was signed by nobody");
    assert!(SAMPLE.checkpoints.iter().any(|known| known == bytes), "a checkpoint has two texts");
    true
}

pub fn checkpoints() -> Vec<Vec<u8>> {
    SAMPLE.checkpoints.clone()
}

pub fn receipt(bytes: &[u8]) -> bool {
    for one in Receipt::each(bytes) {
        let _ = Receipt::decode(one);
    }
    let Ok(receipt) = Receipt::decode(bytes) else { return false };
    assert_eq!(receipt.encode().as_bytes(), bytes, "a receipt has two texts");
    if let Ok(verified) = receipt.verify(&verifier()) {
        // What a receipt shows of the log is true, whatever else is in it.
        assert_eq!(verified.leaf.as_bytes(), signed(verified.index).as_bytes(), "a leaf is not in the log");
        assert!(verified.opening.is_none_or(|found| found == opening()), "a commitment opens to two things");
    }
    true
}

pub fn receipts() -> Vec<Vec<u8>> {
    SAMPLE.receipts.clone()
}

pub fn note_key(bytes: &[u8]) -> bool {
    let Ok(key) = NoteKey::decode(bytes) else { return false };
    assert_eq!(key.encode().as_bytes(), bytes, "a key has two texts");
    let written = key.verifier().to_string();
    assert_eq!(written.parse::<VerifierKey>().as_ref(), Ok(key.verifier()));
    true
}

pub fn note_keys() -> Vec<Vec<u8>> {
    vec![NOTE_KEY.as_bytes().to_vec()]
}

/// What an adapter kept of the log, and what it is shown next: the kept text behind its length (2 bytes), the number of
/// hashes of the proof (1), the hashes, the checkpoint.
pub fn follower(bytes: &[u8]) -> bool {
    let read = || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (kept, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (count, rest) = rest.split_first()?;
        let (proof, note) = rest.split_at_checked(usize::from(*count) * 32)?;
        Some((kept, proof.as_chunks::<32>().0, note))
    };
    let Some((kept, proof, note)) = read() else { return false };
    let Ok(mut follower) = Follower::decode(kept, verifier()) else { return false };
    assert_eq!(follower.encode().as_bytes(), kept);
    let before = follower.clone();
    let Ok(shown) = follower.advance(note, proof) else {
        assert!(follower == before, "a checkpoint that was refused counts");
        return false;
    };
    assert!(shown.size() >= before.size() && follower.size() == shown.size() && follower.root() == shown.root());
    assert!(shown.size() > before.size() || before.size() == 0 || shown.root() == before.root(), "a fork was accepted");
    let again = Follower::decode(follower.encode().as_bytes(), verifier());
    assert!(again.is_ok_and(|again| again == follower));
    true
}

pub fn followers() -> Vec<Vec<u8>> {
    let mut follower = Follower::new(verifier());
    let mut samples = Vec::new();
    for (note, proof) in SAMPLE.checkpoints.iter().zip(&SAMPLE.extends) {
        let kept = follower.encode();
        let (length, count) = (u16::try_from(kept.len()).unwrap(), u8::try_from(proof.len()).unwrap());
        let head = [length.to_be_bytes().as_slice(), kept.as_bytes(), &[count]].concat();
        samples.push([&head, proof.as_flattened(), note].concat());
        follower.advance(note, proof).unwrap();
    }
    samples
}

/// A log's folder of which one file, chosen by the first byte, holds the other bytes.
pub fn folder(bytes: &[u8]) -> bool {
    let Some((which, content)) = bytes.split_first() else { return false };
    let changed = usize::from(*which) % SAMPLE.files.len();
    let folder = TempDir::new().unwrap();
    for (place, (path, original)) in SAMPLE.files.iter().enumerate() {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, if place == changed { content } else { original }).unwrap();
    }
    let verified = verify_folder(folder.path(), &verifier(), &[], Some(&AgencyKey));
    let mut read = 0;
    let leaves = verified_leaves(folder.path(), &verifier(), |number, leaf| {
        assert_eq!(leaf.as_bytes(), signed(number).as_bytes(), "a leaf is not in the log");
        read += 1;
    });
    // Writing it goes on, or does not, but never panics.
    let _ = Log::open(folder.path(), sample_key());
    let Ok(report) = verified else { return false };
    assert!(content == SAMPLE.files[changed].1, "{} may be changed", SAMPLE.files[changed].0.display());
    assert!(leaves.is_ok() && report.size == read && Some(&read) == SIZES.last());
    true
}

pub fn folders() -> Vec<Vec<u8>> {
    (0_u8..).zip(&SAMPLE.files).map(|(which, (_, content))| [&[which], content.as_slice()].concat()).collect()
}

struct Sealed {
    key: OpeningKey,
    openings: Vec<SealedOpening>,
}

static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let keys = [OpeningKey::generate().unwrap(), OpeningKey::generate().unwrap()];
    let sealer = Sealer::default();
    sealer.seal_to(&keys.each_ref().map(OpeningKey::seal_key)).unwrap();
    let openings = (0..2).map(|_| sealer.seal(&opening(), b"").unwrap()).collect();
    let [key, _] = keys;
    Sealed { key, openings }
});

/// A sealed opening as an overseer takes it; or the secret with which it is opened, as text.
pub fn sealed(bytes: &[u8]) -> bool {
    if let Some(Ok(key)) = text(bytes).map(OpeningKey::parse) {
        assert!(OpeningKey::parse(&key.secret()).is_ok_and(|again| again.seal_key() == key.seal_key()));
        return true;
    }
    let Ok(sealed) = SealedOpening::from_bytes(bytes.to_vec()) else { return false };
    assert_eq!(sealed.as_bytes(), bytes);
    // Of a leaf whose signer sealed just this: what opens is what the leaf commits to.
    if let Ok(opened) = sealed.open(&SEALED.key, &sample_leaf(1, sealed.hash())) {
        assert!(opened.opening == opening() && opened.request.is_empty(), "a commitment opens to two things");
    }
    // Of a leaf that names another, it is changed.
    assert!(sealed.open(&SEALED.key, &sample_leaf(1, [0; 32])).is_err());
    true
}

pub fn sealed_samples() -> Vec<Vec<u8>> {
    let secret = SEALED.key.secret().as_bytes().to_vec();
    SEALED.openings.iter().map(|sealed| sealed.as_bytes().to_vec()).chain([secret]).collect()
}

/// The path by which anybody asks for a file of the log.
pub fn file_name(bytes: &[u8]) -> bool {
    let Some(path) = text(bytes) else { return false };
    let Some(again) = tile_path_again(path) else { return false };
    assert_eq!(again, path, "a file has two names");
    let below = path.strip_prefix("tile/").unwrap();
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\\');
    assert!(below.split('/').all(part), "a name leads out of the log's folder");
    true
}

pub fn file_names() -> Vec<Vec<u8>> {
    texts(&["tile/0/000", "tile/entries/x001/x234/067.p/8", "tile/5/000.p/255", "tile/entries/x018/x446/744"])
}
