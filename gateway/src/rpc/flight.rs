//! Flight SQL: the same questions, prices, refusals and catalogue, for clients that have a driver and no signature.

mod browse;
mod capabilities;
mod sealed;
mod statement;
mod under;
mod unserved;

pub use sealed::Tickets;

use crate::app::App;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    Any, Command, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use bytes::Bytes;
use firebreak_domain::{Identity, ReasonCode, Refusal};
use firebreak_transport::peer;
use firebreak_wire::query::v1::Question;
use prost::Message;
use statement::{asked, foreseen_schema};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_stream::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use unserved::unserved;

const CREATE: &str = "CreatePreparedStatement";
const CLOSE: &str = "ClosePreparedStatement";

/// Questions and the catalogue as Flight SQL has them.
///
/// The library's own dispatch (`FlightSqlService`) has no GetSchema and repeats in its errors what was sent, so the
/// commands are told apart here.
pub struct Flight {
    app: Arc<App>,
    wake: Arc<Notify>,
    tickets: Tickets,
}

impl Flight {
    /// Serves `app`; `wake` calls the courier.
    #[must_use]
    pub const fn new(app: Arc<App>, wake: Arc<Notify>, tickets: Tickets) -> Self {
        Self { app, wake, tickets }
    }

    /// What a command wants.
    fn wanted(&self, caller: &Identity, bytes: &[u8]) -> Result<Wanted, Status> {
        Ok(match command(bytes)? {
            Command::CommandStatementQuery(statement) => {
                Wanted::Answer(Box::new(asked(&statement.query, statement.transaction_id.as_ref())?))
            }
            Command::CommandPreparedStatementQuery(prepared) => {
                let opened = self.tickets.open_handle(caller, &prepared.prepared_statement_handle);
                Wanted::Answer(Box::new(opened.map_err(super::refused)?))
            }
            list => Wanted::List(self.browse(caller, list)?),
        })
    }

    async fn prepare(
        &self,
        caller: &Identity,
        metadata: &MetadataMap,
        body: &[u8],
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let wanted: ActionCreatePreparedStatementRequest = unpack(body)?;
        let question = asked(&wanted.query, wanted.transaction_id.as_ref())?;
        let handle = self.tickets.seal_handle(caller, &question)?;
        let (_, accepted) = self.price(caller, metadata, question).await?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema: encoded(&foreseen_schema(&accepted))?,
            parameter_schema: Bytes::new(),
        })
    }
}

/// What a command wants: the answer to a question, or a list, which is there at once.
enum Wanted {
    Answer(Box<Question>),
    List(RecordBatch),
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn malformed(what: &str) -> Status {
    super::refused(Refusal::new(ReasonCode::MalformedRequest).because(what))
}

/// The answer is there, or its shape, and cannot be sent.
fn unlaid() -> Status {
    Status::internal("the gateway could not lay out the answer; the same ticket costs nothing more")
}

/// The command in the bytes of a descriptor or of a ticket. Of what is in them nothing is repeated.
fn command(bytes: &[u8]) -> Result<Command, Status> {
    let any = Any::decode(bytes).map_err(|_| malformed("the command is not one of Flight SQL"))?;
    Command::try_from(any).map_err(|_| malformed("the command cannot be read"))
}

fn unpack<M: ProstMessageExt>(body: &[u8]) -> Result<M, Status> {
    let unpacked = Any::decode(body).ok().and_then(|any| any.unpack().ok().flatten());
    unpacked.ok_or_else(|| malformed("the action has not the body that belongs to it"))
}

/// A schema as Flight has it.
fn encoded(schema: &Schema) -> Result<Bytes, Status> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into().map_err(|_| unlaid())?;
    Ok(bytes)
}

/// A table as a stream: its schema, then its rows in messages that every client takes.
fn sent(batch: RecordBatch) -> Answers<FlightData> {
    let schema = batch.schema();
    let batches = tokio_stream::iter([Ok(batch)]);
    let messages = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    Box::pin(messages.map(|message| message.map_err(|_| unlaid())))
}

fn once<T: Send + 'static>(value: T) -> Answers<T> {
    Box::pin(tokio_stream::iter([Ok(value)]))
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let caller = peer(&request)?.identity.clone();
        let (metadata, _, descriptor) = request.into_parts();
        let info = match self.wanted(&caller, &descriptor.cmd)? {
            Wanted::Answer(question) => {
                let priced = self.price(&caller, &metadata, *question).await?;
                self.flight_info(&caller, descriptor, &priced)?
            }
            // A list is no secret from whoever may see it: its ticket is the command itself.
            Wanted::List(list) => {
                let ticket = Ticket::new(descriptor.cmd.clone());
                let info = FlightInfo::new().try_with_schema(&list.schema()).map_err(|_| unlaid())?;
                info.with_descriptor(descriptor).with_endpoint(FlightEndpoint::new().with_ticket(ticket))
            }
        };
        Ok(Response::new(info))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let caller = peer(&request)?.identity.clone();
        let schema = match self.wanted(&caller, &request.get_ref().cmd)? {
            Wanted::Answer(question) => {
                encoded(&foreseen_schema(&self.describe(&caller, request.metadata(), *question)?))
            }
            Wanted::List(list) => encoded(&list.schema()),
        };
        Ok(Response::new(SchemaResult { schema: schema? }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = peer(&request)?.identity.clone();
        let batch = match command(&request.get_ref().ticket)? {
            Command::TicketStatementQuery(ticket) => self.answer(caller, &ticket.statement_handle).await?,
            // SECURITY: only a ticket is answered, because only a ticket is one request however often it is shown.
            Command::CommandStatementQuery(_) | Command::CommandPreparedStatementQuery(_) => {
                return Err(unserved("a question as a ticket is", "ask GetFlightInfo for its ticket"));
            }
            list => self.browse(&caller, list)?,
        };
        Ok(Response::new(sent(batch)))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = peer(&request)?.identity.clone();
        let (metadata, _, action) = request.into_parts();
        match action.r#type.as_str() {
            CREATE => {
                let prepared = self.prepare(&caller, &metadata, &action.body).await?;
                Ok(Response::new(once(arrow_flight::Result::new(prepared.as_any().encode_to_vec()))))
            }
            // Nothing is kept of a prepared statement.
            CLOSE => {
                let _: ActionClosePreparedStatementRequest = unpack(&action.body)?;
                Ok(Response::new(Box::pin(tokio_stream::empty())))
            }
            other => Err(unserved::action(other)),
        }
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let described = [(CREATE, "Decides and prices a question; charges nothing."), (CLOSE, "Forgets it.")];
        let actions = described
            .map(|(kind, description)| Ok(ActionType { r#type: kind.to_owned(), description: description.to_owned() }));
        Ok(Response::new(Box::pin(tokio_stream::iter(actions))))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let first = request.into_inner().message().await?;
        let descriptor = first.and_then(|data| data.flight_descriptor);
        let descriptor = descriptor.ok_or_else(|| malformed("what is put begins with its descriptor"))?;
        Err(unserved::command(&command(&descriptor.cmd)?))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(unserved("a handshake is", "the certificate says who calls. Give neither user name nor password"))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(unserved("a list of flights is", "list the tables, by GetFlightInfo with CommandGetTables"))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(unserved("polling is", "ask GetFlightInfo, which answers at once"))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(unserved("an exchange is", "ask GetFlightInfo, then DoGet"))
    }
}
