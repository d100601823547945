//! Tunnels through a gateway that keeps a copy of all that passes.

use firebreak_transport::{ReverseConnections, peer};
use firebreak_wire::agency::v1::agency_service_client::AgencyServiceClient;
use firebreak_wire::agency::v1::{
    AcceptTunnelHeader, AcceptTunnelRequest, Claim, accept_tunnel_request, accept_tunnel_response,
};
use firebreak_wire::matching::v1::matching_service_server::MatchingService;
use firebreak_wire::matching::v1::{
    OpenTunnelRequest, OpenTunnelResponse, TunnelOpened, open_tunnel_request, open_tunnel_response,
};
use prost::Message;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The sender of every tunnel that is relayed: that of the sample's agreement on vaccinations.
const SENDER: &str = "education-agency";

/// What a relaying gateway received.
#[derive(Debug, Clone, Default)]
pub struct Relayed {
    /// The frames with which both sides begin, in clear.
    pub first: Vec<u8>,
    /// The bytes from receivers to senders, sealed.
    pub forth: Vec<u8>,
    /// The bytes from senders to receivers, sealed.
    pub back: Vec<u8>,
}

/// Relays tunnels and keeps what passes.
#[derive(Clone)]
pub struct Relay {
    connections: ReverseConnections,
    relayed: Arc<Mutex<Relayed>>,
}

impl Relay {
    pub fn new(connections: ReverseConnections) -> Self {
        Self { connections, relayed: Arc::default() }
    }

    pub fn relayed(&self) -> Relayed {
        self.relayed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, part: impl FnOnce(&mut Relayed)) {
        part(&mut self.relayed.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Passes on what the receiver says, until it says no more.
    async fn pass_forth(self, mut frames: Streaming<OpenTunnelRequest>, to: mpsc::Sender<AcceptTunnelRequest>) {
        while let Ok(Some(OpenTunnelRequest { frame: Some(open_tunnel_request::Frame::Bytes(bytes)) })) =
            frames.message().await
        {
            self.keep(|relayed| relayed.forth.extend_from_slice(&bytes));
            let frame = Some(accept_tunnel_request::Frame::Bytes(bytes));
            if to.send(AcceptTunnelRequest { frame }).await.is_err() {
                return;
            }
        }
    }
}

#[tonic::async_trait]
impl MatchingService for Relay {
    type OpenTunnelStream = ReceiverStream<Result<OpenTunnelResponse, Status>>;

    async fn open_tunnel(
        &self,
        request: Request<Streaming<OpenTunnelRequest>>,
    ) -> Result<Response<Self::OpenTunnelStream>, Status> {
        let principal = peer(&request)?.identity.to_string();
        let mut frames = request.into_inner();
        let Some(open_tunnel_request::Frame::Header(tunnel)) = frames.message().await?.and_then(|m| m.frame) else {
            return Err(Status::invalid_argument("no header"));
        };
        self.keep(|relayed| relayed.first.extend(tunnel.encode_to_vec()));
        let sender = SENDER.parse().ok().and_then(|sender| self.connections.channel(&sender));
        let sender = sender.ok_or_else(|| Status::unavailable("the sender is not connected"))?;
        let (to_sender, receive) = mpsc::channel(8);
        let header = AcceptTunnelHeader { claim: Some(Claim { principal }), tunnel: Some(tunnel) };
        let frame = Some(accept_tunnel_request::Frame::Header(header));
        to_sender.send(AcceptTunnelRequest { frame }).await.map_err(|_| Status::internal("not sent"))?;
        let answer = AgencyServiceClient::new(sender).accept_tunnel(ReceiverStream::new(receive)).await?;
        let mut answer = answer.into_inner();
        let Some(accept_tunnel_response::Frame::Accepted(accepted)) = answer.message().await?.and_then(|m| m.frame)
        else {
            return Err(Status::permission_denied("the sender does not let it in"));
        };
        self.keep(|relayed| relayed.first.extend(accepted.encode_to_vec()));
        tokio::spawn(self.clone().pass_forth(frames, to_sender));
        let (to_receiver, relayed) = mpsc::channel(8);
        let this = self.clone();
        tokio::spawn(async move {
            let mut frame = open_tunnel_response::Frame::Opened(TunnelOpened { receipt: String::new() });
            while to_receiver.send(Ok(OpenTunnelResponse { frame: Some(frame) })).await.is_ok() {
                let Ok(Some(message)) = answer.message().await else { return };
                let Some(accept_tunnel_response::Frame::Bytes(bytes)) = message.frame else { return };
                this.keep(|relayed| relayed.back.extend_from_slice(&bytes));
                frame = open_tunnel_response::Frame::Bytes(bytes);
            }
        });
        Ok(Response::new(ReceiverStream::new(relayed)))
    }
}
