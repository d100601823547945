use super::*;
use crate::{Log, NoteKey, sample};

/// A log that has published 3, then 300 leaves, with the notes of both.
fn grown(key: NoteKey) -> (tempfile::TempDir, Log, [String; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), key).unwrap();
    let notes = [3, 300].map(|size| {
        log.append(&sample::leaves(log.appended()..size)).unwrap();
        log.publish().unwrap().checkpoint().note().to_owned()
    });
    (dir, log, notes)
}

fn key() -> NoteKey {
    sample::note_key()
}

#[test]
fn a_follower_accepts_what_extends_the_last_and_finds_its_leaves() {
    let key = key();
    let mut follower = Follower::new(key.verifier().clone());
    let (_dir, log, [first, second]) = grown(key);
    assert_eq!(follower.advance(first.as_bytes(), &[]).unwrap().size(), 3);
    assert_eq!(follower.advance(first.as_bytes(), &[]).unwrap().size(), 3);
    let proof = log.published().consistency_proof(3, 300).unwrap();
    assert_eq!(follower.advance(second.as_bytes(), &proof).unwrap().size(), 300);
    for index in [0, 2, 3, 255, 256, 299] {
        let (leaf, proof) =
            (log.published().entry(index).unwrap(), log.published().inclusion_proof(index, 300).unwrap());
        assert_eq!(follower.check_inclusion(&leaf, index, &proof), Ok(()));
        assert_eq!(follower.check_inclusion(&leaf, index ^ 1, &proof), Err(FollowError::NotIncluded));
        assert_eq!(follower.check_inclusion(&leaf, index + 300, &proof), Err(FollowError::NotIncluded));
    }
}

#[test]
fn a_log_rolled_back_is_noticed() {
    let key = key();
    let mut follower = Follower::new(key.verifier().clone());
    let (_dir, _log, [first, second]) = grown(key);
    follower.advance(second.as_bytes(), &[]).unwrap();
    let before = follower.clone();
    assert_eq!(follower.advance(first.as_bytes(), &[]), Err(FollowError::Rollback));
    assert_eq!(follower, before);
}

#[test]
fn a_forked_log_is_noticed() {
    let key = key();
    let encoded = key.encode();
    let mut follower = Follower::new(key.verifier().clone());
    let (_dir, log, [first, second]) = grown(key);
    follower.advance(first.as_bytes(), &[]).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let mut fork = Log::open(dir.path(), NoteKey::decode(encoded.as_bytes()).unwrap()).unwrap();
    fork.append(&sample::leaves(100..103)).unwrap();
    let same_size = fork.publish().unwrap().checkpoint().note().to_owned();
    fork.append(&sample::leaves(103..400)).unwrap();
    let larger = fork.publish().unwrap().checkpoint().note().to_owned();
    assert_eq!(follower.advance(same_size.as_bytes(), &[]), Err(FollowError::Fork));
    let proof = fork.published().consistency_proof(3, 300).unwrap();
    assert_eq!(follower.advance(larger.as_bytes(), &proof), Err(FollowError::Fork));

    let mut proof = log.published().consistency_proof(3, 300).unwrap();
    proof[0][0] ^= 1;
    assert_eq!(follower.advance(second.as_bytes(), &proof), Err(FollowError::Fork));
    assert_eq!(follower.advance(second.as_bytes(), &[]), Err(FollowError::Fork));
    assert_eq!(follower.size(), 3);
}

#[test]
fn another_log_and_another_key_are_told_apart() {
    let mut follower = Follower::new(key().verifier().clone());
    let (_dir, _log, [same_name, _]) = grown(key());
    assert_eq!(follower.advance(same_name.as_bytes(), &[]), Err(CheckpointError::WrongKey.into()));
    let (_dir, _log, [other, _]) = grown(NoteKey::generate("firebreak.example/other").unwrap());
    assert_eq!(follower.advance(other.as_bytes(), &[]), Err(CheckpointError::WrongOrigin.into()));
}

#[test]
fn the_state_reads_back_for_the_same_key_alone() {
    let key = key();
    let mut follower = Follower::new(key.verifier().clone());
    let verifier = key.verifier().clone();
    let (_dir, _log, [first, _]) = grown(key);
    follower.advance(first.as_bytes(), &[]).unwrap();
    let state = follower.encode();
    assert_eq!(Follower::decode(state.as_bytes(), verifier.clone()), Ok(follower));
    let other = sample::note_key();
    assert_eq!(Follower::decode(state.as_bytes(), other.verifier().clone()), Err(FollowError::OtherLog));
    let later = state.replacen("format 1", "format 2", 1);
    assert!(matches!(Follower::decode(later.as_bytes(), verifier), Err(FollowError::State(_))));
}
