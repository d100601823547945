//! What a match session leaves in the files when it is closed while others read them, and when the program is killed
//! before they are emptied (R14).

use crate::{stranger::*, support::*};
use firebreak_store::{SessionError, State, StoreError};
use sqlx::{Connection, SqliteConnection};
use std::{path::Path, time::Duration};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const SESSION: [u8; 32] = [5; 32];

/// A session that was opened and has ended. Gives what of it must go.
async fn session(folder: &Path, state: &State) -> Vec<Vec<u8>> {
    state.open_session(&SESSION, &[7; 32]).await.unwrap();
    state.record_end(&SESSION, leaf(b"the end")).await.unwrap();
    let secrets = sealed(folder).await;
    assert_eq!(secrets.len(), 2 * 2, "secret and mark");
    secrets
}

/// Closes the session while somebody reads, and returns when it is closed but its bytes are in the files yet.
async fn close_while_read(folder: &Path, state: &State) -> (SqliteConnection, JoinHandle<Result<(), StoreError>>) {
    let mut reading = stranger(folder, true).await;
    sqlx::query("BEGIN").execute(&mut reading).await.unwrap();
    sqlx::query("SELECT count(*) FROM sessions").execute(&mut reading).await.unwrap();
    let closing = state.clone();
    let closing = tokio::spawn(async move { closing.close_session(&SESSION).await });
    while state.session_secret(&SESSION).await != Err(SessionError::Closed) {
        sleep(Duration::from_millis(1)).await;
    }
    (reading, closing)
}

fn any_left(folder: &Path, secrets: &[Vec<u8>]) -> bool {
    secrets.iter().any(|bytes| in_a_file(folder, bytes))
}

#[tokio::test]
async fn what_was_destroyed_right_before_a_kill_is_in_no_file_once_the_state_is_open_again() {
    let folder = Folder::new();
    let state = folder.open().await;
    let secrets = session(folder.path.path(), &state).await;
    let (reading, closing) = close_while_read(folder.path.path(), &state).await;
    let killed = Folder::new();
    for file in std::fs::read_dir(folder.path.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), killed.path.path().join(file.file_name())).unwrap();
    }
    drop((reading, closing));
    assert!(secrets.iter().all(|bytes| in_a_file(killed.path.path(), bytes)), "the copy was taken too late");

    let state = killed.open().await;
    assert!(!any_left(killed.path.path(), &secrets));
    assert_eq!(state.session_secret(&SESSION).await, Err(SessionError::Closed), "the copy was taken too early");
}

#[tokio::test]
async fn while_a_reader_keeps_destroyed_bytes_in_the_log_nobody_waits_but_who_destroyed_them() {
    let folder = Folder::new();
    let state = folder.open().await;
    let secrets = session(folder.path.path(), &state).await;
    let (reading, closing) = close_while_read(folder.path.path(), &state).await;
    let started = Instant::now();
    for number in 0..5 {
        state.record_leaf(leaf(&[number])).await.unwrap();
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "five leaves took {took:?}");
    assert!(!closing.is_finished(), "it is said to be gone");
    assert!(any_left(folder.path.path(), &secrets), "the reader keeps nothing");

    reading.close().await.unwrap();
    timeout(Duration::from_secs(3), closing).await.expect("not tried again").unwrap().unwrap();
    assert!(!any_left(folder.path.path(), &secrets));
}

#[tokio::test]
async fn a_reader_that_stays_keeps_nobody_for_ever_and_the_bytes_go_when_it_does() {
    let folder = Folder::new();
    let state = folder.open().await;
    let secrets = session(folder.path.path(), &state).await;
    let (reading, closing) = close_while_read(folder.path.path(), &state).await;
    timeout(Duration::from_secs(20), closing).await.expect("it waits for ever").unwrap().unwrap();
    assert!(any_left(folder.path.path(), &secrets), "the reader keeps nothing");
    reading.close().await.unwrap();
    // Nobody writes any more.
    let started = Instant::now();
    while any_left(folder.path.path(), &secrets) {
        assert!(started.elapsed() < Duration::from_secs(10), "not tried again");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_end_of_a_session_is_recorded_once() {
    let folder = Folder::new();
    let state = folder.open().await;
    state.open_session(&SESSION, &[7; 32]).await.unwrap();
    state.record_end(&SESSION, leaf(b"a leaf")).await.unwrap();
    state.record_end(&SESSION, leaf(b"another leaf")).await.unwrap();
    let leaves: Vec<_> = state.outstanding(9).await.unwrap().into_iter().map(|leaf| leaf.bytes).collect();
    assert_eq!(leaves, [b"a leaf"]);
}
