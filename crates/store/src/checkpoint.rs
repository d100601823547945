//! Bringing the write-ahead log into the database beside the writing, so that hardly anybody ever waits for it.
//!
//! A pass copies what the log holds into the database (a passive checkpoint, <https://sqlite.org/wal.html#ckpt>) on a
//! connection of its own, and keeps nobody from writing meanwhile. What is written during a pass is left to the next,
//! which has less to do and is shorter. Once a pass is short, one more is made between two transactions: then the log
//! holds nothing that the database lacks, and the next transaction begins it anew, unless somebody still reads what was
//! there before. So it stays small, and is written over in its place. A commit waits for a short pass at most, but where
//! the disk is too slow for any to be short ([`ROUNDS`]), or passes beside it fall so far behind that SQLite makes one
//! itself ([`MOST_PAGES`]).

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
    /// Somebody who reads kept it from copying all, or the disk failed. A later one does it.
    Blocked,
}

/// What is to be done between two transactions.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// The first pass of several, beside the writing.
    First,
    /// Another one.
    Another,
    /// The one that everybody waits for.
    Last,
}

/// What follows the last pass, if one has ended, as the one of that number in a row; `steps` were made since it began.
fn next(last: Option<Pass>, round: usize, steps: usize) -> Next {
    match last {
        // Whoever kept it from copying may still be there. The next is due as if this one had not been.
        Some(Pass::Blocked) => Next::Nothing,
        Some(Pass::Made(took)) if took > SHORT && round < ROUNDS => Next::Another,
        Some(Pass::Made(_)) => Next::Last,
        None if steps >= MANY => Next::First,
        None => Next::Nothing,
    }
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

    /// Called between two transactions, the last of which had so many steps. Begins a pass where one is due; where the
    /// last was short, makes the one for which everybody waits.
    pub(crate) async fn after(&mut self, steps: usize) {
        self.steps += steps;
        self.since = Instant::now();
        if self.passes() {
            return;
        }
        let last = self.rest().await;
        match next(last, self.rounds, self.steps) {
            Next::Nothing => {}
            Next::First => self.begin().await,
            Next::Another => self.begin_again(),
            Next::Last => {
                if let Some(connection) = self.resting.take() {
                    self.resting = Some(pass(connection).await.0);
                }
                self.steps = 0;
            }
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

    /// Begins a pass, the first of as many as it takes until one is short.
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
        Ok::<(i64, i64, i64), _>(_) | Err(_) => Pass::Blocked,
    };
    (connection, pass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{State, StateKey};
    use firebreak_domain::SystemClock;
    use std::sync::Arc;

    #[test]
    fn everybody_waits_for_a_short_pass_or_for_the_last_of_many() {
        let (short, long) = (|| Some(Pass::Made(SHORT)), || Some(Pass::Made(SHORT * 2)));
        assert_eq!(next(short(), 1, 0), Next::Last);
        for round in 1..ROUNDS {
            assert_eq!(next(long(), round, 0), Next::Another);
        }
        assert_eq!(next(long(), ROUNDS, 0), Next::Last);
        assert_eq!(next(Some(Pass::Blocked), 1, MANY), Next::Nothing);
        assert_eq!((next(None, 0, MANY - 1), next(None, 0, MANY)), (Next::Nothing, Next::First));
    }

    /// While somebody reads what was there before, nothing is lost and the log may grow; once nobody does, it is begun anew.
    #[tokio::test]
    async fn who_reads_keeps_a_pass_from_its_work_and_the_next_makes_up_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let open = async || {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("log.sqlite"));
            let options = options.create_if_missing(true).journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
            sqlx::ConnectOptions::connect(&options).await.unwrap()
        };
        let (mut writing, mut reading, passing) = (open().await, open().await, open().await);
        sqlx::raw_sql("CREATE TABLE kept (number INTEGER); INSERT INTO kept VALUES (0)")
            .execute(&mut writing)
            .await
            .unwrap();
        sqlx::raw_sql("BEGIN; SELECT number FROM kept").execute(&mut reading).await.unwrap();
        sqlx::raw_sql("UPDATE kept SET number = 1").execute(&mut writing).await.unwrap();
        let (passing, blocked) = pass(passing).await;
        assert!(matches!(blocked, Pass::Blocked));
        sqlx::raw_sql("COMMIT").execute(&mut reading).await.unwrap();
        let (_, made) = pass(passing).await;
        assert!(matches!(made, Pass::Made(_)));
    }

    /// Under a load without a pause the log is begun anew again and again: what is written in all does not stay in it.
    #[tokio::test]
    async fn a_load_without_a_pause_keeps_the_log_small() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), StateKey::from_bytes([7; 32]), Arc::new(SystemClock)).await.unwrap();
        const WRITES: usize = 3 * MANY;
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
