//! R28: whoever edits the ledger, or what rests on it, with a tool of their own is found out.

use crate::support::*;
use firebreak_domain::{AgreementId, CapLimits, MatchKeyName, OrgId};
use firebreak_store::{CappedKey, ChainError, EvaluationChunk, State, TagsHandedOut};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};

/// A state with every kind of entry, and a way past it to its tables.
async fn planted() -> (Folder, State, SqliteConnection) {
    let folder = Folder::new();
    let state = folder.open().await;
    let accounts = [within(life(), 100), within(analyst("ada"), 100)];
    let reserve = async |id| state.reserve(&request("ada", id, id), &key(id), rho(10), &accounts).await;
    let reservation = fresh(reserve(1).await);
    settle(&state, reservation, "one").await;
    repeat(state.reserve(&request("bob", 1, 1), &key(1), rho(10), &accounts).await);
    state.abandon(fresh(reserve(2).await)).await.unwrap();
    drop(fresh(reserve(3).await));
    let chunk = EvaluationChunk {
        of: CappedKey {
            agreement: AgreementId::new("school-vaccines").unwrap(),
            receiver: OrgId::new("health").unwrap(),
            key: MatchKeyName::new("number").unwrap(),
        },
        period: 2025,
        session: [1; 32],
        number: 0,
        blinded_hash: [2; 32],
        elements: 60,
    };
    let limits = CapLimits { per_year: 100, for_life: 100 };
    state.charge_evaluations(&chunk, limits).await.unwrap();
    let EvaluationChunk { of, period, session, .. } = chunk;
    let list = TagsHandedOut { of, period, session, list_hash: [3; 32], tags: 60 };
    state.charge_tags(&list, limits).await.unwrap();
    state.accept_bundle(bundle(7), leaf(b"leaf of 7")).await.unwrap();
    assert_eq!(state.verify_chain().await, Ok(state.ledger_head()));
    let file = SqliteConnectOptions::new()
        .filename(folder.path.path().join("state.sqlite"))
        .foreign_keys(false)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Off);
    (folder, state, SqliteConnection::connect_with(&file).await.unwrap())
}

async fn edit(raw: &mut SqliteConnection, sql: &str) {
    let done = sqlx::query(AssertSqlSafe(sql)).execute(raw).await.unwrap();
    assert!(done.rows_affected() > 0, "edited nothing: {sql}");
}

#[tokio::test]
async fn every_changed_byte_of_every_entry_is_found() {
    let (_folder, state, mut raw) = planted().await;
    let rows = sqlx::query("SELECT seq, entry, head FROM ledger").fetch_all(&mut raw).await.unwrap();
    assert_eq!(rows.len(), 7);
    for row in rows {
        let seq: i64 = row.get(0);
        for (column, value) in [("entry", row.get::<Vec<u8>, _>(1)), ("head", row.get(2))] {
            let update = format!("UPDATE ledger SET {column} = ? WHERE seq = ?");
            let mut write = async |value: &[u8]| {
                sqlx::query(AssertSqlSafe(update.as_str())).bind(value).bind(seq).execute(&mut raw).await.unwrap();
            };
            for at in 0..value.len() {
                let mut changed = value.clone();
                changed[at] ^= 1;
                write(&changed).await;
                let found = state.verify_chain().await;
                // A changed head shows in its own entry, whatever the bytes say.
                assert_eq!(found, Err(ChainError::EntryChanged { at: seq as u64 }), "{column}, byte {at}");
            }
            write(&value).await;
        }
    }
    state.verify_chain().await.unwrap();
}

/// Statements that make one edit each, and the table that it is made in.
const EDITS: &[(&str, &str)] = &[
    ("ledger", "DELETE FROM ledger WHERE seq = 1"),
    ("ledger", "DELETE FROM ledger WHERE seq = 3"),
    ("ledger", "DELETE FROM ledger WHERE seq = 6"),
    ("ledger", "DELETE FROM ledger WHERE seq = 7"),
    ("ledger", "DELETE FROM ledger"),
    ("ledger", "UPDATE ledger SET seq = 8 WHERE seq = 7"),
    ("ledger", "UPDATE ledger SET seq = 0 WHERE seq = 1"),
    ("ledger", "INSERT INTO ledger SELECT 8, entry, head FROM ledger WHERE seq = 7"),
    ("ledger", "INSERT INTO ledger SELECT -1, entry, head FROM ledger WHERE seq = 6"),
    ("ledger", "UPDATE ledger SET entry = (SELECT entry FROM ledger WHERE seq = 1) WHERE seq = 4"),
    ("releases", "UPDATE releases SET bytes = x'00'"),
    ("releases", "UPDATE releases SET id = randomblob(32)"),
    ("releases", "UPDATE releases SET release_key = randomblob(32)"),
    ("releases", "UPDATE releases SET leaf = randomblob(32)"),
    (
        "releases",
        "UPDATE releases SET principal = (SELECT substr(entry, 14, 32) FROM ledger WHERE substr(entry, 5, 1) = x'02')",
    ),
    ("releases", "UPDATE releases SET request = randomblob(16)"),
    ("releases", "UPDATE releases SET evidence = x'00'"),
    ("leaves", "UPDATE leaves SET bytes = x'00'"),
    ("leaves", "UPDATE leaves SET hash = randomblob(32)"),
    ("leaves", "DELETE FROM leaves"),
    ("evaluated_chunks", "DELETE FROM evaluated_chunks"),
    ("evaluated_chunks", "UPDATE evaluated_chunks SET chunk = 1"),
    ("evaluated_chunks", "UPDATE evaluated_chunks SET session = randomblob(32)"),
    ("evaluated_chunks", "UPDATE evaluated_chunks SET blinded_hash = randomblob(32)"),
    ("evaluated_chunks", "UPDATE evaluated_chunks SET account = randomblob(40)"),
    ("evaluated_chunks", "UPDATE evaluated_chunks SET elements = 1"),
    (
        "evaluated_chunks",
        "INSERT INTO evaluated_chunks SELECT session, 2, blinded_hash, account, elements FROM evaluated_chunks",
    ),
    ("watermark", "UPDATE watermark SET seen = seen - 31536000"),
    ("watermark", "UPDATE watermark SET seen = seen + 1"),
    ("watermark", "UPDATE watermark SET bundle_sequence = 6"),
    ("watermark", "UPDATE watermark SET bundle_sequence = 0"),
    ("watermark", "UPDATE watermark SET bundle_sequence = -7"),
    ("watermark", "UPDATE watermark SET bundle_manifest = zeroblob(32)"),
    ("watermark", "UPDATE watermark SET bundle_manifest = x'07'"),
    ("watermark", "UPDATE watermark SET code = zeroblob(32)"),
    ("watermark", "UPDATE watermark SET code = x''"),
    ("watermark", "DELETE FROM watermark"),
];

#[tokio::test]
async fn every_row_removed_added_moved_or_changed_is_found_and_undoing_it_heals() {
    let (_folder, state, mut raw) = planted().await;
    for (table, sql) in EDITS {
        let kept = format!("CREATE TEMP TABLE kept AS SELECT * FROM main.{table}");
        sqlx::query(AssertSqlSafe(kept)).execute(&mut raw).await.unwrap();
        edit(&mut raw, sql).await;
        assert!(state.verify_chain().await.is_err(), "not found: {sql}");
        for undo in [
            format!("DELETE FROM main.{table}"),
            format!("INSERT INTO main.{table} SELECT * FROM kept"),
            "DROP TABLE kept".to_owned(),
        ] {
            sqlx::query(AssertSqlSafe(undo)).execute(&mut raw).await.unwrap();
        }
        assert_eq!(state.verify_chain().await, Ok(state.ledger_head()), "not undone: {sql}");
    }
}

#[tokio::test]
async fn a_state_whose_ledger_was_edited_does_not_open() {
    let (folder, state, mut raw) = planted().await;
    state.close().await;
    edit(&mut raw, "UPDATE ledger SET entry = zeroblob(length(entry)) WHERE seq = 2").await;
    raw.close().await.unwrap();
    let refused = folder.try_open().await.err().unwrap();
    assert_eq!(
        refused.to_string(),
        "the ledger in the state folder does not verify: entry 2 of the ledger was changed"
    );
}

async fn keep_watermark(raw: &mut SqliteConnection) {
    sqlx::query("CREATE TABLE earlier AS SELECT * FROM watermark").execute(raw).await.unwrap();
}

const SET_BACK: &str = "the latest time and policy bundle kept in the state folder were edited, removed or set back: \
                        put back the newest whole copy of the folder";

#[tokio::test]
async fn a_time_or_a_bundle_that_was_edited_or_removed_opens_no_state() {
    for sql in EDITS.iter().filter(|(table, _)| *table == "watermark").map(|(_, sql)| sql) {
        let (folder, state, mut raw) = planted().await;
        state.close().await;
        edit(&mut raw, sql).await;
        raw.close().await.unwrap();
        assert_eq!(folder.try_open().await.err().unwrap().to_string(), SET_BACK, "{sql}");
    }
}

#[tokio::test]
async fn an_earlier_time_and_bundle_do_not_go_with_a_later_ledger() {
    let (folder, state, mut raw) = planted().await;
    keep_watermark(&mut raw).await;
    drop(fresh(state.reserve(&request("ada", 9, 9), &key(9), rho(1), &[within(life(), 100)]).await));
    state.accept_bundle(bundle(8), leaf(b"leaf of 8")).await.unwrap();
    state.verify_chain().await.unwrap();
    edit(&mut raw, "REPLACE INTO watermark SELECT * FROM earlier").await;
    assert_eq!(state.verify_chain().await, Err(ChainError::Watermark));
    state.close().await;
    raw.close().await.unwrap();
    assert_eq!(folder.try_open().await.err().unwrap().to_string(), SET_BACK);
}

#[tokio::test]
async fn an_earlier_time_and_bundle_are_found_while_the_program_runs_whatever_the_ledger() {
    let (_folder, state, mut raw) = planted().await;
    keep_watermark(&mut raw).await;
    state.accept_bundle(bundle(8), leaf(b"leaf of 8")).await.unwrap();
    edit(&mut raw, "REPLACE INTO watermark SELECT * FROM earlier").await;
    assert_eq!(state.verify_chain().await, Err(ChainError::Watermark));
}

#[tokio::test]
async fn a_release_that_nothing_paid_for_is_found() {
    let (_folder, state, mut raw) = planted().await;
    // Everything that a release is named for, of a key that was never reserved.
    let settler = sqlx::query("SELECT principal, request FROM releases").fetch_one(&mut raw).await.unwrap();
    let (principal, request): (Vec<u8>, Vec<u8>) = (settler.get(0), settler.get(1));
    let bytes = b"exact".as_slice();
    let id = Sha256::new()
        .chain_update(b"firebreak release 1\n")
        .chain_update([9; 32])
        .chain_update(principal)
        .chain_update(request)
        .chain_update(5_u64.to_be_bytes())
        .chain_update(bytes)
        .chain_update(0_u64.to_be_bytes())
        .finalize();
    sqlx::query("INSERT INTO releases SELECT ?, ?, ?, principal, request, x'', leaf, stored_at FROM releases LIMIT 1")
        .bind([9; 32].as_slice())
        .bind(id.as_slice())
        .bind(bytes)
        .execute(&mut raw)
        .await
        .unwrap();
    assert_eq!(state.verify_chain().await, Err(ChainError::Releases));
}

#[tokio::test]
async fn a_ledger_cut_back_with_all_that_rests_on_it_is_found_while_the_program_runs() {
    let (_folder, state, mut raw) = planted().await;
    // Of a list of tags nothing is kept beside the ledger.
    edit(&mut raw, "DELETE FROM ledger WHERE seq = 7").await;
    assert_eq!(state.verify_chain().await, Err(ChainError::NotAsWritten));
    edit(&mut raw, "DELETE FROM ledger WHERE seq = 6").await;
    edit(&mut raw, "DELETE FROM evaluated_chunks").await;
    assert_eq!(state.verify_chain().await, Err(ChainError::NotAsWritten));
}

/// The caps of a year and for life follow from the entries alone, so whoever sets one back sets the ledger back.
#[tokio::test]
async fn a_state_whose_caps_were_cut_back_does_not_open() {
    let (folder, state, mut raw) = planted().await;
    state.close().await;
    // Head and time as they were with the entry that is gone: the code beside them says that they do not go together.
    edit(&mut raw, "DELETE FROM ledger WHERE seq = 7").await;
    raw.close().await.unwrap();
    assert_eq!(folder.try_open().await.err().unwrap().to_string(), SET_BACK);
}
