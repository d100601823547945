//! What of its matches an agency's own staff takes out, and the register of it.

use super::{LocalMatch, ReceiverStream, TAKE, allowed};
use crate::app::{AskedHandOut, MatchError};
use crate::rpc::match_status;
use firebreak_domain::{Identity, RequestId};
use firebreak_format::records::RecordFormat;
use firebreak_node::SubmittedMatch;
use firebreak_store::{HandOutForm, HandedOut, RecordedMatch};
use firebreak_transport::peer;
use firebreak_wire::local::v1 as wire;
use firebreak_wire::local::v1::hand_out_response::Part;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

/// Bytes of a file in one message.
const PIECE: usize = 64 * 1024;
/// Keys in one message.
const KEYS: usize = 1000;
/// Entries of the register in one message.
const ENTRIES: usize = 500;

/// With the session, what a request is named by that asks whether its matches may be taken out.
const ASKED: RequestId = RequestId::from_bytes(*b"firebreak handed");

pub(super) type Parts<T> = ReceiverStream<Result<T, Status>>;

/// Somebody who takes out what a session matched.
struct Taking {
    officer: Identity,
    session: [u8; 32],
    recorded: RecordedMatch,
    submitted: SubmittedMatch,
}

impl LocalMatch {
    pub(super) async fn send_list(
        &self,
        request: Request<wire::ListMatchedRequest>,
    ) -> Result<Response<Parts<wire::ListMatchedResponse>>, Status> {
        let officer = officer(&request)?;
        let taking = self.taking(officer, &request.into_inner().session_id).await?;
        let (keys, _) = self.app.hand_out_list(&self.asked(&taking)).await.map_err(not_handed_out)?;
        let by = self.app.state().matched_by(&taking.session).await.map_err(|e| not_handed_out(e.into()))?;
        let (key, provisional) = by.map(|by| (String::from(by.key), by.provisional)).unwrap_or_default();
        // What is said of all stands before the first of them, and of none as well.
        let first = wire::ListMatchedResponse { persons: Vec::new(), key, provisional };
        let batches = batches(keys, KEYS).map(|persons| wire::ListMatchedResponse { persons, ..Default::default() });
        Ok(sent(std::iter::once(first).chain(batches)))
    }

    pub(super) async fn send_file(
        &self,
        request: Request<wire::HandOutRequest>,
    ) -> Result<Response<Parts<wire::HandOutResponse>>, Status> {
        let officer = officer(&request)?;
        let request = request.into_inner();
        let format = match request.form() {
            wire::HandOutForm::Csv => RecordFormat::Csv,
            wire::HandOutForm::Parquet => RecordFormat::Parquet,
            wire::HandOutForm::Unspecified | wire::HandOutForm::List => {
                return Err(Status::invalid_argument("a file is handed out as CSV or as Parquet"));
            }
        };
        let taking = self.taking(officer, &request.session_id).await?;
        // INVARIANT: the register holds it before this returns.
        let (file, entry) = self.app.hand_out(&self.asked(&taking), format).await.map_err(not_handed_out)?;
        let pieces = file.len().div_ceil(PIECE);
        let piece = move |number: usize| {
            let rest = file.get(number.saturating_mul(PIECE)..).unwrap_or_default();
            Part::Piece(rest.get(..PIECE).unwrap_or(rest).to_vec())
        };
        let parts = (0..pieces).map(piece).chain([Part::HandedOut(to_wire(&entry))]);
        Ok(sent(parts.map(|part| wire::HandOutResponse { part: Some(part) })))
    }

    pub(super) async fn send_register(&self) -> Result<Response<Parts<wire::ListHandedOutResponse>>, Status> {
        let entries = self.app.state().handed_out().await.map_err(|error| {
            tracing::error!(error_kind = %error, "the register of what was handed out could not be read");
            Status::internal("the register cannot be read whole: its keeper finds in the adapter's own log why")
        })?;
        let entries = entries.iter().map(to_wire).collect();
        Ok(sent(batches(entries, ENTRIES).map(|entries| wire::ListHandedOutResponse { entries })))
    }

    async fn taking(&self, officer: Identity, session: &[u8]) -> Result<Taking, Status> {
        let session =
            <[u8; 32]>::try_from(session).map_err(|_| Status::invalid_argument("a session id has 32 bytes"))?;
        let recorded = self.app.state().recorded_match(&session).await.map_err(|e| not_handed_out(e.into()))?;
        let recorded = recorded.ok_or_else(|| {
            Status::not_found("no match of that session is recorded here: name one as `firebreak match` showed it")
        })?;
        let request = wire::RunMatchRequest {
            agreement: recorded.agreement.to_string(),
            purpose: recorded.purpose.to_string(),
            hand_out: true,
            request_id: ASKED.further(&session).as_bytes().to_vec(),
            ..wire::RunMatchRequest::default()
        };
        let submitted = self.signed(&request).await?;
        Ok(Taking { officer, session, recorded, submitted })
    }

    fn asked<'a>(&'a self, taking: &'a Taking) -> AskedHandOut<'a> {
        AskedHandOut {
            submitted: &taking.submitted,
            own: self.way.credential.identity(),
            officer: &taking.officer,
            session: taking.session,
            recorded: &taking.recorded,
        }
    }
}

/// Who calls, if it is an officer.
fn officer<T>(request: &Request<T>) -> Result<Identity, Status> {
    allowed(request, TAKE)?;
    Ok(peer(request)?.identity.clone())
}

/// What there is, so many at a time.
pub(super) fn batches<T>(all: Vec<T>, most: usize) -> impl Iterator<Item = Vec<T>> {
    let mut rest = all.into_iter();
    std::iter::from_fn(move || Some(rest.by_ref().take(most).collect::<Vec<_>>()).filter(|some| !some.is_empty()))
}

/// Sends what there is, as fast as it is taken.
pub(super) fn sent<T: Send + 'static>(parts: impl Iterator<Item = T> + Send + 'static) -> Response<Parts<T>> {
    let (send, receive) = mpsc::channel(4);
    tokio::spawn(async move {
        for part in parts {
            if send.send(Ok(part)).await.is_err() {
                return;
            }
        }
    });
    Response::new(ReceiverStream::new(receive))
}

fn to_wire(entry: &HandedOut) -> wire::HandedOut {
    let HandedOut { number, at, what } = entry;
    wire::HandedOut {
        number: *number,
        officer: what.officer.to_string(),
        at: at.secs(),
        session_id: what.session.to_vec(),
        agreement: what.agreement.to_string(),
        purpose: what.purpose.to_string(),
        form: match what.form {
            HandOutForm::List => wire::HandOutForm::List,
            HandOutForm::Csv => wire::HandOutForm::Csv,
            HandOutForm::Parquet => wire::HandOutForm::Parquet,
        }
        .into(),
        rows: what.rows,
        sha256: what.sha256.to_vec(),
    }
}

fn not_handed_out(error: MatchError) -> Status {
    match error {
        refused @ MatchError::Refused(_) => match_status(refused),
        error => {
            tracing::error!(error_kind = %error, "matched keys could not be handed out");
            Status::internal("nothing was handed out: the agency's state could not be read or written; ask again")
        }
    }
}
