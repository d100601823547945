//! Of what a committed set was formed, and until when that and what opens its commitment are kept.

use crate::support::*;
use firebreak_domain::{Clock, CutId, Timestamp};
use firebreak_store::{CommittedSetSource, NewLeaf};

const SESSION: [u8; 32] = [5; 32];
const DAY: i64 = 86_400;

fn source(until: Timestamp) -> CommittedSetSource {
    CommittedSetSource {
        agreement: "round".parse().unwrap(),
        dataset: "health.visits".parse().unwrap(),
        cut: CutId::new("2024-Q4").unwrap(),
        reading: Some("number 1".to_owned()),
        selection: "birth_year >= 1990".to_owned(),
        until,
    }
}

#[tokio::test]
async fn what_opens_a_commitment_outlives_its_session_to_its_day_and_no_longer() {
    let folder = Folder::new();
    let state = folder.open().await;
    let until = folder.clock.now().plus_secs(3 * DAY);
    state.open_session(&SESSION, &[7; 32]).await.unwrap();
    state.record_set_source(&SESSION, &source(until)).await.unwrap();
    // The first stands.
    state.record_set_source(&SESSION, &CommittedSetSource { selection: String::new(), ..source(until) }).await.unwrap();
    let leaf = NewLeaf { leaf: b"a leaf".to_vec(), sealed: Vec::new() };
    state.keep_opening(&SESSION, b"what opens it", leaf).await.unwrap();
    state.close().await;

    let state = folder.open().await;
    assert_eq!(state.set_source(&SESSION).await.unwrap(), Some(source(until)));
    assert_eq!(state.set_source(&[6; 32]).await.unwrap(), None);
    // An open session needs it, whatever day it is.
    folder.clock.set(until);
    assert_eq!(state.forget_openings().await.unwrap(), 0);
    state.close_session(&SESSION).await.unwrap();
    assert_eq!(state.session_opening(&SESSION).await.unwrap().unwrap().as_slice(), b"what opens it");
    assert_eq!(state.forget_openings().await.unwrap(), 1);
    assert_eq!(state.session_opening(&SESSION).await.unwrap(), None);
    assert_eq!(state.set_source(&SESSION).await.unwrap(), None);
    assert_eq!(state.forget_openings().await.unwrap(), 0);
}

#[tokio::test]
async fn a_day_before_its_time_nothing_is_deleted() {
    let folder = Folder::new();
    let state = folder.open().await;
    let until = folder.clock.now().plus_secs(DAY);
    state.open_session(&SESSION, &[7; 32]).await.unwrap();
    state.record_set_source(&SESSION, &source(until)).await.unwrap();
    state.close_session(&SESSION).await.unwrap();
    folder.clock.set(until.plus_secs(-1));
    assert_eq!(state.forget_openings().await.unwrap(), 0);
    assert_eq!(state.set_source(&SESSION).await.unwrap(), Some(source(until)));
}

#[tokio::test]
async fn scratch_files_are_read_while_they_are_held_and_gone_afterwards() {
    let folder = Folder::new();
    let state = folder.open().await;
    let sessions = folder.path.path().join("sessions");
    let count = || std::fs::read_dir(&sessions).map_or(0, Iterator::count);
    let scratch = state.scratch_files().unwrap();
    let mut spool = scratch.files().spool("some").unwrap();
    spool.add(b"for a while").unwrap();
    assert_eq!(spool.get(0).unwrap().as_slice(), b"for a while");
    assert_eq!(count(), 1);
    drop((spool, scratch));
    assert_eq!(count(), 0);
    // Left by a program that was killed.
    std::mem::forget(state.scratch_files().unwrap());
    assert_eq!(count(), 1);
    state.close().await;
    let _state = folder.open().await;
    assert_eq!(count(), 0);
}
