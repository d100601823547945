//! Emptying the write-ahead log, whose frames hold pages as they were before something in them was destroyed.

use crate::{StoreError, writer::Reply};
use sqlx::SqliteConnection;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long everybody else's writing waits for those who read just then.
const PATIENCE: &str = "PRAGMA busy_timeout = 20";
/// What the connection has otherwise, as sqlx sets it.
const USUAL: &str = "PRAGMA busy_timeout = 5000";
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(200);
/// How long whoever destroyed something waits for it to be gone from the log. A reader that stays for ever, such as a
/// replicating backup, does not keep them for ever; the attempts go on.
const WAIT: Duration = Duration::from_secs(5);

/// What is still to be emptied, and who waits for it.
#[derive(Default)]
pub(crate) struct Scrub {
    due: Option<Instant>,
    waiting: Vec<(Instant, Reply)>,
}

impl Scrub {
    /// The log may hold what was destroyed: emptied at the next chance.
    pub(crate) fn ask(&mut self) {
        self.due = Some(Instant::now());
    }

    /// The same, and `reply` is called with `Ok` when it is done.
    pub(crate) fn ask_and_wait(&mut self, reply: Reply) {
        self.ask();
        self.waiting.push((Instant::now() + WAIT, reply));
    }

    /// Returns when the next attempt is due; never if nothing is to be done.
    pub(crate) fn due(&self) -> impl Future<Output = ()> + Send + use<> {
        let due = self.due;
        async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Whether it is time for an attempt.
    pub(crate) fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Empties the log, if that is due. While somebody reads it stays as it is, and it is tried again.
    pub(crate) async fn attempt(&mut self, connection: &mut SqliteConnection) {
        if !self.is_due() {
            return;
        }
        self.due = if empty(connection).await { None } else { Some(Instant::now() + AGAIN) };
        let now = Instant::now();
        let (emptied, waiting) = (self.due.is_none(), std::mem::take(&mut self.waiting));
        for (until, reply) in waiting {
            if emptied || until <= now {
                reply(Ok(()));
            } else {
                self.waiting.push((until, reply));
            }
        }
    }

    /// Lets everybody go who still waits: the state is closed.
    pub(crate) fn end(self) {
        for (_, reply) in self.waiting {
            reply(Ok(()));
        }
    }
}

/// Brings the log into the database and cuts it to nothing. Whether that was possible.
pub(crate) async fn empty(connection: &mut SqliteConnection) -> bool {
    let emptied = async {
        sqlx::query(PATIENCE).execute(&mut *connection).await?;
        let busy = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await;
        sqlx::query(USUAL).execute(&mut *connection).await?;
        Ok::<_, StoreError>(busy? == 0)
    };
    emptied.await.unwrap_or(false)
}
