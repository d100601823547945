//! A gateway that holds the real one's certificate and says what it likes.

mod relay;

use anyhow::{Context, Result};
use firebreak_testbed::{AGENCIES, Address, Federation};
use firebreak_transport::{ReverseConnections, Server, ServerTls, Shutdown};
use firebreak_wire::agency::v1::agency_service_client::AgencyServiceClient;
use firebreak_wire::matching::v1::matching_service_server::MatchingServiceServer;
use relay::Relay;
pub use relay::Relayed;
use std::time::Duration;
use tonic::service::Routes;
use tonic::transport::Channel;

/// The false gateway: adapters dial it, and the test speaks to them as it pleases.
pub struct Liar {
    address: Address,
    connections: ReverseConnections,
    relay: Relay,
    _shutdown: Shutdown,
}

impl Liar {
    /// Listens on loopback under the gateway's own certificate.
    pub async fn listen(federation: &Federation) -> Result<Self> {
        let credential = federation.issue("federation", "gateway", "main")?;
        let trust = federation.authority().trust_anchor()?;
        let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerTls::federation(&credential, &trust)).await?;
        let address = server.local_addr();
        let shutdown = Shutdown::new();
        let accepted = server.accept(&shutdown);
        let connections = ReverseConnections::new();
        let taking = connections.clone();
        tokio::spawn(async move { taking.accept(accepted.reverse, |_| true).await });
        let relay = Relay::new(connections.clone());
        let (routes, ending) = (Routes::new(MatchingServiceServer::new(relay.clone())), shutdown.clone());
        tokio::spawn(async move { accepted.grpc.serve(routes, &ending, Duration::ZERO).await });
        Ok(Self { address, connections, relay, _shutdown: shutdown })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Waits until every agency's adapter has dialled.
    pub async fn wait_for_agencies(&self) -> Result<()> {
        for _ in 0..200 {
            if self.connections.connected().len() == AGENCIES.len() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("not every adapter dialled the false gateway")
    }

    /// What passed the tunnels that it relayed so far.
    #[must_use]
    pub fn relayed(&self) -> Relayed {
        self.relay.relayed()
    }

    /// A client of an agency's adapter.
    pub fn agency(&self, agency: &str) -> Result<AgencyServiceClient<Channel>> {
        Ok(AgencyServiceClient::new(self.channel(agency)?))
    }

    /// The certificate, in DER, that an agency's adapter shows on its newest connection.
    pub fn shown_by(&self, agency: &str) -> Result<Vec<u8>> {
        let peer = self.connections.peer(&agency.parse()?).context("the adapter is not connected")?;
        Ok(peer.certificate.clone())
    }

    /// The connection that an agency's adapter dialled.
    pub fn channel(&self, agency: &str) -> Result<Channel> {
        self.connections.channel(&agency.parse()?).context("the adapter is not connected")
    }
}
