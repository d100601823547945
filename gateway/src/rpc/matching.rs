use super::status;
use crate::app::App;
use bytes::Bytes;
use firebreak_domain::Identity;
use firebreak_node::SubmittedMatch;
use firebreak_transport::{ByteStream, Direction, RelayEnd, Shutdown, peer, receive_chunks, relay};
use firebreak_wire::matching::v1::matching_service_server::MatchingService;
use firebreak_wire::matching::v1::{self as wire, open_tunnel_request, open_tunnel_response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Notify, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The most bytes of one tunnel, either way: a match of 30 million elements.
const MOST_BYTES: u64 = 4 << 30;

/// Tunnels between agencies.
pub struct Matching {
    app: Arc<App>,
    wake: Arc<Notify>,
    shutdown: Shutdown,
}

impl Matching {
    /// Serves `app`; `wake` calls the courier; `shutdown` cuts every tunnel.
    #[must_use]
    pub const fn new(app: Arc<App>, wake: Arc<Notify>, shutdown: Shutdown) -> Self {
        Self { app, wake, shutdown }
    }
}

#[tonic::async_trait]
impl MatchingService for Matching {
    type OpenTunnelStream = ReceiverStream<Result<wire::OpenTunnelResponse, Status>>;

    async fn open_tunnel(
        &self,
        request: Request<Streaming<wire::OpenTunnelRequest>>,
    ) -> Result<Response<Self::OpenTunnelStream>, Status> {
        let caller = peer(&request)?.identity.clone();
        let mut frames = request.into_inner();
        let Some(open_tunnel_request::Frame::Header(header)) = frames.message().await?.and_then(|m| m.frame) else {
            return Err(Status::invalid_argument("the first frame of a tunnel is its header"));
        };
        let app = Arc::clone(&self.app);
        if !header.join.is_empty() {
            return self.open_join(app, header.join, caller, frames).await;
        }
        let submitted = SubmittedMatch::read(header.header.as_ref());
        // A refusal leaves evidence also when its caller is gone.
        let opening = tokio::spawn(async move {
            match submitted {
                Ok(submitted) => app.open_tunnel(&submitted, &caller).await,
                Err(unread) => Err(app.refuse_unread(unread, &caller).await),
            }
        });
        let opened = opening.await.map_err(|_| Status::internal("the tunnel could not be opened"))?;
        self.wake.notify_one();
        let opened = opened.map_err(status)?;
        let (send, receive) = mpsc::channel(8);
        let frame = open_tunnel_response::Frame::Opened(wire::TunnelOpened { receipt: opened.receipt });
        let _ = send.send(Ok(wire::OpenTunnelResponse { frame: Some(frame) })).await;
        let receiver = ByteStream::new(from_receiver(frames), to_receiver(send.clone()));
        let app = Arc::clone(&self.app);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            // A relay that is dropped is cut: both its streams go with it.
            let outcome = tokio::select! {
                denial = app.until_refused(&opened.standing) => {
                    let refused = status(app.refuse(denial, Some(opened.standing.intent())).await);
                    // The receiver hears why, unless what it has not read yet fills the way.
                    let _ = send.try_send(Err(refused));
                    "refused"
                }
                outcome = carry(receiver, opened.sender, &shutdown) => outcome,
            };
            tracing::info!(outcome, "tunnel");
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

impl Matching {
    /// The tunnel of a join that runs, from its left side to its right one. It is cut when the join is over.
    async fn open_join(
        &self,
        app: Arc<App>,
        session: Vec<u8>,
        caller: Identity,
        frames: Streaming<wire::OpenTunnelRequest>,
    ) -> Result<Response<<Self as MatchingService>::OpenTunnelStream>, Status> {
        let opening = tokio::spawn(async move { app.open_join_tunnel(&session, &caller).await });
        let opened = opening.await.map_err(|_| Status::internal("the tunnel could not be opened"))?;
        self.wake.notify_one();
        let (right, over) = opened.map_err(status)?.parts();
        let (send, receive) = mpsc::channel(8);
        let frame = open_tunnel_response::Frame::Opened(wire::TunnelOpened::default());
        let _ = send.send(Ok(wire::OpenTunnelResponse { frame: Some(frame) })).await;
        let left = ByteStream::new(from_receiver(frames), to_receiver(send));
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let outcome = tokio::select! {
                () = over => "over",
                outcome = carry(left, right, &shutdown) => outcome,
            };
            tracing::info!(outcome, "tunnel of a join");
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

/// Carries a tunnel to its end, and meters it.
async fn carry(first: ByteStream, second: ByteStream, shutdown: &Shutdown) -> &'static str {
    let (passed, cut) = (AtomicU64::new(0), shutdown.token().child_token());
    let meter = |direction: Direction, bytes: usize| {
        let way = match direction {
            Direction::Forth => "to_sender",
            Direction::Back => "to_receiver",
        };
        metrics::counter!("firebreak_tunnel_bytes_total", "way" => way).increment(bytes as u64);
        if passed.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64 > MOST_BYTES {
            cut.cancel();
        }
    };
    match relay(first, second, meter, &cut).await {
        RelayEnd::Finished => "finished",
        RelayEnd::Broken => "broken",
        RelayEnd::Cut => "cut",
    }
}

fn from_receiver(frames: Streaming<wire::OpenTunnelRequest>) -> mpsc::Receiver<Bytes> {
    receive_chunks(frames.map(|frame| match frame?.frame {
        Some(open_tunnel_request::Frame::Bytes(bytes)) => Ok(Bytes::from(bytes)),
        _ => Err(Status::invalid_argument("after its first frame a tunnel carries bytes alone")),
    }))
}

fn to_receiver(frames: mpsc::Sender<Result<wire::OpenTunnelResponse, Status>>) -> mpsc::Sender<Bytes> {
    let (send, mut chunks) = mpsc::channel::<Bytes>(8);
    tokio::spawn(async move {
        while let Some(chunk) = chunks.recv().await {
            let frame = Some(open_tunnel_response::Frame::Bytes(chunk.into()));
            if frames.send(Ok(wire::OpenTunnelResponse { frame })).await.is_err() {
                return;
            }
        }
    });
    send
}
