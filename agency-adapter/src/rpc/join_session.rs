//! A join's exchange inside its tunnel: the right side serves it, the left side asks.

pub(super) mod client;

use super::joining::ended;
use super::match_status;
use super::oversized::{Faulted, MESSAGE, Measured};
use super::patience::{Activity, LAST_WORD, limit};
use super::way::Way;
use crate::app::{App, Arrival, JoinRun, MatchError};
use firebreak_domain::{FORMAT, ReasonCode, Refusal, check_format};
use firebreak_transport::{ByteStream, ConnectError, Shutdown, peer, serve_pinned};
use firebreak_wire::matching::v1 as wire;
use firebreak_wire::matching::v1::join_session_service_server::{JoinSessionService, JoinSessionServiceServer};
use firebreak_wire::policy::v1::ReasonCode as WireReason;
use firebreak_wire::reason_from_wire;
use futures::stream::{BoxStream, StreamExt, try_unfold};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::sleep;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// Serves a prepared join on its tunnel until the left side leaves it, or is silent for too long. What is found on the way
/// is recorded when it is found; whoever waits for the list hears of it when the tunnel is over, so that the left side has
/// heard of it as well.
pub(super) async fn serve(app: Arc<App>, run: Arc<JoinRun>, stream: ByteStream, way: &Way, shutdown: &Shutdown) {
    let activity = Arc::new(Activity::new());
    let (agency, pin) = run.peer();
    let expected = way.adapter_of(agency);
    let opened = AtomicBool::new(false);
    let (found, faults) = watch::channel(None);
    let service =
        JoinTunnel { app: Arc::clone(&app), run: Arc::clone(&run), activity: Arc::clone(&activity), opened, found };
    let server = |join| {
        let server = JoinSessionServiceServer::from_arc(join).max_decoding_message_size(MESSAGE);
        server.max_encoding_message_size(MESSAGE)
    };
    let routes = Routes::new(Measured::new(service, server));
    let reason = tokio::select! {
        // SECURITY: the left side's own key, by its pin: a certificate of the common authority is not enough.
        served = serve_pinned(stream, &way.credential, &expected, pin, routes, shutdown) => match served {
            Ok(()) => ReasonCode::ConnectionLost,
            Err(ConnectError::TimedOut) => ReasonCode::PeerStalled,
            Err(ConnectError::WrongPeer(_) | ConnectError::Refused(_)) => ReasonCode::SessionMismatch,
            Err(ConnectError::Unreachable(_) | ConnectError::Protocol(_) | ConnectError::Http(_)) => {
                ReasonCode::ConnectionLost
            }
        },
        () = activity.silence(|| limit(run.work())) => ReasonCode::PeerStalled,
        // A left side that goes on all the same is cut off.
        () = parted(faults.clone()) => ReasonCode::ConnectionLost,
    };
    // Where this program itself ends, nobody else is to be named for it.
    if shutdown.is_requested() {
        return;
    }
    let found = faults.borrow().clone();
    let why = found.unwrap_or_else(|| Refusal::new(reason).because("the other agency's list did not arrive whole"));
    if run.give_up(why.clone()) {
        // What is not recorded is in the program's own log.
        let _ = ended(&app, &run, MatchError::Fault(why)).await;
    }
}

/// Waits until a fault is found in a tunnel and there was time to hear of it.
async fn parted(mut faults: watch::Receiver<Option<Refusal>>) {
    if faults.wait_for(Option::is_some).await.is_ok() {
        sleep(LAST_WORD).await;
    }
}

/// The right side of one join, inside its tunnel.
struct JoinTunnel {
    app: Arc<App>,
    run: Arc<JoinRun>,
    activity: Arc<Activity>,
    /// Whether both sides were found to mean the same, on this very connection.
    opened: AtomicBool,
    /// The first fault that was found here.
    found: watch::Sender<Option<Refusal>>,
}

impl Faulted for JoinTunnel {
    async fn fault(&self, reason: ReasonCode, what: &'static str) -> Status {
        self.end(MatchError::Fault(Refusal::new(reason).because(what))).await
    }
}

impl JoinTunnel {
    /// Records a fault of the left side, or what this side's own policy says by now, and has the tunnel cut a little later.
    /// Gives what the left side is told.
    async fn end(&self, error: MatchError) -> Status {
        if let MatchError::Refused(refusal) | MatchError::Fault(refusal) = &error {
            // First, since this call may end anywhere from here on.
            self.found.send_if_modified(|found| {
                let first = found.is_none();
                found.get_or_insert_with(|| refusal.clone());
                first
            });
            let _ = ended(&self.app, &self.run, MatchError::Fault(refusal.clone())).await;
        }
        match_status(self.run.why(&self.app, error).await)
    }

    async fn told<T>(&self, done: Result<T, MatchError>) -> Result<T, Status> {
        match done {
            Ok(done) => Ok(done),
            Err(error) => Err(self.end(error).await),
        }
    }

    async fn check(&self, session: &[u8]) -> Result<(), Status> {
        if session != self.run.name() {
            return Err(self.fault(ReasonCode::SessionMismatch, "a message names another session").await);
        }
        self.told(self.run.check(&self.app).await).await
    }

    /// SECURITY: no point goes either way on a connection on which terms and exporter were not compared.
    async fn check_opened(&self, session: &[u8]) -> Result<(), Status> {
        self.check(session).await?;
        if self.opened.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(self.fault(ReasonCode::SessionMismatch, "the join is not open on this connection").await)
    }
}

#[tonic::async_trait]
impl JoinSessionService for JoinTunnel {
    type ListPointsStream = BoxStream<'static, Result<wire::ListPointsResponse, Status>>;

    async fn open_join(
        &self,
        request: Request<wire::OpenJoinRequest>,
    ) -> Result<Response<wire::OpenJoinResponse>, Status> {
        let _call = self.activity.call();
        let exporter = peer(&request)?.exporter;
        let request = request.into_inner();
        check_format("the session", request.format).map_err(|e| Status::failed_precondition(e.to_string()))?;
        self.check(&request.session).await?;
        // SECURITY: the session belongs to this very TLS connection, not to one that somebody joined to it.
        if !bool::from(request.exporter.as_slice().ct_eq(&exporter)) {
            return Err(self.fault(ReasonCode::SessionMismatch, "the session is of another connection").await);
        }
        let (bundle, normaliser) = (request.bundle_sequence, request.normaliser);
        self.told(self.run.check_alike(bundle, normaliser, &request.terms)).await?;
        let received = self.told(self.run.greet(&request.key, &request.sizes)).await?;
        self.opened.store(true, Ordering::SeqCst);
        let own = self.told(self.run.own()).await?;
        let (key, sizes) = (self.run.key().to_vec(), own.sizes.clone());
        Ok(Response::new(wire::OpenJoinResponse { format: FORMAT, key, sizes, received }))
    }

    async fn put_points(
        &self,
        request: Request<wire::PutPointsRequest>,
    ) -> Result<Response<wire::PutPointsResponse>, Status> {
        let _call = self.activity.call();
        let request = request.into_inner();
        self.check_opened(&request.session).await?;
        let received = self.told(self.run.push(request.offset, &request.points)).await?;
        Ok(Response::new(wire::PutPointsResponse { received }))
    }

    async fn list_points(
        &self,
        request: Request<wire::ListPointsRequest>,
    ) -> Result<Response<Self::ListPointsStream>, Status> {
        let _call = self.activity.call();
        let wire::ListPointsRequest { session, offset } = request.into_inner();
        self.check_opened(&session).await?;
        self.told(self.run.own().and_then(|own| own.check_offset(offset))).await?;
        let (app, run, activity) = (Arc::clone(&self.app), Arc::clone(&self.run), Arc::clone(&self.activity));
        let pieces = try_unfold(offset, move |offset| {
            let (app, run, activity) = (Arc::clone(&app), Arc::clone(&run), Arc::clone(&activity));
            async move {
                let checked = run.check(&app).await;
                let points = match checked.and_then(|()| block_in_place(|| run.own()?.piece(offset))) {
                    Ok(points) => points,
                    Err(error) => return Err(match_status(run.why(&app, error).await)),
                };
                activity.heard();
                let next = offset.saturating_add(points.len() as u64);
                Ok((!points.is_empty()).then_some((wire::ListPointsResponse { points }, next)))
            }
        });
        Ok(Response::new(pieces.boxed()))
    }

    async fn close_join(
        &self,
        request: Request<wire::CloseJoinRequest>,
    ) -> Result<Response<wire::CloseJoinResponse>, Status> {
        let _call = self.activity.call();
        let request = request.into_inner();
        self.check(&request.session).await?;
        if request.reason != i32::from(WireReason::Unspecified) {
            let reason = WireReason::try_from(request.reason).ok().and_then(reason_from_wire);
            let reason = reason.filter(|reason| crate::app::of_the_match(*reason));
            let reason = reason.ok_or_else(|| Status::invalid_argument("no side ends a join for this reason"))?;
            self.fault(reason, "the other agency found it in what it was sent").await;
            return Ok(Response::new(wire::CloseJoinResponse {}));
        }
        self.check_opened(&request.session).await?;
        if !matches!(*self.run.arrival().borrow(), Arrival::Whole) {
            return Err(self.fault(ReasonCode::WrongCount, "the other agency's list ended early").await);
        }
        Ok(Response::new(wire::CloseJoinResponse {}))
    }
}
