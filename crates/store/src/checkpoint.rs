//! Bringing the write-ahead log into the database beside the writing, so that nobody's charge waits for it.
//!
//! A pass copies what the log holds into the database while others are appended (a passive checkpoint,
//! <https://sqlite.org/wal.html#ckpt>). When a pass has caught up, the log is begun anew with the next transaction. Under a load
//! that never lets a pass catch up the log grows to [`MOST_PAGES`]; SQLite then does what is left of it at a commit.

use sqlx::SqliteConnection;
use tokio::task::JoinHandle;

/// Pages in the log from which on the connection that writes does the rest itself: 64 MB. One in two hundred commits waits
/// for that, where each writes a hundred pages.
pub(crate) const MOST_PAGES: &str = "16384";
/// Steps after which a pass begins. One changes two to four pages, most of them its own.
const STEPS: usize = 512;

/// The connection of its own that passes are made on.
pub(crate) struct Checkpoints {
    resting: Option<SqliteConnection>,
    passing: Option<JoinHandle<SqliteConnection>>,
    steps: usize,
}

impl Checkpoints {
    pub(crate) const fn over(connection: SqliteConnection) -> Self {
        Self { resting: Some(connection), passing: None, steps: 0 }
    }

    /// Takes note of so many steps that were committed, and begins a pass if it is time for one.
    pub(crate) async fn after(&mut self, steps: usize) {
        self.steps += steps;
        if self.steps < STEPS || self.passing.as_ref().is_some_and(|pass| !pass.is_finished()) {
            return;
        }
        self.rest().await;
        if let Some(mut connection) = self.resting.take() {
            self.steps = 0;
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
            // A pass that was aborted has let go of its connection: from then on, SQLite does it all at commits.
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
