//! A sender that is none of ours, in a tunnel to a receiver that is.

use crate::matching::side::{RECEIVER, SENDER};
use crate::tunnels::{self, Answers, Garbled, adapter, gateway, in_front, recorded};
use anyhow::{Context, Result, ensure};
use firebreak::client::{ClientError, Connection, MatchAsk, run_match};
use firebreak_domain::{FORMAT, ReasonCode};
use firebreak_psi::{KeyContext, MatchParams, Mode, Normaliser, SecretSeed, Sender, derive_session_key};
use firebreak_testbed::Federation;
use firebreak_tests::{Caller, Own, refusal_of, run};
use firebreak_transport::{Credential, Shutdown, serve_pinned};
use firebreak_wire::matching::v1 as wire;
use firebreak_wire::matching::v1::match_session_service_server::{MatchSessionService, MatchSessionServiceServer};
use firebreak_wire::matching::v1::matching_service_server::MatchingService;
use firebreak_wire::policy::v1::ReasonCode as WireReason;
use firebreak_wire::reason_from_wire;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// Elements on either side.
const ELEMENTS: u32 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    AnotherKey,
    LargerThanAnyMessage,
    NoMessage,
    ListTooShort,
    CutInTheMiddle,
    NoAnswer,
}

/// What the receiver meets.
#[derive(Default)]
struct Met {
    lie: Option<Lie>,
    /// What it said at its end.
    told: Vec<Option<ReasonCode>>,
    /// The tunnel that is being served.
    tunnel: Option<AbortHandle>,
}

/// A gateway that ends every tunnel itself, in the sender's place and with its key.
#[derive(Clone)]
struct InTheTunnel {
    sender: Credential,
    receiver: Credential,
    met: Arc<Mutex<Met>>,
}

impl InTheTunnel {
    fn met<T>(&self, part: impl FnOnce(&mut Met) -> T) -> T {
        part(&mut self.met.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A sender under a key of that number.
    fn machine(&self, number: u8) -> Result<Sender, Status> {
        let failed = |_| Status::internal("no key");
        let normaliser = Normaliser::from_number(1).ok_or_else(|| Status::internal("no rule"))?;
        let context = KeyContext {
            agreement: "a",
            receiver: "b",
            field: "c",
            normaliser,
            session: &[number; 16],
            mode: Mode::Voprf,
        };
        let key = derive_session_key(&SecretSeed::from_bytes([number; 32]), &context).map_err(failed)?;
        let params = MatchParams::new(firebreak_psi::FORMAT, ELEMENTS, ELEMENTS, ELEMENTS).map_err(failed)?;
        Sender::new(key, Vec::new(), params).map_err(failed)
    }
}

#[tonic::async_trait]
impl MatchingService for InTheTunnel {
    type OpenTunnelStream = Answers;

    async fn open_tunnel(
        &self,
        request: Request<Streaming<wire::OpenTunnelRequest>>,
    ) -> Result<Response<Self::OpenTunnelStream>, Status> {
        let mut frames = request.into_inner();
        tunnels::header(&mut frames).await?;
        let (stream, answers) = tunnels::take(frames, wire::TunnelOpened::default(), |_, _| {});
        let this = self.clone();
        let serving = tokio::spawn(async move {
            let (peer, pin) = (this.receiver.identity().clone(), this.receiver.pin());
            let (credential, seen) = (this.sender.clone(), this.clone());
            let garbles =
                move |path: &str| seen.met(|met| met.lie == Some(Lie::NoMessage)) && path.ends_with("/Evaluate");
            let routes = Routes::new(Garbled { service: MatchSessionServiceServer::new(this), garbles });
            serve_pinned(stream, &credential, &peer, pin, routes, &Shutdown::new()).await
        });
        self.met(|met| met.tunnel = Some(serving.abort_handle()));
        Ok(Response::new(answers))
    }
}

#[tonic::async_trait]
impl MatchSessionService for InTheTunnel {
    type ListTagsStream = ReceiverStream<Result<wire::ListTagsResponse, Status>>;

    async fn open_session(
        &self,
        _: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionResponse>, Status> {
        let public_key = self.machine(1)?.evaluator().public_key().as_bytes().to_vec();
        Ok(Response::new(wire::OpenSessionResponse { format: FORMAT, public_key, tags: ELEMENTS }))
    }

    async fn evaluate(
        &self,
        request: Request<wire::EvaluateRequest>,
    ) -> Result<Response<wire::EvaluateResponse>, Status> {
        let request = request.into_inner();
        let key = match self.met(|met| met.lie) {
            Some(Lie::LargerThanAnyMessage) => {
                return Ok(Response::new(wire::EvaluateResponse { evaluated: vec![1; 2 << 20] }));
            }
            Some(Lie::CutInTheMiddle) => {
                if let Some(tunnel) = self.met(|met| met.tunnel.take()) {
                    tunnel.abort();
                }
                return std::future::pending().await;
            }
            Some(Lie::NoAnswer) => return std::future::pending().await,
            Some(Lie::AnotherKey) => 2,
            _ => 1,
        };
        let evaluated = self.machine(key)?.evaluate(request.chunk, &request.blinded);
        let evaluated = evaluated.map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Response::new(wire::EvaluateResponse { evaluated }))
    }

    async fn list_tags(&self, _: Request<wire::ListTagsRequest>) -> Result<Response<Self::ListTagsStream>, Status> {
        let list = self.machine(1)?.tag_list().map_err(|_| Status::internal("no list"))?;
        let tag = list.as_bytes().len() / ELEMENTS as usize;
        let short = usize::from(self.met(|met| met.lie) == Some(Lie::ListTooShort));
        let end = list.as_bytes().len().saturating_sub(short * tag);
        let tags = list.as_bytes().get(..end).unwrap_or_default().to_vec();
        let (send, receive) = mpsc::channel(1);
        let _ = send.send(Ok(wire::ListTagsResponse { tags })).await;
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn close_session(
        &self,
        request: Request<wire::CloseSessionRequest>,
    ) -> Result<Response<wire::CloseSessionResponse>, Status> {
        let reason = WireReason::try_from(request.into_inner().reason).ok().and_then(reason_from_wire);
        self.met(|met| met.told.push(reason));
        Ok(Response::new(wire::CloseSessionResponse {}))
    }
}

/// The match, asked for again until the receiver has seen the log.
async fn asked(desk: &Connection, ask: &MatchAsk) -> Result<u64, ClientError> {
    let mut tries = 0;
    loop {
        match run_match(desk, ask, &mut |_| {}).await {
            Err(ClientError::Refused(r)) if r.refusal.reason == "EVIDENCE_OUTSTANDING" && tries < 60 => {
                tries += 1;
                sleep(Duration::from_millis(250)).await;
            }
            outcome => return outcome.map(|summary| summary.matched),
        }
    }
}

/// A receiver's program, and the sender that is none of ours in its tunnel.
struct Meeting {
    federation: Federation,
    tunnel: InTheTunnel,
    desk: Connection,
    genuine: firebreak_gateway::program::Running,
    receiver: agency_adapter::program::Running,
    shutdown: Shutdown,
    _folder: TempDir,
}

impl Meeting {
    async fn start() -> Result<Self> {
        let (federation, folder) = Own::prepare(300)?;
        let shutdown = Shutdown::new();
        let genuine = gateway(&federation, &shutdown).await?;
        let tunnel = InTheTunnel {
            sender: federation.issue(SENDER, "adapter", "main")?,
            receiver: federation.issue(RECEIVER, "adapter", "main")?,
            met: Arc::default(),
        };
        let lying = in_front(&federation, tunnel.clone(), &shutdown).await?;
        // The first gateway is asked for the tunnel; the second, genuine one shows the adapter the log.
        let receiver = adapter(&federation, RECEIVER, &[lying, genuine.address], &shutdown).await?;
        let local = receiver.local.context("no local listener")?;
        let desk = Caller::connect_local(&federation, RECEIVER, local).await?;
        Ok(Self { federation, tunnel, desk, genuine, receiver, shutdown, _folder: folder })
    }

    /// Asks while the sender does that.
    async fn asked(&self, ask: &MatchAsk, lie: Option<Lie>) -> Result<u64, ClientError> {
        self.tunnel.met(|met| met.lie = lie);
        asked(&self.desk, ask).await
    }

    /// What the sender was told since this was asked last.
    fn told(&self) -> Vec<Option<ReasonCode>> {
        self.tunnel.met(|met| std::mem::take(&mut met.told))
    }

    async fn stop(self) {
        self.shutdown.request();
        self.genuine.finished().await;
        self.receiver.finished().await;
    }
}

#[test]
fn a_receivers_program_finds_a_sender_out_tells_it_and_ends_the_session() -> Result<()> {
    run(async {
        let meeting = Meeting::start().await?;
        for (lie, reason) in [
            (Lie::AnotherKey, ReasonCode::ProofRejected),
            (Lie::LargerThanAnyMessage, ReasonCode::SizeExceeded),
            (Lie::NoMessage, ReasonCode::HostileInput),
            (Lie::ListTooShort, ReasonCode::WrongCount),
        ] {
            let ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
            for _ in 0..2 {
                let refused = refusal_of(meeting.asked(&ask, Some(lie)).await).with_context(|| format!("{lie:?}"))?;
                assert_eq!(refused.refusal.reason, reason.as_str(), "{lie:?}");
                ensure!(refused.refusal.metadata.contains_key("contest"), "nobody says how to contest it");
            }
            // Asked again, it opened no tunnel.
            assert_eq!(meeting.told(), [Some(reason)], "{lie:?}");
        }
        // A connection that breaks ends nothing, and nobody is told: the same request goes on, with a sender who holds
        // nobody.
        let ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
        let lost = refusal_of(meeting.asked(&ask, Some(Lie::CutInTheMiddle)).await)?;
        assert_eq!(lost.refusal.reason, "CONNECTION_LOST");
        assert_eq!(meeting.asked(&ask, None).await?, 0);
        assert_eq!(meeting.told(), [None]);

        let found = recorded(&meeting.federation, RECEIVER).await?;
        assert_eq!(found.ended, ["HOSTILE_INPUT", "PROOF_REJECTED", "SIZE_EXCEEDED", "WRONG_COUNT"]);
        assert_eq!(found.open, 0);
        for (reason, leaves) in [
            (ReasonCode::ProofRejected, 2),
            (ReasonCode::SizeExceeded, 2),
            (ReasonCode::HostileInput, 2),
            (ReasonCode::WrongCount, 2),
            (ReasonCode::ConnectionLost, 1),
        ] {
            assert_eq!(found.leaves_of(reason), leaves, "leaves of {reason}: {:?}", found.reasons);
        }
        meeting.stop().await;
        Ok(())
    })
}

/// A sender that does not answer is found out, and told; with one that answers, the same request goes on.
pub(super) async fn falls_silent() -> Result<()> {
    let meeting = Meeting::start().await?;
    let ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
    let refused = refusal_of(meeting.asked(&ask, Some(Lie::NoAnswer)).await)?;
    assert_eq!(refused.refusal.reason, "PEER_STALLED");
    assert_eq!(meeting.told(), [Some(ReasonCode::PeerStalled)]);
    let found = recorded(&meeting.federation, RECEIVER).await?;
    assert_eq!((found.leaves_of(ReasonCode::PeerStalled), found.ended.len(), found.open), (1, 0, 1));
    assert_eq!(meeting.asked(&ask, None).await?, 0);
    meeting.stop().await;
    Ok(())
}
