//! Programs in this process, and tunnels between them of which a test holds an end: what both say over the wire.

use anyhow::{Context, Result};
use firebreak_audit::{LeafKind, SignedLeaf};
use firebreak_domain::{Identity, ReasonCode, SystemClock};
use firebreak_testbed::{Federation, gateway_identity};
use firebreak_transport::{ByteStream, Server, ServerTls, Shutdown, connect, receive_chunks};
use firebreak_wire::matching::v1::matching_service_client::MatchingServiceClient;
use firebreak_wire::matching::v1::matching_service_server::{MatchingService, MatchingServiceServer};
use firebreak_wire::matching::v1::{
    OpenTunnelRequest, OpenTunnelResponse, TunnelHeader, TunnelOpened, open_tunnel_request, open_tunnel_response,
};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Bytes, Service, http};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Chunks that may wait on either side of a tunnel.
const WAITING: usize = 8;

pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The gateway, in this process.
pub async fn gateway(federation: &Federation, shutdown: &Shutdown) -> Result<firebreak_gateway::program::Running> {
    let checked = firebreak_gateway::program::check(&federation.configure_gateway(ANY, None, None)?)?;
    Ok(firebreak_gateway::program::serve(checked, Arc::new(SystemClock), shutdown).await?)
}

/// An agency's adapter, in this process, which dials those gateways.
pub async fn adapter(
    federation: &Federation,
    agency: &str,
    gateways: &[SocketAddr],
    shutdown: &Shutdown,
) -> Result<agency_adapter::program::Running> {
    let checked = agency_adapter::program::check(&federation.configure_adapter(agency, gateways, None)?)?;
    Ok(agency_adapter::program::serve(checked, Arc::new(SystemClock), shutdown).await?)
}

/// What an agency's program has recorded of its sessions with others.
pub struct Recorded {
    /// The reasons in its leaves of refusals, in their order, but for those of the log that is not seen yet.
    pub reasons: Vec<ReasonCode>,
    /// The reasons for which sessions ended, by name.
    pub ended: Vec<String>,
    /// Elements counted against caps.
    pub counted: i64,
    /// Sessions that are open.
    pub open: i64,
}

impl Recorded {
    /// How many of its leaves of refusals give that reason.
    pub fn leaves_of(&self, reason: ReasonCode) -> usize {
        self.reasons.iter().filter(|found| **found == reason).count()
    }
}

/// Reads it from the state of the running program.
pub async fn recorded(federation: &Federation, agency: &str) -> Result<Recorded> {
    let file = federation.layout().adapter(agency).join("state/state.sqlite");
    let mut database = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
    let leaves = sqlx::query_scalar::<_, Vec<u8>>("SELECT bytes FROM leaves ORDER BY seq").fetch_all(&mut database);
    let mut reasons = Vec::new();
    for bytes in leaves.await? {
        let leaf = SignedLeaf::decode(&bytes)?;
        if leaf.leaf().kind == LeafKind::Refusal {
            reasons.push(leaf.leaf().reason.context("a refusal without a reason")?);
        }
    }
    reasons.retain(|reason| *reason != ReasonCode::EvidenceOutstanding);
    let ended = sqlx::query_scalar("SELECT reason FROM session_ends ORDER BY reason").fetch_all(&mut database);
    let ended = ended.await?;
    let counted = "SELECT coalesce(sum(elements), 0) FROM evaluated_chunks";
    let counted = sqlx::query_scalar(counted).fetch_one(&mut database).await?;
    let open = "SELECT count(*) FROM sessions WHERE secret IS NOT NULL";
    let open = sqlx::query_scalar(open).fetch_one(&mut database).await?;
    database.close().await?;
    Ok(Recorded { reasons, ended, counted, open })
}

/// A connection to the gateway in an agency's name.
pub async fn dial(federation: &Federation, agency: &str, gateway: SocketAddr) -> Result<Channel> {
    let credential = federation.issue(agency, "adapter", "main")?;
    let trust = federation.authority().trust_anchor()?;
    let expected: Identity = gateway_identity().parse()?;
    Ok(connect(&format!("localhost:{}", gateway.port()), &credential, &trust, &expected).await?)
}

/// Opens a tunnel as an adapter does: its end, and what the gateway says of it.
pub async fn open(gateway: &Channel, header: TunnelHeader) -> Result<(ByteStream, TunnelOpened), Status> {
    let (send, receive) = mpsc::channel(WAITING);
    let frame = Some(open_tunnel_request::Frame::Header(header));
    let closed = |_| Status::cancelled("the tunnel is closed");
    send.send(OpenTunnelRequest { frame }).await.map_err(closed)?;
    let mut client = MatchingServiceClient::new(gateway.clone());
    let mut frames = client.open_tunnel(ReceiverStream::new(receive)).await?.into_inner();
    let first = frames.message().await?.and_then(|message| message.frame);
    let Some(open_tunnel_response::Frame::Opened(opened)) = first else {
        return Err(Status::internal("the tunnel was not opened"));
    };
    let incoming = receive_chunks(frames.map(|frame| match frame?.frame {
        Some(open_tunnel_response::Frame::Bytes(bytes)) => Ok(Bytes::from(bytes)),
        _ => Err(Status::invalid_argument("not bytes")),
    }));
    let outgoing = outgoing(send, |bytes| {
        let frame = Some(open_tunnel_request::Frame::Bytes(bytes.to_vec()));
        OpenTunnelRequest { frame }
    });
    Ok((ByteStream::new(incoming, outgoing), opened))
}

/// A gateway that takes tunnels itself, under the certificate of the genuine one: where it listens.
pub async fn in_front(
    federation: &Federation,
    tunnels: impl MatchingService,
    shutdown: &Shutdown,
) -> Result<SocketAddr> {
    let credential = federation.issue("federation", "gateway", "main")?;
    let trust = federation.authority().trust_anchor()?;
    let server = Server::bind(ANY, ServerTls::federation(&credential, &trust)).await?;
    let (address, ending) = (server.local_addr(), shutdown.clone());
    let routes = Routes::new(MatchingServiceServer::new(tunnels));
    tokio::spawn(async move { server.serve(routes, &ending, Duration::from_secs(1)).await });
    Ok(address)
}

/// What goes back in a tunnel that a test has taken.
pub type Answers = ReceiverStream<Result<OpenTunnelResponse, Status>>;

/// Which way bytes pass in a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Forth,
    Back,
}

/// What a tunnel that comes to a gateway is of.
pub async fn header(frames: &mut Streaming<OpenTunnelRequest>) -> Result<TunnelHeader, Status> {
    match frames.message().await?.and_then(|message| message.frame) {
        Some(open_tunnel_request::Frame::Header(header)) => Ok(header),
        _ => Err(Status::invalid_argument("no header")),
    }
}

/// Takes a tunnel in a gateway's place, behind its header: its end, and what is to be answered. `seen` is told of the
/// bytes of each frame.
pub fn take(
    frames: Streaming<OpenTunnelRequest>,
    opened: TunnelOpened,
    seen: impl Fn(Way, usize) + Clone + Send + 'static,
) -> (ByteStream, Answers) {
    let forth = seen.clone();
    let incoming = receive_chunks(frames.map(move |frame| match frame?.frame {
        Some(open_tunnel_request::Frame::Bytes(bytes)) => {
            forth(Way::Forth, bytes.len());
            Ok(Bytes::from(bytes))
        }
        _ => Err(Status::invalid_argument("not bytes")),
    }));
    let (answer, answers) = mpsc::channel(WAITING);
    let frame = Some(open_tunnel_response::Frame::Opened(opened));
    // There is room for the first.
    let _ = answer.try_send(Ok(OpenTunnelResponse { frame }));
    let outgoing = outgoing(answer, move |bytes| {
        seen(Way::Back, bytes.len());
        let frame = Some(open_tunnel_response::Frame::Bytes(bytes.to_vec()));
        Ok(OpenTunnelResponse { frame })
    });
    (ByteStream::new(incoming, outgoing), ReceiverStream::new(answers))
}

fn outgoing<T: Send + 'static>(
    frames: mpsc::Sender<T>,
    frame: impl Fn(Bytes) -> T + Send + 'static,
) -> mpsc::Sender<Bytes> {
    let (outgoing, mut chunks) = mpsc::channel::<Bytes>(WAITING);
    tokio::spawn(async move {
        while let Some(chunk) = chunks.recv().await {
            if frames.send(frame(chunk)).await.is_err() {
                return;
            }
        }
    });
    outgoing
}

/// Passes a stream's messages on, to its end or its first error, each as `change` leaves it.
pub fn pass_on<T: Send + 'static>(
    mut messages: Streaming<T>,
    mut change: impl FnMut(&mut T) + Send + 'static,
) -> ReceiverStream<Result<T, Status>> {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(mut message) = messages.message().await.transpose() {
            let ended = message.as_mut().map(&mut change).is_err();
            if send.send(message).await.is_err() || ended {
                return;
            }
        }
    });
    ReceiverStream::new(receive)
}

/// A service whose answers are no messages wherever `garbles` says so of a method's path.
#[derive(Clone)]
pub struct Garbled<S, G> {
    pub service: S,
    pub garbles: G,
}

impl<S: NamedService, G> NamedService for Garbled<S, G> {
    const NAME: &'static str = S::NAME;
}

impl<S, G> Service<http::Request<Body>> for Garbled<S, G>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
    G: Fn(&str) -> bool,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !(self.garbles)(request.uri().path()) {
            return Box::pin(self.service.call(request));
        }
        // A frame of two bytes: a field of 127 bytes, of which none follows.
        let mut answer = http::Response::new(Body::new("\0\0\0\0\x02\n\x7f".to_owned()));
        answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        Box::pin(async move { Ok(answer) })
    }
}
