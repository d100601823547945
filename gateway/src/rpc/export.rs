use super::query::{RunStep, released, run};
use super::status;
use crate::app::App;
use bytes::Bytes;
use firebreak_format::csv;
use firebreak_node::{RequestedExport, SubmittedQuery};
use firebreak_transport::peer;
use firebreak_wire::answer_rows;
use firebreak_wire::export::v1::export_service_server::ExportService;
use firebreak_wire::export::v1::{self as wire, request_export_response::Step};
use firebreak_wire::query::v1::Accepted;
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
            // The headings of the file are those that were announced: they know what counts registrations.
            let mut announced = Arc::default();
            let step = |step| {
                if let RunStep::Accepted(accepted) = &step {
                    announced = Arc::new(Accepted::clone(accepted));
                }
                say(send.clone(), Arc::clone(&announced), step)
            };
            let end = run(&app, submitted, message, &caller, step).await;
            wake.notify_one();
            if let Err(unanswered) = end {
                let _ = send.send(Err(status(unanswered))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

type Said = mpsc::Sender<Result<wire::RequestExportResponse, Status>>;

async fn say(send: Said, announced: Arc<Accepted>, step: RunStep) {
    let step = match step {
        RunStep::Accepted(accepted) => Step::Accepted(*accepted),
        RunStep::Progress(progress) => Step::Progress(progress),
        RunStep::Finished(finished) => {
            // A table as RFC 4180 has it.
            let table = csv::answer(&announced, &answer_rows(&finished.answer));
            for chunk in table.as_bytes().chunks(CHUNK) {
                let chunk = Step::Chunk(chunk.to_vec());
                let _ = send.send(Ok(wire::RequestExportResponse { step: Some(chunk) })).await;
            }
            Step::Released(released(*finished))
        }
    };
    let _ = send.send(Ok(wire::RequestExportResponse { step: Some(step) })).await;
}
