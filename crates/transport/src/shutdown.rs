use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The wish that a program ends, seen by all its parts. Cheap to clone; every clone is the same wish.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// One that nothing has asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that SIGTERM and SIGINT ask for. A second signal ends the program at once with code 130.
    ///
    /// # Errors
    /// A system that does not let signals be caught.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::new();
        let asked = shutdown.clone();
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            next().await;
            asked.request();
            next().await;
            std::process::exit(130);
        });
        Ok(shutdown)
    }

    /// Asks for the end.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the end is asked for.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// The wish as a token, for what takes one. Cancelling the token asks for the end.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }

    /// Runs `work` to its end, or until `limit` has passed since the end was asked for.
    ///
    /// Returns nothing when the limit cut it off.
    pub async fn drain<F: Future>(&self, limit: Duration, work: F) -> Option<F::Output> {
        tokio::select! {
            done = work => Some(done),
            () = async { self.requested().await; tokio::time::sleep(limit).await } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_in_time_is_drained_and_other_work_is_cut_off() {
        let shutdown = Shutdown::new();
        let limit = Duration::from_secs(5);
        assert_eq!(shutdown.drain(limit, async { 7 }).await, Some(7));
        shutdown.request();
        let slow = async { tokio::time::sleep(Duration::from_secs(4)).await };
        assert_eq!(shutdown.drain(limit, slow).await, Some(()));
        assert_eq!(shutdown.drain(limit, pending::<()>()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_cut_off_before_the_end_is_asked_for() {
        let shutdown = Shutdown::new();
        let long = async { tokio::time::sleep(Duration::from_secs(86_400)).await };
        assert_eq!(shutdown.drain(Duration::from_secs(1), long).await, Some(()));
        assert!(!shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_signal_asks_for_the_end() {
        let shutdown = Shutdown::on_signals().unwrap();
        assert!(!shutdown.is_requested());
        let own = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &own]).status().unwrap().success());
        tokio::time::timeout(Duration::from_secs(5), shutdown.requested()).await.unwrap();
    }
}
