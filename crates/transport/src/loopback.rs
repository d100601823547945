use crate::Shutdown;
use bytes::Bytes;
use firebreak_domain::Timestamp;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED, LINK};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Who reads a page, reads it at once and few at a time.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 16;

/// A loopback listener that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LoopbackError {
    /// An address that others can reach.
    #[error("this is served on loopback alone: give an address such as 127.0.0.1:9464")]
    NotLoopback,
    /// An address that cannot be had.
    #[error("the address cannot be listened on: check that it is free")]
    Bind(#[source] io::Error),
}

/// What is at a path.
pub struct Page {
    /// Its media type.
    pub content_type: &'static str,
    /// Whether the path may hold something else later. What never changes may be cached for ever.
    pub changes: bool,
    /// Its bytes.
    pub body: Bytes,
    /// What caches compare, of what changes seldom.
    pub validators: Option<Validators>,
    /// The path of what describes it.
    pub described_by: Option<String>,
}

/// By what a cache sees that it has a page already (RFC 9110, section 8.8).
pub struct Validators {
    /// A hash of the bytes in hexadecimal.
    pub etag: String,
    /// When they came to be.
    pub modified: Timestamp,
}

impl Page {
    /// A page of that type; `changes` as there.
    #[must_use]
    pub const fn new(content_type: &'static str, changes: bool, body: Bytes) -> Self {
        Self { content_type, changes, body, validators: None, described_by: None }
    }
}

/// Answers `GET` by what `page` has at a path, in plain HTTP on a loopback address, until `shutdown`; says which port
/// was bound. `page` may block on the disk.
///
/// # Errors
/// [`LoopbackError`].
pub async fn serve_on_loopback(
    address: SocketAddr,
    page: impl Fn(&str) -> Option<Page> + Send + Sync + 'static,
    shutdown: &Shutdown,
) -> Result<SocketAddr, LoopbackError> {
    // SECURITY: this listener asks nobody who they are, so it must be out of others' reach.
    if !address.ip().is_loopback() {
        return Err(LoopbackError::NotLoopback);
    }
    let tcp = TcpListener::bind(address).await.map_err(LoopbackError::Bind)?;
    let bound = tcp.local_addr().map_err(LoopbackError::Bind)?;
    let (page, shutdown) = (Arc::new(page), shutdown.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = answer_all(tcp, page) => {}
            () = shutdown.requested() => {}
        }
    });
    Ok(bound)
}

async fn answer_all<P: Fn(&str) -> Option<Page> + Send + Sync + 'static>(tcp: TcpListener, page: Arc<P>) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let Ok((socket, _)) = tcp.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let page = Arc::clone(&page);
        tokio::spawn(async move {
            let _ = timeout(REQUEST_LIMIT, answer(socket, page)).await;
            drop(turn);
        });
    }
}

async fn answer<P: Fn(&str) -> Option<Page> + Send + Sync + 'static>(socket: TcpStream, page: Arc<P>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let page = Arc::clone(&page);
        async move { Ok::<_, Infallible>(response(&request, page).await) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if served.is_err() {
        tracing::debug!(reason = "protocol", "a request on loopback ended with an error");
    }
}

async fn response<P: Fn(&str) -> Option<Page> + Send + Sync + 'static>(
    request: &Request<Incoming>,
    page: Arc<P>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let found = match *request.method() {
        Method::GET => tokio::task::spawn_blocking(move || page(&path)).await.ok().flatten(),
        _ => None,
    };
    let Some(Page { content_type, changes, body, validators, described_by }) = found else {
        let mut missing = Response::new(Full::default());
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return missing;
    };
    let known = |etag: &str| {
        let asked = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
        asked.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
    };
    let etag = validators.as_ref().map(|validators| format!("\"{}\"", validators.etag));
    let unchanged = etag.as_deref().is_some_and(known);
    let mut response = Response::new(if unchanged { Full::default() } else { Full::from(body) });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let modified = validators.map(|validators| validators.modified.http_date());
    let link = described_by.map(|path| format!("<{path}>; rel=\"describedby\""));
    for (name, value) in [(ETAG, etag), (LAST_MODIFIED, modified), (LINK, link)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    let caching = if changes { "no-cache" } else { "public, max-age=31536000, immutable" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}
