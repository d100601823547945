//! The register of what was handed out of matches (R14, R30).

use crate::{stranger::stranger, support::*};
use firebreak_domain::{AgreementId, CutId, DatasetId, PurposeId, Timestamp};
use firebreak_store::{HandOutForm, NewHandedOut, RecordedMatch, SealError, State, StoreError};

const SESSION: [u8; 32] = [7; 32];

fn what(form: HandOutForm, rows: u64) -> NewHandedOut {
    NewHandedOut {
        officer: "spiffe://firebreak.example/org/health/officer/canary".parse().unwrap(),
        session: SESSION,
        agreement: AgreementId::new("school-vaccines").unwrap(),
        purpose: PurposeId::new("vaccination").unwrap(),
        form,
        rows,
        sha256: [rows as u8; 32],
    }
}

async fn three(state: &State) {
    for (rows, form) in [HandOutForm::Csv, HandOutForm::Parquet, HandOutForm::List].into_iter().enumerate() {
        state.record_handed_out(what(form, rows as u64)).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_handed_out_is_listed_in_order_after_a_restart_and_no_file_shows_to_whom() {
    let folder = Folder::new();
    let state = folder.open().await;
    assert_eq!(state.handed_out().await.unwrap(), []);
    let first = state.record_handed_out(what(HandOutForm::Csv, 250)).await.unwrap();
    assert_eq!((first.number, first.at), (1, Timestamp::from_secs(START)));
    folder.clock.set(Timestamp::from_secs(START + 60));
    // The same once more is another act.
    let second = state.record_handed_out(what(HandOutForm::Csv, 250)).await.unwrap();
    let third = state.record_handed_out(what(HandOutForm::List, 0)).await.unwrap();
    assert_eq!((second.number, second.at, third.number), (2, Timestamp::from_secs(START + 60), 3));
    assert_eq!(first.what, second.what);
    state.close().await;
    let state = folder.open().await;
    assert_eq!(state.handed_out().await.unwrap(), [first, second, third]);
    assert!(!in_a_file(folder.path.path(), b"canary"));
}

#[tokio::test]
async fn an_entry_that_was_taken_out_edited_or_exchanged_is_noticed() {
    for (edit, found) in [
        ("DELETE FROM handed_out WHERE number = 1", StoreError::Malformed("entry of what was handed out")),
        ("DELETE FROM handed_out WHERE number = 2", StoreError::Malformed("entry of what was handed out")),
        ("UPDATE handed_out SET number = 4 WHERE number = 3", StoreError::Malformed("entry of what was handed out")),
        (
            "UPDATE handed_out SET sealed = (SELECT sealed FROM handed_out WHERE number = 1) WHERE number = 2",
            StoreError::Seal(SealError::Open),
        ),
        ("UPDATE handed_out SET sealed = substr(sealed, 1, 60)", StoreError::Seal(SealError::Open)),
    ] {
        let folder = Folder::new();
        let state = folder.open().await;
        three(&state).await;
        assert_eq!(state.handed_out().await.unwrap().len(), 3);
        let mut database = stranger(folder.path.path(), false).await;
        sqlx::raw_sql(edit).execute(&mut database).await.unwrap();
        sqlx::Connection::close(database).await.unwrap();
        assert_eq!(state.handed_out().await, Err(found), "{edit}");
    }
}

#[tokio::test]
async fn a_match_is_found_by_its_session_with_the_cut_that_was_recorded_first() {
    let folder = Folder::new();
    let state = folder.open().await;
    let (purpose, agreement) = (PurposeId::new("vaccination").unwrap(), AgreementId::new("school-vaccines").unwrap());
    let (dataset, cut) = (DatasetId::new("health.visits").unwrap(), CutId::new("2024-Q4").unwrap());
    state.record_match_cut(&SESSION, &dataset, &cut).await.unwrap();
    assert_eq!(state.recorded_match(&SESSION).await, Ok(None), "a match of which nothing is recorded");
    state.record_match_cut(&SESSION, &dataset, &CutId::new("2025-Q1").unwrap()).await.unwrap();
    let recorded = RecordedMatch { agreement: agreement.clone(), purpose: purpose.clone(), cut: Some((dataset, cut)) };
    state.record_matched(&SESSION, &purpose, &agreement, &["one"]).await.unwrap();
    state.complete_matched(&SESSION).await.unwrap();
    assert_eq!(state.recorded_match(&SESSION).await, Ok(Some(recorded.clone())));
    // As an earlier program left it.
    state.record_matched::<&str>(&[8; 32], &purpose, &agreement, &[]).await.unwrap();
    state.complete_matched(&[8; 32]).await.unwrap();
    assert_eq!(state.recorded_match(&[8; 32]).await, Ok(Some(RecordedMatch { cut: None, ..recorded })));
}

#[tokio::test]
async fn pages_of_matched_persons_are_the_whole_list_in_one_order() {
    let folder = Folder::new();
    let state = folder.open().await;
    let (purpose, agreement) = (PurposeId::new("vaccination").unwrap(), AgreementId::new("school-vaccines").unwrap());
    let persons: Vec<_> = (0..2500).map(|number| format!("person-{number}")).collect();
    state.record_matched(&SESSION, &purpose, &agreement, &persons).await.unwrap();
    state.complete_matched(&SESSION).await.unwrap();
    state.record_matched(&[8; 32], &purpose, &agreement, &["person-of-another-session"]).await.unwrap();
    state.complete_matched(&[8; 32]).await.unwrap();
    let (mut paged, mut sizes, mut last) = (Vec::new(), Vec::new(), None);
    loop {
        let page = state.matched_page(&SESSION, last).await.unwrap();
        sizes.push(page.persons.len());
        paged.extend(page.persons);
        last = page.last;
        if last.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [1000, 1000, 500, 0]);
    assert_eq!(paged, state.matched_persons(&SESSION).await.unwrap());
    let mut found: Vec<_> = paged.iter().map(|person| String::from_utf8(person.to_vec()).unwrap()).collect();
    assert_ne!(found, persons, "the order in which they were recorded");
    found.sort();
    let mut expected = persons;
    expected.sort();
    assert_eq!(found, expected);
}
