//! The files of a session end with it, also where the program is killed, and those of an open one stay (R14).

use crate::support::*;
use firebreak_domain::Timestamp;
use firebreak_store::{SessionError, State};
use std::{fs, path::PathBuf};

const SESSION: [u8; 32] = [5; 32];

async fn session(state: &State, name: &[u8; 32]) {
    state.open_session(name, &[7; 32]).await.unwrap();
    let files = state.session_files(name).await.unwrap();
    let mut writer = files.write_records("list", 4).unwrap();
    writer.push(b"abcd").unwrap();
    writer.finish().unwrap();
    files.spool("pieces").unwrap().add(b"piece").unwrap();
}

fn folder_of(folder: &Folder, name: &[u8; 32]) -> PathBuf {
    folder.path.path().join("sessions").join(hex::encode(name))
}

#[tokio::test]
async fn the_files_of_an_open_session_are_there_after_a_restart() {
    let folder = Folder::new();
    let state = folder.open().await;
    session(&state, &SESSION).await;
    state.close().await;
    let state = folder.open().await;
    let files = state.session_files(&SESSION).await.unwrap();
    assert_eq!(files.records("list", 4).unwrap().read().unwrap().next().unwrap(), Some(b"abcd".as_slice()));
    assert_eq!(files.spool("pieces").unwrap().get(0).unwrap().as_slice(), b"piece");
}

#[tokio::test]
async fn a_closed_session_has_no_files_and_no_copy_of_them_opens() {
    let folder = Folder::new();
    let state = folder.open().await;
    session(&state, &SESSION).await;
    session(&state, &[6; 32]).await;
    let kept = fs::read(folder_of(&folder, &SESSION).join("list")).unwrap();
    state.close_session(&SESSION).await.unwrap();
    assert!(!folder_of(&folder, &SESSION).exists());
    assert!(folder_of(&folder, &[6; 32]).exists(), "those of another session went with it");
    assert_eq!(state.session_files(&SESSION).await.err(), Some(SessionError::Closed));
    assert_eq!(state.session_files(&[9; 32]).await.err(), Some(SessionError::Unknown));
    // The same bytes, where another session would look for its own.
    let files = state.session_files(&[6; 32]).await.unwrap();
    fs::write(folder_of(&folder, &[6; 32]).join("list"), &kept).unwrap();
    assert!(files.records("list", 4).unwrap().read().unwrap().next().is_ok(), "the same secret opens them");
    state.open_session(&[8; 32], &[8; 32]).await.unwrap();
    let files = state.session_files(&[8; 32]).await.unwrap();
    fs::write(folder_of(&folder, &[8; 32]).join("list"), &kept).unwrap();
    assert!(files.records("list", 4).unwrap().read().unwrap().next().is_err());
}

#[tokio::test]
async fn sessions_that_are_closed_for_their_age_lose_their_files() {
    let folder = Folder::new();
    let state = folder.open().await;
    session(&state, &SESSION).await;
    assert_eq!(state.close_sessions_of(Timestamp::from_secs(i64::MAX)).await.unwrap(), 1);
    assert!(!folder_of(&folder, &SESSION).exists());
}

#[tokio::test]
async fn what_a_killed_program_left_of_closed_sessions_is_deleted_at_the_start() {
    let folder = Folder::new();
    let state = folder.open().await;
    session(&state, &SESSION).await;
    session(&state, &[6; 32]).await;
    let (left, kept) = (folder_of(&folder, &SESSION), fs::read(folder_of(&folder, &SESSION).join("list")).unwrap());
    state.close_session(&SESSION).await.unwrap();
    state.close().await;
    fs::create_dir(&left).unwrap();
    fs::write(left.join("list"), kept).unwrap();
    let state = folder.open().await;
    assert!(!left.exists());
    assert!(folder_of(&folder, &[6; 32]).join("list").exists());
    drop(state);
}
