use super::matching::local;
use super::{ClientError, Connection};
use firebreak_wire::local::v1::{OpenSampleRequest, SampledPlace};

/// A sample of the set that a session committed to.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Places that were committed to, padding included.
    pub size: u32,
    /// The root over them.
    pub root: Vec<u8>,
    /// The hash of the log's leaf in which that stands.
    pub leaf: Vec<u8>,
    /// The places drawn, in ascending order.
    pub places: Vec<SampledPlace>,
}

/// Has the own agency's adapter open so many places of the set that a session committed to, drawn by `seed`, to a
/// steward.
///
/// # Errors
/// [`ClientError`], [`ClientError::Refused`] to anybody else.
pub async fn open_sample(
    connection: &Connection,
    session: &[u8],
    seed: &[u8],
    places: u32,
) -> Result<Sample, ClientError> {
    let request = OpenSampleRequest { session_id: session.to_vec(), seed: seed.to_vec(), places };
    let mut messages = local(connection).open_sample(request).await?.into_inner();
    let mut sample: Option<Sample> = None;
    while let Some(message) = messages.message().await? {
        let first = || Sample { size: message.size, root: message.root, leaf: message.leaf, places: Vec::new() };
        sample.get_or_insert_with(first).places.extend(message.places);
    }
    sample.ok_or(ClientError::Answer("it ended before anything was opened"))
}
