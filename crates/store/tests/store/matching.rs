//! Caps, sessions and registers of matches (R3, R14, R30), and the leaves on their way to the log (R26).

use crate::{
    stranger::{sealed, stranger},
    support::*,
};
use firebreak_domain::{AgreementId, CapLimits, CapPeriod, Counted, OrgId, PurposeId, ReasonCode, Timestamp};
use firebreak_store::{
    CapError, CapOutcome, CappedKey, EvaluationChunk, FollowerError, LeafHash, LogView, MatchedBy, ReconcileError,
    SessionError, State, TagsHandedOut,
};
use sqlx::Connection;

fn by(key: &str) -> CappedKey {
    CappedKey {
        agreement: AgreementId::new("school-vaccines").unwrap(),
        receiver: OrgId::new("health").unwrap(),
        key: key.parse().unwrap(),
    }
}

fn chunk(session: u8, number: u32, hash: u8, elements: u64) -> EvaluationChunk {
    EvaluationChunk {
        of: by("number"),
        period: 2025,
        session: [session; 32],
        number,
        blinded_hash: [hash; 32],
        elements,
    }
}

/// A year's limit of so many, and one for life that is out of reach.
fn a_year(per_year: u64) -> CapLimits {
    CapLimits { per_year, for_life: u64::MAX }
}

fn counted(state: &State, counted: Counted, period: CapPeriod) -> u64 {
    state.counted(counted, &by("number"), period)
}

fn evaluations(state: &State, period: i32) -> u64 {
    counted(state, Counted::Evaluations, CapPeriod::Year(period))
}

#[tokio::test]
async fn a_chunk_is_charged_once_and_the_cap_outlives_the_program() {
    let folder = Folder::new();
    let state = folder.open().await;
    assert_eq!(state.charge_evaluations(&chunk(1, 0, 1, 60), a_year(100)).await, Ok(CapOutcome::Fresh));
    assert_eq!(state.charge_evaluations(&chunk(1, 0, 1, 60), a_year(100)).await, Ok(CapOutcome::Resumed));
    state.close().await;
    let state = folder.open().await;
    assert_eq!(state.charge_evaluations(&chunk(1, 0, 1, 60), a_year(100)).await, Ok(CapOutcome::Resumed));
    let over = state.charge_evaluations(&chunk(2, 0, 2, 41), a_year(100)).await;
    let (counted, period) = (Counted::Evaluations, CapPeriod::Year(2025));
    assert_eq!(over, Err(CapError::Exhausted { counted, period, left: 40 }));
    assert_eq!(state.charge_evaluations(&chunk(2, 0, 2, 40), a_year(100)).await, Ok(CapOutcome::Fresh));
    assert_eq!(evaluations(&state, 2025), 100);
    let next = EvaluationChunk { period: 2026, ..chunk(3, 0, 3, 100) };
    assert_eq!(state.charge_evaluations(&next, a_year(100)).await, Ok(CapOutcome::Fresh));
    assert_eq!(evaluations(&state, 2026), 100);
    state.verify_chain().await.unwrap();
}

#[tokio::test]
async fn a_cap_for_life_counts_all_years_together_and_outlives_the_program() {
    let folder = Folder::new();
    let state = folder.open().await;
    let limits = CapLimits { per_year: 100, for_life: 150 };
    assert_eq!(state.charge_evaluations(&chunk(1, 0, 1, 100), limits).await, Ok(CapOutcome::Fresh));
    state.close().await;
    let state = folder.open().await;
    let next = |hash, elements| EvaluationChunk { period: 2026, ..chunk(hash, 0, hash, elements) };
    let over = state.charge_evaluations(&next(2, 51), limits).await;
    let (counted, period) = (Counted::Evaluations, CapPeriod::Life);
    assert_eq!(over, Err(CapError::Exhausted { counted, period, left: 50 }));
    assert_eq!(evaluations(&state, 2026), 0, "what is refused is charged nowhere");
    assert_eq!(state.charge_evaluations(&next(2, 50), limits).await, Ok(CapOutcome::Fresh));
    // Both are spent for the old year now: that no new year helps is what is said.
    let over = state.charge_evaluations(&chunk(3, 0, 3, 1), limits).await;
    assert_eq!(over, Err(CapError::Exhausted { counted, period, left: 0 }));
    assert_eq!((evaluations(&state, 2025), evaluations(&state, 2026)), (100, 50));
    assert_eq!(self::counted(&state, counted, CapPeriod::Life), 150);
    // A chunk of the old year is evaluated again in the new one for nothing.
    let resumed = EvaluationChunk { period: 2026, ..chunk(1, 0, 1, 100) };
    assert_eq!(state.charge_evaluations(&resumed, limits).await, Ok(CapOutcome::Resumed));
    state.verify_chain().await.unwrap();
}

fn list(session: u8, hash: u8, period: i32, tags: u64) -> TagsHandedOut {
    TagsHandedOut { of: by("number"), period, session: [session; 32], list_hash: [hash; 32], tags }
}

#[tokio::test]
async fn a_list_of_tags_is_charged_once_by_year_and_for_life_and_the_caps_outlive_the_program() {
    let folder = Folder::new();
    let state = folder.open().await;
    let limits = CapLimits { per_year: 100, for_life: 150 };
    assert!(!state.is_handed_out(&[1; 32]));
    assert_eq!(state.charge_tags(&list(1, 1, 2025, 60), limits).await, Ok(CapOutcome::Fresh));
    assert_eq!(state.charge_tags(&list(1, 1, 2025, 60), limits).await, Ok(CapOutcome::Resumed));
    state.close().await;
    let state = folder.open().await;
    // The session's list again is free, in whichever year; another session's is charged, with the very same tags too,
    // and so are other tags of the same session.
    assert_eq!(state.charge_tags(&list(1, 1, 2026, 60), limits).await, Ok(CapOutcome::Resumed));
    let exhausted = |period, left| Err(CapError::Exhausted { counted: Counted::Tags, period, left });
    for other in [list(2, 1, 2025, 60), list(1, 2, 2025, 60)] {
        assert_eq!(state.charge_tags(&other, limits).await, exhausted(CapPeriod::Year(2025), 40));
    }
    assert!(state.is_handed_out(&[1; 32]) && !state.is_handed_out(&[2; 32]));
    assert_eq!(state.charge_tags(&list(2, 1, 2026, 60), limits).await, Ok(CapOutcome::Fresh));
    assert_eq!(state.charge_tags(&list(3, 3, 2027, 31), limits).await, exhausted(CapPeriod::Life, 30));
    let check = |more| state.check_caps(Counted::Tags, &by("number"), 2027, more, limits);
    assert_eq!(check(31), exhausted(CapPeriod::Life, 30).map(|_: CapOutcome| ()));
    assert_eq!(check(30), Ok(()));
    let of = |period| counted(&state, Counted::Tags, period);
    assert_eq!((of(CapPeriod::Year(2025)), of(CapPeriod::Year(2026)), of(CapPeriod::Life)), (60, 60, 120));
    assert_eq!(counted(&state, Counted::Evaluations, CapPeriod::Life), 0, "tags are no evaluations");
    state.verify_chain().await.unwrap();
}

#[tokio::test]
async fn each_key_of_an_agreement_has_caps_of_its_own() {
    let folder = Folder::new();
    let state = folder.open().await;
    let limits = CapLimits { per_year: 100, for_life: 100 };
    state.charge_evaluations(&chunk(1, 0, 1, 100), limits).await.unwrap();
    state.charge_tags(&list(1, 1, 2025, 100), limits).await.unwrap();
    let names = |session, elements| EvaluationChunk { of: by("names"), ..chunk(session, 0, session, elements) };
    assert_eq!(state.charge_evaluations(&names(2, 60), limits).await, Ok(CapOutcome::Fresh));
    let of_names = TagsHandedOut { of: by("names"), ..list(2, 2, 2025, 70) };
    assert_eq!(state.charge_tags(&of_names, limits).await, Ok(CapOutcome::Fresh));
    state.close().await;
    let state = folder.open().await;
    let over = CapError::Exhausted { counted: Counted::Evaluations, period: CapPeriod::Life, left: 40 };
    assert_eq!(state.charge_evaluations(&names(3, 41), limits).await, Err(over));
    for (key, evaluations, tags) in [("number", 100, 100), ("names", 60, 70), ("passport", 0, 0)] {
        for period in [CapPeriod::Year(2025), CapPeriod::Life] {
            assert_eq!(state.counted(Counted::Evaluations, &by(key), period), evaluations, "{key} {period}");
            assert_eq!(state.counted(Counted::Tags, &by(key), period), tags, "{key} {period}");
        }
    }
    state.verify_chain().await.unwrap();
}

#[tokio::test]
async fn caps_that_were_set_back_are_behind_what_the_log_tells_of() {
    let folder = Folder::new();
    let state = folder.open().await;
    let limits = CapLimits { per_year: 100, for_life: 150 };
    state.charge_evaluations(&chunk(1, 0, 1, 60), limits).await.unwrap();
    state.close().await;
    let backup = tempfile::tempdir().unwrap();
    let file = |folder: &std::path::Path| folder.join("state.sqlite");
    std::fs::copy(file(folder.path.path()), file(backup.path())).unwrap();
    let state = folder.open().await;
    state.charge_tags(&list(1, 1, 2025, 60), limits).await.unwrap();
    let told = state.ledger_head();
    assert_eq!(state.check_not_behind(told.count, &told.head).await, Ok(()));
    state.close().await;

    std::fs::copy(file(backup.path()), file(folder.path.path())).unwrap();
    let state = folder.open().await;
    assert_eq!(counted(&state, Counted::Tags, CapPeriod::Life), 0, "the folder is the earlier one");
    let behind = ReconcileError::LedgerBehind { ledger: 1, log: 2 };
    assert_eq!(state.check_not_behind(told.count, &told.head).await, Err(behind));
}

#[tokio::test]
async fn a_chunk_with_other_elements_or_for_another_receiver_is_refused() {
    let state = Folder::new().open().await;
    state.charge_evaluations(&chunk(1, 0, 1, 10), a_year(100)).await.unwrap();
    let receiver = OrgId::new("education").unwrap();
    let other_receiver = EvaluationChunk { of: CappedKey { receiver, ..by("number") }, ..chunk(1, 0, 1, 10) };
    let other_key = EvaluationChunk { of: by("names"), ..chunk(1, 0, 1, 10) };
    for other in [chunk(1, 0, 2, 10), chunk(1, 0, 1, 11), other_receiver, other_key] {
        assert_eq!(state.charge_evaluations(&other, a_year(100)).await, Err(CapError::ChunkMismatch));
    }
    assert_eq!(evaluations(&state, 2025), 10);
}

#[tokio::test]
async fn a_session_resumes_on_its_first_secret_and_is_destroyed_when_closed() {
    let folder = Folder::new();
    let state = folder.open().await;
    let session = [5; 32];
    assert_eq!(state.open_session(&session, b"first secret").await.unwrap().as_slice(), b"first secret");
    state.close().await;
    let state = folder.open().await;
    assert_eq!(state.open_session(&session, b"other secret").await.unwrap().as_slice(), b"first secret");
    assert_eq!(state.session_secret(&session).await.unwrap().as_slice(), b"first secret");
    assert_eq!(state.open_sessions().await.unwrap().len(), 1);
    state.close_session(&session).await.unwrap();
    assert!(state.open_sessions().await.unwrap().is_empty());
    assert_eq!(state.open_session(&session, b"other secret").await, Err(SessionError::Closed));
    assert_eq!(state.session_secret(&session).await, Err(SessionError::Closed));
    assert_eq!(state.record_end(&session, leaf(b"a leaf")).await, Err(SessionError::Closed));
    assert_eq!(state.record_end(&[6; 32], leaf(b"a leaf")).await, Err(SessionError::Unknown));
    assert_eq!(state.session_secret(&[6; 32]).await, Err(SessionError::Unknown));
}

#[tokio::test]
async fn when_a_session_is_closed_no_file_holds_its_secrets_and_its_commitment_can_still_be_opened() {
    let folder = Folder::new();
    let state = folder.open().await;
    let (session, other) = ([5; 32], [6; 32]);
    for session in [&session, &other] {
        state.open_session(session, &[7; 32]).await.unwrap();
        state.keep_opening(session, b"nonce and root", leaf(b"a leaf")).await.unwrap();
        state.record_end(session, leaf(b"another leaf")).await.unwrap();
    }
    assert_eq!(state.outstanding(9).await.unwrap().len(), 2, "the leaves of the session wait for the log");
    let other_set = state.keep_opening(&session, b"another root", leaf(b"a third leaf")).await;
    assert_eq!(other_set, Err(SessionError::AlreadyKept));
    let before = sealed(folder.path.path()).await;
    assert_eq!(before.len(), 2 * 2 * 2);
    assert!(before.iter().all(|bytes| in_a_file(folder.path.path(), bytes)), "they are looked for where they are not");

    state.close_session(&session).await.unwrap();
    // The program still runs: nothing has to be closed or started for the bytes to go.
    let gone = before.iter().filter(|bytes| !in_a_file(folder.path.path(), bytes)).count();
    assert_eq!(gone, before.len() / 2, "one session of two is closed");
    state.close_session(&other).await.unwrap();
    assert!(!before.iter().any(|bytes| in_a_file(folder.path.path(), bytes)));
    let opening = state.session_opening(&session).await.unwrap().unwrap();
    assert_eq!(opening.as_slice(), b"nonce and root");
    assert_eq!(state.session_opened(&session).await, Err(SessionError::Closed));
}

#[tokio::test]
async fn a_session_that_ends_while_its_files_are_written_has_ended_and_none_is_left() {
    let folder = Folder::new();
    let state = folder.open().await;
    let session = [5; 32];
    state.open_session(&session, &[8; 32]).await.unwrap();
    let files = state.session_files(&session).await.unwrap();
    files.spool("stated").unwrap().add(b"stated").unwrap();
    // A run of the session that hears of its end a little later, and does not wait for the disk.
    let kept = folder.path.path().join("sessions").join(hex::encode(session));
    let writing = std::thread::spawn(move || {
        let begun = std::time::Instant::now();
        let mut written = 0_u32;
        while begun.elapsed() < std::time::Duration::from_millis(200) {
            written += u32::from(std::fs::write(kept.join(format!("piece-{written}")), b"piece").is_ok());
        }
        written
    });
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(state.end_session(&session, ReasonCode::HostileInput, leaf(b"one")).await, Ok(true));
    assert!(writing.join().unwrap() > 0);
    assert!(!folder.path.path().join("sessions").join(hex::encode(session)).exists(), "files are left");
    assert_eq!(state.session_end(&session).await, Ok(Some(ReasonCode::HostileInput)));
    state.close().await;
}

#[tokio::test]
async fn a_session_that_a_fault_ended_repeats_its_reason_and_leaves_one_leaf() {
    let folder = Folder::new();
    folder.open().await.close().await;
    // A folder of an earlier program has no table of reasons.
    let mut earlier = stranger(folder.path.path(), false).await;
    sqlx::raw_sql("DROP TABLE session_ends").execute(&mut earlier).await.unwrap();
    earlier.close().await.unwrap();
    let state = folder.open().await;
    let (session, never_opened, closed) = ([5; 32], [6; 32], [7; 32]);
    for session in [&session, &closed] {
        state.open_session(session, &[8; 32]).await.unwrap();
        state.session_files(session).await.unwrap().spool("evaluated").unwrap().add(b"evaluated").unwrap();
    }
    state.close_session(&closed).await.unwrap();
    assert_eq!(state.session_end(&session).await, Ok(None));
    let files = |session: &[u8; 32]| folder.path.path().join("sessions").join(hex::encode(session));
    assert!(files(&session).exists() && !files(&closed).exists());

    let reason = ReasonCode::ProofRejected;
    assert_eq!(state.end_session(&session, reason, leaf(b"one")).await, Ok(true));
    assert_eq!(state.end_session(&never_opened, ReasonCode::HostileInput, leaf(b"two")).await, Ok(true));
    // The first reason stays, and what was closed without one has none.
    assert_eq!(state.end_session(&session, ReasonCode::WrongCount, leaf(b"three")).await, Ok(false));
    assert_eq!(state.end_session(&closed, reason, leaf(b"four")).await, Ok(false));
    assert_eq!(state.outstanding(9).await.unwrap().len(), 2, "a leaf for each end");
    assert!(!files(&session).exists(), "the files outlive the session");
    state.close().await;

    let state = folder.open().await;
    assert_eq!(state.session_end(&session).await, Ok(Some(reason)));
    assert_eq!(state.open_session(&session, b"other").await, Err(SessionError::Ended(reason)));
    assert_eq!(state.session_secret(&session).await, Err(SessionError::Ended(reason)));
    assert_eq!(state.session_opened(&session).await, Err(SessionError::Ended(reason)));
    assert_eq!(state.session_files(&session).await.map(drop), Err(SessionError::Ended(reason)));
    assert_eq!(state.record_end(&session, leaf(b"five")).await, Err(SessionError::Ended(reason)));
    assert_eq!(state.open_session(&never_opened, b"other").await, Err(SessionError::Ended(ReasonCode::HostileInput)));
    assert_eq!(state.open_session(&closed, b"other").await, Err(SessionError::Closed));
    assert!(state.open_sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_session_left_open_is_closed_by_its_age() {
    let folder = Folder::new();
    let state = folder.open().await;
    state.open_session(&[1; 32], b"old").await.unwrap();
    folder.clock.set(Timestamp::from_secs(START + 10));
    state.open_session(&[2; 32], b"young").await.unwrap();
    // Taking it up again makes it no younger.
    state.open_session(&[1; 32], b"old").await.unwrap();
    assert_eq!(state.session_opened(&[1; 32]).await, Ok(Timestamp::from_secs(START)));
    assert_eq!(state.close_sessions_of(Timestamp::from_secs(START - 1)).await, Ok(0));
    assert_eq!(state.close_sessions_of(Timestamp::from_secs(START)).await, Ok(1));
    assert_eq!(state.session_secret(&[1; 32]).await, Err(SessionError::Closed));
    assert_eq!(state.session_secret(&[2; 32]).await.unwrap().as_slice(), b"young");
    assert_eq!(state.session_opened(&[3; 32]).await, Err(SessionError::Unknown));
}

#[tokio::test]
async fn the_receiver_finds_a_persons_matches_and_no_file_shows_the_person() {
    let folder = Folder::new();
    let state = folder.open().await;
    let (purpose, agreement) = (PurposeId::new("vaccination").unwrap(), AgreementId::new("school-vaccines").unwrap());
    let persons: Vec<_> = (0..2500).map(|number| format!("person-{number:06}-canary")).collect();
    // Of an attempt that broke off nothing stays: somebody may have been restricted since.
    state.record_matched(&[1; 32], &purpose, &agreement, &["restricted since".to_owned()]).await.unwrap();
    state.forget_incomplete(&[1; 32]).await.unwrap();
    // Some at a time, and some again, as after a restart.
    state.record_matched(&[1; 32], &purpose, &agreement, &persons[..2000]).await.unwrap();
    state.record_matched(&[1; 32], &purpose, &agreement, &persons[1000..]).await.unwrap();
    assert!(state.matches_of(b"person-000000-canary").await.unwrap().is_empty(), "not all of it is recorded");
    assert!(state.matched_persons(&[1; 32]).await.unwrap().is_empty(), "not all of it is recorded");
    state.complete_matched(&[1; 32]).await.unwrap();
    folder.clock.set(Timestamp::from_secs(START + 60));
    state.complete_matched(&[1; 32]).await.unwrap();
    // What is in the register stays there.
    state.forget_incomplete(&[1; 32]).await.unwrap();
    assert_eq!(state.matched_persons(&[1; 32]).await.unwrap().len(), 2500);
    assert!(state.matches_of(b"restricted since").await.unwrap().is_empty());
    state.record_matched(&[2; 32], &purpose, &agreement, &persons[..1]).await.unwrap();
    state.complete_matched(&[2; 32]).await.unwrap();
    let sessions = async |person: &str| -> Vec<_> {
        let entries = state.matches_of(person.as_bytes()).await.unwrap();
        entries.iter().map(|entry| (entry.session, entry.at.secs())).collect()
    };
    assert_eq!(sessions("person-000000-canary").await, [([1; 32], START), ([2; 32], START + 60)]);
    assert_eq!(sessions("person-002499-canary").await, [([1; 32], START)]);
    assert!(sessions("person-002500-canary").await.is_empty());
    let mut found: Vec<_> = state.matched_persons(&[1; 32]).await.unwrap();
    found.sort_by(|one, two| one.as_slice().cmp(two.as_slice()));
    assert!(found.iter().map(|person| person.as_slice()).eq(persons.iter().map(String::as_bytes)));
    state.record_offered(&[3; 32], &agreement, &purpose).await.unwrap();
    state.record_offered(&[3; 32], &agreement, &purpose).await.unwrap();
    let offered = state.offered().await.unwrap();
    assert_eq!((offered.len(), offered[0].session, &offered[0].purpose), (1, [3; 32], &purpose));
    for file in std::fs::read_dir(folder.path.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
    }
}

#[tokio::test]
async fn the_register_says_by_which_key_a_person_was_matched_and_whether_that_is_provisional() {
    let folder = Folder::new();
    let state = folder.open().await;
    let (purpose, agreement) = (PurposeId::new("vaccination").unwrap(), AgreementId::new("school-vaccines").unwrap());
    let number = MatchedBy {
        key: "number".parse().unwrap(),
        compares: [4; 32],
        provisional: false,
        selection: [5; 32],
        after: None,
    };
    let names = MatchedBy { key: "names".parse().unwrap(), provisional: true, after: Some([1; 32]), ..number.clone() };
    for (session, by) in [([1; 32], Some(&number)), ([2; 32], Some(&names)), ([3; 32], None)] {
        state.record_matched(&session, &purpose, &agreement, &[b"person"]).await.unwrap();
        if let Some(by) = by {
            state.record_matched_by(&session, by).await.unwrap();
            // The first stands.
            state.record_matched_by(&session, &MatchedBy { provisional: !by.provisional, ..by.clone() }).await.unwrap();
        }
        state.complete_matched(&session).await.unwrap();
        assert_eq!(state.matched_by(&session).await, Ok(by.cloned()));
    }
    state.close().await;
    let state = folder.open().await;
    let entries = state.matches_of(b"person").await.unwrap();
    let told: Vec<_> = entries.iter().map(|e| (e.key.as_ref().map(|key| key.as_str()), e.provisional)).collect();
    assert_eq!(told, [(Some("number"), false), (Some("names"), true), (None, false)]);
}

#[tokio::test]
async fn a_leaf_is_outstanding_until_it_is_confirmed() {
    let folder = Folder::new();
    let state = folder.open().await;
    assert_eq!(state.backlog().await.unwrap().oldest, None);
    let first = state.record_leaf(leaf(b"refusal one")).await.unwrap();
    folder.clock.set(Timestamp::from_secs(START + 5));
    state.record_leaf(leaf(b"refusal two")).await.unwrap();
    assert_eq!(state.record_leaf(leaf(b"refusal one")).await, Ok(first));
    assert_eq!(first, LeafHash::of(b"refusal one"));
    let backlog = state.backlog().await.unwrap();
    assert_eq!((backlog.count, backlog.oldest), (2, Some(Timestamp::from_secs(START))));
    state.close().await;
    let state = folder.open().await;
    let waiting = state.outstanding(10).await.unwrap();
    let bytes: Vec<_> = waiting.iter().map(|leaf| leaf.bytes.as_slice()).collect();
    assert_eq!(bytes, [b"refusal one", b"refusal two"]);
    assert_eq!(state.outstanding(1).await.unwrap().len(), 1);
    assert_eq!(state.confirm(&[(first, 12)]).await, Ok(1));
    assert_eq!(state.confirm(&[(first, 13)]).await, Ok(0));
    let backlog = state.backlog().await.unwrap();
    assert_eq!((backlog.count, backlog.oldest), (1, Some(Timestamp::from_secs(START + 5))));
}

#[tokio::test]
async fn what_is_in_the_log_is_told_newest_first_in_the_logs_order() {
    let folder = Folder::new();
    let state = folder.open().await;
    assert_eq!(state.confirmed_below(None, 10).await, Ok(vec![]));
    let mut leaves = Vec::new();
    for leaf in ["one", "two", "three", "four"] {
        leaves.push(state.record_leaf(crate::support::leaf(leaf.as_bytes())).await.unwrap());
    }
    assert_eq!(state.is_logged(&leaves[0]).await, Ok(false));
    state.confirm(&[(leaves[0], 3), (leaves[1], 9), (leaves[2], 5)]).await.unwrap();
    let found = |places: &[(u64, &str)]| Ok(places.iter().map(|(at, leaf)| (*at, leaf.as_bytes().to_vec())).collect());
    assert_eq!(state.confirmed_below(None, 2).await, found(&[(9, "two"), (5, "three")]));
    assert_eq!(state.confirmed_below(Some(5), 2).await, found(&[(3, "one")]));
    assert_eq!(state.is_logged(&leaves[0]).await, Ok(true));
    assert_eq!(state.is_logged(&leaves[3]).await, Ok(false));
    assert_eq!(state.is_logged(&LeafHash::of(b"never recorded")).await, Ok(false));
}

#[tokio::test]
async fn a_log_that_shrank_is_not_taken_over() {
    let folder = Folder::new();
    let state = folder.open().await;
    assert_eq!(state.log_view().await, Ok(None));
    let view = |size, bytes: &[u8]| LogView { size, bytes: bytes.to_vec() };
    state.accept_log_view(&view(8, b"eight")).await.unwrap();
    state.accept_log_view(&view(9, b"nine")).await.unwrap();
    state.accept_log_view(&view(9, b"nine, cosigned")).await.unwrap();
    let shrunk = FollowerError::Shrunk { offered: 8, accepted: 9 };
    assert_eq!(state.accept_log_view(&view(8, b"eight")).await, Err(shrunk));
    state.close().await;
    assert_eq!(folder.open().await.log_view().await, Ok(Some(view(9, b"nine, cosigned"))));
}
