//! Flight SQL by the Arrow project's own Rust client, which says every status as it came.

use super::{AGREEMENT, PURPOSE};
use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::utils::flight_data_to_batches;
use arrow_flight::{Action, FlightData, FlightDescriptor, FlightInfo, SchemaResult, Ticket};
use firebreak_testbed::{Address, Federation, gateway_identity};
use firebreak_transport::connect;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// An analyst's connection.
#[derive(Clone)]
pub struct Client {
    /// The connection.
    pub channel: Channel,
    flight: FlightServiceClient<Channel>,
}

/// The descriptor of a question.
pub fn question(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// A call under the agreement and for the purpose of these tests.
fn under<T>(message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("firebreak-agreement", AGREEMENT.parse()?);
    request.metadata_mut().insert("firebreak-purpose", PURPOSE.parse()?);
    Ok(request)
}

impl Client {
    pub async fn open(federation: &Federation, gateway: Address, id: &str) -> Result<Self> {
        let credential = federation.issue("nso", "analyst", id)?;
        let trust = federation.authority().trust_anchor()?;
        let channel = connect(&gateway.to_string(), &credential, &trust, &gateway_identity().parse()?).await?;
        Ok(Self { flight: FlightServiceClient::new(channel.clone()), channel })
    }

    pub async fn flight_info(&self, sql: &str) -> Result<Result<FlightInfo, Status>> {
        let told = self.flight.clone().get_flight_info(under(question(sql))?).await;
        Ok(told.map(tonic::Response::into_inner))
    }

    pub async fn schema(&self, sql: &str) -> Result<Result<SchemaResult, Status>> {
        let told = self.flight.clone().get_schema(under(question(sql))?).await;
        Ok(told.map(tonic::Response::into_inner))
    }

    pub async fn ticket(&self, sql: &str) -> Result<Ticket> {
        let info = self.flight_info(sql).await??;
        info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket).context("no ticket")
    }

    /// Takes an action; the bodies of its results.
    pub async fn act(&self, kind: &str, body: Vec<u8>) -> Result<Result<Vec<Vec<u8>>, Status>> {
        let request = under(Action::new(kind, body))?;
        let taken = async {
            let mut results = self.flight.clone().do_action(request).await?.into_inner();
            let mut bodies = Vec::new();
            while let Some(result) = results.message().await? {
                bodies.push(result.body.to_vec());
            }
            Ok::<_, Status>(bodies)
        };
        Ok(taken.await)
    }

    /// Shows a ticket; the number of messages with rows that come.
    pub async fn show(&self, ticket: &Ticket) -> Result<usize, Status> {
        let messages = self.shown(ticket).await?;
        Ok(messages.iter().filter(|message| !message.data_body.is_empty()).count())
    }

    /// Shows a ticket; the rows that come.
    pub async fn rows(&self, ticket: &Ticket) -> Result<Vec<RecordBatch>> {
        Ok(flight_data_to_batches(&self.shown(ticket).await?)?)
    }

    async fn shown(&self, ticket: &Ticket) -> Result<Vec<FlightData>, Status> {
        let mut messages = self.flight.clone().do_get(ticket.clone()).await?.into_inner();
        let mut all = Vec::new();
        while let Some(message) = messages.message().await? {
            all.push(message);
        }
        Ok(all)
    }
}
