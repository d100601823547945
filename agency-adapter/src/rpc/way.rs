//! The way to another agency's adapter: a tunnel through the gateway, and in it TLS between the two pinned keys.

use super::broken::Broken;
use super::patience::{MESSAGE_LIMIT, within};
use super::tunnel::{from_sender, to_sender};
use firebreak_domain::{Identity, IdentityRole, OrgId, Pin};
use firebreak_transport::{ByteStream, ConnectError, Credential, TrustAnchor, connect, connect_pinned};
use firebreak_wire::matching::v1::matching_service_client::MatchingServiceClient;
use firebreak_wire::matching::v1::{OpenTunnelRequest, TunnelHeader, open_tunnel_request, open_tunnel_response};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

/// The last part of every adapter's identity: an agency has one adapter, known by its pin.
const ADAPTER_ID: &str = "main";

/// How this adapter reaches others.
#[derive(Clone)]
pub struct Way {
    /// Its own certificate.
    pub credential: Credential,
    /// Who certifies the gateway.
    pub trust: TrustAnchor,
    /// Addresses, of which the first that answers is taken.
    pub gateways: Vec<String>,
    /// The gateway.
    pub gateway: Identity,
}

/// A connection to another adapter's own key.
pub(super) struct Reached {
    pub(super) channel: Channel,
    /// What only the two ends of it can know.
    pub(super) exporter: [u8; 32],
    /// The gateway's receipt of the tunnel.
    pub(super) receipt: String,
}

impl Way {
    /// The identity of an agency's adapter.
    pub(super) fn adapter_of(&self, agency: &OrgId) -> Identity {
        Identity {
            trust_domain: self.credential.identity().trust_domain.clone(),
            org: agency.clone(),
            role: IdentityRole::Adapter,
            id: ADAPTER_ID.to_owned(),
        }
    }

    /// Opens the tunnel of `header` to the adapter of `agency`, whose key is `pin`. The gateway may take `bound` to open
    /// it.
    pub(super) async fn reach(
        &self,
        header: TunnelHeader,
        agency: &OrgId,
        pin: Pin,
        bound: Duration,
    ) -> Result<Reached, Broken> {
        let mut gateway = None;
        for address in &self.gateways {
            if let Ok(channel) = connect(address, &self.credential, &self.trust, &self.gateway).await {
                gateway = Some(channel);
                break;
            }
        }
        let gateway = gateway.ok_or_else(|| Status::unavailable("no gateway answers; try again later"))?;
        let (send, receive) = mpsc::channel(8);
        let first = OpenTunnelRequest { frame: Some(open_tunnel_request::Frame::Header(header)) };
        send.send(first).await.map_err(|_| Status::internal("the tunnel could not be opened"))?;
        let mut gateway = MatchingServiceClient::new(gateway);
        let opening = gateway.open_tunnel(ReceiverStream::new(receive));
        let mut frames = within(bound, opening).await??.into_inner();
        let first = within(MESSAGE_LIMIT, frames.message()).await??;
        let Some(open_tunnel_response::Frame::Opened(opened)) = first.and_then(|m| m.frame) else {
            return Err(Status::internal("the gateway did not open the tunnel").into());
        };
        let stream = ByteStream::new(from_sender(frames), to_sender(send));
        let expected = self.adapter_of(agency);
        let connected = connect_pinned(stream, &self.credential, &expected, pin).await;
        let (channel, exporter) = connected.map_err(|error| match error {
            ConnectError::TimedOut => Broken::Stalled,
            error => Status::unavailable(format!("the sender was not reached: {error}")).into(),
        })?;
        Ok(Reached { channel, exporter, receipt: opened.receipt })
    }
}
