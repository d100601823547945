//! The tables, and whether the folder is one that this program and this key can use.

use crate::{
    LedgerHead, OpenError, StateKey, StoreError,
    watermark::{Marks, Seal},
};
use firebreak_domain::{FORMAT, check_format};
use sqlx::{Connection, Row, SqliteConnection};
use subtle::ConstantTimeEq;

/// Charges, hashes and canonical bytes are BLOBs: SQLite's integers have 63 bits and a sign, losses have 64 and none.
const TABLES: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, key_check BLOB NOT NULL
) STRICT;
CREATE TABLE watermark (
    one INTEGER PRIMARY KEY CHECK (one = 1), seen INTEGER NOT NULL, bundle_sequence INTEGER NOT NULL,
    bundle_manifest BLOB NOT NULL, code BLOB NOT NULL
) STRICT;
CREATE TABLE ledger (
    seq INTEGER PRIMARY KEY, entry BLOB NOT NULL, head BLOB NOT NULL
) STRICT;
CREATE TABLE releases (
    release_key BLOB PRIMARY KEY, id BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL, principal BLOB NOT NULL,
    request BLOB NOT NULL, evidence BLOB NOT NULL, leaf BLOB NOT NULL REFERENCES leaves (hash),
    stored_at INTEGER NOT NULL
) STRICT;
CREATE TABLE leaves (
    seq INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL, recorded_at INTEGER NOT NULL,
    log_index INTEGER
) STRICT;
CREATE INDEX leaves_outstanding ON leaves (seq) WHERE log_index IS NULL;
CREATE INDEX leaves_logged ON leaves (log_index) WHERE log_index IS NOT NULL;
CREATE TABLE openings (
    leaf BLOB PRIMARY KEY, sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE log_view (
    one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, bytes BLOB NOT NULL
) STRICT;
CREATE TABLE evaluated_chunks (
    session BLOB NOT NULL, chunk INTEGER NOT NULL, blinded_hash BLOB NOT NULL, account BLOB NOT NULL,
    elements INTEGER NOT NULL, PRIMARY KEY (session, chunk)
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    session BLOB PRIMARY KEY, opened_at INTEGER NOT NULL, secret BLOB
) STRICT;
CREATE TABLE session_chunks (
    session BLOB NOT NULL REFERENCES sessions (session), chunk INTEGER NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (session, chunk)
) STRICT;
CREATE TABLE matches (
    session BLOB PRIMARY KEY, purpose TEXT NOT NULL, agreement TEXT NOT NULL, matched_at INTEGER NOT NULL
) STRICT;
CREATE TABLE matched (
    person BLOB NOT NULL, session BLOB NOT NULL REFERENCES matches (session), sealed BLOB NOT NULL,
    PRIMARY KEY (person, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX matched_by_session ON matched (session);
CREATE TABLE offered (
    session BLOB PRIMARY KEY, agreement TEXT NOT NULL, purpose TEXT NOT NULL, offered_at INTEGER NOT NULL
) STRICT;
";

/// Tables that a folder made by an earlier program of this format has not got yet. Such a program passes over them.
const LATER_TABLES: &str = "
CREATE TABLE IF NOT EXISTS questions (
    release_key BLOB PRIMARY KEY, name BLOB NOT NULL UNIQUE, sealed BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS publications (
    id BLOB PRIMARY KEY, digest BLOB NOT NULL, organisation TEXT NOT NULL, series TEXT NOT NULL, dataset TEXT NOT NULL,
    release BLOB NOT NULL, revises INTEGER NOT NULL, state INTEGER NOT NULL, until INTEGER, revision INTEGER,
    published_at INTEGER, evidence BLOB, receipt TEXT, sealed BLOB NOT NULL,
    UNIQUE (organisation, series, revision)
) STRICT;
CREATE TABLE IF NOT EXISTS closed (
    agency TEXT NOT NULL, dataset TEXT NOT NULL, column_name TEXT NOT NULL, PRIMARY KEY (agency, dataset, column_name)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS publications_by_release ON publications (release);
CREATE TABLE IF NOT EXISTS choices (
    seq INTEGER PRIMARY KEY, person BLOB NOT NULL, purpose TEXT NOT NULL, choice INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS choices_by_person ON choices (person, purpose, seq);
CREATE TABLE IF NOT EXISTS match_cuts (
    session BLOB PRIMARY KEY, dataset TEXT NOT NULL, cut TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS match_keys (
    session BLOB PRIMARY KEY, name TEXT NOT NULL, compares BLOB NOT NULL, provisional INTEGER NOT NULL,
    selection BLOB NOT NULL, after BLOB
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS handed_out (
    number INTEGER PRIMARY KEY, sealed BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS session_receivers (
    session BLOB PRIMARY KEY REFERENCES sessions (session), agreement TEXT NOT NULL, receiver TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS set_sources (
    session BLOB PRIMARY KEY REFERENCES sessions (session), agreement TEXT NOT NULL, dataset TEXT NOT NULL,
    cut TEXT NOT NULL, selection BLOB NOT NULL, until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS set_readings (
    session BLOB PRIMARY KEY REFERENCES set_sources (session), reading TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disclosures (
    session BLOB PRIMARY KEY, agreement TEXT NOT NULL, purpose TEXT NOT NULL, dataset TEXT NOT NULL,
    columns TEXT NOT NULL, delete_at INTEGER NOT NULL, deleted_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disclosed (
    person BLOB NOT NULL, session BLOB NOT NULL REFERENCES disclosures (session), sealed BLOB,
    PRIMARY KEY (person, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS disclosed_by_session ON disclosed (session);
CREATE TABLE IF NOT EXISTS offered_columns (
    session BLOB PRIMARY KEY, columns TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS joins (
    session BLOB NOT NULL, part INTEGER NOT NULL, request BLOB NOT NULL, until INTEGER NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (session, part)
) STRICT;
CREATE INDEX IF NOT EXISTS joins_by_request ON joins (request);
CREATE TABLE IF NOT EXISTS session_ends (
    session BLOB PRIMARY KEY REFERENCES sessions (session), reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS epochs (
    session BLOB PRIMARY KEY REFERENCES sessions (session), agreement TEXT NOT NULL, until INTEGER NOT NULL,
    closed_at INTEGER
) STRICT, WITHOUT ROWID;
";

/// Tables of an earlier program of this format that repeat what the ledger holds. That program does not open a folder
/// without them: there is no way back to it.
const EARLIER_TABLES: &str = "DROP TABLE IF EXISTS requests";

/// Removes what nothing reads any more: once all that it follows from is known to be good.
pub(crate) async fn remove_earlier(writing: &mut SqliteConnection) -> Result<(), OpenError> {
    sqlx::raw_sql(EARLIER_TABLES).execute(writing).await.map_err(StoreError::from)?;
    Ok(())
}

/// Makes the tables in an empty database, or checks that they are of this format and this key.
pub(crate) async fn prepare(writing: &mut SqliteConnection, key: &StateKey, seal: &Seal) -> Result<(), OpenError> {
    let check = key.derive("key check");
    let mut tx = writing.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'")
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::from)?;
    if made == 0 {
        sqlx::raw_sql(TABLES).execute(&mut *tx).await.map_err(StoreError::from)?;
        sqlx::query("INSERT INTO meta (one, format, key_check) VALUES (1, ?, ?)")
            .bind(i64::from(FORMAT))
            .bind(check.as_slice())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::from)?;
        seal.write(&mut tx, &Marks::FIRST, &LedgerHead::default()).await?;
    } else {
        // The format is looked at before anything else is read: a later one may have other columns.
        let format: i64 =
            sqlx::query_scalar("SELECT format FROM meta").fetch_one(&mut *tx).await.map_err(StoreError::from)?;
        check_format("the state folder", u32::try_from(format).unwrap_or(u32::MAX))?;
        let row = sqlx::query("SELECT key_check FROM meta").fetch_one(&mut *tx).await.map_err(StoreError::from)?;
        let found: &[u8] = row.try_get(0).map_err(StoreError::from)?;
        if !bool::from(found.ct_eq(check.as_slice())) {
            return Err(OpenError::OtherKey);
        }
    }
    sqlx::raw_sql(LATER_TABLES).execute(&mut *tx).await.map_err(StoreError::from)?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(())
}
