//! Which joins run in this program. The files of a session are written by one run of it alone.

use super::JoinRun;
use firebreak_domain::{ReasonCode, Refusal};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};

type Name = [u8; 32];

/// How long a run that was broken off may take to let go of its files.
const LET_GO: Duration = Duration::from_secs(10);

/// The joins of one adapter, on either side.
#[derive(Default)]
pub struct Joins {
    begun: Arc<Mutex<HashSet<Name>>>,
    shown: Mutex<HashMap<Name, Weak<JoinRun>>>,
}

/// A session that runs, until it is dropped.
pub(super) struct Begun {
    name: Name,
    all: Arc<Mutex<HashSet<Name>>>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Joins {
    /// Begins to run a session, once an earlier run of it has ended.
    ///
    /// # Errors
    /// `SESSION_MISMATCH` if it does not end.
    pub(super) async fn begin(&self, name: Name) -> Result<Begun, Refusal> {
        let started = Instant::now();
        while !self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
            if started.elapsed() > LET_GO {
                let refusal = Refusal::new(ReasonCode::SessionMismatch);
                return Err(refusal.because("this request is being answered already: wait for its end"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Begun { name, all: Arc::clone(&self.begun) })
    }

    /// Makes a prepared join known.
    pub(super) fn show(&self, run: &Arc<JoinRun>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|_, run| run.strong_count() > 0);
        shown.insert(*run.name(), Arc::downgrade(run));
    }

    /// The prepared join of that name.
    pub(super) fn find(&self, name: &Name) -> Option<Arc<JoinRun>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).get(name).and_then(Weak::upgrade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_runs_once_at_a_time() {
        let joins = Joins::default();
        let first = joins.begin([1; 32]).await.unwrap();
        assert!(joins.begin([2; 32]).await.is_ok(), "another session waits for it");
        let refused = joins.begin([1; 32]).await.map(drop).unwrap_err();
        assert_eq!(refused.reason, ReasonCode::SessionMismatch);
        let (again, ()) = tokio::join!(joins.begin([1; 32]), async {
            sleep(LET_GO / 2).await;
            drop(first);
        });
        assert!(again.is_ok(), "it ended");
    }
}
