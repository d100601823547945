//! The same mistakes as bytes: at the gateway, and at every adapter by a gateway that passes on whatever it is given.

use super::{RECEIVER, Told, mistaken_questions};
use crate::refusals::request::{Request, Sent, What};
use anyhow::{Result, ensure};
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, CommandGetTables, CommandStatementQuery, ProstMessageExt,
    TicketStatementQuery,
};
use arrow_flight::{Action, FlightDescriptor, Ticket};
use firebreak_domain::{Clock, SystemClock};
use firebreak_population::Canary;
use firebreak_testbed::{AGENCIES, gateway_identity};
use firebreak_tests::{Caller, Header, Shared, hear, hear_under};
use firebreak_transport::connect;
use firebreak_wire::agency::v1::{
    AcceptTunnelHeader, AcceptTunnelRequest, Claim, ExecuteQueryRequest, ListCapsRequest, ListOutstandingLeavesRequest,
    accept_tunnel_request,
};
use firebreak_wire::export::v1::{ExportKind, RequestExportRequest};
use firebreak_wire::matching::v1::TunnelHeader;
use firebreak_wire::query::v1::RunQueryRequest;
use firebreak_wire::sql_question;
use prost::Message;
use tonic::transport::Channel;

const EXECUTE: &str = "/firebreak.agency.v1.AgencyService/ExecuteQuery";
const TUNNEL: &str = "/firebreak.agency.v1.AgencyService/AcceptTunnel";
const CAPS: &str = "/firebreak.agency.v1.AgencyService/ListCaps";
const LEAVES: &str = "/firebreak.agency.v1.AgencyService/ListOutstandingLeaves";
const RUN: &str = "/firebreak.query.v1.QueryService/RunQuery";
const FLIGHT: &str = "/arrow.flight.protocol.FlightService/";
const EXPORT: &str = "/firebreak.export.v1.ExportService/RequestExport";

/// What a gateway sends on to an adapter.
fn executed(sent: &Sent) -> Vec<u8> {
    let claim = Some(Claim { principal: sent.claim.clone() });
    let (header, question, export) = (Some(sent.header.clone()), sent.question.clone(), sent.export.clone());
    ExecuteQueryRequest { claim, header, question, export }.encode_to_vec()
}

/// What a caller sends to the gateway, and by which call.
fn asked(sent: &Sent) -> (&'static str, Vec<u8>) {
    let (header, question) = (Some(sent.header.clone()), sent.question.clone());
    match sent.export.clone() {
        None => (RUN, RunQueryRequest { header, question }.encode_to_vec()),
        Some(export) => {
            let (kind, endpoint, dataset) = (export.kind, export.endpoint, export.dataset);
            (EXPORT, RequestExportRequest { header, kind, question, endpoint, dataset }.encode_to_vec())
        }
    }
}

/// Every request into which the person's identifiers were typed, signed by its caller; and such as no client of ours
/// would send, which are not.
fn requests(own: &Shared, canary: &Canary) -> Result<Vec<Sent>> {
    let ada = |what| Request { who: Caller::ADA, agreement: "health-statistics", purpose: "health-planning", what };
    let signed = |request: Request| request.signed(&own.federation, SystemClock.now(), 0);
    let plain = signed(ada(What::Query("SELECT COUNT(*) AS n FROM health.visits")))?;
    let mut all = Vec::new();
    for sql in mistaken_questions(canary) {
        let sql: &'static str = sql.leak();
        all.push(signed(ada(What::Query(sql)))?);
        for kind in [ExportKind::Identifiable, ExportKind::DpAggregate] {
            let what = What::Export(kind, None, sql);
            let table = Request { agreement: "shared-tables", purpose: "service-planning", ..ada(what) };
            all.push(signed(table)?);
        }
        all.push(Sent { question: Some(sql_question(sql)), ..plain.unsigned() });
    }
    let number = canary.national_number.clone();
    for typed in [number.clone(), number.to_lowercase()] {
        let mut changed = [plain.clone(), plain.clone(), plain.clone()];
        let [agreement, purpose, cut] = &mut changed;
        agreement.header.agreement.clone_from(&typed);
        purpose.header.purpose.clone_from(&typed);
        cut.question.iter_mut().for_each(|question| question.cut.clone_from(&typed));
        all.extend(changed.iter().map(Sent::unsigned));
        all.extend(changed);
        let export = firebreak_wire::agency::v1::Export {
            kind: ExportKind::Identifiable.into(),
            endpoint: typed.clone(),
            dataset: typed,
        };
        all.push(Sent { export: Some(export), ..plain.clone() });
    }
    Ok(all)
}

async fn gateway(own: &Shared) -> Result<Channel> {
    let Caller(org, role, id) = Caller::ADA;
    let (credential, trust) = (own.federation.issue(org, role, id)?, own.federation.authority().trust_anchor()?);
    Ok(connect(&own.live.address.to_string(), &credential, &trust, &gateway_identity().parse()?).await?)
}

/// Sends all of them to the gateway and to every adapter, and keeps every byte of what each says.
pub async fn made(own: &Shared, canary: &Canary, told: &mut Told) -> Result<()> {
    let gateway = gateway(own).await?;
    let number = &canary.national_number;
    for sent in requests(own, canary)? {
        let (path, request) = asked(&sent);
        told.keep("the gateway", hear(&gateway, path, request).await?);
        for (agency, _, _) in AGENCIES {
            told.keep(agency, hear(&own.liar.channel(agency)?, EXECUTE, executed(&sent)).await?);
        }
    }
    by_flight(&gateway, canary, told).await?;
    let plain = "SELECT COUNT(*) AS n FROM health.visits";
    let what = What::Query(plain);
    let ada = Request { who: Caller::ADA, agreement: "health-statistics", purpose: "health-planning", what };
    let sent = ada.signed(&own.federation, SystemClock.now(), 0)?;
    for (agency, _, _) in AGENCIES {
        let channel = own.liar.channel(agency)?;
        let claimed = Sent { claim: number.clone(), ..sent.clone() };
        told.keep(agency, hear(&channel, EXECUTE, executed(&claimed)).await?);
        told.keep(agency, hear(&channel, &format!("{EXECUTE}{number}"), executed(&sent)).await?);
        let mut header = sent.header.clone();
        header.agreement.clone_from(number);
        let claim = Some(Claim { principal: sent.claim.clone() });
        let header =
            AcceptTunnelHeader { claim, tunnel: Some(TunnelHeader { header: Some(header), join: Vec::new() }) };
        let frame = Some(accept_tunnel_request::Frame::Header(header));
        told.keep(agency, hear(&channel, TUNNEL, AcceptTunnelRequest { frame }.encode_to_vec()).await?);
        let claim = Some(Claim { principal: sent.claim.clone() });
        let caps = ListCapsRequest { claim, agreement: number.clone() };
        told.keep(agency, hear(&channel, CAPS, caps.encode_to_vec()).await?);
    }
    // What an adapter answers to a question that is none of these mistakes: noisy figures of that birth year.
    let sql = format!("SELECT COUNT(*) AS n FROM health.visits WHERE birth_year = {}", canary.birth_year);
    let counted =
        Request { what: What::Query(sql.leak()), ..ada }.signed(&own.federation, SystemClock.now(), 70_000)?;
    let heard = hear(&own.liar.channel(RECEIVER)?, EXECUTE, executed(&counted)).await?;
    let released = String::from_utf8_lossy(&heard).contains("kind release");
    ensure!(released, "the adapter did not answer the false gateway: {}", String::from_utf8_lossy(&heard));
    told.keep(RECEIVER, heard);
    Ok(())
}

/// The same typed into calls of Flight SQL: question, agreement, purpose, ticket, a filter of the catalogue.
async fn by_flight(gateway: &Channel, canary: &Canary, told: &mut Told) -> Result<()> {
    let (agreement, purpose) = ("health-statistics-unsigned", "health-planning");
    let plain = "SELECT COUNT(*) AS n FROM health.visits";
    let number = canary.national_number.as_str();
    let statement = |sql: &str| {
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        FlightDescriptor::new_cmd(command.as_any().encode_to_vec()).encode_to_vec()
    };
    let mut calls: Vec<(&str, [Header<'_>; 2], Vec<u8>)> = Vec::new();
    let good = [("firebreak-agreement", agreement), ("firebreak-purpose", purpose)];
    for sql in mistaken_questions(canary) {
        calls.push(("GetFlightInfo", good, statement(&sql)));
        calls.push(("GetSchema", good, statement(&sql)));
        let prepared = ActionCreatePreparedStatementRequest { query: sql, transaction_id: None };
        let action = Action::new("CreatePreparedStatement", prepared.as_any().encode_to_vec());
        calls.push(("DoAction", good, action.encode_to_vec()));
    }
    calls.push(("DoAction", good, Action::new(number, number.as_bytes().to_vec()).encode_to_vec()));
    calls.push(("DoGet", good, Ticket::new(number.as_bytes().to_vec()).encode_to_vec()));
    let ticket = TicketStatementQuery { statement_handle: number.as_bytes().to_vec().into() };
    calls.push(("DoGet", good, Ticket::new(ticket.as_any().encode_to_vec()).encode_to_vec()));
    let tables = CommandGetTables { catalog: Some(number.to_owned()), ..CommandGetTables::default() };
    calls.push(("DoGet", good, Ticket::new(tables.as_any().encode_to_vec()).encode_to_vec()));
    for typed in [number.to_owned(), number.to_lowercase()] {
        for headers in [
            [("firebreak-agreement", typed.as_str()), good[1]],
            [good[0], ("firebreak-purpose", typed.as_str())],
            [good[0], ("firebreak-agreement", typed.as_str())],
        ] {
            let path = format!("{FLIGHT}GetFlightInfo");
            told.keep("Flight SQL", hear_under(gateway, &path, &headers, statement(plain)).await?);
        }
    }
    for (method, headers, request) in calls {
        told.keep("Flight SQL", hear_under(gateway, &format!("{FLIGHT}{method}"), &headers, request).await?);
    }
    Ok(())
}

/// Keeps what each adapter has for the log.
pub async fn outstanding(own: &Shared, told: &mut Told) -> Result<()> {
    for (agency, _, _) in AGENCIES {
        let request = ListOutstandingLeavesRequest {}.encode_to_vec();
        told.keep(agency, hear(&own.liar.channel(agency)?, LEAVES, request).await?);
    }
    Ok(())
}
