//! Bringing the write-ahead log into the database beside the writing, so that hardly anybody ever waits for it.
//!
//! A pass copies what the log holds into the database (a passive checkpoint, <https://sqlite.org/wal.html#ckpt>) on a
//! connection of its own, and keeps nobody from writing meanwhile. What is written during a pass is left to the next,
//! which has less to do and is shorter. Once a pass is short, one more is made between two transactions: then the log
//! holds nothing that the database lacks, and the next transaction begins it anew. So it stays small, is written over
//! in its place, and no commit waits for more than a short pass.

use sqlx::SqliteConnection;
use std::time::Duration;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// Pages in the log from which on the connection that writes makes a pass itself, at a commit: 16 MB. It comes to
/// that where a step writes much more than a charge does, or the passes beside it fail.
pub(crate) const MOST_PAGES: &str = "4096";
/// Steps after which passes begin though there is no pause: about 1,300 pages, if they are charges.
const MANY: usize = 2048;
/// Steps after which a pass is worth its while in a pause.
const STEPS: usize = 256;
/// How long nobody has written when a pause begins.
const PAUSE: Duration = Duration::from_millis(50);
/// What everybody may wait for: a pass that took longer is followed by another beside the writing.
const SHORT: Duration = Duration::from_millis(2);
/// Passes in a row. Where the disk is so slow that none is short, the last is waited for all the same.
const ROUNDS: usize = 8;

/// What a pass came to.
pub(crate) enum Pass {
    /// All that was in the log when it began is in the database. It took so long.
    Made(Duration),
    /// Somebody who reads kept it from copying all, or the disk did. A later one does it.
    Kept,
}

/// The connection of its own that passes are made on.
pub(crate) struct Checkpoints {
    resting: Option<SqliteConnection>,
    /// The pass under way, which gives the connection back.
    passing: Option<JoinHandle<(SqliteConnection, Pass)>>,
    /// Passes in a row so far.
    rounds: usize,
    /// Steps since the last pass began, and when the last of them ended.
    steps: usize,
    since: Instant,
}

impl Checkpoints {
    pub(crate) fn over(connection: SqliteConnection) -> Self {
        Self { resting: Some(connection), passing: None, rounds: 0, steps: 0, since: Instant::now() }
    }

    /// Between two transactions, the last of so many steps: begins a pass, or makes the last one of several.
    pub(crate) async fn after(&mut self, steps: usize) {
        self.steps += steps;
        self.since = Instant::now();
        if self.passes() {
            return;
        }
        match self.rest().await {
            // One more would be kept from it too, or has all of it to do if it no longer is.
            Some(Pass::Kept) => {}
            Some(Pass::Made(took)) if took > SHORT && self.rounds < ROUNDS => self.begin_again(),
            Some(Pass::Made(_)) => {
                if let Some(connection) = self.resting.take() {
                    self.resting = Some(pass(connection).await.0);
                }
                self.steps = 0;
            }
            None if self.steps >= MANY => self.begin().await,
            None => {}
        }
    }

    /// Returns when it is time for a pass in a pause; never if there is nothing to pass over, or one is under way.
    pub(crate) fn due(&self) -> impl Future<Output = ()> + Send + use<> {
        let due = (self.steps >= STEPS && !self.passes()).then_some(self.since + PAUSE);
        async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Begins the first pass of a row.
    pub(crate) async fn begin(&mut self) {
        self.rest().await;
        self.rounds = 0;
        self.begin_again();
    }

    /// Waits until no pass is under way. Says what the last came to, if that was not known yet.
    pub(crate) async fn rest(&mut self) -> Option<Pass> {
        // A pass that was aborted has let go of its connection: from then on, SQLite makes them all at commits.
        let (connection, pass) = self.passing.take()?.await.ok()?;
        self.resting = Some(connection);
        Some(pass)
    }

    /// Waits for a pass under way, and closes the connection.
    pub(crate) async fn close(mut self) {
        self.rest().await;
        if let Some(connection) = self.resting {
            let _ = sqlx::Connection::close(connection).await;
        }
    }

    fn begin_again(&mut self) {
        self.steps = 0;
        self.rounds += 1;
        self.passing = self.resting.take().map(|connection| tokio::spawn(pass(connection)));
    }

    fn passes(&self) -> bool {
        self.passing.as_ref().is_some_and(|pass| !pass.is_finished())
    }
}

async fn pass(mut connection: SqliteConnection) -> (SqliteConnection, Pass) {
    let begun = Instant::now();
    let said = sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut connection).await;
    // Pages in the log when it began, and how many of them the database has now.
    let pass = match said {
        Ok((0, log, copied)) if log == copied => Pass::Made(begun.elapsed()),
        Ok::<(i64, i64, i64), _>(_) | Err(_) => Pass::Kept,
    };
    (connection, pass)
}

#[cfg(test)]
mod tests {
    use crate::{State, StateKey};
    use firebreak_domain::SystemClock;
    use std::sync::Arc;

    /// Under a load without a pause the log is begun anew again and again: what is written in all does not stay in it.
    #[tokio::test]
    async fn a_load_without_a_pause_keeps_the_log_small() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), StateKey::from_bytes([7; 32]), Arc::new(SystemClock)).await.unwrap();
        const WRITES: usize = 3 * super::MANY;
        for number in 0..WRITES as i64 {
            let changed = state.write(move |work| {
                Box::pin(async move {
                    let change = sqlx::query("REPLACE INTO log_view (one, size, bytes) VALUES (1, ?, x'00')");
                    Ok(change.bind(number).execute(work.sql()).await?)
                })
            });
            changed.await.unwrap();
        }
        let log = std::fs::metadata(folder.path().join("state.sqlite-wal")).unwrap().len();
        // Each changes a page at least.
        let written = WRITES as u64 * 4096;
        assert!(log * 2 < written, "a log of {log} bytes, of {written} that were written");
        state.close().await;
    }
}
