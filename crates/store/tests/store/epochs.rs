//! What several sessions of an epoch share is kept to its time and not beyond it.

use crate::support::*;
use firebreak_domain::{AgreementId, Timestamp};
use firebreak_store::{KeptEpoch, SessionError, State, StoreError};
use std::fs;

const EPOCH: [u8; 32] = [5; 32];
const HOUR: i64 = 3600;

fn until(hours: i64) -> Timestamp {
    Timestamp::from_secs(START + hours * HOUR)
}

fn agreement() -> AgreementId {
    AgreementId::new("school-match").unwrap()
}

async fn open(state: &State, secret: u8, until: Timestamp) -> Result<u8, SessionError> {
    Ok(state.open_epoch(&EPOCH, &[secret; 32], &agreement(), until).await?[0])
}

#[tokio::test]
async fn an_epoch_has_one_secret_to_its_end_and_its_files_go_with_it() {
    let folder = Folder::new();
    let state = folder.open().await;
    assert_eq!(open(&state, 1, until(30)).await, Ok(1));
    state.session_files(&EPOCH).await.unwrap().spool("list").unwrap().add(b"tags").unwrap();
    let files = folder.path.path().join("sessions").join(hex::encode(EPOCH));
    // Older than any session may be: an epoch has a time of its own.
    folder.clock.set(until(30).plus_secs(-1));
    assert_eq!(state.close_sessions_of(Timestamp::from_secs(i64::MAX)).await, Ok(0));
    assert_eq!(state.close_epochs().await, Ok(0));
    assert_eq!(open(&state, 2, until(30)).await, Ok(1), "a second session has another secret");
    state.close().await;
    let state = folder.open().await;
    assert!(files.join("list").is_file(), "gone after a restart");

    folder.clock.set(until(30));
    assert_eq!(state.close_epochs().await, Ok(1));
    assert_eq!(state.close_epochs().await, Ok(0));
    assert!(!files.exists());
    for again in [until(30), until(60)] {
        assert_eq!(open(&state, 3, again).await, Err(SessionError::Closed));
    }
    let kept = KeptEpoch { epoch: EPOCH, agreement: agreement(), until: until(30), closed_at: Some(until(30)) };
    assert_eq!(state.epochs().await.unwrap(), [kept]);
}

#[tokio::test]
async fn the_earliest_end_that_was_stated_counts() {
    let folder = Folder::new();
    let state = folder.open().await;
    for (stated, counts) in [(30, 30), (40, 30), (20, 20)] {
        open(&state, 1, until(stated)).await.unwrap();
        assert_eq!(state.epochs().await.unwrap()[0].until, until(counts));
    }
    folder.clock.set(until(20));
    assert_eq!(open(&state, 1, until(20)).await, Err(SessionError::Closed), "its time has passed");
    assert_eq!(state.close_epochs().await, Ok(1));
}

#[tokio::test]
async fn an_epoch_is_ended_earlier_and_never_later() {
    let folder = Folder::new();
    let state = folder.open().await;
    open(&state, 1, until(30)).await.unwrap();
    for (stated, counts) in [(40, 30), (20, 20), (25, 20)] {
        state.shorten_epoch(&EPOCH, until(stated)).await.unwrap();
        state.shorten_epoch(&[6; 32], until(0)).await.unwrap();
        assert_eq!(state.epochs().await.unwrap()[0].until, until(counts));
    }
    assert_eq!(state.kept_epochs().await.unwrap(), state.epochs().await.unwrap());
    folder.clock.set(until(20));
    assert_eq!(state.close_epochs().await, Ok(1));
    assert_eq!(state.kept_epochs().await.unwrap(), []);
    state.shorten_epoch(&EPOCH, until(10)).await.unwrap();
    assert_eq!(state.epochs().await.unwrap()[0].until, until(20), "what is told of an epoch that is over stays");
}

#[tokio::test]
async fn records_are_found_where_they_are_and_only_there() {
    let folder = Folder::new();
    let state = folder.open().await;
    open(&state, 1, until(1)).await.unwrap();
    let files = state.session_files(&EPOCH).await.unwrap();
    // 170 records of 12 bytes to a block: several blocks, the last one not full, and one exactly full.
    for count in [0_u32, 1, 169, 170, 171, 1000, 1700] {
        let record = |number: u32| [[0; 8].as_slice(), &(number * 2 + 1).to_be_bytes()].concat();
        let mut writer = files.write_look_up("tags", 12).unwrap();
        (0..count).for_each(|number| writer.push(&record(number)).unwrap());
        writer.finish().unwrap();
        let mut look_up = files.look_up("tags", 12).unwrap();
        for number in 0..count {
            assert!(look_up.holds(&record(number)).unwrap(), "{number} of {count}");
            let mut between = record(number);
            between[11] -= 1;
            assert!(!look_up.holds(&between).unwrap(), "before {number} of {count}");
        }
        for absent in [[0; 12], [255; 12]] {
            assert!(!look_up.holds(&absent).unwrap());
        }
        assert!(!look_up.holds(&record(count)).unwrap());
        assert!(!look_up.holds(&record(0)[..11]).unwrap() && !look_up.holds(&[]).unwrap(), "of another size");
    }
}

#[tokio::test]
async fn records_out_of_order_and_files_that_were_changed_are_noticed() {
    let folder = Folder::new();
    let state = folder.open().await;
    open(&state, 1, until(1)).await.unwrap();
    let files = state.session_files(&EPOCH).await.unwrap();
    for records in [[b"b", b"a"], [b"b", b"b"]] {
        let mut writer = files.write_look_up("tags", 1).unwrap();
        writer.push(records[0]).unwrap();
        assert_eq!(writer.push(records[1]), Err(StoreError::Malformed("order of records")));
        drop(writer);
        assert!(!files.holds("tags") && files.look_up("tags", 1).is_err(), "it was not finished");
    }
    let mut writer = files.write_look_up("tags", 2).unwrap();
    (0..4000_u16).for_each(|number| writer.push(&number.to_be_bytes()).unwrap());
    writer.finish().unwrap();
    let folder = folder.path.path().join("sessions").join(hex::encode(EPOCH));
    for name in ["tags", "tags-firsts"] {
        let kept = fs::read(folder.join(name)).unwrap();
        let mut changed = kept.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(folder.join(name), changed).unwrap();
        let found = files.look_up("tags", 2).and_then(|mut look_up| look_up.holds(&3999_u16.to_be_bytes()));
        assert!(matches!(found, Err(StoreError::Seal(_))), "{name}: {found:?}");
        fs::write(folder.join(name), kept).unwrap();
    }
    assert!(files.look_up("tags", 2).unwrap().holds(&3999_u16.to_be_bytes()).unwrap());
}
