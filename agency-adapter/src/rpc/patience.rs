//! How long one side of a match waits for the other.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// The bound on every wait of one side of a match for a message of the other.
pub const MESSAGE_LIMIT: Duration = Duration::from_secs(60);

/// How long the two sides of a session may take to part, once either has found a fault or the gateway of a join is gone: to
/// say what was found, and to hear of it.
pub const LAST_WORD: Duration = Duration::from_secs(5);

/// What is allowed beside it for each element that the other side has to work through before it can answer: reading
/// its register, making its tag list, blinding its set once more. About five times what a slow core takes.
const PER_ELEMENT: Duration = Duration::from_micros(250);

/// How long the other side may take over a message before which it works through so many elements.
pub fn limit(elements: u64) -> Duration {
    MESSAGE_LIMIT.saturating_add(PER_ELEMENT.saturating_mul(u32::try_from(elements).unwrap_or(u32::MAX)))
}

/// A message that did not come in time.
#[derive(Debug, PartialEq, Eq)]
pub struct Stalled;

/// Waits for a message of the other side.
///
/// # Errors
/// [`Stalled`] after `limit`.
pub async fn within<T>(limit: Duration, message: impl Future<Output = T>) -> Result<T, Stalled> {
    timeout(limit, message).await.map_err(|_| Stalled)
}

/// When the receiver was last heard of in a tunnel, and how many of its calls are being worked on.
pub struct Activity {
    working: AtomicUsize,
    last: Mutex<Instant>,
}

/// A call that is being worked on, until it is dropped.
pub struct Working<'a>(&'a Activity);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.heard();
        self.0.working.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Activity {
    /// Heard of now.
    pub fn new() -> Self {
        Self { working: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }
    }

    /// A call has come. While it is worked on, it is not the receiver that keeps anybody waiting.
    pub fn call(&self) -> Working<'_> {
        self.working.fetch_add(1, Ordering::SeqCst);
        Working(self)
    }

    /// Something was asked for or taken.
    pub fn heard(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until nothing was heard for `limit`, which may change on the way.
    pub async fn silence(&self, limit: impl Fn() -> Duration) {
        loop {
            let (limit, now) = (limit(), Instant::now());
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = self.working.load(Ordering::SeqCst) == 0;
            if idle && now.duration_since(last) >= limit {
                return;
            }
            sleep_until(if idle { last + limit } else { now + limit }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_message_that_does_not_come_is_waited_for_no_longer_than_its_bound() {
        let start = Instant::now();
        assert_eq!(within(limit(0), pending::<()>()).await, Err(Stalled));
        assert_eq!(start.elapsed(), MESSAGE_LIMIT);
        let late = async { sleep(MESSAGE_LIMIT - SECOND).await };
        assert_eq!(within(limit(0), late).await, Ok(()));
    }

    #[test]
    fn the_bound_grows_with_what_is_to_be_worked_through_and_ends_somewhere() {
        assert_eq!(limit(4_000_000), MESSAGE_LIMIT + 1000 * SECOND);
        assert!(limit(u64::MAX) < Duration::from_secs(14 * 24 * 3600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_falls_silent_is_found_out_and_one_that_is_worked_for_is_not() {
        let (activity, start) = (Activity::new(), Instant::now());
        activity.silence(|| MESSAGE_LIMIT).await;
        assert_eq!(start.elapsed(), MESSAGE_LIMIT, "silent from the first");

        let (activity, start) = (Activity::new(), Instant::now());
        let heard = async {
            sleep(MESSAGE_LIMIT - SECOND).await;
            // A call that takes us longer than anybody may be silent.
            let call = activity.call();
            sleep(3 * MESSAGE_LIMIT).await;
            drop(call);
            sleep(MESSAGE_LIMIT - SECOND).await;
            activity.heard();
            pending::<()>().await;
        };
        tokio::select! {
            () = activity.silence(|| MESSAGE_LIMIT) => {}
            () = heard => {}
        }
        // 59 s, 180 s of work, 59 s, then nothing: found out between one bound and two later.
        let quiet = start.elapsed() - (5 * MESSAGE_LIMIT - 2 * SECOND);
        assert!(quiet >= MESSAGE_LIMIT && quiet <= 2 * MESSAGE_LIMIT, "{quiet:?}");
    }
}
