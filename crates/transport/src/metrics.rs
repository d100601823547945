use crate::Shutdown;
use crate::loopback::{LoopbackError, Page, serve_on_loopback};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::interval;

/// The exporter's own housekeeping.
const UPKEEP: Duration = Duration::from_secs(5);

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Figures that cannot be kept or served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The listener.
    #[error("metrics: {0}")]
    Loopback(#[from] LoopbackError),
    /// Another recorder.
    #[error("another recorder of metrics is installed in this process")]
    Recorder,
}

/// This process's figures, in Prometheus' text format. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Begins to record what the `metrics` macros say. A second call gives the same figures.
    ///
    /// # Errors
    /// A recorder that is not ours.
    pub fn install() -> Result<Self, MetricsError> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &*installed {
            return Ok(Self(handle.clone()));
        }
        let handle = PrometheusBuilder::new().install_recorder().map_err(|_| MetricsError::Recorder)?;
        *installed = Some(handle.clone());
        Ok(Self(handle))
    }

    /// The figures as they stand.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Serves `GET /metrics` on a loopback address until `shutdown`, and says which port was bound.
    ///
    /// # Errors
    /// An address that is not loopback or not free.
    pub async fn serve(&self, address: SocketAddr, shutdown: &Shutdown) -> Result<SocketAddr, MetricsError> {
        let handle = self.0.clone();
        let page = move |path: &str| {
            let text = "text/plain; version=0.0.4";
            (path == "/metrics").then(|| Page::new(text, true, handle.render().into()))
        };
        let bound = serve_on_loopback(address, page, shutdown).await?;
        let (handle, shutdown) = (self.0.clone(), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = keep_up(handle) => {}
                () = shutdown.requested() => {}
            }
        });
        Ok(bound)
    }
}

async fn keep_up(handle: PrometheusHandle) {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn figures_are_served_on_loopback_and_nowhere_else() {
        let metrics = Metrics::install().unwrap();
        let shutdown = Shutdown::new();
        let everywhere = metrics.serve("0.0.0.0:0".parse().unwrap(), &shutdown).await;
        assert!(matches!(everywhere, Err(MetricsError::Loopback(LoopbackError::NotLoopback))));
        let address = metrics.serve("127.0.0.1:0".parse().unwrap(), &shutdown).await.unwrap();
        metrics::counter!("firebreak_test_total").increment(3);
        let found = get(address, "/metrics").await;
        assert!(found.starts_with("HTTP/1.1 200") && found.contains("firebreak_test_total 3"), "{found}");
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn a_second_installation_gives_the_same_figures() {
        let (one, two) = (Metrics::install().unwrap(), Metrics::install().unwrap());
        metrics::counter!("firebreak_second_total").increment(1);
        assert!(one.render().contains("firebreak_second_total 1"));
        assert!(two.render().contains("firebreak_second_total 1"));
    }
}
