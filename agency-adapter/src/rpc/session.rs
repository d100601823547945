use super::match_status;
use super::oversized::{Faulted, MESSAGE, Measured};
use super::patience::{Activity, limit};
use crate::app::{App, OpenRequest, PayloadOffer, SenderSession};
use firebreak_domain::{Identity, ReasonCode, Refusal, RequestId, check_format};
use firebreak_transport::{ByteStream, ConnectError, Credential, Shutdown, peer, serve_pinned};
use firebreak_wire::matching::v1 as wire;
use firebreak_wire::matching::v1::match_session_service_server::{MatchSessionService, MatchSessionServiceServer};
use firebreak_wire::policy::v1::ReasonCode as WireReason;
use firebreak_wire::reason_from_wire;
use futures::stream::{BoxStream, StreamExt, try_unfold};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// Serves a match that was let in on its tunnel until the receiver leaves it, or is silent for too long, and records it
/// if the match was not over then. It can be resumed.
pub(super) async fn serve(
    app: Arc<App>,
    session: SenderSession,
    stream: ByteStream,
    credential: &Credential,
    receiver: &Identity,
    shutdown: &Shutdown,
) {
    let (session, activity) = (Arc::new(session), Arc::new(Activity::new()));
    let service =
        MatchSession { app: Arc::clone(&app), session: Arc::clone(&session), activity: Arc::clone(&activity) };
    let server = |session| MatchSessionServiceServer::from_arc(session).max_decoding_message_size(MESSAGE);
    let (pin, routes) = (session.receiver_pin(), Routes::new(Measured::new(service, server)));
    let reason = tokio::select! {
        // SECURITY: the receiver's own key, by its pin: a certificate of the common authority is not enough.
        served = serve_pinned(stream, credential, receiver, pin, routes, shutdown) => match served {
            Ok(()) => ReasonCode::ConnectionLost,
            Err(error) => {
                tracing::info!(error_kind = %error, "tunnel ended");
                reason_of(&error)
            }
        },
        () = activity.silence(|| limit(session.elements())) => ReasonCode::PeerStalled,
    };
    // Where this program itself ends, nobody else is to be named for it.
    if shutdown.is_requested() {
        return;
    }
    if let Err(error) = session.left(&app, reason).await {
        tracing::error!(error_kind = %error, "the end of a tunnel was not recorded");
    }
}

const fn reason_of(error: &ConnectError) -> ReasonCode {
    match error {
        ConnectError::TimedOut => ReasonCode::PeerStalled,
        ConnectError::WrongPeer(_) | ConnectError::Refused(_) => ReasonCode::SessionMismatch,
        ConnectError::Unreachable(_) | ConnectError::Protocol(_) | ConnectError::Http(_) => ReasonCode::ConnectionLost,
    }
}

/// The sender's side of one match, inside its tunnel.
pub(super) struct MatchSession {
    app: Arc<App>,
    session: Arc<SenderSession>,
    activity: Arc<Activity>,
}

impl Faulted for MatchSession {
    async fn fault(&self, reason: ReasonCode, what: &'static str) -> Status {
        match_status(self.session.fault(&self.app, Refusal::new(reason).because(what)).await)
    }
}

impl MatchSession {
    /// That a message names the session of this tunnel.
    async fn check_named(&self, session_id: &[u8]) -> Result<(), Status> {
        if session_id == self.session.session().as_bytes() {
            return Ok(());
        }
        Err(self.fault(ReasonCode::SessionMismatch, "a message names another session").await)
    }
}

#[tonic::async_trait]
impl MatchSessionService for MatchSession {
    type ListTagsStream = BoxStream<'static, Result<wire::ListTagsResponse, Status>>;

    async fn open_session(
        &self,
        request: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionResponse>, Status> {
        let _call = self.activity.call();
        let exporter = peer(&request)?.exporter;
        let request = request.into_inner();
        check_format("the session", request.format).map_err(|e| Status::failed_precondition(e.to_string()))?;
        // SECURITY: the manifest belongs to this very TLS connection, not to one that somebody joined to it.
        if !bool::from(request.exporter.as_slice().ct_eq(&exporter)) {
            return Err(self.fault(ReasonCode::SessionMismatch, "the session is of another connection").await);
        }
        let session = RequestId::try_from(request.session_id.as_slice())
            .map_err(|_| Status::invalid_argument("a session id has 16 bytes"))?;
        let open = OpenRequest {
            session,
            agreement: request.agreement,
            purpose: request.purpose,
            bundle_sequence: request.bundle_sequence,
            normaliser: request.normaliser,
            field: request.field,
            elements: request.elements,
            chunk_elements: request.chunk_elements,
            proofs: !request.unproved,
            payload: request.payload.map_or_else(PayloadOffer::default, |payload| PayloadOffer {
                format: payload.format,
                columns: payload.columns,
                row_bytes: payload.row_bytes,
                meaning: payload.meaning,
            }),
            epoch: (request.epoch > 0).then_some(request.epoch),
        };
        let (public_key, tags) = self.session.open(&self.app, &open).await.map_err(match_status)?;
        Ok(Response::new(wire::OpenSessionResponse {
            format: firebreak_domain::FORMAT,
            public_key: public_key.to_vec(),
            tags,
        }))
    }

    async fn evaluate(
        &self,
        request: Request<wire::EvaluateRequest>,
    ) -> Result<Response<wire::EvaluateResponse>, Status> {
        let _call = self.activity.call();
        let request = request.into_inner();
        self.check_named(&request.session_id).await?;
        let evaluated = self.session.evaluate(&self.app, request.chunk, request.blinded).await.map_err(match_status)?;
        Ok(Response::new(wire::EvaluateResponse { evaluated }))
    }

    async fn list_tags(
        &self,
        request: Request<wire::ListTagsRequest>,
    ) -> Result<Response<Self::ListTagsStream>, Status> {
        let _call = self.activity.call();
        let request = request.into_inner();
        self.check_named(&request.session_id).await?;
        let pieces = self.session.tags(&self.app, request.offset).await.map_err(match_status)?;
        let (app, session) = (Arc::clone(&self.app), Arc::clone(&self.session));
        let activity = Arc::clone(&self.activity);
        // A piece is made when the receiver takes it. So the list ends for the receiver where it does here, and in no
        // other way without an error: who is told that it is whole, and finds that it is not, ends the match for good.
        let pieces = try_unfold(pieces, move |mut pieces| {
            let (app, session, activity) = (Arc::clone(&app), Arc::clone(&session), Arc::clone(&activity));
            async move {
                // A list of millions takes its time: it stops in the middle when the match may no longer run.
                let piece = session.next_piece(&app, &mut pieces).await.map_err(match_status)?;
                activity.heard();
                Ok(piece.map(|tags| (wire::ListTagsResponse { tags }, pieces)))
            }
        });
        Ok(Response::new(pieces.boxed()))
    }

    async fn close_session(
        &self,
        request: Request<wire::CloseSessionRequest>,
    ) -> Result<Response<wire::CloseSessionResponse>, Status> {
        let _call = self.activity.call();
        let request = request.into_inner();
        self.check_named(&request.session_id).await?;
        if request.reason == i32::from(WireReason::Unspecified) {
            self.session.close(&self.app).await.map_err(match_status)?;
        } else {
            let reason = WireReason::try_from(request.reason).ok().and_then(reason_from_wire);
            let reason = reason.ok_or_else(|| Status::invalid_argument("this program knows no such reason"))?;
            self.session.broken_off(&self.app, reason).await.map_err(match_status)?;
        }
        Ok(Response::new(wire::CloseSessionResponse {}))
    }
}
