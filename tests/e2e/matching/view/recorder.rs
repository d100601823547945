//! A tunnel that is ended twice in the middle, with both agencies' keys, and written down.

use super::super::side::{RECEIVER, SENDER};
use crate::tunnels::{self, Answers, dial};
use anyhow::Result;
use firebreak_testbed::Federation;
use firebreak_transport::{Credential, Shutdown, connect_pinned, peer, serve_pinned};
use firebreak_wire::matching::v1 as wire;
use firebreak_wire::matching::v1::match_session_service_client::MatchSessionServiceClient;
use firebreak_wire::matching::v1::match_session_service_server::{MatchSessionService, MatchSessionServiceServer};
use firebreak_wire::matching::v1::matching_service_server::MatchingService;
use prost::Message;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// Which way a message passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToSender,
    ToReceiver,
}

/// A message inside the tunnel: of which call, which way, and how many bytes long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    pub what: &'static str,
    pub way: Way,
    pub bytes: usize,
}

/// What was seen of one match.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Each message, in order.
    pub messages: Vec<Passed>,
    /// Bytes in the frames of the receiver's tunnel, each way.
    pub to_sender: u64,
    pub to_receiver: u64,
    /// How long the sender took to open the session.
    pub opened_after: Duration,
}

/// Stands where the gateway does.
#[derive(Clone)]
pub struct Recorder {
    gateway: Channel,
    sender: Credential,
    receiver: Credential,
    view: Arc<Mutex<View>>,
}

impl Recorder {
    /// In front of the genuine gateway, which it asks as the receiver.
    pub async fn before(federation: &Federation, gateway: SocketAddr) -> Result<Self> {
        let receiver = federation.issue(RECEIVER, "adapter", "main")?;
        let sender = federation.issue(SENDER, "adapter", "main")?;
        let gateway = dial(federation, RECEIVER, gateway).await?;
        Ok(Self { gateway, sender, receiver, view: Arc::default() })
    }

    /// Forgets what was seen before.
    pub fn begin(&self) {
        self.view(|view| *view = View::default());
    }

    /// What was seen since.
    pub fn seen(&self) -> View {
        self.view(|view| view.clone())
    }

    fn view<T>(&self, part: impl FnOnce(&mut View) -> T) -> T {
        part(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn passed(&self, what: &'static str, way: Way, message: &impl Message) {
        let passed = Passed { what, way, bytes: message.encoded_len() };
        self.view(|view| view.messages.push(passed));
    }

    /// The tunnel to the genuine sender under the receiver's own request, and what the gateway says of it.
    async fn on(&self, header: wire::TunnelHeader) -> Result<(Behind, wire::TunnelOpened), Status> {
        let (stream, opened) = tunnels::open(&self.gateway, header).await?;
        let connected = connect_pinned(stream, &self.receiver, self.sender.identity(), self.sender.pin()).await;
        let (channel, exporter) = connected.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok((Behind { client: MatchSessionServiceClient::new(channel), exporter, seen: self.clone() }, opened))
    }
}

#[tonic::async_trait]
impl MatchingService for Recorder {
    type OpenTunnelStream = Answers;

    async fn open_tunnel(
        &self,
        request: Request<Streaming<wire::OpenTunnelRequest>>,
    ) -> Result<Response<Self::OpenTunnelStream>, Status> {
        let mut frames = request.into_inner();
        let header = tunnels::header(&mut frames).await?;
        let (behind, opened) = self.on(header).await?;
        let seen = self.clone();
        let (stream, answers) = tunnels::take(frames, opened, move |way, bytes| {
            seen.view(|view| match way {
                tunnels::Way::Forth => view.to_sender += bytes as u64,
                tunnels::Way::Back => view.to_receiver += bytes as u64,
            });
        });
        let (credential, expected, pin) = (self.sender.clone(), self.receiver.identity().clone(), self.receiver.pin());
        tokio::spawn(async move {
            let routes = Routes::new(MatchSessionServiceServer::new(behind));
            serve_pinned(stream, &credential, &expected, pin, routes, &Shutdown::new()).await
        });
        Ok(Response::new(answers))
    }
}

/// The genuine sender, behind the recorder.
struct Behind {
    client: MatchSessionServiceClient<Channel>,
    exporter: [u8; 32],
    seen: Recorder,
}

#[tonic::async_trait]
impl MatchSessionService for Behind {
    type ListTagsStream = ReceiverStream<Result<wire::ListTagsResponse, Status>>;

    async fn open_session(
        &self,
        request: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionResponse>, Status> {
        let ours = peer(&request)?.exporter;
        let mut request = request.into_inner();
        self.seen.passed("OpenSession", Way::ToSender, &request);
        // The one thing that belongs to each connection.
        if request.exporter != ours {
            return Err(Status::internal("the receiver names another connection"));
        }
        request.exporter = self.exporter.to_vec();
        let begun = Instant::now();
        let answer = self.client.clone().open_session(request).await?.into_inner();
        self.seen.view(|view| view.opened_after = begun.elapsed());
        self.seen.passed("OpenSession", Way::ToReceiver, &answer);
        Ok(Response::new(answer))
    }

    async fn evaluate(
        &self,
        request: Request<wire::EvaluateRequest>,
    ) -> Result<Response<wire::EvaluateResponse>, Status> {
        let request = request.into_inner();
        self.seen.passed("Evaluate", Way::ToSender, &request);
        let answer = self.client.clone().evaluate(request).await?.into_inner();
        self.seen.passed("Evaluate", Way::ToReceiver, &answer);
        Ok(Response::new(answer))
    }

    async fn list_tags(
        &self,
        request: Request<wire::ListTagsRequest>,
    ) -> Result<Response<Self::ListTagsStream>, Status> {
        let request = request.into_inner();
        self.seen.passed("ListTags", Way::ToSender, &request);
        let pieces = self.client.clone().list_tags(request).await?.into_inner();
        let seen = self.seen.clone();
        Ok(Response::new(tunnels::pass_on(pieces, move |piece| seen.passed("ListTags", Way::ToReceiver, piece))))
    }

    async fn close_session(
        &self,
        request: Request<wire::CloseSessionRequest>,
    ) -> Result<Response<wire::CloseSessionResponse>, Status> {
        let request = request.into_inner();
        self.seen.passed("CloseSession", Way::ToSender, &request);
        let answer = self.client.clone().close_session(request).await?.into_inner();
        self.seen.passed("CloseSession", Way::ToReceiver, &answer);
        Ok(Response::new(answer))
    }
}
