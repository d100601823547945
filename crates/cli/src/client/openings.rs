use super::connection::MESSAGE;
use super::{ClientError, Connection};
use firebreak_wire::evidence::v1::ListOpeningsRequest;
use firebreak_wire::evidence::v1::evidence_service_client::EvidenceServiceClient;

/// What opens the leaves of the log from number `from` on, each sealed to the overseers, with the leaf's number: in
/// ascending order, to `each` as they come. Gives how many leaves the log has.
///
/// # Errors
/// [`ClientError`]; whatever `each` was given until then stands.
pub async fn list_openings(
    connection: &Connection,
    from: u64,
    each: &mut dyn FnMut(u64, &[u8]),
) -> Result<u64, ClientError> {
    let client = EvidenceServiceClient::new(connection.channel());
    let mut pages =
        client.max_decoding_message_size(MESSAGE).list_openings(ListOpeningsRequest { from }).await?.into_inner();
    let mut size = 0;
    while let Some(page) = pages.message().await? {
        for opening in &page.openings {
            each(opening.index, &opening.sealed);
        }
        size = page.log_size;
    }
    Ok(size)
}
