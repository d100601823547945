//! What a receiver got of matched persons, kept until its day and no longer.

use crate::{stranger::stranger, support::*};
use firebreak_domain::{AgreementId, ColumnName, DatasetId, PurposeId, Timestamp};
use firebreak_store::{DisclosedValues, State};
use sqlx::Connection;
use zeroize::Zeroizing;

const SESSION: [u8; 32] = [7; 32];
const DAY: i64 = 86_400;

fn names(names: &[&str]) -> Vec<ColumnName> {
    names.iter().map(|name| ColumnName::new(*name).unwrap()).collect()
}

fn key(person: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(person.as_bytes().to_vec())
}

fn values(values: &[&str]) -> DisclosedValues {
    Zeroizing::new(values.iter().map(|value| (*value).to_owned()).collect())
}

/// A match of three persons, of two of whom something is disclosed for ten days.
async fn disclosed(state: &State) {
    let (agreement, purpose) = (AgreementId::new("school").unwrap(), PurposeId::new("round").unwrap());
    let dataset = DatasetId::new("education.pupils").unwrap();
    let columns = names(&["level", "region"]);
    state.begin_disclosure(&SESSION, &agreement, &purpose, (&dataset, &columns), 10).await.unwrap();
    state.record_matched(&SESSION, &purpose, &agreement, &["ann", "ben", "col"].map(key)).await.unwrap();
    let rows = [(key("ann"), values(&["primary-canary", "R01"])), (key("ben"), values(&["", "R02"]))];
    state.record_disclosed(&SESSION, &rows).await.unwrap();
    state.complete_matched(&SESSION).await.unwrap();
}

/// What stands in the database of each row: whether there is something sealed, and its first bytes.
async fn sealed(folder: &std::path::Path) -> Vec<Option<Vec<u8>>> {
    let mut reading = stranger(folder, true).await;
    let rows: Vec<Option<Vec<u8>>> =
        sqlx::query_scalar("SELECT sealed FROM disclosed").fetch_all(&mut reading).await.unwrap();
    reading.close().await.unwrap();
    rows
}

#[tokio::test]
async fn what_is_disclosed_is_sealed_and_found_by_its_person_alone() {
    let folder = Folder::new();
    let state = folder.open().await;
    disclosed(&state).await;
    // The same once more, as after a kill, changes nothing.
    disclosed(&state).await;
    state.record_disclosed(&SESSION, &[(key("ann"), values(&["other", "R09"]))]).await.unwrap();
    let page = state.matched_page(&SESSION, None).await.unwrap();
    let found = state.disclosed_values(&SESSION, &page.persons).await.unwrap();
    assert_eq!(page.persons.len(), 3);
    for (person, found) in page.persons.iter().zip(found) {
        let expected = match person.as_slice() {
            b"ann" => Some(values(&["primary-canary", "R01"])),
            b"ben" => Some(values(&["", "R02"])),
            _ => None,
        };
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(person));
    }
    assert!(state.disclosed_values(&[8; 32], &page.persons).await.unwrap().iter().all(Option::is_none));
    let disclosure = state.disclosure(&SESSION).await.unwrap().unwrap();
    assert_eq!(disclosure.columns, names(&["level", "region"]));
    assert_eq!(disclosure.delete_at, Timestamp::from_secs(START + 10 * DAY));
    assert_eq!(state.disclosure(&[8; 32]).await.unwrap(), None);
    for canary in [&b"primary-canary"[..], b"ann"] {
        assert!(!in_a_file(folder.path.path(), canary));
    }
}

#[tokio::test]
async fn after_its_days_it_is_given_to_nobody_deleted_for_good_and_remembered_as_received() {
    let folder = Folder::new();
    let state = folder.open().await;
    disclosed(&state).await;
    let before: Vec<_> = sealed(folder.path.path()).await.into_iter().flatten().collect();
    assert_eq!(before.len(), 2);
    let persons = ["ann", "ben"].map(key);
    folder.clock.set(Timestamp::from_secs(START + 10 * DAY - 1));
    assert!(state.expired_disclosures().await.unwrap().is_empty());
    assert!(state.disclosed_values(&SESSION, &persons).await.unwrap().iter().all(Option::is_some));

    // Its second has come, whether or not anybody has deleted it yet.
    folder.clock.set(Timestamp::from_secs(START + 10 * DAY));
    assert!(state.disclosed_values(&SESSION, &persons).await.unwrap().iter().all(Option::is_none));
    let expired = state.expired_disclosures().await.unwrap();
    assert_eq!(expired.iter().map(|disclosure| disclosure.session).collect::<Vec<_>>(), [SESSION]);
    let leaves = state.outstanding(10).await.unwrap().len();
    assert!(state.delete_disclosed(&SESSION, leaf(b"deleted")).await.unwrap());
    assert!(!state.delete_disclosed(&SESSION, leaf(b"deleted again")).await.unwrap(), "deleted twice");
    assert!(!state.delete_disclosed(&[8; 32], leaf(b"nothing")).await.unwrap(), "of no disclosure");
    assert_eq!(state.outstanding(10).await.unwrap().len(), leaves + 1);
    assert!(state.expired_disclosures().await.unwrap().is_empty());
    assert!(sealed(folder.path.path()).await.iter().all(Option::is_none));
    for bytes in &before {
        let (first, last) = (&bytes[..40], &bytes[bytes.len() - 40..]);
        assert!(!in_a_file(folder.path.path(), first) && !in_a_file(folder.path.path(), last), "sealed bytes are left");
    }
    // A clock that is set back revives nothing.
    folder.clock.set(Timestamp::from_secs(START));
    assert!(state.disclosed_values(&SESSION, &persons).await.unwrap().iter().all(Option::is_none));
    let entries = state.matches_of(b"ann").await.unwrap();
    assert_eq!(entries[0].disclosed, names(&["level", "region"]));
    assert!(state.matches_of(b"col").await.unwrap()[0].disclosed.is_empty(), "nothing was received of that person");
}

#[tokio::test]
async fn the_sender_remembers_what_it_offered_by_session() {
    let folder = Folder::new();
    let state = folder.open().await;
    let (agreement, purpose) = (AgreementId::new("school").unwrap(), PurposeId::new("round").unwrap());
    state.record_offered_columns(&SESSION, &names(&["level"])).await.unwrap();
    for session in [SESSION, [8; 32]] {
        state.record_offered(&session, &agreement, &purpose).await.unwrap();
    }
    state.record_offered_columns(&SESSION, &names(&["region"])).await.unwrap();
    let offered = state.offered().await.unwrap();
    assert_eq!(offered.iter().map(|entry| entry.columns.clone()).collect::<Vec<_>>(), [names(&["level"]), vec![]]);
}
