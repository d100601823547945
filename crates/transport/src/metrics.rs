use crate::Shutdown;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{interval, timeout};

/// The exporter's own housekeeping.
const UPKEEP: Duration = Duration::from_secs(5);
/// Who reads figures, reads them at once and few at a time.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 16;

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Figures that cannot be kept or served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// An address that others can reach.
    #[error("metrics are served on loopback alone: give an address such as 127.0.0.1:9464")]
    NotLoopback,
    /// An address that cannot be had.
    #[error("the metrics address cannot be listened on: check that it is free")]
    Bind(#[source] io::Error),
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
        // SECURITY: this listener asks nobody who they are, so it must be out of others' reach.
        if !address.ip().is_loopback() {
            return Err(MetricsError::NotLoopback);
        }
        let tcp = TcpListener::bind(address).await.map_err(MetricsError::Bind)?;
        let bound = tcp.local_addr().map_err(MetricsError::Bind)?;
        let (handle, shutdown) = (self.0.clone(), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = answer_all(tcp, handle.clone()) => {}
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

async fn answer_all(tcp: TcpListener, handle: PrometheusHandle) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let Ok((socket, _)) = tcp.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let handle = handle.clone();
        tokio::spawn(async move {
            let _ = timeout(REQUEST_LIMIT, answer(socket, handle)).await;
            drop(turn);
        });
    }
}

async fn answer(socket: TcpStream, handle: PrometheusHandle) {
    let service = service_fn(move |request: Request<Incoming>| {
        let handle = handle.clone();
        async move { Ok::<_, Infallible>(response(&request, &handle)) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if served.is_err() {
        tracing::debug!(reason = "protocol", "metrics request ended with an error");
    }
}

fn response(request: &Request<Incoming>, handle: &PrometheusHandle) -> Response<Full<Bytes>> {
    if request.method() != Method::GET || request.uri().path() != "/metrics" {
        let mut missing = Response::new(Full::default());
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return missing;
    }
    let mut found = Response::new(Full::from(handle.render()));
    let text = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4");
    found.headers_mut().insert(CONTENT_TYPE, text);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
        assert!(matches!(everywhere, Err(MetricsError::NotLoopback)));
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
