//! The left side of a join inside its tunnel.

use crate::app::{App, Arrival, JoinRun, MatchError, of_the_match};
use crate::rpc::broken::Broken;
use crate::rpc::joining::ended;
use crate::rpc::oversized::{MESSAGE, NoMessage};
use crate::rpc::patience::{LAST_WORD, MESSAGE_LIMIT, Stalled, limit, within};
use crate::rpc::way::{Reached, Way};
use firebreak_domain::{FORMAT, ReasonCode, Refusal, check_format};
use firebreak_wire::matching::v1::join_session_service_client::JoinSessionServiceClient;
use firebreak_wire::matching::v1::{
    CloseJoinRequest, ListPointsRequest, OpenJoinRequest, PutPointsRequest, TunnelHeader,
};
use firebreak_wire::policy::v1::ReasonCode as WireReason;
use firebreak_wire::{reason_to_wire, refusal_of_status};
use std::error::Error;
use std::sync::Arc;
use tokio::task::block_in_place;
use tonic::transport::Channel;
use tonic::{Code, Status};

type Client = JoinSessionServiceClient<Channel>;

/// Exchanges keys and lists with the right side, unless that is done. Both lists go at the same time. A fault of the right
/// side is recorded before that is told.
///
/// # Errors
/// [`MatchError`]; the same again goes on where it broke off.
pub(in crate::rpc) async fn exchange(app: &Arc<App>, way: &Way, run: &Arc<JoinRun>) -> Result<(), MatchError> {
    if run.is_exchanged()? {
        return Ok(());
    }
    let header = TunnelHeader { header: None, join: run.name().to_vec() };
    let (agency, pin) = run.peer();
    let reached = way.reach(header, agency, pin, limit(run.work())).await.map_err(unreached)?;
    let Reached { channel, exporter, .. } = reached;
    let mut client = Client::new(channel).max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE);
    let exchanged = both_ways(&mut client, run, exporter).await;
    let reason = match &exchanged {
        Ok(()) => WireReason::Unspecified,
        Err(MatchError::Fault(refusal)) => {
            let fault = MatchError::Fault(refusal.clone());
            ended(app, run, fault).await.map_err(|_| MatchError::Failed)?;
            reason_to_wire(refusal.reason)
        }
        // PRIVACY: what fails or is refused on this side is this side's own.
        Err(_) => return exchanged,
    };
    let request = CloseJoinRequest { session: run.name().to_vec(), reason: reason.into() };
    if exchanged.is_err() {
        let _ = within(LAST_WORD, client.close_join(request)).await;
        return exchanged;
    }
    // Only the right side knows whether it has the whole list.
    heard(within(MESSAGE_LIMIT, client.close_join(request)).await)?;
    run.taken()
}

async fn both_ways(client: &mut Client, run: &JoinRun, exporter: [u8; 32]) -> Result<(), MatchError> {
    let opening = client.open_join(OpenJoinRequest {
        format: FORMAT,
        session: run.name().to_vec(),
        terms: run.terms().to_vec(),
        exporter: exporter.to_vec(),
        key: run.key().to_vec(),
        sizes: run.own()?.sizes.clone(),
        bundle_sequence: run.bundle_sequence(),
        normaliser: run.normaliser(),
    });
    let opened = heard(within(MESSAGE_LIMIT, opening).await)?.into_inner();
    check_format("the session", opened.format).map_err(|_| {
        let refusal = Refusal::new(ReasonCode::SessionMismatch).because("the other agency speaks a later version");
        MatchError::Fault(refusal)
    })?;
    run.greet(&opened.key, &opened.sizes)?;
    let mut other = client.clone();
    tokio::try_join!(put(client, run, opened.received), list(&mut other, run))?;
    if matches!(*run.arrival().borrow(), Arrival::Whole) {
        return Ok(());
    }
    Err(MatchError::Fault(Refusal::new(ReasonCode::WrongCount).because("the other agency's list ended early")))
}

/// Sends this side's list from `offset` on.
async fn put(client: &mut Client, run: &JoinRun, mut offset: u64) -> Result<(), MatchError> {
    run.own()?.check_offset(offset)?;
    loop {
        let points = block_in_place(|| run.own()?.piece(offset))?;
        if points.is_empty() {
            return Ok(());
        }
        let next = offset.saturating_add(points.len() as u64);
        let request = PutPointsRequest { session: run.name().to_vec(), offset, points };
        let answer = heard(within(MESSAGE_LIMIT, client.put_points(request)).await)?.into_inner();
        if answer.received != next {
            let refusal = Refusal::new(ReasonCode::SessionMismatch);
            return Err(MatchError::Fault(refusal.because("the other agency counts other points than it was sent")));
        }
        offset = next;
    }
}

/// Takes the other side's list, behind what has arrived.
async fn list(client: &mut Client, run: &JoinRun) -> Result<(), MatchError> {
    let request = ListPointsRequest { session: run.name().to_vec(), offset: run.received() };
    let mut pieces = heard(within(MESSAGE_LIMIT, client.list_points(request)).await)?.into_inner();
    while let Some(piece) = heard(within(MESSAGE_LIMIT, pieces.message()).await)? {
        run.push(run.received(), &piece.points)?;
    }
    Ok(())
}

/// A message of the other side, or what its absence means.
fn heard<T>(message: Result<Result<T, Status>, Stalled>) -> Result<T, MatchError> {
    match message {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) => Err(meant(&status)),
        Err(Stalled) => {
            let refusal = Refusal::new(ReasonCode::PeerStalled).because("the other agency did not answer in time");
            Err(MatchError::Fault(refusal.instead(AGAIN)))
        }
    }
}

const AGAIN: &str = "the same request again, which goes on where it broke off";

/// What a status of the other side means.
fn meant(status: &Status) -> MatchError {
    let found = refusal_of_status(status).and_then(|refusal| {
        let reason = ReasonCode::ALL.iter().copied().find(|reason| reason.as_str() == refusal.reason)?;
        // A policy that ends it is the other side's own, and it has recorded it.
        let reason = if of_the_match(reason) { reason } else { ReasonCode::ConnectionLost };
        Some(Refusal::new(reason).because("the other agency ended the join for it"))
    });
    if let Some(refusal) = found {
        return MatchError::Refused(refusal);
    }
    if let Some(none) = NoMessage::of(status) {
        let (reason, what) = none.fault();
        return MatchError::Fault(Refusal::new(reason).because(what));
    }
    let lost =
        matches!(status.code(), Code::Unknown | Code::Unavailable | Code::Cancelled) || status.source().is_some();
    let refusal = match status.code() {
        _ if lost => Refusal::new(ReasonCode::ConnectionLost).because("the tunnel was cut").instead(AGAIN),
        _ => Refusal::new(ReasonCode::ConnectionLost).because("the other agency failed").instead(AGAIN),
    };
    MatchError::Fault(refusal)
}

/// What it means that the other side was not reached.
fn unreached(broken: Broken) -> MatchError {
    match broken {
        Broken::Own(error) => error,
        Broken::Stalled => heard::<()>(Err(Stalled)).err().unwrap_or(MatchError::Failed),
        // SECURITY: what a gateway says for the other side, outside of the tunnel, ends no session.
        Broken::Sender(_) => {
            let refusal =
                Refusal::new(ReasonCode::ConnectionLost).because("the tunnel to the other agency did not open");
            MatchError::Refused(refusal.instead(AGAIN))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_wire::status_of_refusal;

    #[test]
    fn what_the_other_side_says_has_a_name_and_its_policy_is_its_own() {
        let said = |reason| match meant(&status_of_refusal(&Refusal::new(reason), None)) {
            MatchError::Refused(refusal) => refusal.reason,
            _ => panic!("{reason}"),
        };
        assert_eq!(said(ReasonCode::HostileInput), ReasonCode::HostileInput);
        assert_eq!(said(ReasonCode::ClosedByAgency), ReasonCode::ConnectionLost);
        for (status, reason) in [
            (Status::out_of_range("too large"), ReasonCode::SizeExceeded),
            (Status::internal("failed to decode Protobuf message: invalid varint"), ReasonCode::HostileInput),
            (Status::unavailable("broken"), ReasonCode::ConnectionLost),
            (Status::internal("failed"), ReasonCode::ConnectionLost),
        ] {
            assert!(matches!(meant(&status), MatchError::Fault(refusal) if refusal.reason == reason), "{reason}");
        }
    }
}
