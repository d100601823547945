//! Statements for all of a transaction at once: one by one, each would wait for the thread that SQLite runs on.
//!
//! Each is written for one of a few numbers of rows, the rest filled up, so that it is prepared once and kept.

use crate::{ReleaseKey, StoreError, codec, ledger::Row};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, query_builder::Separated};
use std::collections::HashSet;

/// Numbers of rows that a statement is written for: up to three values each, of the 32,766 that SQLite takes.
const ROWS: [usize; 6] = [4, 8, 16, 32, 128, MOST];
/// Rows in one statement.
const MOST: usize = 512;

/// Of the releases `asked` for, those that are stored.
pub(crate) async fn released(
    reading: &mut SqliteConnection,
    asked: &[ReleaseKey],
) -> Result<HashSet<ReleaseKey>, StoreError> {
    let mut released = HashSet::new();
    for asked in asked.chunks(MOST) {
        let mut select = QueryBuilder::<Sqlite>::new("SELECT release_key FROM releases WHERE release_key IN (");
        values(&mut select, asked, |mut row, asked| {
            row.push_bind(asked.map(|asked| asked.as_bytes().to_vec()));
        });
        select.push(")");
        for row in select.build().fetch_all(&mut *reading).await? {
            released.insert(ReleaseKey::from_bytes(codec::fixed("release", row.try_get(0)?)?));
        }
    }
    Ok(released)
}

/// Writes entries of the ledger.
pub(crate) async fn insert_entries(writing: &mut SqliteConnection, rows: &[Row]) -> Result<(), StoreError> {
    let rows =
        rows.iter().map(|row| Ok((codec::stored("ledger", row.seq)?, row))).collect::<Result<Vec<_>, StoreError>>()?;
    for rows in rows.chunks(MOST) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO ledger (seq, entry, head) SELECT * FROM (");
        values(&mut insert, rows, |mut values, row| {
            values.push_bind(row.map(|(seq, _)| *seq));
            values.push_bind(row.map(|(_, row)| row.entry.clone()));
            values.push_bind(row.map(|(_, row)| row.head.to_vec()));
        });
        first(&mut insert, rows.len())?;
        insert.build().execute(&mut *writing).await?;
    }
    Ok(())
}

/// The rows, and as many without a value as fill one of the numbers that statements are written for.
fn values<'a, T>(
    into: &mut QueryBuilder<Sqlite>,
    rows: &'a [T],
    push: impl FnMut(Separated<'_, Sqlite, &'static str>, Option<&'a T>),
) {
    let written = ROWS.into_iter().find(|number| *number >= rows.len()).unwrap_or(rows.len());
    let filling = std::iter::repeat_n(None, written - rows.len());
    into.push_values(rows.iter().map(Some).chain(filling), push);
}

/// Of the values so many, in their order.
fn first(of: &mut QueryBuilder<Sqlite>, rows: usize) -> Result<(), StoreError> {
    of.push(") LIMIT ").push_bind(codec::stored("row", rows as u64)?);
    Ok(())
}
