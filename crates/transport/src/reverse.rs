use crate::connect::{ConnectError, Dialler, channel_over};
use crate::listen::http2_server;
use crate::peer::{Peer, PeerStream, reached};
use crate::{Credential, REVERSE_ALPN, Shutdown, TrustAnchor};
use firebreak_domain::{Clock, Identity, OrgId, SystemClock, Timestamp};
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
/// How long a connection that was replaced still takes requests: the gateway knows of the new one a moment later than
/// the adapter does.
const HANDOVER: Duration = Duration::from_secs(2);
/// Seconds ahead of the end of the gateway's certificate at which a connection is replaced, and the fewest after which.
const AHEAD: i64 = 3600;
const LEAST: i64 = 5;

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

    /// A channel to one of the organisation's newest live connections, in turn; nothing if it has none. Older ones end
    /// with what is still under way on them.
    ///
    /// A channel whose connection is lost afterwards answers `UNAVAILABLE`: ask for another.
    #[must_use]
    pub fn channel(&self, org: &OrgId) -> Option<Channel> {
        let live = self.lock();
        let connections = live.get(org)?;
        let newest = connections.get(connections.len().saturating_sub(PER_ADDRESS)..)?;
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed).checked_rem(newest.len())?;
        newest.get(turn).map(|live| live.channel.clone())
    }

    /// Who is at the other end of the organisation's newest connection, if it has one.
    #[must_use]
    pub fn peer(&self, org: &OrgId) -> Option<Arc<Peer>> {
        self.lock().get(org)?.last().map(|live| Arc::clone(&live.peer))
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
        self.live.iter().all(|&live| live >= PER_ADDRESS)
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
/// When `credential` is renewed, and an hour before the gateway's certificate ends, each connection is replaced by a
/// new one; what is under way on the old one goes on there to its end, or that of the certificates it was made with.
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
                credential: credential.clone(),
                address: address.clone(),
                place,
                routes: routes.clone(),
                changes: Arc::clone(&changes),
            };
            tasks.spawn(keeper.keep(shutdown.clone()));
        }
    }
    ReverseDialer { state, tasks }
}

/// Keeps one connection to one address.
struct Keeper {
    dialler: Dialler,
    credential: Credential,
    address: String,
    place: usize,
    routes: Routes,
    changes: Arc<watch::Sender<ReverseState>>,
}

impl Keeper {
    async fn keep(self, shutdown: Shutdown) {
        let mut pause = BACKOFF_FIRST;
        let mut serving: Option<Serving> = None;
        // What is under way on connections that were replaced. Dropped, they end.
        let mut replaced = JoinSet::new();
        loop {
            while replaced.try_join_next().is_some() {}
            if serving.as_mut().is_some_and(Serving::is_lost) {
                serving = None;
                tracing::info!(address = self.address, "gateway disconnected");
            }
            // Before it is dialled: no renewal comes between the certificate that is shown and the wait for the next.
            let mut renewals = self.credential.renewals();
            let dialled = tokio::select! {
                dialled = self.dialler.dial() => dialled,
                () = shutdown.requested() => break,
            };
            match dialled {
                Ok(stream) => {
                    let since = Instant::now();
                    let due = ahead_of(stream.peer().expires, SystemClock.now());
                    let made = Serving::start(&self, stream, &shutdown);
                    if let Some(before) = serving.take() {
                        tracing::info!(address = self.address, "gateway connection replaced");
                        replaced.spawn(before.finish());
                    } else {
                        tracing::info!(address = self.address, "gateway connected");
                    }
                    let lost = tokio::select! {
                        () = serving.insert(made).lost() => true,
                        _ = renewals.changed() => false,
                        () = reached(due) => false,
                    };
                    if since.elapsed() >= STEADY {
                        pause = BACKOFF_FIRST;
                    }
                    if !lost {
                        continue;
                    }
                    serving = None;
                    tracing::info!(address = self.address, "gateway disconnected");
                }
                Err(error) => tracing::warn!(address = self.address, reason = %error, "gateway not connected"),
            }
            tokio::select! {
                () = sleep(jittered(pause)) => {}
                // What it was refused for may be over.
                _ = renewals.changed() => {}
                () = shutdown.requested() => break,
            }
            pause = (pause * 2).min(BACKOFF_LAST);
        }
        // All of them drain on the shutdown.
        if let Some(mut last) = serving {
            last.lost().await;
        }
        while replaced.join_next().await.is_some() {}
    }
}

/// When a connection is to be made anew whose other side has a certificate until `expires`, which is its end: by then
/// that side has renewed it, or else has until half of what is left.
fn ahead_of(expires: Timestamp, now: Timestamp) -> Timestamp {
    let left = expires.secs().saturating_sub(now.secs());
    now.plus_secs(left.saturating_sub(AHEAD).max(left / 2).max(LEAST))
}

/// A connection and the one task that serves on it. Dropped, it ends.
struct Serving {
    task: JoinSet<()>,
    no_more: CancellationToken,
    up: Up,
}

impl Serving {
    fn start(keeper: &Keeper, stream: PeerStream, shutdown: &Shutdown) -> Self {
        let (no_more, up) = (CancellationToken::new(), Up::new(&keeper.changes, keeper.place));
        let (routes, shutdown, until) = (keeper.routes.clone(), shutdown.clone(), no_more.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { serve_until(stream, routes, &shutdown, until.cancelled()).await });
        Self { task, no_more, up }
    }

    /// Waits until it is gone.
    async fn lost(&mut self) {
        self.task.join_next().await;
    }

    fn is_lost(&mut self) -> bool {
        self.task.is_empty() || self.task.try_join_next().is_some()
    }

    /// Takes no more requests, and waits until those under way are answered.
    async fn finish(mut self) {
        drop(self.up);
        tokio::select! {
            () = sleep(HANDOVER) => {}
            _ = self.task.join_next() => return,
        }
        self.no_more.cancel();
        self.task.join_next().await;
    }
}

/// Counts a connection as live for as long as it is held.
struct Up {
    changes: Arc<watch::Sender<ReverseState>>,
    place: usize,
}

impl Up {
    fn new(changes: &Arc<watch::Sender<ReverseState>>, place: usize) -> Self {
        let up = Self { changes: Arc::clone(changes), place };
        up.count(|live| live.saturating_add(1));
        up
    }

    fn count(&self, change: impl Fn(usize) -> usize) {
        self.changes.send_modify(|state| {
            if let Some(live) = state.live.get_mut(self.place) {
                *live = change(*live);
            }
        });
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.count(|live| live.saturating_sub(1));
    }
}

/// Serves on one connection until it is gone or, after `shutdown`, drained. Dropped, it ends the connection.
pub(crate) async fn serve_one(stream: PeerStream, routes: Routes, shutdown: &Shutdown) {
    serve_until(stream, routes, shutdown, std::future::pending()).await;
}

/// The same, and after `no_more` until what is under way is answered, however long that takes.
async fn serve_until(stream: PeerStream, routes: Routes, shutdown: &Shutdown, no_more: impl Future<Output = ()>) {
    let gone = stream.gone();
    let _cut_on_drop = stream.cut().drop_guard();
    // The server would begin to drain where the stream of connections ends: this one never does.
    let one = tokio_stream::once(Ok::<_, io::Error>(stream)).chain(tokio_stream::pending());
    let over = async {
        tokio::select! {
            () = gone.cancelled() => {}
            () = shutdown.requested() => {}
            () = no_more => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_made_anew_an_hour_ahead_of_the_end_or_half_way_to_it_and_never_at_once() {
        let now = Timestamp::from_secs(1_000_000);
        let after = |left: i64| ahead_of(now.plus_secs(left), now).secs() - now.secs();
        assert_eq!(after(10 * 3600), 9 * 3600);
        assert_eq!(after(2 * 3600), 3600);
        assert_eq!(after(3600), 1800);
        for left in [10, 4, 0, -100, i64::MIN] {
            assert_eq!(after(left), LEAST, "{left}");
        }
    }
}
