//! One writer per state folder, under one key, of a known format, and a time that only rises (R32).

use crate::support::*;
use firebreak_domain::{Clock, ManualClock, Timestamp};
use firebreak_store::{
    AcceptedBundle, BundleError, LedgerHead, OpenError, ReconcileError, ReserveError, State, StateKey, StoreError,
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{os::unix::fs::PermissionsExt, sync::Arc};

const YEAR: i64 = 365 * 86_400;

#[tokio::test]
async fn a_second_program_is_refused_at_once_and_may_have_the_folder_afterwards() {
    let folder = Folder::new();
    let state = folder.open().await;
    let refused = folder.try_open().await.err().unwrap();
    assert!(matches!(refused, OpenError::InUse), "{refused}");
    assert!(refused.to_string().contains("state folder is in use"));
    let clone = state.clone();
    state.close().await;
    assert_eq!(clone.accept_bundle(bundle(1), leaf(b"leaf")).await, Err(BundleError::Store(StoreError::Closed)));
    folder.open().await;
}

#[tokio::test]
async fn a_folder_is_made_private() {
    let folder = Folder::new();
    let path = folder.path.path().join("deep").join("state");
    let state = open(&path, Arc::clone(&folder.clock) as Arc<dyn Clock>).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    state.close().await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    open(&path, Arc::clone(&folder.clock) as Arc<dyn Clock>).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn another_key_and_a_later_format_are_refused_by_name() {
    let folder = Folder::new();
    folder.open().await.close().await;
    let clock = Arc::clone(&folder.clock) as Arc<dyn Clock>;
    let other = State::open(folder.path.path(), StateKey::from_bytes([43; 32]), clock).await;
    assert!(matches!(other.err().unwrap(), OpenError::OtherKey));
    let file = SqliteConnectOptions::new().filename(folder.path.path().join("state.sqlite"));
    let mut raw = SqliteConnection::connect_with(&file).await.unwrap();
    sqlx::query("UPDATE meta SET format = 2").execute(&mut raw).await.unwrap();
    let later = folder.try_open().await.err().unwrap();
    assert_eq!(later.to_string(), "the state folder has format 2, this program reads up to 1: upgrade it");
}

#[tokio::test]
async fn a_clock_set_back_revives_nothing() {
    let folder = Folder::new();
    let state = folder.open().await;
    folder.clock.set(Timestamp::from_secs(START + 50));
    assert_eq!(state.now(), Timestamp::from_secs(START + 50));
    folder.clock.set(Timestamp::from_secs(START + 50 - YEAR));
    assert_eq!(state.now(), Timestamp::from_secs(START + 50));
    state.close().await;
    let state = folder.open().await;
    assert_eq!(state.now(), Timestamp::from_secs(START + 50));
    folder.clock.set(Timestamp::from_secs(START + 51));
    assert_eq!(state.now(), Timestamp::from_secs(START + 51));
}

#[tokio::test]
async fn what_was_written_is_brought_into_the_database_in_a_pause() {
    let folder = Folder::new();
    let state = folder.open().await;
    let pages = || std::fs::metadata(folder.path.path().join("state.sqlite")).unwrap().len();
    let before = pages();
    for id in 0..=255 {
        drop(fresh(state.reserve(&request("ada", id, id), &key(id), rho(1), &[within(life(), u64::MAX)]).await));
    }
    state.record_leaf(leaf(b"one step more")).await.unwrap();
    // By itself, and long before the log is so large that a commit would do it.
    let passed = async {
        while pages() == before {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), passed).await.unwrap();
    let head = state.verify_chain().await.unwrap();
    assert_eq!(head.count, 256);
    state.close().await;
    assert_eq!(folder.open().await.ledger_head(), head);
}

#[tokio::test]
async fn a_time_acted_upon_is_durable_without_a_transaction_or_a_shutdown() {
    let folder = Folder::new();
    let state = folder.open().await;
    folder.clock.set(Timestamp::from_secs(START + 9));
    assert_eq!(state.now(), Timestamp::from_secs(START + 9));
    // A copy of the files is what a crash would leave.
    let seen = async {
        loop {
            let copy = tempfile::tempdir().unwrap();
            for name in ["state.sqlite", "state.sqlite-wal"] {
                std::fs::copy(folder.path.path().join(name), copy.path().join(name)).unwrap();
            }
            let clock = Arc::new(ManualClock::at(Timestamp::from_secs(START - YEAR)));
            let crashed = open(copy.path(), clock).await.unwrap();
            let now = crashed.now();
            crashed.close().await;
            if now == Timestamp::from_secs(START + 9) {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), seen).await.unwrap();
    state.close().await;
}

#[tokio::test]
async fn a_bundle_never_goes_back() {
    let folder = Folder::new();
    let state = folder.open().await;
    assert_eq!(state.accepted_bundle(), None);
    assert_eq!(state.accept_bundle(bundle(7), leaf(b"leaf of 7")).await, Ok(()));
    assert_eq!(state.accept_bundle(bundle(7), leaf(b"leaf of 7")).await, Ok(()));
    let other = AcceptedBundle { manifest: [9; 32], ..bundle(7) };
    let forked = BundleError::Forked { sequence: 7 };
    assert_eq!(state.accept_bundle(other, leaf(b"another leaf of 7")).await, Err(forked));
    let back = BundleError::RolledBack { sequence: 6, highest: 7 };
    assert_eq!(state.accept_bundle(bundle(6), leaf(b"leaf of 6")).await, Err(back));
    state.close().await;
    let state = folder.open().await;
    assert_eq!(state.accept_bundle(bundle(6), leaf(b"leaf of 6")).await, Err(back));
    assert_eq!(state.accept_bundle(other, leaf(b"another leaf of 7")).await, Err(forked));
    assert_eq!(state.accepted_bundle(), Some(bundle(7)));
    assert_eq!(state.backlog().await.map(|b| b.count), Ok(1));
}

#[tokio::test]
async fn a_restored_backup_and_a_copied_disk_show_against_the_log() {
    let folder = Folder::new();
    let state = folder.open().await;
    let charge = async |state: &State, id: u8| {
        drop(fresh(state.reserve(&request("ada", id, 1), &key(id), rho(1), &[within(life(), 100)]).await));
        state.ledger_head()
    };
    charge(&state, 1).await;
    let early = charge(&state, 2).await;
    state.close().await;
    let backup = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path.path().join("state.sqlite"), backup.path().join("state.sqlite")).unwrap();
    let state = folder.open().await;
    let late = charge(&state, 3).await;
    // The log tells of both; the folder in use has both.
    for head in [early, late] {
        assert_eq!(state.check_not_behind(head.count, &head.head).await, Ok(()));
    }
    assert_eq!(state.check_not_behind(0, &[0; 32]).await, Ok(()));
    let copy = open(backup.path(), Arc::clone(&folder.clock) as Arc<dyn Clock>).await.unwrap();
    assert_eq!(copy.check_not_behind(early.count, &early.head).await, Ok(()));
    let behind = ReconcileError::LedgerBehind { ledger: 2, log: 3 };
    assert_eq!(copy.check_not_behind(late.count, &late.head).await, Err(behind));
    // The copy goes on by itself: as long as the log's ledger, and another one.
    charge(&copy, 4).await;
    let differs = ReconcileError::LedgerDiffers { at: 3 };
    assert_eq!(copy.check_not_behind(late.count, &late.head).await, Err(differs));
}

#[tokio::test]
async fn a_write_that_fails_half_way_charges_nothing_and_the_next_succeeds() {
    let folder = Folder::new();
    let state = folder.open().await;
    let file = SqliteConnectOptions::new().filename(folder.path.path().join("state.sqlite"));
    let mut raw = SqliteConnection::connect_with(&file).await.unwrap();
    // The ledger is written at the end of a transaction: by then the leaf is there.
    sqlx::query("CREATE TRIGGER full BEFORE INSERT ON ledger BEGIN SELECT RAISE(ABORT, 'no'); END")
        .execute(&mut raw)
        .await
        .unwrap();
    let (one, two) = (request("ada", 1, 1), request("bob", 1, 1));
    let (one, two, accounts) = (&one, &two, &[within(life(), 10)]);
    let reserve = async |request, release| state.reserve(request, &key(release), rho(4), accounts).await;
    for _ in 0..2 {
        let (leaf, first, second) = tokio::join!(state.record_leaf(leaf(b"leaf")), reserve(one, 1), reserve(two, 2));
        assert!(matches!(leaf, Err(StoreError::Database(_))), "{leaf:?}");
        for failed in [first, second] {
            assert!(matches!(failed, Err(ReserveError::Store(StoreError::Database(_)))), "{failed:?}");
        }
        assert!(state.outstanding(9).await.unwrap().is_empty());
        assert_eq!(state.balance(&[life()]), [rho(0)]);
        assert_eq!(state.ledger_head(), LedgerHead::default());
    }
    sqlx::query("DROP TRIGGER full").execute(&mut raw).await.unwrap();
    let given = fresh(reserve(one, 1).await);
    drop(fresh(reserve(two, 2).await));
    assert_eq!(state.balance(&[life()]), [rho(8)]);
    // A refund and a new charge of the same request that come to nothing together leave the first charge.
    sqlx::query("CREATE TRIGGER full BEFORE INSERT ON ledger BEGIN SELECT RAISE(ABORT, 'no'); END")
        .execute(&mut raw)
        .await
        .unwrap();
    let other = request("ada", 1, 9);
    let (refund, charge) = tokio::join!(state.abandon(given), reserve(&other, 9));
    assert!(refund.is_err() && charge.is_err(), "{refund:?}, {charge:?}");
    sqlx::query("DROP TRIGGER full").execute(&mut raw).await.unwrap();
    assert_eq!(reserve(&other, 9).await.unwrap_err(), ReserveError::RequestIdReused);
    drop(resumed(reserve(one, 1).await));
    assert_eq!(state.balance(&[life()]), [rho(8)]);
    state.verify_chain().await.unwrap();
}
