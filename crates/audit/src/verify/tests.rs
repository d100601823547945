use super::*;
use crate::entries::push_entry;
use crate::{NoteKey, sample};
use firebreak_domain::Rho;

struct Sample {
    dir: tempfile::TempDir,
    key: VerifierKey,
    receipts: Vec<PathBuf>,
}

impl Sample {
    fn new(sizes: &[u64]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (key, receipts) = sample::make_log(&dir.path().join("log"), sizes, sample::leaves);
        let receipts = receipts.iter().map(|receipt| {
            let path = dir.path().join(format!("{}.receipt", receipt.index));
            fs::write(&path, receipt.encode()).unwrap();
            path
        });
        Self { key: key.parse().unwrap(), receipts: receipts.collect(), dir }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn verify(&self) -> Result<LogReport, VerifyError> {
        verify_folder(&self.log(), &self.key, &self.receipts, Some(&sample::AgencyKey::new(1)))
    }

    /// The file, below the log's folder, and the problem.
    fn error(&self) -> (String, VerifyProblem) {
        let error = self.verify().unwrap_err();
        let file = error.file.strip_prefix(self.dir.path()).unwrap().to_str().unwrap().to_owned();
        assert!(error.to_string().contains(&file));
        (file, error.problem)
    }
}

#[test]
fn an_unchanged_log_is_reported_with_its_counts() {
    let sample = Sample::new(&[2, 5, 300]);
    let report = sample.verify().unwrap();
    assert_eq!((report.origin.as_str(), report.size, report.receipts), (sample::ORIGIN, 300, 3));
    assert!(report.signatures_checked);
    let kinds: Vec<_> = report.leaves_by_kind.into_iter().collect();
    assert_eq!(kinds, [(LeafKind::Release, 240), (LeafKind::Refusal, 60)]);
    assert_eq!(report.refusals_by_reason, BTreeMap::from([(ReasonCode::PurposeNotCovered, 60)]));
    let charges: Vec<_> = report.charges_by_dataset.into_values().collect();
    assert_eq!(charges, [Charge::of_rho(Rho::from_nano(240 * 5_000_000))]);
}

#[test]
fn an_empty_log_verifies() {
    let sample = Sample::new(&[]);
    assert_eq!(sample.verify().unwrap().size, 0);
}

#[test]
fn a_file_missing_added_or_lengthened_is_named() {
    let sample = Sample::new(&[2, 5, 300]);
    let log = sample.log();
    let files = Folder::new(&log).list().unwrap();
    assert_eq!(files.len(), 6, "{files:?}");
    for (name, path) in files.iter().map(|(name, path)| (format!("log/{name}"), path)) {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        assert!(matches!(sample.error(), (file, VerifyProblem::Unreadable(_)) if file == name), "{name}");
        fs::write(path, [bytes.as_slice(), b"\n"].concat()).unwrap();
        assert_eq!(sample.error().0, name);
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(sample.error().0, name);
        fs::write(path, bytes).unwrap();
    }
    for added in
        ["tile/0/002", "tile/2/000.p/1", "tile/0/001.p/45", "tile/0/001.P/44", "readme", "tile/entries/002.p/1"]
    {
        let path = log.join(added);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        assert!(
            matches!(sample.error(), (file, VerifyProblem::Unexpected) if file == format!("log/{added}")),
            "{added}"
        );
        fs::remove_file(path).unwrap();
    }
    std::os::unix::fs::symlink("checkpoint", log.join("link")).unwrap();
    assert!(matches!(sample.error(), (file, VerifyProblem::Unexpected) if file == "log/link"));
    fs::remove_file(log.join("link")).unwrap();
    sample.verify().unwrap();
}

#[test]
fn partial_files_of_earlier_checkpoints_must_be_beginnings_of_what_followed() {
    let sample = Sample::new(&[2, 5]);
    for (name, length) in [("tile/0/000.p/2", 64), ("tile/entries/000.p/2", 0)] {
        let path = sample.log().join(name);
        let good = fs::read(&path).unwrap();
        let whole = fs::read(sample.log().join(name.replace("p/2", "p/5"))).unwrap();
        for bad in [&good[..good.len() - 1], &whole[..length + 32], &[], &whole] {
            fs::write(&path, bad).unwrap();
            assert_eq!(sample.error().0, format!("log/{name}"));
        }
        fs::write(&path, good).unwrap();
    }
    sample.verify().unwrap();
}

/// Writes the folder of a log that holds these entries, signed as if they were leaves.
fn write_raw(dir: &Path, key: &NoteKey, entries: &[Vec<u8>]) {
    let mut edge = Edge::default();
    let mut bundle = Vec::new();
    for entry in entries {
        assert!(push_entry(&mut bundle, entry));
        assert!(edge.push(&record_hash(entry).0).is_empty());
    }
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
    let folder = Folder::new(dir);
    let name = TileName::in_tree(None, 0, entries.len() as u64).unwrap();
    folder.write_tiles(edge.partial_tiles().chain([(name, bundle.as_slice())])).unwrap();
    folder.write_checkpoint(key.sign(edge.size(), edge.root().unwrap()).unwrap().note()).unwrap();
}

fn entries(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    sample::leaves(numbers).iter().map(|leaf| leaf.as_bytes().to_vec()).collect()
}

#[test]
fn a_signed_entry_that_is_no_leaf_or_not_signed_by_its_signer_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let key = sample::note_key();
    let verify = || verify_folder(dir.path(), key.verifier(), &[], Some(&sample::AgencyKey::new(1)));
    write_raw(dir.path(), &key, &entries(0..3));
    verify().unwrap();

    let mut raw = entries(0..3);
    raw[1] = b"no leaf".to_vec();
    write_raw(dir.path(), &key, &raw);
    let error = verify().unwrap_err();
    assert!(error.file.ends_with("tile/entries/000.p/3") && matches!(error.problem, VerifyProblem::Leaf(1, _)));

    let stranger = SignedLeaf::sign(sample::leaf(2, &sample::opening(2)), &sample::AgencyKey::new(2)).unwrap();
    raw = entries(0..2);
    raw.push(stranger.as_bytes().to_vec());
    write_raw(dir.path(), &key, &raw);
    let error = verify().unwrap_err();
    assert!(error.file.ends_with("tile/entries/000.p/3") && matches!(error.problem, VerifyProblem::Signature(2)));
    assert!(!verify_folder(dir.path(), key.verifier(), &[], None).unwrap().signatures_checked);
}

#[test]
fn an_insider_who_rewrites_entries_and_tiles_is_caught_by_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let key = sample::note_key();
    write_raw(dir.path(), &key, &entries(0..3));
    let signed = fs::read(dir.path().join(CHECKPOINT)).unwrap();
    write_raw(dir.path(), &key, &entries(1..4));
    fs::write(dir.path().join(CHECKPOINT), signed).unwrap();
    let error = verify_folder(dir.path(), key.verifier(), &[], None).unwrap_err();
    assert!(error.file.ends_with(CHECKPOINT) && matches!(error.problem, VerifyProblem::OtherTree));

    let tile = dir.path().join("tile/0/000.p/3");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let error = verify_folder(dir.path(), key.verifier(), &[], None).unwrap_err();
    assert!(matches!(error.problem, VerifyProblem::Several(1)));
}

#[test]
fn receipts_of_another_history_and_of_a_later_state_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let key = sample::note_key();
    let receipt = dir.path().join("one.receipt");
    let log = dir.path().join("log");
    let write_receipt = |entries: &[Vec<u8>]| {
        write_raw(&log, &key, entries);
        let checkpoint = fs::read_to_string(log.join(CHECKPOINT)).unwrap();
        let proof = vec![record_hash(&entries[1]).0];
        let leaf = SignedLeaf::decode(&entries[0]).unwrap();
        let text = Receipt { index: 0, leaf, proof, checkpoint, opening: None }.encode();
        fs::write(&receipt, text).unwrap();
    };
    let verify = || verify_folder(&log, key.verifier(), std::slice::from_ref(&receipt), None);

    write_receipt(&entries(0..2));
    verify().unwrap();
    write_raw(&log, &key, &entries(0..9));
    assert_eq!(verify().unwrap().receipts, 1);
    write_raw(&log, &key, &entries(0..1));
    assert!(matches!(verify().unwrap_err().problem, VerifyProblem::ReceiptNewer));
    write_receipt(&entries(5..7));
    write_raw(&log, &key, &entries(0..9));
    let error = verify().unwrap_err();
    assert!(error.file == receipt && matches!(error.problem, VerifyProblem::ReceiptForked));
}
