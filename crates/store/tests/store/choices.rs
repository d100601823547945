//! Who takes part in matches: the latest choice counts, for its purpose, and outlives the program (R14).

use crate::support::*;
use firebreak_domain::PurposeId;
use firebreak_store::{Choice, Participation, State};
use futures::future::try_join_all;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

fn purpose(name: &str) -> PurposeId {
    PurposeId::new(name).unwrap()
}

async fn allowed(state: &State, name: &str, by_consent: bool) -> Vec<u8> {
    let participation = state.participation(&purpose(name), by_consent, None).await.unwrap();
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
async fn what_is_known_is_read_again_when_something_was_recorded_or_it_is_of_something_else() {
    let folder = Folder::new();
    let state = folder.open().await;
    let name = purpose("vaccination");
    let known = state.participation(&name, false, None).await.unwrap();
    assert!(Arc::ptr_eq(&known, &state.participation(&name, false, Some(&known)).await.unwrap()));
    state.record_choice(b"P-1", &Choice::Restrict(None)).await.unwrap();
    let known = state.participation(&name, false, Some(&known)).await.unwrap();
    assert!(!known.allows(&state.person_reference(b"P-1")));
    assert!(known.allows(&state.person_reference(b"P-2")));
    state.record_choice(b"P-2", &Choice::Restrict(Some(name.clone()))).await.unwrap();
    for (name, by_consent) in [(purpose("schooling"), false), (name, true)] {
        let of_other = state.participation(&name, by_consent, Some(&known)).await.unwrap();
        assert_eq!(*of_other, state.participation_at(&name, by_consent, of_other.moment()).await.unwrap());
        assert_eq!(of_other.allows(&state.person_reference(b"P-2")), !by_consent);
    }
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

const PURPOSES: [&str; 2] = ["vaccination", "schooling"];

fn drawn(random: &mut ChaCha8Rng) -> Choice {
    let name = purpose(PURPOSES[random.random_range(0..2)]);
    let of_all = random.random_bool(0.3);
    match random.random_range(0..4) {
        0 => Choice::Consent(name),
        1 => Choice::Withdraw(name),
        2 => Choice::Restrict((!of_all).then_some(name)),
        _ => Choice::Lift((!of_all).then_some(name)),
    }
}

/// Whether somebody takes part who has said that, one after the other.
fn takes_part(said: &[Choice], name: &PurposeId, by_consent: bool) -> bool {
    let latest = |yes: Choice, no: Choice| said.iter().rfind(|one| **one == yes || **one == no) == Some(&yes);
    let restricted = |of: Option<PurposeId>| latest(Choice::Restrict(of.clone()), Choice::Lift(of));
    !restricted(None)
        && !restricted(Some(name.clone()))
        && (!by_consent || latest(Choice::Consent(name.clone()), Choice::Withdraw(name.clone())))
}

#[tokio::test]
async fn of_many_persons_with_many_choices_each_takes_part_at_each_moment_as_said_until_then() {
    const PERSONS: u16 = 200;
    let folder = Folder::new();
    let state = folder.open().await;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut said = vec![Vec::new(); usize::from(PERSONS)];
    // What each had said by a moment.
    let mut moments = vec![(0, said.clone())];
    let mut known: Option<Arc<Participation>> = None;
    for round in 0..12 {
        // Everybody now and then, and between that a few.
        let some = if round % 3 == 0 { 0..4 } else { -20..3 };
        let new: Vec<Vec<Choice>> =
            said.iter().map(|_| (0..random.random_range(some.clone())).map(|_| drawn(&mut random)).collect()).collect();
        let recorded = (0..PERSONS).zip(&new).map(async |(person, choices)| {
            for choice in choices {
                state.record_choice(&person.to_be_bytes(), choice).await?;
            }
            Ok::<_, firebreak_store::StoreError>(())
        });
        try_join_all(recorded).await.unwrap();
        said.iter_mut().zip(new).for_each(|(said, new)| said.extend(new));
        let now = state.participation(&purpose(PURPOSES[0]), true, known.as_ref()).await.unwrap();
        let moment = now.moment();
        assert_eq!(*now, state.participation_at(&purpose(PURPOSES[0]), true, moment).await.unwrap(), "round {round}");
        moments.push((moment, said.clone()));
        known = Some(now);
    }
    let mut outcomes = [0, 0];
    for (moment, said) in &moments {
        for (name, by_consent) in PURPOSES.into_iter().flat_map(|name| [(name, false), (name, true)]) {
            let name = purpose(name);
            let found = state.participation_at(&name, by_consent, *moment).await.unwrap();
            assert_eq!(found.moment(), *moment);
            for (person, said) in (0..PERSONS).zip(said) {
                let allowed = found.allows(&state.person_reference(&person.to_be_bytes()));
                assert_eq!(allowed, takes_part(said, &name, by_consent), "{person} at {moment}: {said:?}");
                outcomes[usize::from(allowed)] += 1;
            }
            assert_eq!(found.allows(&state.person_reference(b"nobody")), !by_consent);
        }
    }
    assert!(outcomes.iter().all(|count| *count > 500), "{outcomes:?}");
}
