//! The gateway cuts a tunnel that is open when policy no longer lets it be.

use crate::refusals::request::{Request, What};
use anyhow::{Context, Result, bail, ensure};
use firebreak_audit::{LeafKind, Receipt};
use firebreak_domain::{Clock, Identity, ManualClock, ReasonCode, SystemClock};
use firebreak_policy::Validity;
use firebreak_testbed::gateway_identity;
use firebreak_tests::{Caller, Own, run};
use firebreak_transport::{Shutdown, connect};
use firebreak_wire::matching::v1::matching_service_client::MatchingServiceClient;
use firebreak_wire::matching::v1::{
    OpenTunnelRequest, OpenTunnelResponse, TunnelHeader, open_tunnel_request, open_tunnel_response,
};
use firebreak_wire::refusal_of_status;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const MATCH: Request = Request {
    who: Caller("health-agency", "adapter", "main"),
    agreement: "vaccination-round",
    purpose: "vaccination-round",
    what: What::Match,
};

#[test]
fn an_open_tunnel_is_cut_when_the_bundle_expires_and_not_before() -> Result<()> {
    run(async {
        let (federation, _folder) = Own::prepare(200)?;
        let start = SystemClock.now();
        let end = start.plus_secs(3600);
        federation.sign_bundle(
            1,
            None,
            Validity { made: start, valid_from: start.plus_secs(-60), valid_until: end },
        )?;
        // The gateway alone sees the clock move: what ends the tunnel is not the sender.
        let clock = Arc::new(ManualClock::at(start));
        let shutdown = Shutdown::new();
        let file = federation.configure_gateway(([127, 0, 0, 1], 0).into(), None, None)?;
        let checked = firebreak_gateway::program::check(&file)?;
        let gateway = firebreak_gateway::program::serve(checked, clock.clone(), &shutdown).await?;
        let file = federation.configure_adapter("education-agency", &[gateway.address], None)?;
        let checked = agency_adapter::program::check(&file)?;
        let sender = agency_adapter::program::serve(checked, Arc::new(SystemClock), &shutdown).await?;

        let credential = federation.issue("health-agency", "adapter", "main")?;
        let trust = federation.authority().trust_anchor()?;
        let expected: Identity = gateway_identity().parse()?;
        let address = format!("localhost:{}", gateway.address.port());
        let channel = connect(&address, &credential, &trust, &expected).await?;
        let mut client = MatchingServiceClient::new(channel);
        let mut opened = None;
        for _ in 0..100 {
            let (send, receive) = mpsc::channel(1);
            let header = Some(MATCH.signed(&federation, start, 0)?.header);
            let frame = Some(open_tunnel_request::Frame::Header(TunnelHeader { header, join: Vec::new() }));
            send.send(OpenTunnelRequest { frame }).await?;
            match client.open_tunnel(ReceiverStream::new(receive)).await {
                Ok(answer) => {
                    opened = Some((send, answer.into_inner()));
                    break;
                }
                // The sender has yet to dial, or to see the log.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        let (_open, mut frames) = opened.context("no tunnel was opened")?;
        let Some(open_tunnel_response::Frame::Opened(_)) = frames.message().await?.and_then(|m| m.frame) else {
            bail!("the tunnel was not opened")
        };

        // The twin: in the last second of the bundle, the tunnel stays open.
        clock.set(end.plus_secs(-1));
        let quiet = timeout(Duration::from_secs(3), frames.message()).await;
        ensure!(quiet.is_err(), "cut while the bundle was in force: {quiet:?}");

        clock.set(end);
        let told = timeout(Duration::from_secs(2), cut(&mut frames)).await.context("the tunnel stays open")??;
        assert_eq!(told.reason, "NO_POLICY_IN_FORCE");
        let receipt = told.metadata.get("receipt").context("no receipt")?;
        let verified = Receipt::decode(receipt.as_bytes())?.verify(&federation.log_key().parse()?)?;
        let leaf = verified.leaf.leaf();
        assert_eq!((leaf.kind, leaf.reason), (LeafKind::Refusal, Some(ReasonCode::NoPolicyInForce)));

        shutdown.request();
        gateway.finished().await;
        sender.finished().await;
        Ok(())
    })
}

/// The refusal with which a tunnel ends.
async fn cut(frames: &mut Streaming<OpenTunnelResponse>) -> Result<firebreak_wire::ReceivedRefusal> {
    loop {
        match frames.message().await {
            Ok(Some(_)) => {}
            Ok(None) => bail!("it ended without a word"),
            Err(status) => return refusal_of_status(&status).with_context(|| format!("no refusal but {status}")),
        }
    }
}
