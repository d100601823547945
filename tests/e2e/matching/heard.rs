//! What a program logs and counts while it works, kept apart from everybody else in this process.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;

/// A counter that depends on how busy the machine is, and on nothing of a match but its public size.
const BUSY: &str = "firebreak_tick_overruns_total";

/// The log, at its finest and with every field, and the figures of one side.
pub struct Heard {
    lines: Lines,
    log: Dispatch,
    /// Where there is one alone, a line that somebody else writes first, heard by nobody, is never heard again.
    _other: Dispatch,
    figures: PrometheusRecorder,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Heard {
    pub fn nothing_yet() -> Self {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("off,firebreak=trace,agency_adapter=trace"))
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        let other = Dispatch::new(tracing_subscriber::registry());
        Self { lines, log: Dispatch::new(log), _other: other, figures: PrometheusBuilder::new().build_recorder() }
    }

    /// Listens to some work.
    pub async fn of<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            tracing::dispatcher::with_default(&self.log, || {
                metrics::with_local_recorder(&self.figures, || -> Poll<F::Output> { work.as_mut().poll(context) })
            })
        })
        .await
    }

    /// Everything heard: the lines of the log, then the figures.
    pub fn all(&self) -> Vec<String> {
        let log = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = String::from_utf8_lossy(&log).lines().map(str::to_owned).collect();
        let figures = self.figures.handle().render();
        let mut figures: Vec<_> = figures.lines().filter(|line| !line.contains(BUSY)).map(str::to_owned).collect();
        figures.sort();
        all.extend(figures);
        all
    }
}
