use crate::connect::{ConnectError, Dialler, channel_over};
use crate::listen::http2_server;
use crate::peer::{Peer, PeerStream};
use crate::{Credential, REVERSE_ALPN, Shutdown, TrustAnchor};
use firebreak_domain::{Identity, OrgId};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Channel;

/// Connections that an adapter keeps with each gateway address.
const PER_ADDRESS: usize = 2;
/// Connections that a gateway keeps of one organisation: two, twice over while old ones linger, and as much again.
const PER_ORGANISATION: usize = 8;
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_LAST: Duration = Duration::from_secs(30);
/// A connection that held this long was a good one: the next loss is answered quickly again.
const STEADY: Duration = Duration::from_secs(10);
/// How long requests in flight may take to finish once the adapter is to end.
const DRAIN: Duration = Duration::from_secs(10);

/// A connection that an adapter dialled and on which it serves.
#[derive(Debug)]
pub struct ReverseConnection(PeerStream);

impl ReverseConnection {
    pub(crate) fn new(stream: PeerStream) -> Self {
        Self(stream)
    }

    /// The adapter.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        self.0.peer()
    }
}

/// The gateway's live connections to adapters, by organisation. Cheap to clone; every clone is the same set.
#[derive(Clone, Default)]
pub struct ReverseConnections(Arc<Set>);

#[derive(Default)]
struct Set {
    next: AtomicUsize,
    live: Mutex<HashMap<OrgId, Vec<Live>>>,
}

struct Live {
    number: usize,
    peer: Arc<Peer>,
    channel: Channel,
    cut: CancellationToken,
}

impl ReverseConnections {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up connections as they come, those that `admits` lets in, until no more can come.
    pub async fn accept(&self, mut incoming: mpsc::Receiver<ReverseConnection>, admits: impl Fn(&Peer) -> bool) {
        while let Some(connection) = incoming.recv().await {
            if !admits(connection.peer()) {
                metrics::counter!("firebreak_connections_refused_total", "reason" => "not_admitted").increment(1);
                tracing::info!(reason = "not_admitted", "connection refused");
                continue;
            }
            let set = self.clone();
            tokio::spawn(async move {
                if set.insert(connection).await.is_err() {
                    tracing::info!(reason = "protocol", "reverse connection refused");
                }
            });
        }
    }

    /// Takes up one connection. It leaves the set by itself when it is gone.
    ///
    /// # Errors
    /// An HTTP/2 session that does not start; more connections than one organisation may have.
    pub async fn insert(&self, connection: ReverseConnection) -> Result<(), ConnectError> {
        let stream = connection.0;
        let (peer, cut, gone) = (Arc::clone(stream.peer()), stream.cut(), stream.gone());
        let org = peer.identity.org.clone();
        let channel = channel_over(stream).await?;
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        {
            let mut live = self.lock();
            let connections = live.entry(org.clone()).or_default();
            if connections.len() >= PER_ORGANISATION {
                return Err(ConnectError::Protocol(io::ErrorKind::QuotaExceeded.into()));
            }
            connections.push(Live { number, peer, channel, cut });
        }
        tracing::info!(agency = %org, "agency connected");
        let set = self.clone();
        tokio::spawn(async move {
            gone.cancelled().await;
            set.remove(&org, number);
            tracing::info!(agency = %org, "agency disconnected");
        });
        Ok(())
    }

    /// A channel to one of the organisation's live connections, in turn; nothing if it has none.
    ///
    /// A channel whose connection is lost afterwards answers `UNAVAILABLE`: ask for another.
    #[must_use]
    pub fn channel(&self, org: &OrgId) -> Option<Channel> {
        let live = self.lock();
        let connections = live.get(org)?;
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed).checked_rem(connections.len())?;
        connections.get(turn).map(|live| live.channel.clone())
    }

    /// Who is at the other end of the organisation's connections, if it has one.
    #[must_use]
    pub fn peer(&self, org: &OrgId) -> Option<Arc<Peer>> {
        self.lock().get(org)?.first().map(|live| Arc::clone(&live.peer))
    }

    /// How many connections each connected organisation has.
    #[must_use]
    pub fn connected(&self) -> Vec<(OrgId, usize)> {
        let mut all: Vec<_> = self.lock().iter().map(|(org, live)| (org.clone(), live.len())).collect();
        all.sort();
        all
    }

    /// Ends, at once and with all that runs on them, the connections that `keep` no longer lets stay.
    pub fn retain(&self, keep: impl Fn(&Peer) -> bool) {
        for live in self.lock().values_mut() {
            live.retain(|live| {
                let stays = keep(&live.peer);
                if !stays {
                    live.cut.cancel();
                }
                stays
            });
        }
        self.lock().retain(|_, live| !live.is_empty());
    }

    fn remove(&self, org: &OrgId, number: usize) {
        let mut live = self.lock();
        if let Some(connections) = live.get_mut(org) {
            connections.retain(|live| live.number != number);
            if connections.is_empty() {
                live.remove(org);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrgId, Vec<Live>>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many connections are up, by address in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReverseState {
    /// Live connections to each address.
    pub live: Vec<usize>,
}

impl ReverseState {
    /// Live connections to all addresses together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.live.iter().sum()
    }

    /// Whether every connection that should be up is up.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.live.iter().all(|&live| live == PER_ADDRESS)
    }
}

/// An adapter's side of its connections to the gateways. Dropping it ends them.
pub struct ReverseDialer {
    state: watch::Receiver<ReverseState>,
    tasks: JoinSet<()>,
}

impl ReverseDialer {
    /// Which connections are up, now and as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ReverseState> {
        self.state.clone()
    }

    /// Waits until all connections have ended after the shutdown that [`dial_reverse`] was given.
    pub async fn finished(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Dials every gateway address (`host:port`) twice, serves `routes` on each connection, and redials with growing,
/// jittered pauses (0.2 s to 30 s) when one is refused or lost.
///
/// `expected` must answer: exactly this identity, issued by `trust`. After `shutdown` requests in flight have ten
/// seconds to finish.
#[must_use]
pub fn dial_reverse(
    addresses: &[String],
    credential: &Credential,
    trust: &TrustAnchor,
    expected: &Identity,
    routes: &Routes,
    shutdown: &Shutdown,
) -> ReverseDialer {
    let (changes, state) = watch::channel(ReverseState { live: vec![0; addresses.len()] });
    let changes = Arc::new(changes);
    let mut tasks = JoinSet::new();
    for (place, address) in addresses.iter().enumerate() {
        for _ in 0..PER_ADDRESS {
            let dialler = Dialler::new(address, credential, trust, expected, REVERSE_ALPN);
            let keeper = Keeper {
                dialler,
                address: address.clone(),
                place,
                routes: routes.clone(),
                changes: Arc::clone(&changes),
            };
            let shutdown = shutdown.clone();
            tasks.spawn(async move { keeper.keep(&shutdown).await });
        }
    }
    ReverseDialer { state, tasks }
}

/// Keeps one connection to one address.
struct Keeper {
    dialler: Dialler,
    address: String,
    place: usize,
    routes: Routes,
    changes: Arc<watch::Sender<ReverseState>>,
}

impl Keeper {
    async fn keep(&self, shutdown: &Shutdown) {
        let mut pause = BACKOFF_FIRST;
        loop {
            let dialled = tokio::select! {
                dialled = self.dialler.dial() => dialled,
                () = shutdown.requested() => return,
            };
            match dialled {
                Ok(stream) => {
                    let since = Instant::now();
                    let up = Up::new(self);
                    tracing::info!(address = self.address, "gateway connected");
                    serve_one(stream, self.routes.clone(), shutdown).await;
                    drop(up);
                    tracing::info!(address = self.address, "gateway disconnected");
                    if since.elapsed() >= STEADY {
                        pause = BACKOFF_FIRST;
                    }
                }
                Err(error) => tracing::warn!(address = self.address, reason = %error, "gateway not connected"),
            }
            tokio::select! {
                () = sleep(jittered(pause)) => {}
                () = shutdown.requested() => return,
            }
            pause = (pause * 2).min(BACKOFF_LAST);
        }
    }
}

/// Counts a connection as live for as long as it is held.
struct Up<'a>(&'a Keeper);

impl<'a> Up<'a> {
    fn new(keeper: &'a Keeper) -> Self {
        keeper.count(|live| live + 1);
        Self(keeper)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.count(|live| live.saturating_sub(1));
    }
}

impl Keeper {
    fn count(&self, change: impl Fn(usize) -> usize) {
        self.changes.send_modify(|state| {
            if let Some(live) = state.live.get_mut(self.place) {
                *live = change(*live);
            }
        });
    }
}

/// Serves on one connection until it is gone or, after `shutdown`, drained. Dropped, it ends the connection.
pub(crate) async fn serve_one(stream: PeerStream, routes: Routes, shutdown: &Shutdown) {
    let gone = stream.gone();
    let _cut_on_drop = stream.cut().drop_guard();
    // The server would begin to drain where the stream of connections ends: this one never does.
    let one = tokio_stream::once(Ok::<_, io::Error>(stream)).chain(tokio_stream::pending());
    let over = async {
        tokio::select! {
            () = gone.cancelled() => {}
            () = shutdown.requested() => {}
        }
    };
    let serving = http2_server().add_routes(routes).serve_with_incoming_shutdown(one, over);
    if let Some(Err(_)) = shutdown.drain(DRAIN, serving).await {
        tracing::warn!(reason = "protocol", "serving on a connection ended with an error");
    }
}

/// Between half of `pause` and all of it, so that adapters that lost a gateway together do not return together.
fn jittered(pause: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without randomness all wait the whole pause: slower, not wrong.
    let share = match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u32::from(u16::from_le_bytes(bytes)),
        Err(_) => u32::from(u16::MAX),
    };
    pause / 2 + (pause / 2) * share / u32::from(u16::MAX)
}
