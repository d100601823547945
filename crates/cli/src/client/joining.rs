use super::matching::local;
use super::{ClientError, Connection};
use firebreak_domain::RequestId;
use firebreak_wire::local::v1::{ReplayJoinRequest, ReplayedJoin};

/// Has the own agency's adapter make again what it sent in a join that was asked for under that request id, and say
/// whether it is what it committed to; one for each caller who chose the id.
///
/// # Errors
/// [`ClientError`], [`ClientError::Refused`] to anybody but a steward.
pub async fn replay_join(connection: &Connection, request: &RequestId) -> Result<Vec<ReplayedJoin>, ClientError> {
    let request = ReplayJoinRequest { request_id: request.as_bytes().to_vec() };
    Ok(local(connection).replay_join(request).await?.into_inner().joins)
}
