//! The question behind a release.

use crate::stranger::stranger;
use crate::support::{Folder, agreement, fresh, in_a_file, key, leaf, life, request, rho, within};
use firebreak_domain::ReleaseName;
use firebreak_store::{State, StoreError};
use sqlx::Connection;

const QUESTION: &[u8] = b"where cost >= 4711";

async fn settled(state: &State, id: u8, release: &[u8]) -> ReleaseName {
    let accounts = [within(life(), 1000), within(agreement(), 1000)];
    let reservation = fresh(state.reserve(&request("ada", id, 1), &key(id), rho(1), &accounts).await);
    let leaf = leaf(&[b"leaf ", release].concat());
    state.settle_asked(reservation, release, b"evidence", leaf, QUESTION).await.unwrap();
    ReleaseName::of(release)
}

#[tokio::test]
async fn a_release_is_found_by_its_name_with_its_question_also_after_a_restart() {
    let folder = Folder::new();
    let state = folder.open().await;
    let name = settled(&state, 1, b"one").await;
    for round in 0..2 {
        let state = if round == 0 { state.clone() } else { folder.open().await };
        let found = state.answered(&name).await.unwrap().unwrap();
        assert_eq!((found.release.bytes.as_ref(), found.question.as_slice()), (b"one".as_slice(), QUESTION));
        assert_eq!(found.release.release_key, key(1));
        assert!(state.answered(&ReleaseName::of(b"two")).await.unwrap().is_none());
        state.verify_chain().await.unwrap();
        state.close().await;
    }
    assert!(!in_a_file(folder.path.path(), QUESTION), "a question is in a file in clear");
}

#[tokio::test]
async fn a_question_given_to_another_release_opens_nowhere() {
    let folder = Folder::new();
    let state = folder.open().await;
    let (one, other) = (settled(&state, 1, b"one").await, settled(&state, 2, b"two").await);
    let mut insider = stranger(folder.path.path(), false).await;
    for statement in [
        "UPDATE questions SET sealed = (SELECT sealed FROM questions WHERE rowid = 2) WHERE rowid = 1",
        "UPDATE questions SET name = zeroblob(16) WHERE rowid = 1",
    ] {
        sqlx::query(statement).execute(&mut insider).await.unwrap();
        for name in [one, ReleaseName::of(b"three")] {
            let found = state.answered(&name).await;
            assert!(matches!(found, Err(StoreError::Seal(_)) | Ok(None)), "{statement}");
        }
        assert!(state.answered(&other).await.unwrap().is_some(), "{statement}");
    }
    insider.close().await.unwrap();
}

/// What an earlier program of this format left has no table of questions.
#[tokio::test]
async fn a_folder_of_an_earlier_program_gets_the_tables_that_it_lacks() {
    let folder = Folder::new();
    folder.open().await.close().await;
    let mut earlier = stranger(folder.path.path(), false).await;
    sqlx::raw_sql("DROP TABLE questions").execute(&mut earlier).await.unwrap();
    earlier.close().await.unwrap();
    let state = folder.open().await;
    let name = settled(&state, 1, b"one").await;
    assert!(state.answered(&name).await.unwrap().is_some());
}
