//! A receiver that is none of ours, in a tunnel to a sender that is.

use crate::matching::side::{RECEIVER, SENDER, submitted_by};
use crate::tunnels::{self, adapter, dial, gateway, recorded};
use anyhow::{Context, Result, bail, ensure};
use firebreak_domain::{Clock, FORMAT, ReasonCode, SystemClock};
use firebreak_testbed::Federation;
use firebreak_tests::{Own, run};
use firebreak_transport::{Shutdown, connect_pinned};
use firebreak_wire::matching::v1::match_session_service_client::MatchSessionServiceClient;
use firebreak_wire::matching::v1::{CloseSessionRequest, EvaluateRequest, OpenSessionRequest, TunnelHeader};
use firebreak_wire::{reason_to_wire, refusal_of_status};
use std::time::Duration;
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// A tunnel to the sender's own program, under the request of that id.
struct Tunnel {
    client: MatchSessionServiceClient<Channel>,
    channel: Channel,
    exporter: [u8; 32],
    session_id: Vec<u8>,
}

impl Tunnel {
    async fn open(federation: &Federation, gateway: &Channel, id: u8) -> Result<Self> {
        for _ in 0..100 {
            let submitted = submitted_by(&federation.issue(RECEIVER, "adapter", "main")?, id, SystemClock.now())?;
            let header = TunnelHeader { header: Some(submitted.header.to_wire()), join: Vec::new() };
            let Ok((stream, _)) = tunnels::open(gateway, header).await else {
                // The sender has yet to dial, or to see the log.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let own = federation.issue(RECEIVER, "adapter", "main")?;
            let sender = federation.issue(SENDER, "adapter", "main")?;
            let (channel, exporter) = connect_pinned(stream, &own, sender.identity(), sender.pin()).await?;
            let client = MatchSessionServiceClient::new(channel.clone());
            return Ok(Self { client, channel, exporter, session_id: vec![id; 16] });
        }
        bail!("no tunnel was opened")
    }

    async fn open_session(&mut self, exporter: [u8; 32]) -> Result<(), Status> {
        let request = OpenSessionRequest {
            format: FORMAT,
            session_id: self.session_id.clone(),
            agreement: "vaccination-round".to_owned(),
            purpose: "vaccination-round".to_owned(),
            bundle_sequence: 1,
            normaliser: 1,
            field: "number:national_number".to_owned(),
            elements: 4096,
            chunk_elements: 4096,
            exporter: exporter.to_vec(),
            unproved: false,
            payload: None,
            epoch: 0,
        };
        self.client.open_session(request).await.map(drop)
    }

    async fn evaluate(&mut self, session_id: Vec<u8>, bytes: usize) -> Result<(), Status> {
        let request = EvaluateRequest { session_id, chunk: 0, blinded: vec![1; bytes] };
        self.client.evaluate(request).await.map(drop)
    }

    async fn close(&mut self, reason: i32) -> Result<(), Status> {
        let request = CloseSessionRequest { session_id: self.session_id.clone(), reason };
        self.client.close_session(request).await.map(Response::into_inner).map(drop)
    }
}

/// The reason for which the sender refuses.
fn refused(done: Result<(), Status>) -> Result<String> {
    let status = done.err().context("it was answered")?;
    Ok(refusal_of_status(&status).with_context(|| format!("no refusal but {status}"))?.reason)
}

#[test]
fn a_senders_program_names_what_a_receiver_says_wrong_in_the_tunnel_and_records_it() -> Result<()> {
    run(async {
        let (federation, _folder) = Own::prepare(300)?;
        let shutdown = Shutdown::new();
        let gateway = gateway(&federation, &shutdown).await?;
        let sender = adapter(&federation, SENDER, &[gateway.address], &shutdown).await?;
        let channel = dial(&federation, RECEIVER, gateway.address).await?;

        // Nothing of this ends the session.
        let mut tunnel = Tunnel::open(&federation, &channel, 1).await?;
        assert_eq!(refused(tunnel.open_session([7; 32]).await)?, "SESSION_MISMATCH");
        let mut tunnel = Tunnel::open(&federation, &channel, 1).await?;
        tunnel.open_session(tunnel.exporter).await?;
        assert_eq!(refused(tunnel.evaluate(vec![9; 16], 4096 * 32).await)?, "SESSION_MISMATCH");
        let unknown = tunnel.close(10_000).await;
        ensure!(unknown.is_err(), "a reason that nobody knows closed the session");
        assert_eq!(recorded(&federation, SENDER).await?.open, 1);

        // A message that no match has is not read, and ends it.
        assert_eq!(refused(tunnel.evaluate(vec![1; 16], 2 << 20).await)?, "SIZE_EXCEEDED");
        assert_eq!(refused(tunnel.evaluate(vec![1; 16], 4096 * 32).await)?, "SIZE_EXCEEDED");
        let mut again = Tunnel::open(&federation, &channel, 1).await?;
        assert_eq!(refused(again.open_session(again.exporter).await)?, "SIZE_EXCEEDED");

        // Bytes that are no message are not taken for one, and end it likewise.
        let mut tunnel = Tunnel::open(&federation, &channel, 4).await?;
        tunnel.open_session(tunnel.exporter).await?;
        let evaluate = "/firebreak.matching.v1.MatchSessionService/Evaluate";
        let said = firebreak_tests::send(&tunnel.channel, evaluate, vec![0xff; 3]).await?;
        assert_eq!(refused(said.map(drop))?, "HOSTILE_INPUT");
        assert_eq!(refused(tunnel.evaluate(vec![4; 16], 4096 * 32).await)?, "HOSTILE_INPUT");

        // What the receiver says that it found.
        let mut tunnel = Tunnel::open(&federation, &channel, 2).await?;
        tunnel.open_session(tunnel.exporter).await?;
        tunnel.close(reason_to_wire(ReasonCode::ProofRejected).into()).await?;
        let mut again = Tunnel::open(&federation, &channel, 2).await?;
        assert_eq!(refused(again.open_session(again.exporter).await)?, "PROOF_REJECTED");

        // A tunnel that is gone, and then the same session.
        let mut tunnel = Tunnel::open(&federation, &channel, 3).await?;
        tunnel.open_session(tunnel.exporter).await?;
        drop(tunnel);
        let mut found = recorded(&federation, SENDER).await?;
        for _ in 0..100 {
            if found.reasons.contains(&ReasonCode::ConnectionLost) {
                break;
            }
            sleep(Duration::from_millis(50)).await;
            found = recorded(&federation, SENDER).await?;
        }
        let mut again = Tunnel::open(&federation, &channel, 3).await?;
        again.open_session(again.exporter).await.context("after a lost connection")?;
        // An end like any other is no fault.
        again.close(0).await?;

        let found = recorded(&federation, SENDER).await?;
        assert_eq!(found.ended, ["HOSTILE_INPUT", "PROOF_REJECTED", "SIZE_EXCEEDED"]);
        assert_eq!((found.counted, found.open), (0, 0));
        for (reason, leaves) in [
            (ReasonCode::SessionMismatch, 2),
            (ReasonCode::SizeExceeded, 2),
            (ReasonCode::HostileInput, 1),
            (ReasonCode::ProofRejected, 2),
            (ReasonCode::ConnectionLost, 1),
        ] {
            assert_eq!(found.leaves_of(reason), leaves, "leaves of {reason}: {:?}", found.reasons);
        }
        shutdown.request();
        gateway.finished().await;
        sender.finished().await;
        Ok(())
    })
}

/// A receiver that opens a session and says no more is found out; then the same request goes on.
pub(super) async fn falls_silent() -> Result<()> {
    let (federation, _folder) = Own::prepare(300)?;
    let shutdown = Shutdown::new();
    let gateway = gateway(&federation, &shutdown).await?;
    let sender = adapter(&federation, SENDER, &[gateway.address], &shutdown).await?;
    let channel = dial(&federation, RECEIVER, gateway.address).await?;
    let mut tunnel = Tunnel::open(&federation, &channel, 1).await?;
    tunnel.open_session(tunnel.exporter).await?;
    let mut found = recorded(&federation, SENDER).await?;
    // A minute, and more than twice that at the most.
    for _ in 0..300 {
        if found.leaves_of(ReasonCode::PeerStalled) > 0 {
            break;
        }
        sleep(Duration::from_millis(500)).await;
        found = recorded(&federation, SENDER).await?;
    }
    assert_eq!((found.leaves_of(ReasonCode::PeerStalled), found.ended.len(), found.open), (1, 0, 1));
    ensure!(found.leaves_of(ReasonCode::ConnectionLost) == 0, "it is not the connection that ended");
    let mut again = Tunnel::open(&federation, &channel, 1).await?;
    again.open_session(again.exporter).await?;
    shutdown.request();
    gateway.finished().await;
    sender.finished().await;
    Ok(())
}
