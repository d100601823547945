//! What a join is replayed from: kept beside its leaf, once, and gone after its day.

use crate::support::*;
use firebreak_domain::{RequestId, Timestamp};
use firebreak_store::SessionError;

const SESSION: [u8; 32] = [7; 32];
const REQUEST: RequestId = RequestId::from_bytes([3; 16]);
const WORD: &[u8] = b"a seed that nobody is to find again";

#[tokio::test]
async fn what_a_join_is_replayed_from_outlives_its_session_and_is_gone_after_its_day() {
    let folder = Folder::new();
    let state = folder.open().await;
    let until = state.now().plus_secs(100);
    let unknown = state.keep_join(&SESSION, &REQUEST, until, WORD, leaf(b"committed")).await;
    assert!(matches!(unknown, Err(SessionError::Unknown)), "no session is open");
    state.open_session(&SESSION, WORD).await.unwrap();
    state.keep_join(&SESSION, &REQUEST, until, WORD, leaf(b"committed")).await.unwrap();
    assert!(state.sent_join(&SESSION).await.unwrap().is_none(), "it has sent nothing");
    state.end_join(&SESSION, &REQUEST, until, b"sent", leaf(b"done")).await.unwrap();
    state.close_session(&SESSION).await.unwrap();
    state.close().await;

    let state = folder.open().await;
    assert_eq!(state.joins_of(&REQUEST).await.unwrap(), [SESSION]);
    assert!(state.joins_of(&RequestId::from_bytes([4; 16])).await.unwrap().is_empty());
    assert_eq!(state.kept_join(&SESSION).await.unwrap().unwrap().as_slice(), WORD);
    assert_eq!(state.sent_join(&SESSION).await.unwrap().unwrap().as_slice(), b"sent");
    assert!(!in_a_file(folder.path.path(), WORD), "it stands in a file as it is");
    assert_eq!(state.delete_old_joins(Timestamp::from_secs(until.secs() - 1)).await.unwrap(), 0);
    assert_eq!(state.delete_old_joins(until).await.unwrap(), 1);
    assert!(state.kept_join(&SESSION).await.unwrap().is_none());
    assert!(state.sent_join(&SESSION).await.unwrap().is_none());
    assert!(state.joins_of(&REQUEST).await.unwrap().is_empty());
    state.close().await;
}

#[tokio::test]
async fn a_join_commits_once_and_to_nothing_else() {
    let folder = Folder::new();
    let state = folder.open().await;
    let until = state.now().plus_secs(100);
    state.open_session(&SESSION, WORD).await.unwrap();
    for (word, kept) in [(b"one", true), (b"one", true), (b"two", false)] {
        let done = state.keep_join(&SESSION, &REQUEST, until, word, leaf(word)).await;
        assert_eq!(done.is_ok(), kept);
        assert_eq!(matches!(done, Err(SessionError::AlreadyKept)), !kept);
    }
    assert_eq!(state.backlog().await.unwrap().count, 1, "a leaf is recorded with what is kept, and with nothing else");
    state.close().await;
}

#[tokio::test]
async fn who_took_part_at_a_moment_is_found_again() {
    let folder = Folder::new();
    let state = folder.open().await;
    let purpose = firebreak_domain::PurposeId::new("schooling").unwrap();
    let one = state.person_reference(b"1");
    let before = state.participation(&purpose, false, None).await.unwrap();
    state.record_choice(b"1", &firebreak_store::Choice::Restrict(None)).await.unwrap();
    let after = state.participation(&purpose, false, Some(&before)).await.unwrap();
    for (moment, allowed) in [(before.moment(), true), (after.moment(), false)] {
        assert_eq!(state.participation_at(&purpose, false, moment).await.unwrap().allows(&one), allowed);
    }
    state.close().await;
}
