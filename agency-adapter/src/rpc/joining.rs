//! One side of a join, as the gateway asks for it: from the commitment to the last point.

use super::join_session::client;
use super::patience::{limit, within};
use super::way::Way;
use super::{failed, no_request, refused};
use crate::app::{App, Arrival, Failure, JoinRun, MatchError, PreparedJoin, Refused};
use firebreak_domain::{Identity, JoinSide, ReasonCode, Refusal};
use firebreak_node::{SubmittedQuery, Unread};
use firebreak_wire::agency::v1::run_join_response::Step;
use firebreak_wire::agency::v1::{self as wire};
use firebreak_wire::query::v1::{Question, RequestHeader};
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::Status;

/// Where the steps go.
pub(super) type Steps = mpsc::Sender<Result<wire::RunJoinResponse, Status>>;

/// Reads the analyst's request. One that names something as nothing can be named is refused with evidence.
pub(super) async fn read(
    app: &App,
    header: Option<&RequestHeader>,
    question: Option<&Question>,
    claimed: &Identity,
) -> Result<Result<SubmittedQuery, Refused>, Status> {
    match SubmittedQuery::read(header, question, None) {
        Ok(submitted) => Ok(Ok(submitted)),
        Err(Unread::NoRequest(refusal)) => Err(no_request(&refusal)),
        Err(Unread::Misnamed(misnamed)) => {
            app.refuse_misnamed(&misnamed, claimed).await.map(Err).map_err(|failure| failed(&failure))
        }
    }
}

/// Runs this agency's side, and says each step. It ends when the gateway has the whole list and lets go, or goes away.
pub(super) async fn run(app: &Arc<App>, way: &Way, submitted: &SubmittedQuery, claimed: &Identity, steps: &Steps) {
    let prepared = match app.prepare_join(submitted, claimed).await {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(refusal)) => return say(steps, Step::Refused(refused(&refusal))).await,
        Err(failure) => return fail(steps, failed(&failure)).await,
    };
    let PreparedJoin { run, evidence } = prepared;
    let committed = wire::JoinCommitted {
        leaf: evidence.leaf.as_bytes().to_vec(),
        opening: firebreak_wire::opening_to_wire(&evidence.opening),
        sealed_opening: evidence.sealed.as_bytes().to_vec(),
    };
    say(steps, Step::Committed(committed)).await;
    match answer(app, way, &run, steps).await {
        Ok(()) => {
            say(steps, Step::Sent(wire::JoinSent {})).await;
            // The other side may still be taking this side's list.
            steps.closed().await;
        }
        Err(error) => match ended(app, &run, error).await {
            Ok(refusal) => say(steps, Step::Refused(refused(&refusal))).await,
            Err(failure) => fail(steps, failed(&failure)).await,
        },
    }
}

/// Records why a side of a join ends, whatever becomes of the call in which that was found ([`JoinRun::ended`]).
pub(super) async fn ended(app: &Arc<App>, run: &Arc<JoinRun>, error: MatchError) -> Result<Arc<Refused>, Failure> {
    let (app, run) = (Arc::clone(app), Arc::clone(run));
    let recorded = tokio::spawn(async move { run.ended(&app, error).await }).await;
    let recorded = recorded.map_err(|_| Failure::Died).flatten();
    if let Err(failure) = &recorded {
        tracing::error!(error_kind = %failure, "the end of a join was not recorded");
    }
    recorded
}

async fn answer(app: &Arc<App>, way: &Way, run: &Arc<JoinRun>, steps: &Steps) -> Result<(), MatchError> {
    run.logged(app).await?;
    run.check(app).await?;
    app.show_join(run);
    say(steps, Step::Prepared(wire::JoinPrepared { sizes: run.own()?.sizes.clone() })).await;
    match run.side() {
        // A gateway that is gone before is not asked for the tunnel.
        JoinSide::Left if steps.is_closed() => return Ok(()),
        JoinSide::Left => client::exchange(app, way, run).await?,
        JoinSide::Right => tokio::select! {
            arrived = arrived(run) => arrived?,
            // What is found in the tunnel is recorded there.
            () = steps.closed() => return Ok(()),
        },
    }
    let list = run.sent_on(app).await?;
    let mut offset = 0;
    loop {
        run.check(app).await?;
        let points = tokio::task::block_in_place(|| list.piece(offset))?;
        if points.is_empty() || steps.is_closed() {
            return Ok(());
        }
        offset += points.len() as u64;
        say(steps, Step::Points(points)).await;
    }
}

/// Records what the gateway found in a list of a join that runs.
pub(super) async fn reported(
    app: &App,
    session: &[u8],
    reason: Option<ReasonCode>,
    sent_on: bool,
) -> Result<(), Status> {
    let reason = reason.filter(|reason| crate::app::is_of_list(*reason));
    let reason = reason.ok_or_else(|| Status::invalid_argument("no list of a join is refused for this reason"))?;
    let run = session.try_into().ok().and_then(|name| app.running_join(name));
    let mismatch = |what| no_request(&Refusal::new(ReasonCode::SessionMismatch).because(what));
    let run = run.ok_or_else(|| mismatch("no join of that session runs here"))?;
    if sent_on && !run.has_sent_on(app).await.map_err(|failure| failed(&failure))? {
        return Err(mismatch("this agency has sent on nothing of that session"));
    }
    run.found_by_gateway(app, reason, sent_on).await.map(drop).map_err(|failure| failed(&failure))
}

/// Waits for the left side's list, which comes by a tunnel of its own.
async fn arrived(run: &JoinRun) -> Result<(), MatchError> {
    let mut arrival = run.arrival();
    let whole = arrival.wait_for(|arrival| !matches!(arrival, Arrival::Expected));
    let stalled = || {
        let refusal = Refusal::new(ReasonCode::PeerStalled).because("the other agency did not send its list in time");
        MatchError::Fault(refusal.instead("the same request again, which goes on where it broke off"))
    };
    // Both registers are read and blinded before the list begins, and each piece has its own bound.
    let bound = limit(run.work()).saturating_mul(2);
    let arrival = within(bound, whole).await.map_err(|_| stalled())?;
    match arrival.as_deref() {
        Ok(Arrival::Ended(why)) => Err(MatchError::Fault(why.clone())),
        Ok(_) => Ok(()),
        Err(_) => Err(MatchError::Failed),
    }
}

async fn say(steps: &Steps, step: Step) {
    let _ = steps.send(Ok(wire::RunJoinResponse { step: Some(step) })).await;
}

async fn fail(steps: &Steps, status: Status) {
    let _ = steps.send(Err(status)).await;
}
