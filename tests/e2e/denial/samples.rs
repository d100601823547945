//! Every method of every service that anybody here serves, with a well-formed request and who may make it.

use anyhow::{Result, bail};
use arrow_flight::sql::{CommandGetTables, ProstMessageExt};
use arrow_flight::{Action, FlightData, FlightDescriptor, Ticket};
use firebreak_domain::IdentityRole::{
    self, Adapter, Analyst, Authority, Caseworker, Endpoint, Gateway, Officer, Overseer, Steward,
};
use firebreak_domain::{Clock, ReasonCode, SystemClock};
use firebreak_testbed::TRUST_DOMAIN;
use firebreak_wire::export::v1::{ExportKind, RequestExportRequest};
use firebreak_wire::matching::v1::{OpenTunnelRequest, TunnelHeader, open_tunnel_request};
use firebreak_wire::query::v1::{
    CiteReleaseRequest, GetBudgetRequest, GetLossRequest, GetReleaseRequest, RequestHeader, RunQueryRequest,
    ValidateQueryRequest,
};
use firebreak_wire::{
    DESCRIPTORS, agency, catalogue, evidence, local, matching, publication, reason_to_wire, sql_question,
};
use prost::Message;
use prost_types::FileDescriptorSet;

/// Where a method is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the gateway's listener.
    AtGateway,
    /// At an adapter's listener for its agency's own staff.
    Local,
    /// On the connection that an adapter dialled out.
    Dialled,
    /// Inside a tunnel between two agencies.
    Tunnel,
}
use Place::{AtGateway, Dialled, Local, Tunnel};

/// A method as it is called.
pub struct Sample {
    /// Where it is served; nowhere else.
    pub place: Place,
    /// Who may call it there; nobody else.
    pub allowed: &'static [IdentityRole],
    /// A well-formed request.
    pub request: Vec<u8>,
}

impl Sample {
    /// Whether that role may make this call there.
    pub fn is_for(&self, place: Place, role: IdentityRole) -> bool {
        self.place == place && self.allowed.contains(&role)
    }
}

/// The descriptors of the project's own services, and of those that come with libraries.
const DESCRIBED: [&[u8]; 4] = [
    DESCRIPTORS,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// The methods of Flight (arrow/format/Flight.proto), whose library brings no descriptor.
const FLIGHT: [&str; 10] = [
    "DoAction",
    "DoExchange",
    "DoGet",
    "DoPut",
    "GetFlightInfo",
    "GetSchema",
    "Handshake",
    "ListActions",
    "ListFlights",
    "PollFlightInfo",
];

/// The paths of all methods of all services that anybody serves.
pub fn methods() -> Result<Vec<String>> {
    let mut paths: Vec<_> = FLIGHT.map(|method| format!("/arrow.flight.protocol.FlightService/{method}")).into();
    for described in DESCRIBED {
        for file in &FileDescriptorSet::decode(described)?.file {
            for service in &file.service {
                let path = |m: &prost_types::MethodDescriptorProto| {
                    format!("/{}.{}/{}", file.package(), service.name(), m.name())
                };
                paths.extend(service.method.iter().map(path));
            }
        }
    }
    Ok(paths)
}

fn header(agreement: &str, purpose: &str) -> RequestHeader {
    RequestHeader {
        format: 1,
        request_id: b"a denial's name!".to_vec(),
        agreement: agreement.to_owned(),
        purpose: purpose.to_owned(),
        expires: SystemClock.now().plus_secs(600).secs(),
        certificates: Vec::new(),
        signature: Vec::new(),
    }
}

/// The sample of a method; one that has none fails the suite.
///
/// Who may call it stands here and not in the gateway's own table: a row there that lets in too many is found.
pub fn sample(path: &str) -> Result<Sample> {
    let question = || Some(sql_question("SELECT COUNT(*) AS n FROM health.visits"));
    let asked = || Some(header("health-statistics", "health-planning"));
    let tunnel = || TunnelHeader { header: Some(header("vaccination-round", "vaccination-round")), join: Vec::new() };
    let claim = || Some(agency::v1::Claim { principal: format!("spiffe://{TRUST_DOMAIN}/org/nso/analyst/ada") });
    let (agreement, purpose) = ("health-statistics".to_owned(), "health-planning".to_owned());
    let tables = || CommandGetTables::default().as_any().encode_to_vec();
    let readers: &[IdentityRole] = &[Analyst, Endpoint, Overseer, Authority];
    let anybody: &[IdentityRole] = &[Gateway, Adapter, Analyst, Endpoint, Overseer, Authority];
    let (place, allowed, request) = match path {
        "/firebreak.query.v1.QueryService/RunQuery" => {
            let request = RunQueryRequest { header: asked(), question: question() };
            (AtGateway, &[Analyst][..], request.encode_to_vec())
        }
        "/firebreak.query.v1.QueryService/ValidateQuery" => {
            let request = ValidateQueryRequest { agreement, purpose, question: question(), half_width: None };
            (AtGateway, &[Analyst][..], request.encode_to_vec())
        }
        "/firebreak.query.v1.QueryService/GetBudget" => {
            (AtGateway, &[Analyst][..], GetBudgetRequest { agreement }.encode_to_vec())
        }
        "/firebreak.query.v1.QueryService/GetLoss" => (AtGateway, anybody, GetLossRequest {}.encode_to_vec()),
        "/firebreak.query.v1.QueryService/GetRelease" => {
            let request = GetReleaseRequest { header: asked(), release_id: "0f".repeat(16), roll_up: None };
            (AtGateway, &[Analyst][..], request.encode_to_vec())
        }
        "/firebreak.query.v1.QueryService/CiteRelease" => {
            let request = CiteReleaseRequest { agreement, purpose, release_id: "0f".repeat(16) };
            (AtGateway, &[Analyst][..], request.encode_to_vec())
        }
        "/firebreak.catalogue.v1.CatalogueService/ListDatasets" => {
            (AtGateway, readers, catalogue::v1::ListDatasetsRequest {}.encode_to_vec())
        }
        "/firebreak.catalogue.v1.CatalogueService/DescribeDataset" => {
            let request = catalogue::v1::DescribeDatasetRequest { dataset: "health.visits".to_owned() };
            (AtGateway, readers, request.encode_to_vec())
        }
        "/firebreak.evidence.v1.EvidenceService/ListOpenings" => {
            (AtGateway, &[Overseer][..], evidence::v1::ListOpeningsRequest { from: 0 }.encode_to_vec())
        }
        "/firebreak.export.v1.ExportService/RequestExport" => {
            let request = RequestExportRequest {
                header: asked(),
                kind: ExportKind::DpAggregate.into(),
                question: question(),
                endpoint: String::new(),
                dataset: String::new(),
            };
            (AtGateway, &[Analyst, Endpoint][..], request.encode_to_vec())
        }
        "/firebreak.matching.v1.MatchingService/OpenTunnel" => {
            let request = OpenTunnelRequest { frame: Some(open_tunnel_request::Frame::Header(tunnel())) };
            (AtGateway, &[Adapter][..], request.encode_to_vec())
        }
        "/firebreak.matching.v1.MatchSessionService/OpenSession" => {
            let request = matching::v1::OpenSessionRequest {
                format: 1,
                session_id: vec![1; 16],
                agreement: "vaccination-round".to_owned(),
                purpose: "vaccination-round".to_owned(),
                bundle_sequence: 1,
                normaliser: 1,
                field: "number:national_number".to_owned(),
                elements: 1024,
                chunk_elements: 1024,
                exporter: vec![2; 32],
                unproved: false,
                payload: None,
                epoch: 0,
            };
            (Tunnel, &[Adapter][..], request.encode_to_vec())
        }
        "/firebreak.matching.v1.MatchSessionService/Evaluate" => {
            let request = matching::v1::EvaluateRequest { session_id: vec![1; 16], chunk: 0, blinded: vec![0; 32] };
            (Tunnel, &[Adapter][..], request.encode_to_vec())
        }
        "/firebreak.matching.v1.MatchSessionService/ListTags" => {
            let request = matching::v1::ListTagsRequest { session_id: vec![1; 16], offset: 0 };
            (Tunnel, &[Adapter][..], request.encode_to_vec())
        }
        "/firebreak.matching.v1.MatchSessionService/CloseSession" => {
            let request = matching::v1::CloseSessionRequest { session_id: vec![1; 16], reason: 0 };
            (Tunnel, &[Adapter][..], request.encode_to_vec())
        }
        "/firebreak.agency.v1.AgencyService/ExecuteQuery" => {
            let request =
                agency::v1::ExecuteQueryRequest { claim: claim(), header: asked(), question: question(), export: None };
            (Dialled, &[Gateway][..], request.encode_to_vec())
        }
        "/firebreak.matching.v1.JoinSessionService/OpenJoin" => {
            let (session, terms, exporter) = (vec![1; 32], vec![2; 32], vec![3; 32]);
            let (key, sizes) = (vec![4; 96], vec![1, 2]);
            let request =
                matching::v1::OpenJoinRequest { format: 1, session, terms, exporter, key, sizes, ..Default::default() };
            (Tunnel, &[Adapter][..], request.encode_to_vec())
        }
        "/firebreak.matching.v1.JoinSessionService/PutPoints" => {
            let request = matching::v1::PutPointsRequest { session: vec![1; 32], offset: 0, points: vec![5; 34] };
            (Tunnel, &[Adapter][..], request.encode_to_vec())
        }
        "/firebreak.matching.v1.JoinSessionService/ListPoints" => {
            let request = matching::v1::ListPointsRequest { session: vec![1; 32], offset: 0 };
            (Tunnel, &[Adapter][..], request.encode_to_vec())
        }
        "/firebreak.matching.v1.JoinSessionService/CloseJoin" => {
            let request = matching::v1::CloseJoinRequest { session: vec![1; 32], reason: 0 };
            (Tunnel, &[Adapter][..], request.encode_to_vec())
        }
        "/firebreak.agency.v1.AgencyService/CheckJoin" => {
            let request = agency::v1::CheckJoinRequest { claim: claim(), header: asked(), question: question() };
            (Dialled, &[Gateway][..], request.encode_to_vec())
        }
        "/firebreak.agency.v1.AgencyService/ReportJoinFault" => {
            let reason = reason_to_wire(ReasonCode::HostileInput).into();
            let request = agency::v1::ReportJoinFaultRequest { session: vec![7; 32], reason, sent_on: true };
            (Dialled, &[Gateway][..], request.encode_to_vec())
        }
        "/firebreak.agency.v1.AgencyService/RunJoin" => {
            let request = agency::v1::RunJoinRequest { claim: claim(), header: asked(), question: question() };
            (Dialled, &[Gateway][..], request.encode_to_vec())
        }
        "/firebreak.agency.v1.AgencyService/AcceptTunnel" => {
            let header = agency::v1::AcceptTunnelHeader { claim: claim(), tunnel: Some(tunnel()) };
            let frame = Some(agency::v1::accept_tunnel_request::Frame::Header(header));
            (Dialled, &[Gateway][..], agency::v1::AcceptTunnelRequest { frame }.encode_to_vec())
        }
        "/firebreak.agency.v1.AgencyService/ListOutstandingLeaves" => {
            (Dialled, &[Gateway][..], agency::v1::ListOutstandingLeavesRequest {}.encode_to_vec())
        }
        "/firebreak.agency.v1.AgencyService/ConfirmLeaves" => {
            (Dialled, &[Gateway][..], agency::v1::ConfirmLeavesRequest::default().encode_to_vec())
        }
        "/firebreak.agency.v1.AgencyService/ListCaps" => {
            let request = agency::v1::ListCapsRequest { claim: claim(), agreement: "vaccination-round".to_owned() };
            (Dialled, &[Gateway][..], request.encode_to_vec())
        }
        "/firebreak.local.v1.LocalMatchService/RunMatch" => {
            let (selection, request_id) = (String::new(), vec![3; 16]);
            let request =
                local::v1::RunMatchRequest { agreement, purpose, selection, request_id, ..Default::default() };
            (Local, &[Officer, Caseworker, Steward][..], request.encode_to_vec())
        }
        "/firebreak.local.v1.LocalMatchService/RecordChoice" => {
            let (person, kind) = ("P-000001".to_owned(), local::v1::ChoiceKind::Restrict.into());
            (
                Local,
                &[Caseworker, Steward][..],
                local::v1::RecordChoiceRequest { person, kind, purpose: String::new() }.encode_to_vec(),
            )
        }
        "/firebreak.local.v1.LocalMatchService/ListChoices" => {
            let request = local::v1::ListChoicesRequest { person: "P-000001".to_owned() };
            (Local, &[Caseworker, Steward][..], request.encode_to_vec())
        }
        "/firebreak.local.v1.LocalMatchService/ListMatched" => {
            (Local, &[Officer][..], local::v1::ListMatchedRequest { session_id: vec![4; 32] }.encode_to_vec())
        }
        "/firebreak.local.v1.LocalMatchService/HandOut" => {
            let form = local::v1::HandOutForm::Csv.into();
            (Local, &[Officer][..], local::v1::HandOutRequest { session_id: vec![4; 32], form }.encode_to_vec())
        }
        "/firebreak.local.v1.LocalMatchService/ListHandedOut" => {
            (Local, &[Officer, Steward][..], local::v1::ListHandedOutRequest {}.encode_to_vec())
        }
        "/firebreak.local.v1.LocalMatchService/OpenSample" => {
            let request = local::v1::OpenSampleRequest { session_id: vec![4; 32], seed: vec![5; 32], places: 10 };
            (Local, &[Steward][..], request.encode_to_vec())
        }
        "/firebreak.local.v1.LocalMatchService/ReplayJoin" => {
            (Local, &[Steward][..], local::v1::ReplayJoinRequest { request_id: vec![3; 16] }.encode_to_vec())
        }
        "/arrow.flight.protocol.FlightService/GetFlightInfo"
        | "/arrow.flight.protocol.FlightService/PollFlightInfo"
        | "/arrow.flight.protocol.FlightService/GetSchema" => {
            (AtGateway, &[Analyst][..], FlightDescriptor::new_cmd(tables()).encode_to_vec())
        }
        "/arrow.flight.protocol.FlightService/DoGet" => {
            (AtGateway, &[Analyst][..], Ticket::new(tables()).encode_to_vec())
        }
        "/arrow.flight.protocol.FlightService/DoPut" | "/arrow.flight.protocol.FlightService/DoExchange" => {
            let data = FlightData::new().with_descriptor(FlightDescriptor::new_cmd(tables()));
            (AtGateway, &[Analyst][..], data.encode_to_vec())
        }
        "/arrow.flight.protocol.FlightService/DoAction" => {
            (AtGateway, &[Analyst][..], Action::new("BeginTransaction", Vec::new()).encode_to_vec())
        }
        "/arrow.flight.protocol.FlightService/Handshake"
        | "/arrow.flight.protocol.FlightService/ListActions"
        | "/arrow.flight.protocol.FlightService/ListFlights" => (AtGateway, &[Analyst][..], Vec::new()),
        "/firebreak.publication.v1.PublicationService/DraftPublication" => {
            let (release_id, series) = ("0f".repeat(16), "denied".to_owned());
            let request =
                publication::v1::DraftPublicationRequest { header: asked(), release_id, series, revises: false };
            (AtGateway, &[Analyst][..], request.encode_to_vec())
        }
        "/firebreak.publication.v1.PublicationService/EmbargoPublication" => {
            let (publication_id, until) = ("0f".repeat(16), SystemClock.now().plus_secs(3600).secs());
            let request = publication::v1::EmbargoPublicationRequest { header: asked(), publication_id, until };
            (AtGateway, &[Analyst][..], request.encode_to_vec())
        }
        "/firebreak.publication.v1.PublicationService/PublishPublication"
        | "/firebreak.publication.v1.PublicationService/WithdrawPublication" => {
            let publication_id = "0f".repeat(16);
            let request = publication::v1::PublishPublicationRequest { header: asked(), publication_id };
            (AtGateway, &[Analyst][..], request.encode_to_vec())
        }
        "/firebreak.publication.v1.PublicationService/ListPublications" => (AtGateway, anybody, Vec::new()),
        "/firebreak.publication.v1.PublicationService/GetPublication" => {
            let publication_id = "0f".repeat(16);
            let request = publication::v1::GetPublicationRequest { publication_id, ..Default::default() };
            (AtGateway, anybody, request.encode_to_vec())
        }
        // An empty service name asks for the whole server.
        "/grpc.health.v1.Health/Check" | "/grpc.health.v1.Health/Watch" => (AtGateway, anybody, Vec::new()),
        // Field 7, `list_services`, with an empty string.
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        | "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" => (AtGateway, anybody, vec![0x3a, 0]),
        path => bail!("{path} has no sample request: add one here, and who may make it"),
    };
    Ok(Sample { place, allowed, request })
}
