//! A join made again for overseers, inside the agency.

use super::match_status;
use crate::app::{App, CommittedHashes, Replay, Replayed};
use firebreak_domain::RequestId;
use firebreak_wire::local::v1 as wire;
use tonic::Status;

pub(super) async fn run(app: &App, request: &wire::ReplayJoinRequest) -> Result<wire::ReplayJoinResponse, Status> {
    let request = RequestId::try_from(request.request_id.as_slice())
        .map_err(|_| Status::invalid_argument("request_id must be the 16 bytes that the analyst chose"))?;
    let replayed = app.replay_join(&request).await.map_err(match_status)?;
    Ok(wire::ReplayJoinResponse { joins: replayed.into_iter().map(joined).collect() })
}

fn joined(replayed: Replayed) -> wire::ReplayedJoin {
    let CommittedHashes { seed, key, terms, own_list } = replayed.committed;
    wire::ReplayedJoin {
        session: replayed.session.to_vec(),
        own_list: outcome(replayed.own_list).into(),
        added: outcome(replayed.added).into(),
        sent_on: outcome(replayed.sent_on).into(),
        leaf: replayed.leaf.map(Vec::from).unwrap_or_default(),
        commitment: outcome(replayed.commitment).into(),
        key: outcome(replayed.key).into(),
        terms: outcome(replayed.terms).into(),
        committed: Some(wire::ReplayedCommitment {
            seed: seed.to_vec(),
            key: key.map(Vec::from).unwrap_or_default(),
            terms: terms.to_vec(),
            own_list: own_list.to_vec(),
        }),
        sent: replayed.sent.map(|sent| wire::ReplayedSending {
            received: sent.received.to_vec(),
            added: sent.added.to_vec(),
            sent_on: sent.sent_on.to_vec(),
            their_key: sent.their_key.to_vec(),
        }),
    }
}

const fn outcome(replay: Replay) -> wire::ReplayOutcome {
    match replay {
        Replay::Equal => wire::ReplayOutcome::Equal,
        Replay::Different => wire::ReplayOutcome::Different,
        Replay::NotSent => wire::ReplayOutcome::NotSent,
        Replay::Gone => wire::ReplayOutcome::Gone,
        Replay::NotCommitted => wire::ReplayOutcome::NotCommitted,
    }
}
