//! Messages to a sender that are larger than any of a match: cut off unread, and recorded.

use super::session::MatchSession;
use firebreak_domain::ReasonCode;
use firebreak_wire::matching::v1::match_session_service_server::MatchSessionServiceServer;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::{Code, Status};

/// The largest message inside a tunnel, either way: a chunk and its proof, with room.
pub(super) const MESSAGE: usize = 1024 * 1024;

/// A session's service that reads no message beyond [`MESSAGE`], and records that one came.
#[derive(Clone)]
pub(super) struct Measured {
    session: Arc<MatchSession>,
    server: MatchSessionServiceServer<MatchSession>,
}

impl Measured {
    /// Around that session.
    pub(super) fn new(session: MatchSession) -> Self {
        let session = Arc::new(session);
        let server = MatchSessionServiceServer::from_arc(Arc::clone(&session)).max_decoding_message_size(MESSAGE);
        Self { session, server }
    }
}

impl NamedService for Measured {
    const NAME: &'static str = <MatchSessionServiceServer<MatchSession> as NamedService>::NAME;
}

impl Service<Request<Body>> for Measured {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.server, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answer, session) = (self.server.call(request), Arc::clone(&self.session));
        Box::pin(async move {
            let answer = answer.await?;
            // The one status of that code is the codec's own, of a message that is too large.
            let status = Status::from_header_map(answer.headers());
            if status.is_some_and(|status| status.code() == Code::OutOfRange) {
                let fault = session.fault(ReasonCode::SizeExceeded, "a message is larger than any of a match").await;
                return Ok(fault.into_http());
            }
            Ok(answer)
        })
    }
}
