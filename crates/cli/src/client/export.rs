use super::connection::MESSAGE;
use super::{Ask, ClientError, Connection, Step};
use firebreak_domain::{EndpointId, Recipient};
use firebreak_wire::export::v1::export_service_client::ExportServiceClient;
use firebreak_wire::export::v1::{ExportKind, RequestExportRequest, request_export_response};
use firebreak_wire::export_kind_name;
use firebreak_wire::query::v1::{Accepted, Released};

/// What an export adds to a question.
#[derive(Debug, Clone)]
pub struct Export {
    /// The kind. Everything but `dp_aggregate` is refused, to everybody.
    pub kind: ExportKind,
    /// The registered endpoint that receives; the caller's organisation where none is named.
    pub endpoint: Option<String>,
    /// The dataset, for a kind that has no question.
    pub dataset: Option<String>,
}

/// A table as a file.
#[derive(Debug, Clone)]
pub struct ExportAnswer {
    /// Cost, dataset, cut, headings.
    pub accepted: Accepted,
    /// The CSV file.
    pub file: Vec<u8>,
    /// Release id, receipt, what is left, what the figures estimate.
    pub released: Released,
}

/// Asks for an export and waits for the file, reporting each step as it comes.
///
/// # Errors
/// As [`super::run_query`].
pub async fn request_export(
    connection: &Connection,
    ask: &Ask,
    export: &Export,
    report: &mut (dyn FnMut(Step<'_>) + Send),
) -> Result<ExportAnswer, ClientError> {
    let endpoint = export.endpoint.clone().unwrap_or_default();
    let dataset = export.dataset.clone().unwrap_or_default();
    // An endpoint whose name is malformed is registered nowhere: the request goes out to be refused as such.
    let recipient =
        EndpointId::new(endpoint.clone()).map_or_else(|_| connection.own_organisation(), Recipient::Endpoint);
    let header = connection.sign(ask, ask.export(export_kind_name(export.kind), &dataset), recipient)?;
    let request = RequestExportRequest {
        header: Some(header),
        kind: export.kind.into(),
        question: ask.sql.as_ref().map(|_| ask.question()),
        endpoint,
        dataset,
    };
    let mut client = ExportServiceClient::new(connection.channel()).max_decoding_message_size(MESSAGE);
    let mut steps = client.request_export(request).await?.into_inner();
    let (mut accepted, mut file, mut released) = (None, Vec::new(), None);
    while let Some(message) = steps.message().await? {
        use request_export_response::Step as Wire;
        match message.step {
            None => {}
            Some(Wire::Accepted(step)) => report(Step::Accepted(accepted.insert(step))),
            Some(Wire::Progress(progress)) => report(Step::Progress(&progress.step)),
            Some(Wire::Chunk(chunk)) => file.extend_from_slice(&chunk),
            Some(Wire::Released(step)) => released = Some(step),
        }
    }
    match (accepted, released) {
        (Some(accepted), Some(released)) => Ok(ExportAnswer { accepted, file, released }),
        _ => Err(ClientError::Answer("it ended before the release; the same request id may be sent again at no cost")),
    }
}
