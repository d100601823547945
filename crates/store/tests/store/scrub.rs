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

/// A session with a chunk, a list and a leaf. Gives what of it must go.
async fn session(folder: &Path, state: &State) -> Vec<Vec<u8>> {
    state.open_session(&SESSION, &[7; 32]).await.unwrap();
    state.keep_chunk(&SESSION, 0, &[1; 5000]).await.unwrap();
    state.keep_list(&SESSION, b"terms", &[2; 9000]).await.unwrap();
    let secrets = sealed(folder).await;
    assert_eq!(secrets.len(), 2 * 4, "secret, chunk, list and its head");
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

/// Megabytes that differ everywhere.
fn list(seed: u8) -> Vec<u8> {
    (0..2_500_000_u32).map(|at| (at % 251) as u8 ^ seed).collect()
}

#[tokio::test]
async fn a_list_is_kept_whole_or_not_at_all() {
    let folder = Folder::new();
    let state = folder.open().await;
    let kept = async |state: &State| {
        let kept = state.kept_list(&SESSION).await.unwrap();
        kept.map(|kept| (kept.terms.to_vec(), kept.list.to_vec()))
    };
    assert_eq!(state.keep_list(&SESSION, b"one", &list(1)).await, Err(SessionError::Unknown));
    state.open_session(&SESSION, &[7; 32]).await.unwrap();
    assert!(kept(&state).await.is_none());
    state.keep_list(&SESSION, b"one", &list(1)).await.unwrap();
    state.keep_list(&SESSION, b"two", &list(2)).await.unwrap();
    state.close().await;
    let state = folder.open().await;
    assert!(kept(&state).await == Some((b"one".to_vec(), list(1))), "the first is not kept");
    assert!(state.chunks_of(&SESSION).await.unwrap().is_empty(), "the list is taken for chunks");
    state.close().await;

    // Killed before the head was written: the list comes again, and may be another one.
    let mut editing = stranger(folder.path.path(), false).await;
    let first: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM session_chunks WHERE chunk = 2147483648")
        .fetch_one(&mut editing)
        .await
        .unwrap();
    sqlx::query("DELETE FROM session_chunks WHERE chunk = 4294967293").execute(&mut editing).await.unwrap();
    editing.close().await.unwrap();
    let state = folder.open().await;
    assert!(kept(&state).await.is_none());
    state.keep_list(&SESSION, b"two", &list(2)).await.unwrap();
    assert!(kept(&state).await == Some((b"two".to_vec(), list(2))), "the second is not kept");
    state.close().await;

    // Pieces of two lists are none.
    let mut editing = stranger(folder.path.path(), false).await;
    let mixed = sqlx::query("UPDATE session_chunks SET sealed = ? WHERE chunk = 2147483648").bind(first);
    assert_eq!(mixed.execute(&mut editing).await.unwrap().rows_affected(), 1);
    editing.close().await.unwrap();
    let state = folder.open().await;
    assert!(kept(&state).await.is_none());
    state.close_session(&SESSION).await.unwrap();
    assert_eq!(state.keep_list(&SESSION, b"one", &list(1)).await, Err(SessionError::Closed));
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
