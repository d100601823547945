//! A sender that is none of ours, in a tunnel to a receiver that is.

use super::{ANY, adapter, gateway, recorded};
use crate::matching::side::{RECEIVER, SENDER};
use anyhow::{Context, Result, ensure};
use firebreak::client::{ClientError, Connection, MatchAsk, run_match};
use firebreak_domain::{FORMAT, ReasonCode};
use firebreak_psi::{KeyContext, MatchParams, Mode, Normaliser, SecretSeed, Sender, derive_session_key};
use firebreak_tests::{Caller, Own, refusal_of, run};
use firebreak_transport::{ByteStream, Credential, Server, ServerTls, Shutdown, receive_chunks, serve_pinned};
use firebreak_wire::matching::v1 as wire;
use firebreak_wire::matching::v1::match_session_service_server::{MatchSessionService, MatchSessionServiceServer};
use firebreak_wire::matching::v1::matching_service_server::{MatchingService, MatchingServiceServer};
use firebreak_wire::matching::v1::{open_tunnel_request, open_tunnel_response};
use firebreak_wire::policy::v1::ReasonCode as WireReason;
use firebreak_wire::reason_from_wire;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Bytes, Service, http};
use tonic::server::NamedService;
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
    type OpenTunnelStream = ReceiverStream<Result<wire::OpenTunnelResponse, Status>>;

    async fn open_tunnel(
        &self,
        request: Request<Streaming<wire::OpenTunnelRequest>>,
    ) -> Result<Response<Self::OpenTunnelStream>, Status> {
        let mut frames = request.into_inner();
        frames.message().await?.ok_or_else(|| Status::invalid_argument("no header"))?;
        let incoming = receive_chunks(frames.map(|frame| match frame?.frame {
            Some(open_tunnel_request::Frame::Bytes(bytes)) => Ok(Bytes::from(bytes)),
            _ => Err(Status::invalid_argument("not bytes")),
        }));
        let (answer, answers) = mpsc::channel(8);
        let opened = open_tunnel_response::Frame::Opened(wire::TunnelOpened { receipt: String::new() });
        let _ = answer.send(Ok(wire::OpenTunnelResponse { frame: Some(opened) })).await;
        let (outgoing, mut chunks) = mpsc::channel::<Bytes>(8);
        tokio::spawn(async move {
            while let Some(chunk) = chunks.recv().await {
                let frame = Some(open_tunnel_response::Frame::Bytes(chunk.to_vec()));
                if answer.send(Ok(wire::OpenTunnelResponse { frame })).await.is_err() {
                    return;
                }
            }
        });
        let this = self.clone();
        let serving = tokio::spawn(async move {
            let stream = ByteStream::new(incoming, outgoing);
            let (peer, pin) = (this.receiver.identity().clone(), this.receiver.pin());
            let (credential, routes) = (this.sender.clone(), Routes::new(Garbling(this)));
            serve_pinned(stream, &credential, &peer, pin, routes, &Shutdown::new()).await
        });
        self.met(|met| met.tunnel = Some(serving.abort_handle()));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

/// The sender in the tunnel, whose evaluations are no messages where it lies so.
#[derive(Clone)]
struct Garbling(InTheTunnel);

impl NamedService for Garbling {
    const NAME: &'static str = <MatchSessionServiceServer<InTheTunnel> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for Garbling {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let garbled = self.0.met(|met| met.lie == Some(Lie::NoMessage)) && request.uri().path().ends_with("/Evaluate");
        if !garbled {
            return MatchSessionServiceServer::new(self.0.clone()).call(request);
        }
        // A frame of two bytes: a field of 127 bytes, of which none follows.
        let mut answer = http::Response::new(Body::new("\0\0\0\0\x02\n\x7f".to_owned()));
        answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        Box::pin(async move { Ok(answer) })
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

#[test]
fn a_receivers_program_finds_a_sender_out_tells_it_and_ends_the_session() -> Result<()> {
    run(async {
        let (federation, _folder) = Own::prepare(300)?;
        let shutdown = Shutdown::new();
        let genuine = gateway(&federation, &shutdown).await?;
        let met = Arc::new(Mutex::new(Met::default()));
        let tunnel = InTheTunnel {
            sender: federation.issue(SENDER, "adapter", "main")?,
            receiver: federation.issue(RECEIVER, "adapter", "main")?,
            met: Arc::clone(&met),
        };
        let credential = federation.issue("federation", "gateway", "main")?;
        let trust = federation.authority().trust_anchor()?;
        let server = Server::bind(ANY, ServerTls::federation(&credential, &trust)).await?;
        let (lying, ending) = (server.local_addr(), shutdown.clone());
        let routes = Routes::new(MatchingServiceServer::new(tunnel.clone()));
        tokio::spawn(async move { server.serve(routes, &ending, Duration::from_secs(1)).await });
        // The first gateway is asked for the tunnel; the second, genuine one shows the adapter the log.
        let receiver = adapter(&federation, RECEIVER, &[lying, genuine.address], &shutdown).await?;
        let local = receiver.local.context("no local listener")?;
        let desk = Caller::connect_local(&federation, RECEIVER, local).await?;

        for (lie, reason) in [
            (Lie::AnotherKey, ReasonCode::ProofRejected),
            (Lie::LargerThanAnyMessage, ReasonCode::SizeExceeded),
            (Lie::NoMessage, ReasonCode::HostileInput),
            (Lie::ListTooShort, ReasonCode::WrongCount),
        ] {
            tunnel.met(|met| met.lie = Some(lie));
            let ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
            for _ in 0..2 {
                let refused = refusal_of(asked(&desk, &ask).await).with_context(|| format!("{lie:?}"))?;
                assert_eq!(refused.refusal.reason, reason.as_str(), "{lie:?}");
                ensure!(refused.refusal.metadata.contains_key("contest"), "nobody says how to contest it");
            }
            // Asked again, it opened no tunnel.
            assert_eq!(tunnel.met(|met| std::mem::take(&mut met.told)), [Some(reason)], "{lie:?}");
        }
        // A connection that breaks ends nothing, and nobody is told: the same request goes on, with a sender who holds
        // nobody.
        tunnel.met(|met| met.lie = Some(Lie::CutInTheMiddle));
        let ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
        let lost = refusal_of(asked(&desk, &ask).await)?;
        assert_eq!(lost.refusal.reason, "CONNECTION_LOST");
        tunnel.met(|met| met.lie = None);
        assert_eq!(asked(&desk, &ask).await?, 0);
        assert_eq!(tunnel.met(|met| std::mem::take(&mut met.told)), [None]);

        let found = recorded(&federation, RECEIVER).await?;
        assert_eq!(found.ended, ["HOSTILE_INPUT", "PROOF_REJECTED", "SIZE_EXCEEDED", "WRONG_COUNT"]);
        assert_eq!(found.open, 0);
        for (reason, leaves) in [
            (ReasonCode::ProofRejected, 2),
            (ReasonCode::SizeExceeded, 2),
            (ReasonCode::HostileInput, 2),
            (ReasonCode::WrongCount, 2),
            (ReasonCode::ConnectionLost, 1),
        ] {
            let of_reason = found.reasons.iter().filter(|found| **found == reason).count();
            assert_eq!(of_reason, leaves, "leaves of {reason}: {:?}", found.reasons);
        }
        shutdown.request();
        genuine.finished().await;
        receiver.finished().await;
        Ok(())
    })
}
