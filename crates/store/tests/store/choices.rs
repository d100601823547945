//! Who takes part in matches: the latest choice counts, for its purpose, and outlives the program (R14).

use crate::support::*;
use firebreak_domain::PurposeId;
use firebreak_store::{Choice, State};

fn purpose(name: &str) -> PurposeId {
    PurposeId::new(name).unwrap()
}

async fn allowed(state: &State, name: &str, by_consent: bool) -> Vec<u8> {
    let participation = state.participation(&purpose(name), by_consent, None).await.unwrap().unwrap();
    (0..6).filter(|person| participation.allows(&state.person_reference(&[*person]))).collect()
}

#[tokio::test]
async fn the_latest_choice_of_a_kind_counts_for_its_purpose() {
    let folder = Folder::new();
    let state = folder.open().await;
    assert_eq!(allowed(&state, "vaccination", false).await, [0, 1, 2, 3, 4, 5]);
    assert!(allowed(&state, "vaccination", true).await.is_empty(), "nobody has consented");
    for (person, choice) in [
        (0, Choice::Restrict(None)),
        (1, Choice::Restrict(Some(purpose("vaccination")))),
        (2, Choice::Restrict(Some(purpose("schooling")))),
        (3, Choice::Restrict(Some(purpose("vaccination")))),
        (3, Choice::Lift(Some(purpose("vaccination")))),
        // A restriction for all purposes is not lifted by lifting it for one, nor the other way round.
        (4, Choice::Restrict(None)),
        (4, Choice::Lift(Some(purpose("vaccination")))),
        (5, Choice::Restrict(Some(purpose("vaccination")))),
        (5, Choice::Lift(None)),
    ] {
        state.record_choice(&[person], &choice).await.unwrap();
    }
    assert_eq!(allowed(&state, "vaccination", false).await, [2, 3]);
    assert_eq!(allowed(&state, "schooling", false).await, [1, 3, 5]);
    for (person, choice) in [
        (0, Choice::Consent(purpose("vaccination"))),
        (2, Choice::Consent(purpose("vaccination"))),
        (3, Choice::Consent(purpose("vaccination"))),
        (3, Choice::Withdraw(purpose("vaccination"))),
    ] {
        state.record_choice(&[person], &choice).await.unwrap();
    }
    // Consent does not undo a restriction.
    assert_eq!(allowed(&state, "vaccination", true).await, [2]);
    assert!(allowed(&state, "schooling", true).await.is_empty(), "consent to one purpose is none to another");
    state.record_choice(&[3], &Choice::Consent(purpose("vaccination"))).await.unwrap();
    state.close().await;
    let state = folder.open().await;
    assert_eq!(allowed(&state, "vaccination", true).await, [2, 3]);
    let of_three: Vec<_> = state.choices_of(&[3]).await.unwrap().into_iter().map(|known| known.choice).collect();
    assert_eq!(
        of_three,
        [
            Choice::Restrict(Some(purpose("vaccination"))),
            Choice::Lift(Some(purpose("vaccination"))),
            Choice::Consent(purpose("vaccination")),
            Choice::Withdraw(purpose("vaccination")),
            Choice::Consent(purpose("vaccination")),
        ]
    );
}

#[tokio::test]
async fn what_is_known_is_read_again_when_something_was_recorded() {
    let folder = Folder::new();
    let state = folder.open().await;
    let name = purpose("vaccination");
    let known = state.participation(&name, false, None).await.unwrap().unwrap();
    assert!(state.participation(&name, false, Some(&known)).await.unwrap().is_none());
    state.record_choice(b"P-1", &Choice::Restrict(None)).await.unwrap();
    let known = state.participation(&name, false, Some(&known)).await.unwrap().unwrap();
    assert!(!known.allows(&state.person_reference(b"P-1")));
    assert!(known.allows(&state.person_reference(b"P-2")));
}

#[tokio::test]
async fn no_file_shows_who_has_chosen() {
    let folder = Folder::new();
    let state = folder.open().await;
    state.record_choice(b"person-canary", &Choice::Restrict(None)).await.unwrap();
    assert!(!in_a_file(folder.path.path(), b"canary"));
    assert_eq!(state.choices_of(b"person-canary").await.unwrap().len(), 1);
    assert!(state.choices_of(b"person-other").await.unwrap().is_empty());
}
