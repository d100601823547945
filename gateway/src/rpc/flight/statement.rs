//! Questions: priced when they are described, answered when their ticket is shown.

use super::sealed::Ticket;
use super::under::{Under, without_signature};
use super::{Flight, unlaid};
use crate::app::{App, Unanswered};
use crate::rpc::query::{RunStep, announced, estimand, foreseen, left, released, run};
use crate::rpc::{refused, status};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo};
use bytes::Bytes;
use firebreak_domain::{Identity, Intent};
use firebreak_format::arrow as table;
use firebreak_node::{SubmittedQuery, Unread};
use firebreak_policy::Denial;
use firebreak_wire::query::v1::{Accepted, Question, Released, RunQueryRequest};
use firebreak_wire::{answer_rows, question_from_wire, sql_question};
use prost::Message;
use prost_types::Timestamp;
use std::sync::Arc;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// A question that was not permitted, before anything is recorded of it.
enum Undecided {
    Unread(Unread),
    Denied(Box<(Denial, Intent)>),
}

impl Flight {
    /// Decides and prices a question under the headers of this call, for somebody who means to have it answered: a
    /// refusal leaves its evidence. Nothing is charged or read.
    pub(super) async fn price(
        &self,
        caller: &Identity,
        metadata: &MetadataMap,
        question: Question,
    ) -> Result<(Ticket, Accepted), Status> {
        let ticket = self.named(caller, metadata, question)?;
        let undecided = match self.decide(caller, &ticket) {
            Ok(accepted) => return Ok((ticket, accepted)),
            Err(undecided) => undecided,
        };
        let (app, wake, caller) = (Arc::clone(&self.app), Arc::clone(&self.wake), caller.clone());
        // Evidence is made also when the caller is gone.
        let recorded = tokio::spawn(async move {
            let unanswered = match undecided {
                Undecided::Unread(unread) => app.refuse_unread(unread, &caller).await,
                Undecided::Denied(denied) => {
                    let (denial, intent) = *denied;
                    app.refuse(denial, Some(&intent)).await
                }
            };
            wake.notify_one();
            status(unanswered)
        });
        Err(recorded.await.unwrap_or_else(|_| unlaid()))
    }

    /// The same for somebody who wants to know the columns alone: nothing is recorded either.
    pub(super) fn describe(
        &self,
        caller: &Identity,
        metadata: &MetadataMap,
        question: Question,
    ) -> Result<Accepted, Status> {
        let ticket = self.named(caller, metadata, question)?;
        self.decide(caller, &ticket).map_err(|undecided| match undecided {
            Undecided::Unread(unread) => refused(self.app.foresee_unread(unread, caller)),
            Undecided::Denied(denied) => refused(denied.0.refusal),
        })
    }

    fn named(&self, caller: &Identity, metadata: &MetadataMap, question: Question) -> Result<Ticket, Status> {
        let query = question_from_wire(Some(&question)).ok();
        let dataset = query.as_ref().and_then(|query| query.datasets().next());
        let under = Under::of(metadata, &self.app, caller, dataset).map_err(refused)?;
        Ticket::new(under, question, self.app.state().now())
    }

    fn decide(&self, caller: &Identity, ticket: &Ticket) -> Result<Accepted, Undecided> {
        let submitted = read(&ticket.request).map_err(Undecided::Unread)?;
        let decided = self.app.foresee(&submitted, caller).map_err(|Denial { refusal, facts }| {
            let dataset = submitted.query.as_ref().ok().and_then(|query| query.datasets().next());
            let refusal = without_signature(refusal, &self.app, caller, dataset);
            Undecided::Denied(Box::new((Denial { refusal, facts }, submitted.intent(caller))))
        })?;
        Ok(announced(decided.logical.as_ref(), &decided.query, decided.cost, &decided.price))
    }

    /// A priced question, and the ticket for its answer.
    ///
    /// The schema is left to the answer: its metadata hold the receipt, and clients show that of the two which comes
    /// first.
    pub(super) fn flight_info(
        &self,
        caller: &Identity,
        descriptor: FlightDescriptor,
        (ticket, accepted): &(Ticket, Accepted),
    ) -> Result<FlightInfo, Status> {
        let sealed = self.tickets.seal_ticket(caller, ticket)?;
        let shown = TicketStatementQuery { statement_handle: sealed.into() }.as_any().encode_to_vec();
        let endpoint = FlightEndpoint::new()
            .with_ticket(arrow_flight::Ticket::new(shown))
            .with_expiration_time(Timestamp { seconds: ticket.expires.secs(), nanos: 0 });
        Ok(FlightInfo::new()
            .with_descriptor(descriptor)
            .with_endpoint(endpoint)
            .with_app_metadata(accepted.encode_to_vec()))
    }

    /// Answers the request in a ticket, by the path of every request.
    pub(super) async fn answer(&self, caller: Identity, ticket: &[u8]) -> Result<RecordBatch, Status> {
        let request = self.tickets.open_ticket(&caller, ticket).map_err(refused)?;
        let (app, wake) = (Arc::clone(&self.app), Arc::clone(&self.wake));
        // The work goes on when the caller is gone: what is charged is also stored, for the same ticket to find.
        let answered = tokio::spawn(async move {
            let answered = execute(&app, &caller, &request).await;
            wake.notify_one();
            answered
        });
        answered.await.map_err(|_| unlaid())?
    }
}

fn read(request: &RunQueryRequest) -> Result<SubmittedQuery, Unread> {
    SubmittedQuery::read(request.header.as_ref(), request.question.as_ref(), None)
}

async fn execute(app: &App, caller: &Identity, request: &RunQueryRequest) -> Result<RecordBatch, Status> {
    let message = Arc::new(Bytes::from(request.encode_to_vec()));
    let (mut first, mut last) = (None, None);
    let note = |step| {
        match step {
            RunStep::Accepted(accepted) => first = Some(*accepted),
            RunStep::Finished(finished) => last = Some(finished),
            RunStep::Progress(_) => {}
        }
        std::future::ready(())
    };
    let ended: Result<(), Unanswered> = run(app, read(request), message, caller, note).await;
    ended.map_err(status)?;
    let (accepted, finished) = first.zip(last).ok_or_else(unlaid)?;
    let rows = answer_rows(&finished.answer);
    let remaining = left(&finished.left);
    let released = released(*finished);
    let schema = Arc::new(schema(&accepted, &released, &remaining));
    table::record_batch(schema, &accepted, &rows).map_err(|_| unlaid())
}

/// The schema that an answer will have, as far as it is known before there is one.
pub(super) fn foreseen_schema(accepted: &Accepted) -> Schema {
    schema(accepted, &Released { estimand: estimand(foreseen(accepted)), ..Released::default() }, "")
}

/// The columns of an answer, with what it is an answer to as metadata.
fn schema(accepted: &Accepted, released: &Released, left: &str) -> Schema {
    let more = [("receipt", released.receipt.clone()), ("left", left.to_owned())];
    let more = more.into_iter().filter(|(_, value)| !value.is_empty());
    let told = table::metadata(accepted, released).into_iter().chain(more);
    table::schema(accepted).with_metadata(told.map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A statement as it came, once it names no transaction.
pub(super) fn asked(sql: &str, transaction: Option<&Bytes>) -> Result<Question, Status> {
    match transaction {
        Some(named) if !named.is_empty() => Err(super::unserved::transaction()),
        _ => Ok(sql_question(sql)),
    }
}
