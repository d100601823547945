use super::match_status;
use crate::app::{App, OpenRequest, SenderSession};
use firebreak_domain::{RequestId, check_format};
use firebreak_transport::peer;
use firebreak_wire::matching::v1 as wire;
use firebreak_wire::matching::v1::match_session_service_server::MatchSessionService;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// The sender's side of one match, inside its tunnel.
pub struct MatchSession {
    app: Arc<App>,
    session: Arc<SenderSession>,
}

impl MatchSession {
    /// Serves the match that was let in.
    pub fn new(app: Arc<App>, session: SenderSession) -> Self {
        Self { app, session: Arc::new(session) }
    }
}

#[tonic::async_trait]
impl MatchSessionService for MatchSession {
    type ListTagsStream = ReceiverStream<Result<wire::ListTagsResponse, Status>>;

    async fn open_session(
        &self,
        request: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionResponse>, Status> {
        let exporter = peer(&request)?.exporter;
        let request = request.into_inner();
        check_format("the session", request.format).map_err(|e| Status::failed_precondition(e.to_string()))?;
        // SECURITY: the manifest belongs to this very TLS connection, not to one that somebody joined to it.
        if !bool::from(request.exporter.as_slice().ct_eq(&exporter)) {
            return Err(Status::permission_denied("the session is not of this connection"));
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
        let request = request.into_inner();
        let evaluated = self.session.evaluate(&self.app, request.chunk, request.blinded).await.map_err(match_status)?;
        Ok(Response::new(wire::EvaluateResponse { evaluated }))
    }

    async fn list_tags(
        &self,
        request: Request<wire::ListTagsRequest>,
    ) -> Result<Response<Self::ListTagsStream>, Status> {
        let offset = request.into_inner().offset;
        let mut pieces = self.session.tags(&self.app, offset).await.map_err(match_status)?;
        let (send, receive) = tokio::sync::mpsc::channel(4);
        let (app, session) = (Arc::clone(&self.app), Arc::clone(&self.session));
        tokio::spawn(async move {
            loop {
                // A list of millions takes its time: it stops in the middle when the match may no longer run.
                let piece = match session.next_piece(&app, &mut pieces).await {
                    Ok(Some(tags)) => Ok(wire::ListTagsResponse { tags }),
                    Ok(None) => return,
                    Err(error) => Err(match_status(error)),
                };
                let ended = piece.is_err();
                if send.send(piece).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn close_session(
        &self,
        _: Request<wire::CloseSessionRequest>,
    ) -> Result<Response<wire::CloseSessionResponse>, Status> {
        self.session.close(&self.app).await.map_err(match_status)?;
        Ok(Response::new(wire::CloseSessionResponse {}))
    }
}
