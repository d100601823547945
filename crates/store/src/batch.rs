//! Statements for all of a transaction at once: one by one, each would wait for the thread that SQLite runs on.
//!
//! Each is written for one of a few numbers of rows, the rest filled up, so that it is prepared once and kept.

use crate::{
    ReleaseKey, StoreError,
    accounts::RequestRef,
    codec::{self, charge_bytes},
    ledger::Row,
    writer::Requested,
};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, query_builder::Separated};
use std::collections::HashSet;

/// Numbers of rows that a statement is written for: up to six values each, of the 32,766 that SQLite takes.
const ROWS: [usize; 4] = [4, 32, 128, MOST];
/// Rows in one statement.
const MOST: usize = 512;

/// What a step looks for before anything else.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) request: RequestRef,
    pub(crate) release_key: ReleaseKey,
}

/// What is on the disk of all that the steps of a transaction look for.
#[derive(Default)]
pub(crate) struct Found {
    requests: HashSet<RequestRef>,
    releases: HashSet<ReleaseKey>,
}

impl Found {
    pub(crate) fn has_request(&self, request: &RequestRef) -> bool {
        self.requests.contains(request)
    }

    pub(crate) fn has_release(&self, key: &ReleaseKey) -> bool {
        self.releases.contains(key)
    }

    /// A step has deleted it.
    pub(crate) fn forget_request(&mut self, request: &RequestRef) {
        self.requests.remove(request);
    }

    /// A step has stored it.
    pub(crate) fn add_release(&mut self, key: ReleaseKey) {
        self.releases.insert(key);
    }
}

/// Looks for all of `asked`.
pub(crate) async fn find(reading: &mut SqliteConnection, asked: &[Asked]) -> Result<Found, StoreError> {
    let mut found = Found::default();
    for asked in asked.chunks(MOST) {
        let mut select = QueryBuilder::<Sqlite>::new("WITH asked (principal, id, release_key) AS (");
        values(&mut select, asked, |mut row, asked| {
            row.push_bind(asked.map(|asked| asked.request.principal.to_vec()));
            row.push_bind(asked.map(|asked| asked.request.id.to_vec()));
            row.push_bind(asked.map(|asked| asked.release_key.as_bytes().to_vec()));
        });
        select.push(concat!(
            ") SELECT principal, id, release_key, ",
            "EXISTS (SELECT 1 FROM requests WHERE principal = asked.principal AND id = asked.id) AS requested, ",
            "EXISTS (SELECT 1 FROM releases WHERE release_key = asked.release_key) AS released ",
            "FROM asked WHERE requested OR released"
        ));
        for row in select.build().fetch_all(&mut *reading).await? {
            if row.try_get(3)? {
                let (principal, id) =
                    (codec::fixed("request", row.try_get(0)?)?, codec::fixed("request", row.try_get(1)?)?);
                found.requests.insert(RequestRef { principal, id });
            }
            if row.try_get(4)? {
                found.releases.insert(ReleaseKey::from_bytes(codec::fixed("release", row.try_get(2)?)?));
            }
        }
    }
    Ok(found)
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

/// Writes requests that were charged.
pub(crate) async fn insert_requests(
    writing: &mut SqliteConnection,
    requests: &[(RequestRef, Requested)],
) -> Result<(), StoreError> {
    for requests in requests.chunks(MOST) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO requests (principal, id, digest, release_key, charge, year) SELECT * FROM (",
        );
        values(&mut insert, requests, |mut values, row| {
            values.push_bind(row.map(|(request, _)| request.principal.to_vec()));
            values.push_bind(row.map(|(request, _)| request.id.to_vec()));
            values.push_bind(row.map(|(_, requested)| requested.digest.to_vec()));
            values.push_bind(row.map(|(_, requested)| requested.release_key.as_bytes().to_vec()));
            values.push_bind(row.map(|(_, requested)| charge_bytes(&requested.charge).to_vec()));
            values.push_bind(row.map(|(_, requested)| requested.year));
        });
        first(&mut insert, requests.len())?;
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
