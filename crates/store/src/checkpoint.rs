//! Bringing the write-ahead log into the database when nobody writes, so that few ever wait for it.
//!
//! A pass copies what the log holds into the database (a passive checkpoint, <https://sqlite.org/wal.html#ckpt>) on a connection of
//! its own, and keeps nobody from writing meanwhile. With the next transaction the log is begun anew. Under a load that leaves no
//! pause the log grows to [`MOST_PAGES`]; SQLite then does a pass at a commit. Passes beside a load that lasts would make every
//! commit share the disk with them.

use sqlx::SqliteConnection;
use std::time::Duration;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// Pages in the log from which on the connection that writes makes a pass itself: 64 MB. Where each commit writes a hundred
/// pages, one in a hundred and sixty waits for that.
pub(crate) const MOST_PAGES: &str = "16384";
/// Steps after which a pass is worth its while. One changes two to four pages, most of them its own.
const STEPS: usize = 256;
/// How long nobody has written when a pass begins.
const PAUSE: Duration = Duration::from_millis(50);

/// The connection of its own that passes are made on.
pub(crate) struct Checkpoints {
    resting: Option<SqliteConnection>,
    passing: Option<JoinHandle<SqliteConnection>>,
    /// Steps since the last pass began, and when the last of them ended.
    steps: usize,
    since: Instant,
}

impl Checkpoints {
    pub(crate) fn over(connection: SqliteConnection) -> Self {
        Self { resting: Some(connection), passing: None, steps: 0, since: Instant::now() }
    }

    /// Takes note of so many steps that were committed.
    pub(crate) fn after(&mut self, steps: usize) {
        self.steps += steps;
        self.since = Instant::now();
    }

    /// Returns when it is time for a pass; never if there is nothing to pass over, or one is under way.
    pub(crate) fn due(&self) -> impl Future<Output = ()> + Send + use<> {
        let passes = self.passing.as_ref().is_some_and(|pass| !pass.is_finished());
        let due = (self.steps >= STEPS && !passes).then_some(self.since + PAUSE);
        async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Begins a pass.
    pub(crate) async fn begin(&mut self) {
        self.rest().await;
        self.steps = 0;
        if let Some(mut connection) = self.resting.take() {
            self.passing = Some(tokio::spawn(async move {
                // What a pass cannot do, because somebody reads or the disk is full, the next one does.
                let _ = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await;
                connection
            }));
        }
    }

    /// Waits until no pass is under way.
    pub(crate) async fn rest(&mut self) {
        if let Some(pass) = self.passing.take() {
            // A pass that was aborted has let go of its connection: from then on, SQLite makes them all at commits.
            self.resting = pass.await.ok();
        }
    }

    /// Waits for a pass under way, and closes the connection.
    pub(crate) async fn close(mut self) {
        self.rest().await;
        if let Some(connection) = self.resting {
            let _ = sqlx::Connection::close(connection).await;
        }
    }
}
