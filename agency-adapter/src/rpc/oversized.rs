//! What comes in a tunnel and is no message of its session: larger than any, or none at all. Cut off unread, and recorded.

use firebreak_domain::ReasonCode;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::{Code, Status};

/// The largest message inside a tunnel, either way: a chunk and its proof, or a piece of a list, with room.
pub(super) const MESSAGE: usize = 1024 * 1024;

/// What the codec says of bytes that are not the message that is due, whoever reads them.
const UNREADABLE: &str = "failed to decode Protobuf message";

/// What a status means that the codec gave for what it could not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoMessage {
    /// It is larger than [`MESSAGE`].
    TooLarge,
    /// It is not written as the message that is due.
    Unreadable,
}

impl NoMessage {
    /// That of a status, if it is the codec's own. This program gives no other of the one code, and no other of the
    /// other that begins like this.
    pub(super) fn of(status: &Status) -> Option<Self> {
        match status.code() {
            Code::OutOfRange => Some(Self::TooLarge),
            Code::Internal if status.message().starts_with(UNREADABLE) => Some(Self::Unreadable),
            _ => None,
        }
    }

    pub(super) const fn fault(self) -> (ReasonCode, &'static str) {
        match self {
            Self::TooLarge => (ReasonCode::SizeExceeded, "a message is larger than any of the session"),
            Self::Unreadable => (ReasonCode::HostileInput, "a message is not written as any of the session"),
        }
    }
}

/// A side of a session inside its tunnel, which records a fault of the other.
pub(super) trait Faulted: Send + Sync + 'static {
    /// Records it, and gives the status that the other side is told.
    fn fault(&self, reason: ReasonCode, what: &'static str) -> impl Future<Output = Status> + Send;
}

/// A session's service that reads no message beyond [`MESSAGE`], and records what came that was none.
pub(super) struct Measured<T, S> {
    session: Arc<T>,
    server: S,
}

impl<T, S> Measured<T, S> {
    /// Around that session, whose messages the server reads up to [`MESSAGE`].
    pub(super) fn new(session: T, server: impl FnOnce(Arc<T>) -> S) -> Self {
        let session = Arc::new(session);
        let server = server(Arc::clone(&session));
        Self { session, server }
    }
}

impl<T, S: Clone> Clone for Measured<T, S> {
    fn clone(&self) -> Self {
        Self { session: Arc::clone(&self.session), server: self.server.clone() }
    }
}

impl<T, S: NamedService> NamedService for Measured<T, S> {
    const NAME: &'static str = S::NAME;
}

impl<T, S> Service<Request<Body>> for Measured<T, S>
where
    T: Faulted,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.server.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answer, session) = (self.server.call(request), Arc::clone(&self.session));
        Box::pin(async move {
            let answer = answer.await?;
            let none = Status::from_header_map(answer.headers()).and_then(|status| NoMessage::of(&status));
            let Some(none) = none else { return Ok(answer) };
            let (reason, what) = none.fault();
            Ok(session.fault(reason, what).await.into_http())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_codec_cannot_read_is_told_from_what_fails_here() {
        let unreadable = Status::internal("failed to decode Protobuf message: invalid varint");
        assert_eq!(NoMessage::of(&unreadable), Some(NoMessage::Unreadable));
        assert_eq!(NoMessage::of(&Status::out_of_range("too large")), Some(NoMessage::TooLarge));
        assert_eq!(NoMessage::of(&Status::internal("the match failed at this agency")), None);
        assert_eq!(NoMessage::of(&Status::unknown(unreadable.message())), None);
    }
}
