use super::query::{RunStep, released, run};
use super::status;
use crate::app::App;
use bytes::Bytes;
use firebreak_node::{RequestedExport, SubmittedQuery};
use firebreak_privacy::{Answer, AnswerColumn};
use firebreak_transport::peer;
use firebreak_wire::export::v1::export_service_server::ExportService;
use firebreak_wire::export::v1::{self as wire, request_export_response::Step};
use prost::Message;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Bytes of a file in one message.
const CHUNK: usize = 64 * 1024;

/// Tables as files.
pub struct Export {
    app: Arc<App>,
    wake: Arc<Notify>,
}

impl Export {
    /// Serves `app`; `wake` calls the courier.
    #[must_use]
    pub const fn new(app: Arc<App>, wake: Arc<Notify>) -> Self {
        Self { app, wake }
    }
}

#[tonic::async_trait]
impl ExportService for Export {
    type RequestExportStream = ReceiverStream<Result<wire::RequestExportResponse, Status>>;

    async fn request_export(
        &self,
        request: Request<wire::RequestExportRequest>,
    ) -> Result<Response<Self::RequestExportStream>, Status> {
        let caller = peer(&request)?.identity.clone();
        let request = request.into_inner();
        let (kind, endpoint, dataset) = (request.kind(), request.endpoint.as_str(), request.dataset.as_str());
        let export = RequestedExport { kind, endpoint, dataset };
        let submitted = SubmittedQuery::read(request.header.as_ref(), request.question.as_ref(), Some(export));
        let message = Arc::new(Bytes::from(request.encode_to_vec()));
        let (send, receive) = mpsc::channel(8);
        let (app, wake) = (Arc::clone(&self.app), Arc::clone(&self.wake));
        tokio::spawn(async move {
            let end = run(&app, submitted, message, &caller, |step| say(send.clone(), step)).await;
            wake.notify_one();
            if let Err(unanswered) = end {
                let _ = send.send(Err(status(unanswered))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

type Said = mpsc::Sender<Result<wire::RequestExportResponse, Status>>;

async fn say(send: Said, step: RunStep) {
    let step = match step {
        RunStep::Accepted(accepted) => Step::Accepted(accepted),
        RunStep::Progress(progress) => Step::Progress(progress),
        RunStep::Finished(finished) => {
            for chunk in csv(&finished.answer).as_bytes().chunks(CHUNK) {
                let chunk = Step::Chunk(chunk.to_vec());
                let _ = send.send(Ok(wire::RequestExportResponse { step: Some(chunk) })).await;
            }
            Step::Released(released(*finished))
        }
    };
    let _ = send.send(Ok(wire::RequestExportResponse { step: Some(step) })).await;
}

/// A table as RFC 4180 has it: the groups, then for each output value, standard error, interval and SDMX status; of a
/// quantile value, error in rank and status.
fn csv(answer: &Answer) -> String {
    let mut header: Vec<String> = answer.group_columns.iter().map(|c| field(c)).collect();
    for AnswerColumn { name, in_rank } in &answer.output_columns {
        let suffixes: &[&str] = if *in_rank {
            &["", "_rank_error", "_status"]
        } else {
            &["", "_standard_error", "_lower", "_upper", "_status"]
        };
        header.extend(suffixes.iter().map(|suffix| field(&format!("{name}{suffix}"))));
    }
    let mut out = header.join(",");
    out.push_str("\r\n");
    for row in &answer.rows {
        let mut fields: Vec<String> = row.groups.iter().map(|g| field(g)).collect();
        for (column, estimate) in answer.output_columns.iter().zip(&row.outputs) {
            let ends = estimate.interval.unzip();
            let numbers: &[Option<f64>] = if column.in_rank {
                &[estimate.value, estimate.rank_error]
            } else {
                &[estimate.value, estimate.standard_error, ends.0, ends.1]
            };
            fields.extend(numbers.iter().map(|number| number.map(|n| n.to_string()).unwrap_or_default()));
            fields.push(estimate.status.code().to_owned());
        }
        out.push_str(&fields.join(","));
        out.push_str("\r\n");
    }
    out
}

/// A field, quoted where it must be. One that a spreadsheet would take for a formula is kept a text.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_privacy::{AnswerRow, Estimate};
    use firebreak_query::OutputValue;

    #[test]
    fn a_table_quotes_what_it_must_and_a_quantile_has_its_own_columns() {
        let none = OutputValue { value: None, standard_error: None, interval: None, rank_error: None };
        let median = OutputValue { value: Some(2.5), rank_error: Some(0.01), ..none };
        let column = |name: &str, in_rank| AnswerColumn { name: name.into(), in_rank };
        let outputs = [none, median].map(Estimate::of).into();
        let answer = Answer {
            group_columns: vec!["a,b".into()],
            output_columns: vec![column("=n", false), column("m", true)],
            rows: vec![AnswerRow { groups: vec!["x\"y".into()], outputs }],
        };
        let heading = "\"a,b\",'=n,'=n_standard_error,'=n_lower,'=n_upper,'=n_status,m,m_rank_error,m_status\r\n";
        assert_eq!(csv(&answer), format!("{heading}\"x\"\"y\",,,,,O,2.5,0.01,A\r\n"));
    }
}
