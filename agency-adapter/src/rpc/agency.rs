use super::patience::LAST_WORD;
use super::session::serve;
use super::tunnel::{from_gateway, to_gateway};
use super::way::Way;
use super::{failed, join_session, joining, no_request, refused};
use crate::app::{Answered, App, Confirmation, ConfirmedLeaf, Outcome, accept_match};
use firebreak_domain::{AgreementId, Closed, Identity, ReasonCode, Refusal};
use firebreak_node::{RequestedExport, SubmittedMatch, SubmittedQuery, Unread};
use firebreak_store::NewLeaf;
use firebreak_transport::{ByteStream, Shutdown, peer};
use firebreak_wire::agency::v1::agency_service_server::AgencyService;
use firebreak_wire::agency::v1::{
    self as wire, accept_tunnel_request, accept_tunnel_response, execute_query_response, run_join_response,
};
use firebreak_wire::policy::v1::ReasonCode as WireReason;
use firebreak_wire::{cap_to_wire, reason_from_wire};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// What the adapter answers to the gateway.
pub struct Agency {
    app: Arc<App>,
    way: Way,
    shutdown: Shutdown,
}

impl Agency {
    /// Serves `app` to the gateway of that way and to nobody else.
    #[must_use]
    pub const fn new(app: Arc<App>, way: Way, shutdown: Shutdown) -> Self {
        Self { app, way, shutdown }
    }

    fn check_gateway<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if peer(request)?.identity == self.way.gateway {
            Ok(())
        } else {
            Err(Status::permission_denied("not the gateway"))
        }
    }
}

fn claimed(claim: Option<&wire::Claim>) -> Result<Identity, Status> {
    let principal = claim.map(|c| c.principal.as_str()).unwrap_or_default();
    principal.parse().map_err(|_| Status::invalid_argument("the claim names no identity"))
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl AgencyService for Agency {
    type ExecuteQueryStream = Answers<wire::ExecuteQueryResponse>;
    type RunJoinStream = Answers<wire::RunJoinResponse>;
    type AcceptTunnelStream = Answers<wire::AcceptTunnelResponse>;

    async fn execute_query(
        &self,
        request: Request<wire::ExecuteQueryRequest>,
    ) -> Result<Response<Self::ExecuteQueryStream>, Status> {
        self.check_gateway(&request)?;
        let request = request.into_inner();
        let claimed = claimed(request.claim.as_ref())?;
        let export = request.export.as_ref();
        let export = export.map(|e| RequestedExport {
            kind: e.kind(),
            endpoint: e.endpoint.as_str(),
            dataset: e.dataset.as_str(),
        });
        let submitted = match SubmittedQuery::read(request.header.as_ref(), request.question.as_ref(), export) {
            Err(Unread::NoRequest(refusal)) => return Err(no_request(&refusal)),
            Err(Unread::Misnamed(misnamed)) => Err(misnamed),
            Ok(submitted) => Ok(submitted),
        };
        let (send, receive) = mpsc::channel(4);
        let app = Arc::clone(&self.app);
        // The work goes on when the gateway is gone: what is charged is also measured and stored.
        tokio::spawn(async move {
            let outcome = match submitted {
                Ok(submitted) => app.answer(&submitted, &claimed).await,
                Err(misnamed) => app.refuse_misnamed(&misnamed, &claimed).await.map(Outcome::Refused),
            };
            let answer = match outcome {
                Ok(Outcome::Released(answered)) => Ok(execute_query_response::Step::Release(released(&answered))),
                Ok(Outcome::Refused(refusal)) => Ok(execute_query_response::Step::Refused(refused(&refusal))),
                Err(failure) => Err(failed(&failure)),
            };
            let _ = send.send(answer.map(|step| wire::ExecuteQueryResponse { step: Some(step) })).await;
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn check_join(
        &self,
        request: Request<wire::CheckJoinRequest>,
    ) -> Result<Response<wire::CheckJoinResponse>, Status> {
        self.check_gateway(&request)?;
        let wire::CheckJoinRequest { claim, header, question } = request.into_inner();
        let claimed = claimed(claim.as_ref())?;
        let checked = match joining::read(&self.app, header.as_ref(), question.as_ref(), &claimed).await? {
            Ok(submitted) => self.app.check_join(&submitted, &claimed).await.map_err(|f| failed(&f))?,
            Err(refusal) => Err(refusal),
        };
        let refused = checked.err().map(|refusal| refused(&refusal));
        Ok(Response::new(wire::CheckJoinResponse { refused }))
    }

    async fn run_join(&self, request: Request<wire::RunJoinRequest>) -> Result<Response<Self::RunJoinStream>, Status> {
        self.check_gateway(&request)?;
        let wire::RunJoinRequest { claim, header, question } = request.into_inner();
        let claimed = claimed(claim.as_ref())?;
        let submitted = joining::read(&self.app, header.as_ref(), question.as_ref(), &claimed).await?;
        let (send, receive) = mpsc::channel(4);
        let (app, way) = (Arc::clone(&self.app), self.way.clone());
        tokio::spawn(async move {
            match submitted {
                Ok(submitted) => tokio::select! {
                    // What was made is on the disk: without a gateway to send it to, it waits there. What the other side
                    // has just said is still heard, and recorded.
                    () = async { send.closed().await; sleep(LAST_WORD).await } => {}
                    () = joining::run(&app, &way, &submitted, &claimed, &send) => {}
                },
                Err(refusal) => {
                    let step = Some(run_join_response::Step::Refused(refused(&refusal)));
                    let _ = send.send(Ok(wire::RunJoinResponse { step })).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn report_join_fault(
        &self,
        request: Request<wire::ReportJoinFaultRequest>,
    ) -> Result<Response<wire::ReportJoinFaultResponse>, Status> {
        self.check_gateway(&request)?;
        let wire::ReportJoinFaultRequest { session, reason, sent_on } = request.into_inner();
        let reason = WireReason::try_from(reason).ok().and_then(reason_from_wire);
        joining::reported(&self.app, &session, reason, sent_on).await?;
        Ok(Response::new(wire::ReportJoinFaultResponse {}))
    }

    async fn accept_tunnel(
        &self,
        request: Request<Streaming<wire::AcceptTunnelRequest>>,
    ) -> Result<Response<Self::AcceptTunnelStream>, Status> {
        self.check_gateway(&request)?;
        let mut frames = request.into_inner();
        let first = frames.message().await?.and_then(|m| m.frame);
        let Some(accept_tunnel_request::Frame::Header(header)) = first else {
            return Err(Status::invalid_argument("the first frame of a tunnel is its header"));
        };
        let receiver = claimed(header.claim.as_ref())?;
        let (send, receive) = mpsc::channel(4);
        if let Some(session) = header.tunnel.as_ref().map(|t| &t.join).filter(|join| !join.is_empty()) {
            let run = session.as_slice().try_into().ok().and_then(|name| self.app.accepting_join(name, &receiver));
            let Some(run) = run else {
                let refusal = Refusal::new(ReasonCode::SessionMismatch);
                return Err(no_request(&refusal.because("no join of that session waits here for its left side")));
            };
            let frame = Some(accept_tunnel_response::Frame::Accepted(wire::Accepted::default()));
            let _ = send.send(Ok(wire::AcceptTunnelResponse { frame })).await;
            let stream = ByteStream::new(from_gateway(frames), to_gateway(send));
            let (app, way, shutdown) = (Arc::clone(&self.app), self.way.clone(), self.shutdown.clone());
            tokio::spawn(async move { join_session::serve(app, run, stream, &way, &shutdown).await });
            return Ok(Response::new(ReceiverStream::new(receive)));
        }
        let accepted = match SubmittedMatch::read(header.tunnel.as_ref().and_then(|t| t.header.as_ref())) {
            Err(Unread::NoRequest(refusal)) => return Err(no_request(&refusal)),
            Err(Unread::Misnamed(misnamed)) => self.app.refuse_misnamed(&misnamed, &receiver).await.map(Err),
            Ok(submitted) => accept_match(&self.app, &submitted, &receiver).await,
        };
        let accepted = accepted.map_err(|f| failed(&f))?;
        let (session, evidence) = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => {
                let frame = Some(accept_tunnel_response::Frame::Refused(refused(&refusal)));
                let _ = send.send(Ok(wire::AcceptTunnelResponse { frame })).await;
                return Ok(Response::new(ReceiverStream::new(receive)));
            }
        };
        let frame = Some(accept_tunnel_response::Frame::Accepted(wire::Accepted {
            leaf: evidence.leaf.as_bytes().to_vec(),
            opening: firebreak_wire::opening_to_wire(&evidence.opening),
            sealed_opening: evidence.sealed.as_bytes().to_vec(),
        }));
        let _ = send.send(Ok(wire::AcceptTunnelResponse { frame })).await;
        let stream = ByteStream::new(from_gateway(frames), to_gateway(send));
        let (credential, shutdown) = (self.way.credential.clone(), self.shutdown.clone());
        let app = Arc::clone(&self.app);
        tokio::spawn(async move { serve(app, session, stream, &credential, &receiver, &shutdown).await });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn list_outstanding_leaves(
        &self,
        request: Request<wire::ListOutstandingLeavesRequest>,
    ) -> Result<Response<wire::ListOutstandingLeavesResponse>, Status> {
        self.check_gateway(&request)?;
        let (leaves, log_size) = self.app.outstanding().await.map_err(|e| failed(&e.into()))?;
        let leaf = |waiting: NewLeaf| wire::OutstandingLeaf { leaf: waiting.leaf, sealed_opening: waiting.sealed };
        let leaves = leaves.into_iter().map(leaf).collect();
        let closed = |closed: &Closed| wire::Closed {
            dataset: closed.dataset.to_string(),
            column: closed.column.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        let closed = self.app.closed().iter().map(closed).collect();
        Ok(Response::new(wire::ListOutstandingLeavesResponse { leaves, log_size, closed }))
    }

    async fn confirm_leaves(
        &self,
        request: Request<wire::ConfirmLeavesRequest>,
    ) -> Result<Response<wire::ConfirmLeavesResponse>, Status> {
        self.check_gateway(&request)?;
        let request = request.into_inner();
        let confirmation = confirmation(request)?;
        let log_size = self.app.confirm(&confirmation).await.map_err(|error| {
            tracing::error!(error_kind = %error, "log refused");
            Status::failed_precondition(error.to_string())
        })?;
        Ok(Response::new(wire::ConfirmLeavesResponse { log_size }))
    }

    async fn list_caps(
        &self,
        request: Request<wire::ListCapsRequest>,
    ) -> Result<Response<wire::ListCapsResponse>, Status> {
        self.check_gateway(&request)?;
        let wire::ListCapsRequest { claim, agreement } = request.into_inner();
        let claimed = claimed(claim.as_ref())?;
        // What nothing can be called looks like what there is not.
        let Ok(agreement) = AgreementId::new(agreement) else {
            return Ok(Response::new(wire::ListCapsResponse::default()));
        };
        let caps = self.app.caps(&claimed, &agreement);
        let caps = caps.iter().map(|standing| cap_to_wire(&agreement, standing)).collect();
        Ok(Response::new(wire::ListCapsResponse { caps }))
    }
}

fn released(answered: &Answered) -> wire::Release {
    wire::Release {
        release: answered.release.to_vec(),
        leaf: answered.evidence.leaf.as_bytes().to_vec(),
        opening: firebreak_wire::opening_to_wire(&answered.evidence.opening),
        sealed_opening: answered.evidence.sealed.as_bytes().to_vec(),
    }
}

fn confirmation(request: wire::ConfirmLeavesRequest) -> Result<Confirmation, Status> {
    let hash = |bytes: &Vec<u8>| {
        <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| Status::invalid_argument("a hash has 32 bytes"))
    };
    let leaf = |inclusion: &wire::LeafInclusion| {
        Ok::<_, Status>(ConfirmedLeaf {
            hash: hash(&inclusion.leaf_hash)?,
            index: inclusion.index,
            proof: inclusion.proof.iter().map(hash).collect::<Result<_, _>>()?,
        })
    };
    let newest = request.newest_inclusion.as_ref().map(leaf).transpose()?;
    Ok(Confirmation {
        consistency: request.consistency.iter().map(hash).collect::<Result<_, _>>()?,
        leaves: request.leaves.iter().map(leaf).collect::<Result<_, _>>()?,
        newest: newest.map(|place| (request.newest_leaf, place)),
        checkpoint: request.checkpoint.into_bytes(),
    })
}
