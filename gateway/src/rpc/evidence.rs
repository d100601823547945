use super::{refused, status};
use crate::app::{App, KeptOpening};
use firebreak_transport::peer;
use firebreak_wire::evidence::v1 as wire;
use firebreak_wire::evidence::v1::evidence_service_server::EvidenceService;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Bytes of openings in one message.
const MESSAGE: usize = 1024 * 1024;

/// What overseers review.
pub struct Evidence {
    app: Arc<App>,
}

impl Evidence {
    /// Serves `app`.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// The openings in messages of about 1 MiB, far below what clients take; one at least, which tells the log's size.
fn messages(openings: Vec<KeptOpening>) -> Vec<Vec<wire::SealedOpening>> {
    let mut messages = vec![Vec::new()];
    let mut bytes = 0;
    for KeptOpening { index, sealed } in openings {
        bytes += sealed.len();
        if bytes > MESSAGE {
            bytes = sealed.len();
            messages.push(Vec::new());
        }
        if let Some(last) = messages.last_mut() {
            last.push(wire::SealedOpening { index, sealed });
        }
    }
    messages
}

#[tonic::async_trait]
impl EvidenceService for Evidence {
    type ListOpeningsStream = ReceiverStream<Result<wire::ListOpeningsResponse, Status>>;

    async fn list_openings(
        &self,
        request: Request<wire::ListOpeningsRequest>,
    ) -> Result<Response<Self::ListOpeningsStream>, Status> {
        let caller = peer(&request)?.identity.clone();
        self.app.check_oversight(&caller).map_err(refused)?;
        let (app, mut from) = (Arc::clone(&self.app), request.into_inner().from);
        let (send, receive) = mpsc::channel(2);
        tokio::spawn(async move {
            loop {
                let page = match app.openings(from).await {
                    Ok(page) => page,
                    Err(failure) => {
                        let _ = send.send(Err(status(failure.into()))).await;
                        return;
                    }
                };
                for openings in messages(page.openings) {
                    let message = wire::ListOpeningsResponse { openings, log_size: page.log_size };
                    if send.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                if page.next >= page.log_size {
                    return;
                }
                from = page.next;
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}
