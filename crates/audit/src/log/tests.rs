use super::*;
use crate::{Hash, VerifierKey, sample, verify_folder};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

fn again(secret: &str) -> NoteKey {
    NoteKey::decode(secret.as_bytes()).unwrap()
}

fn write_all(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn read_all(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = Folder::new(dir).list().unwrap();
    files.into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// Publishes up to `size` and gives the files that are then there.
fn grow(log: &mut Log, dir: &Path, size: u64) -> BTreeMap<String, Vec<u8>> {
    log.append(&sample::leaves(log.appended()..size)).unwrap();
    log.publish().unwrap();
    read_all(dir)
}

fn verify(dir: &Path, key: &VerifierKey) -> u64 {
    verify_folder(dir, key, &[], None).unwrap().size
}

#[test]
fn a_log_resumes_where_it_was_published_across_every_boundary() {
    let dir = tempfile::tempdir().unwrap();
    let key = sample::note_key();
    let (secret, verifier) = (key.encode(), key.verifier().clone());
    let mut sizes = vec![0];
    for size in [1, 2, 255, 256, 257, 512, 600] {
        let mut log = Log::open(dir.path(), again(&secret)).unwrap();
        assert_eq!(log.published().checkpoint().size(), *sizes.last().unwrap());
        assert_eq!(log.append(&sample::leaves(log.appended()..size)).unwrap(), *sizes.last().unwrap()..size);
        let at = log.publish().unwrap().checkpoint().size();
        assert_eq!((at, verify(dir.path(), &verifier)), (size, size));
        for &old in &sizes {
            let mut follower = crate::Follower::new(verifier.clone());
            if old > 0 {
                follower = crate::Follower::decode(
                    format!(
                        "firebreak follower format 1\nkey {verifier}\nsize {old}\nroot {}\n",
                        crate::text::to_base64(&root_of(old))
                    )
                    .as_bytes(),
                    verifier.clone(),
                )
                .unwrap();
            }
            let proof = log.published().consistency_proof(old, size).unwrap();
            follower.advance(log.published().checkpoint().note().as_bytes(), &proof).unwrap();
        }
        sizes.push(size);
    }
    let log = Log::open(dir.path(), again(&secret)).unwrap();
    assert_eq!(log.published().entry(599).unwrap(), sample::leaves(599..600)[0]);
}

fn root_of(size: u64) -> Hash {
    let mut edge = Edge::default();
    for leaf in sample::leaves(0..size) {
        edge.push(&record_hash(leaf.as_bytes()).0);
    }
    edge.root().unwrap()
}

#[test]
fn a_leaf_counts_only_once_it_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let key = sample::note_key();
    let (secret, verifier) = (key.encode(), key.verifier().clone());
    let mut log = Log::open(dir.path(), key).unwrap();
    grow(&mut log, dir.path(), 2);
    let before = read_all(dir.path());
    log.append(&sample::leaves(2..300)).unwrap();
    assert_eq!(log.appended(), 300);
    assert!(matches!(log.published().entry(2), Err(LogError::OutOfRange { published: 2 })));
    assert!(matches!(log.published().inclusion_proof(0, 3), Err(LogError::OutOfRange { published: 2 })));
    assert!(matches!(log.published().consistency_proof(2, 3), Err(LogError::OutOfRange { published: 2 })));
    // Proofs under the last checkpoint are still to be had while leaves wait, and afterwards.
    let published = Arc::clone(log.published());
    assert!(
        log.published().receipt(1, sample::leaves(1..2)[0].clone(), None).unwrap().verify(log.key.verifier()).is_ok()
    );
    assert_eq!(log.published().entry(1).unwrap(), sample::leaves(1..2)[0]);
    assert_eq!(read_all(dir.path()), before);
    drop(log);
    let mut log = Log::open(dir.path(), again(&secret)).unwrap();
    assert_eq!(log.appended(), 2);
    grow(&mut log, dir.path(), 300);
    let receipt = published.receipt(0, sample::leaves(0..1)[0].clone(), None).unwrap();
    assert_eq!(receipt.verify(&verifier).unwrap().checkpoint.size(), 2);
    let mut entries = Vec::new();
    log.published().for_each_entry(|index, leaf| entries.push((index, leaf))).unwrap();
    assert_eq!(entries, (0..300).zip(sample::leaves(0..300)).collect::<Vec<_>>());
}

#[test]
fn a_crash_at_any_moment_leaves_the_last_checkpoint_and_a_log_that_goes_on() {
    let key = sample::note_key();
    let (secret, verifier) = (key.encode(), key.verifier().clone());
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), key).unwrap();
    let before = grow(&mut log, dir.path(), 250);
    let after = grow(&mut log, dir.path(), 520);
    let new: Vec<_> = after.iter().filter(|(name, _)| *name != CHECKPOINT && !before.contains_key(*name)).collect();
    assert!(new.len() >= 6, "{new:?}");

    // Before the checkpoint: any number of new files, the last one cut anywhere, the next checkpoint half written.
    for written in 0..=new.len() {
        for part in [0, 1, 2] {
            let crashed = tempfile::tempdir().unwrap();
            let mut files = before.clone();
            files.extend(new[..written].iter().map(|(name, bytes)| ((*name).clone(), (*bytes).clone())));
            if let Some((name, bytes)) = new.get(written) {
                files.insert((*name).clone(), bytes[..bytes.len() * part / 3].to_vec());
            } else {
                files.insert(CHECKPOINT_NEW.to_owned(), after[CHECKPOINT][..40 * part].to_vec());
            }
            write_all(crashed.path(), &files);
            let mut log = Log::open(crashed.path(), again(&secret)).unwrap();
            assert_eq!(log.published().checkpoint().note().as_bytes(), before[CHECKPOINT]);
            assert_eq!(read_all(crashed.path()), before);
            assert_eq!(grow(&mut log, crashed.path(), 520), after);
        }
    }

    // After the checkpoint: partial forms that were to be removed are still there.
    let crashed = tempfile::tempdir().unwrap();
    let mut files = before.clone();
    files.extend(after.clone());
    write_all(crashed.path(), &files);
    assert_eq!(verify(crashed.path(), &verifier), 520);
    let log = Log::open(crashed.path(), again(&secret)).unwrap();
    assert_eq!((log.appended(), read_all(crashed.path())), (520, after));
}

#[test]
fn a_failed_publication_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let key = sample::note_key();
    let verifier = key.verifier().clone();
    let mut log = Log::open(dir.path(), key).unwrap();
    grow(&mut log, dir.path(), 3);
    let obstacle = dir.path().join("tile/1");
    fs::write(&obstacle, "in the way").unwrap();
    log.append(&sample::leaves(3..260)).unwrap();
    assert!(matches!(log.publish(), Err(LogError::Io { .. })));
    assert_eq!(log.published().checkpoint().size(), 3);
    fs::remove_file(obstacle).unwrap();
    assert_eq!(log.publish().unwrap().checkpoint().size(), 260);
    drop(log);
    assert_eq!(verify(dir.path(), &verifier), 260);
}

#[test]
fn partial_forms_stay_until_the_full_one_is_published_and_full_ones_are_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), sample::note_key()).unwrap();
    grow(&mut log, dir.path(), 200);
    let files = grow(&mut log, dir.path(), 255);
    assert!(files.contains_key("tile/0/000.p/200") && files.contains_key("tile/entries/000.p/255"));
    let files = grow(&mut log, dir.path(), 257);
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let expected =
        ["checkpoint", "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/1"];
    assert_eq!(names, expected);
    let written = |name: &str| {
        let metadata = fs::metadata(dir.path().join(name)).unwrap();
        (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
    };
    let unchanged = ["tile/0/000", "tile/entries/000", "tile/1/000.p/1"].map(|name| (name, written(name)));
    grow(&mut log, dir.path(), 300);
    assert!(unchanged.iter().all(|(name, before)| written(name) == *before));
}

#[test]
fn what_is_served_is_what_the_folder_holds_and_what_it_held() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), sample::note_key()).unwrap();
    let before = grow(&mut log, dir.path(), 200);
    let after = grow(&mut log, dir.path(), 300);
    let served = |path: &str| log.published().file(path).unwrap();
    for (path, bytes) in &after {
        assert_eq!(served(path).as_ref(), Some(bytes), "{path}");
    }
    for path in ["tile/0/000.p/200", "tile/entries/000.p/200"] {
        assert!(!dir.path().join(path).exists());
        assert_eq!(served(path).as_ref(), before.get(path), "{path}");
    }
    for path in ["tile/0/002", "tile/0/001.p/45", "tile/0/001", "", "../log.key", "tile/0/x000/001"] {
        assert_eq!(served(path), None, "{path}");
    }
}

#[test]
fn publishing_nothing_signs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), sample::note_key()).unwrap();
    let files = grow(&mut log, dir.path(), 5);
    assert_eq!(grow(&mut log, dir.path(), 5), files);
}

#[test]
fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = sample::note_key();
    let secret = key.encode();
    let first = Log::open(dir.path(), key).unwrap();
    assert!(matches!(Log::open(dir.path(), again(&secret)), Err(LogError::InUse(_))));
    drop(first);
    assert!(Log::open(dir.path(), again(&secret)).is_ok());
}

#[test]
fn a_folder_that_is_not_this_log_whole_is_refused_and_left_alone() {
    let key = sample::note_key();
    let secret = key.encode();
    let dir = tempfile::tempdir().unwrap();
    let good = grow(&mut Log::open(dir.path(), key).unwrap(), dir.path(), 300);
    let open = |files: &BTreeMap<String, Vec<u8>>, key: NoteKey| {
        let dir = tempfile::tempdir().unwrap();
        write_all(dir.path(), files);
        let result = Log::open(dir.path(), key).err();
        assert_eq!(read_all(dir.path()), *files);
        result
    };
    assert!(open(&good, again(&secret)).is_none());
    assert!(matches!(open(&good, sample::note_key()), Some(LogError::Checkpoint { .. })));
    let mut lost = good.clone();
    lost.remove(CHECKPOINT);
    assert!(matches!(open(&lost, again(&secret)), Some(LogError::NoCheckpoint(_))));
    let mut foreign = good.clone();
    foreign.insert("notes.txt".into(), vec![]);
    assert!(matches!(open(&foreign, again(&secret)), Some(LogError::Foreign(_))));
    for name in ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"] {
        let mut changed = good.clone();
        changed.get_mut(name).unwrap()[31] ^= 1;
        assert!(matches!(open(&changed, again(&secret)), Some(LogError::Damaged(_))), "{name}");
        let mut missing = good.clone();
        missing.remove(name);
        assert!(matches!(open(&missing, again(&secret)), Some(LogError::Damaged(_))), "{name}");
    }
}

#[test]
fn a_leaf_too_large_for_an_entry_is_refused_with_its_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), sample::note_key()).unwrap();
    let organisations =
        (0..1000).map(|n| firebreak_domain::OrgId::new(format!("{n:04}{}", "x".repeat(60))).unwrap()).collect();
    let large = crate::Leaf { organisations, ..sample::leaf(0, &sample::opening(0)) };
    let mut group = sample::leaves(0..2);
    group.push(SignedLeaf::sign(large, &sample::AgencyKey::new(1)).unwrap());
    assert!(matches!(log.append(&group), Err(LogError::Leaf(TextError::TooLarge))));
    assert_eq!(log.appended(), 0);
}
