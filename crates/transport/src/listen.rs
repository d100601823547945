use crate::connect::{HANDSHAKE_LIMIT, KEEP_ALIVE, KEEP_ALIVE_LIMIT};
use crate::peer::PeerStream;
use crate::reverse::ReverseConnection;
use crate::tls::H2_ALPN;
use crate::{REVERSE_ALPN, ServerTls, Shutdown};
use firebreak_domain::{Identity, IdentityRole};
use rustls::ServerConfig;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// Connections waiting for the server to take them up.
const BACKLOG: usize = 64;
/// After an error of the socket itself (no file descriptor left, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How much one listener takes on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Handshakes at the same time; the next one waits.
    pub handshakes: usize,
    /// Connections at the same time; the next one is closed.
    pub connections: usize,
    /// Connections of one identity at the same time; the next one is closed.
    pub connections_per_peer: usize,
    /// How long a handshake may take.
    pub handshake_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handshakes: 256, connections: 4096, connections_per_peer: 128, handshake_time: HANDSHAKE_LIMIT }
    }
}

/// A listener that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("the address cannot be listened on: check that it is ours and free")]
    Bind(#[source] io::Error),
    /// HTTP/2 ended with an error.
    #[error("serving ended with an error")]
    Serve(#[source] tonic::transport::Error),
}

/// A bound TCP port that speaks mutual TLS 1.3.
pub struct Server {
    tcp: TcpListener,
    address: SocketAddr,
    tls: ServerTls,
    limits: Limits,
}

/// What comes in at a [`Server`], by the protocol that the handshake chose.
pub struct Accepted {
    /// Connections on which the peer asks and we serve.
    pub grpc: Incoming,
    /// Connections on which the peer, an adapter, serves and we ask. Dropping this refuses them.
    pub reverse: mpsc::Receiver<ReverseConnection>,
}

impl Server {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// An address that is not ours or not free.
    pub async fn bind(address: SocketAddr, tls: ServerTls) -> Result<Self, ServeError> {
        let tcp = TcpListener::bind(address).await.map_err(ServeError::Bind)?;
        let address = tcp.local_addr().map_err(ServeError::Bind)?;
        Ok(Self { tcp, address, tls, limits: Limits::default() })
    }

    /// Replaces the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts to accept, until `shutdown`. A failed handshake ends that connection and nothing else.
    #[must_use]
    pub fn accept(self, shutdown: &Shutdown) -> Accepted {
        let (grpc, grpc_out) = mpsc::channel(BACKLOG);
        let (reverse, reverse_out) = mpsc::channel(BACKLOG);
        let cut = CancellationToken::new();
        let doors = Arc::new(Doors {
            config: self.tls.config,
            slots: Arc::new(Slots::new(self.limits)),
            limits: self.limits,
            cut: cut.clone(),
            grpc,
            reverse,
        });
        tokio::spawn(accept_until(self.tcp, doors, shutdown.clone()));
        Accepted { grpc: Incoming { streams: grpc_out, cut }, reverse: reverse_out }
    }

    /// Serves `routes` until `shutdown`, then lets requests in flight finish for at most `drain`.
    ///
    /// Takes no reverse connections.
    ///
    /// # Errors
    /// [`ServeError::Serve`].
    pub async fn serve(self, routes: Routes, shutdown: &Shutdown, drain: Duration) -> Result<(), ServeError> {
        self.accept(shutdown).grpc.serve(routes, shutdown, drain).await
    }
}

/// The authenticated connections of a [`Server`] on which we serve.
pub struct Incoming {
    streams: mpsc::Receiver<PeerStream>,
    cut: CancellationToken,
}

impl Incoming {
    /// As [`Server::serve`].
    ///
    /// # Errors
    /// [`ServeError::Serve`].
    pub async fn serve(self, routes: Routes, shutdown: &Shutdown, drain: Duration) -> Result<(), ServeError> {
        let cut = self.cut.clone();
        let serving = http2_server().add_routes(routes).serve_with_incoming_shutdown(self, shutdown.requested());
        match shutdown.drain(drain, serving).await {
            Some(ended) => ended.map_err(ServeError::Serve),
            None => {
                cut.cancel();
                Ok(())
            }
        }
    }
}

impl Stream for Incoming {
    type Item = io::Result<PeerStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.streams.poll_recv(cx).map(|stream| stream.map(Ok))
    }
}

/// The settings of every HTTP/2 connection on which we serve.
pub(crate) fn http2_server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .max_concurrent_streams(256)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_LIMIT))
        .http2_max_header_list_size(16 * 1024)
}

/// Where a connection goes once its handshake is done.
struct Doors {
    config: Arc<ServerConfig>,
    slots: Arc<Slots>,
    limits: Limits,
    cut: CancellationToken,
    grpc: mpsc::Sender<PeerStream>,
    reverse: mpsc::Sender<ReverseConnection>,
}

async fn accept_until(tcp: TcpListener, doors: Arc<Doors>, shutdown: Shutdown) {
    let handshakes = Arc::new(Semaphore::new(doors.limits.handshakes));
    let accept = async {
        loop {
            let Ok(turn) = Arc::clone(&handshakes).acquire_owned().await else { return };
            match tcp.accept().await {
                Ok((socket, _)) => {
                    let doors = Arc::clone(&doors);
                    tokio::spawn(async move {
                        if let Err(reason) = doors.admit(socket, turn).await {
                            metrics::counter!("firebreak_connections_refused_total", "reason" => reason).increment(1);
                            // Not louder: anybody on the network can cause it, as often as they like.
                            tracing::debug!(reason, "connection refused");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(error_kind = ?error.kind(), "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown.requested() => {}
    }
}

impl Doors {
    /// Makes the handshake and passes the connection on, or says why not.
    async fn admit(&self, socket: TcpStream, turn: OwnedSemaphorePermit) -> Result<(), &'static str> {
        socket.set_nodelay(true).map_err(|_| "socket")?;
        let handshake = TlsAcceptor::from(Arc::clone(&self.config)).accept(socket);
        let tls = timeout(self.limits.handshake_time, handshake)
            .await
            .map_err(|_| "handshake_time")?
            .map_err(|error| refusal(&error))?;
        drop(turn);
        let protocol = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let stream = PeerStream::new(TlsStream::Server(tls), self.cut.child_token()).map_err(|_| "certificate")?;
        let identity = &stream.peer().identity;
        let slot = Slots::take(&self.slots, identity).ok_or("too_many")?;
        match protocol.as_deref() {
            Some(H2_ALPN) => self.grpc.send(stream.holding(slot)).await.map_err(|_| "closing"),
            Some(REVERSE_ALPN) if identity.role == IdentityRole::Adapter => {
                let connection = ReverseConnection::new(stream.holding(slot));
                self.reverse.send(connection).await.map_err(|_| "closing")
            }
            Some(REVERSE_ALPN) => Err("role"),
            _ => Err("protocol"),
        }
    }
}

/// Why a handshake failed, as a label of a metric.
fn refusal(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::NoCertificatesPresented) => "no_certificate",
        Some(rustls::Error::InvalidCertificate(_)) => "certificate",
        Some(rustls::Error::PeerIncompatible(_)) => "tls_version",
        Some(rustls::Error::AlertReceived(_)) => "refused_by_peer",
        Some(_) => "tls",
        None => "socket",
    }
}

/// Counts connections, in all and by identity.
struct Slots {
    all: Arc<Semaphore>,
    per_peer: usize,
    by_peer: Mutex<HashMap<Identity, usize>>,
}

struct Slot {
    _one_of_all: OwnedSemaphorePermit,
    slots: Arc<Slots>,
    identity: Identity,
}

impl Slots {
    fn new(limits: Limits) -> Self {
        let all = Arc::new(Semaphore::new(limits.connections));
        Self { all, per_peer: limits.connections_per_peer, by_peer: Mutex::default() }
    }

    fn take(slots: &Arc<Self>, identity: &Identity) -> Option<Slot> {
        let one_of_all = Arc::clone(&slots.all).try_acquire_owned().ok()?;
        let mut by_peer = slots.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let open = by_peer.entry(identity.clone()).or_default();
        if *open >= slots.per_peer {
            return None;
        }
        *open += 1;
        Some(Slot { _one_of_all: one_of_all, slots: Arc::clone(slots), identity: identity.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut by_peer = self.slots.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_peer.get_mut(&self.identity) {
            *open -= 1;
            if *open == 0 {
                by_peer.remove(&self.identity);
            }
        }
    }
}
