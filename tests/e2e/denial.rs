//! R29, R9: who may call what. Every method that the descriptors know is called by everybody who may not.

use crate::python::script;
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{ClientError, Connection};
use firebreak_domain::{Clock, Identity, IdentityRole, SystemClock};
use firebreak_gateway::access::{CALLS, is_allowed};
use firebreak_testbed::{Address, Federation, TRUST_DOMAIN, gateway_identity};
use firebreak_tests::{run, shared};
use firebreak_transport::{Ca, Credential, TrustAnchor, Validity, connect};
use firebreak_wire::export::v1::{ExportKind, RequestExportRequest};
use firebreak_wire::matching::v1::{OpenTunnelRequest, TunnelHeader, open_tunnel_request};
use firebreak_wire::query::v1::{GetBudgetRequest, RequestHeader, RunQueryRequest, ValidateQueryRequest};
use firebreak_wire::{DESCRIPTORS, agency, catalogue, local, matching, refusal_of_status, sql_question};
use prost::Message;
use prost::bytes::{Buf, BufMut};
use prost_types::FileDescriptorSet;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Services that other projects describe.
const FOREIGN: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Who stands for each role that the federation knows. No two tests share one.
const FEDERATION: [(&str, IdentityRole); 6] = [
    ("federation", IdentityRole::Gateway),
    ("education-agency", IdentityRole::Adapter),
    ("nso", IdentityRole::Analyst),
    ("nso", IdentityRole::Endpoint),
    ("oversight-council", IdentityRole::Overseer),
    ("dpa", IdentityRole::Authority),
];

const AGENCY: &str = "health-agency";

/// Messages as bytes, so that any method can be called.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; from.remaining()];
        from.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// The paths of all methods that anybody here serves.
fn methods() -> Result<Vec<String>> {
    let files = FileDescriptorSet::decode(DESCRIPTORS)?.file;
    let mut paths: Vec<String> = FOREIGN.iter().map(ToString::to_string).collect();
    for file in &files {
        for service in &file.service {
            let path =
                |m: &prost_types::MethodDescriptorProto| format!("/{}.{}/{}", file.package(), service.name(), m.name());
            paths.extend(service.method.iter().map(path));
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

/// A well-formed request for every method; a method that has none fails the suite.
fn sample(path: &str) -> Result<Vec<u8>> {
    let question = || Some(sql_question("SELECT COUNT(*) AS n FROM health.visits"));
    let asked = || Some(header("health-statistics", "health-planning"));
    let tunnel = || TunnelHeader { header: Some(header("vaccination-round", "vaccination-round")) };
    let claim = || Some(agency::v1::Claim { principal: format!("spiffe://{TRUST_DOMAIN}/org/nso/analyst/ada") });
    let (agreement, purpose) = ("health-statistics".to_owned(), "health-planning".to_owned());
    Ok(match path {
        "/firebreak.query.v1.QueryService/RunQuery" => {
            RunQueryRequest { header: asked(), question: question() }.encode_to_vec()
        }
        "/firebreak.query.v1.QueryService/ValidateQuery" => {
            ValidateQueryRequest { agreement, purpose, question: question() }.encode_to_vec()
        }
        "/firebreak.query.v1.QueryService/GetBudget" => GetBudgetRequest { agreement }.encode_to_vec(),
        "/firebreak.catalogue.v1.CatalogueService/ListDatasets" => {
            catalogue::v1::ListDatasetsRequest {}.encode_to_vec()
        }
        "/firebreak.catalogue.v1.CatalogueService/DescribeDataset" => {
            catalogue::v1::DescribeDatasetRequest { dataset: "health.visits".to_owned() }.encode_to_vec()
        }
        "/firebreak.export.v1.ExportService/RequestExport" => RequestExportRequest {
            header: asked(),
            kind: ExportKind::DpAggregate.into(),
            question: question(),
            endpoint: String::new(),
            dataset: String::new(),
        }
        .encode_to_vec(),
        "/firebreak.matching.v1.MatchingService/OpenTunnel" => {
            OpenTunnelRequest { frame: Some(open_tunnel_request::Frame::Header(tunnel())) }.encode_to_vec()
        }
        "/firebreak.matching.v1.MatchSessionService/OpenSession" => matching::v1::OpenSessionRequest {
            format: 1,
            session_id: vec![1; 16],
            agreement: "vaccination-round".to_owned(),
            purpose: "vaccination-round".to_owned(),
            bundle_sequence: 1,
            normaliser: 1,
            field: "national_number".to_owned(),
            elements: 1024,
            chunk_elements: 1024,
            exporter: vec![2; 32],
        }
        .encode_to_vec(),
        "/firebreak.matching.v1.MatchSessionService/Evaluate" => {
            matching::v1::EvaluateRequest { session_id: vec![1; 16], chunk: 0, blinded: vec![0; 32] }.encode_to_vec()
        }
        "/firebreak.matching.v1.MatchSessionService/ListTags" => {
            matching::v1::ListTagsRequest { session_id: vec![1; 16], offset: 0 }.encode_to_vec()
        }
        "/firebreak.agency.v1.AgencyService/ExecuteQuery" => {
            agency::v1::ExecuteQueryRequest { claim: claim(), header: asked(), question: question(), export: None }
                .encode_to_vec()
        }
        "/firebreak.agency.v1.AgencyService/AcceptTunnel" => {
            let header = agency::v1::AcceptTunnelHeader { claim: claim(), tunnel: Some(tunnel()) };
            let frame = Some(agency::v1::accept_tunnel_request::Frame::Header(header));
            agency::v1::AcceptTunnelRequest { frame }.encode_to_vec()
        }
        "/firebreak.agency.v1.AgencyService/ListOutstandingLeaves" => {
            agency::v1::ListOutstandingLeavesRequest {}.encode_to_vec()
        }
        "/firebreak.agency.v1.AgencyService/ConfirmLeaves" => {
            agency::v1::ConfirmLeavesRequest::default().encode_to_vec()
        }
        "/firebreak.local.v1.LocalMatchService/RunMatch" => {
            local::v1::RunMatchRequest { agreement, purpose, selection: String::new(), request_id: vec![3; 16] }
                .encode_to_vec()
        }
        "/firebreak.local.v1.LocalMatchService/ListMatched" => {
            local::v1::ListMatchedRequest { session_id: vec![4; 32] }.encode_to_vec()
        }
        // An empty service name asks for the whole server.
        "/grpc.health.v1.Health/Check" | "/grpc.health.v1.Health/Watch" => Vec::new(),
        // Field 7, `list_services`, with an empty string.
        path if path.starts_with("/grpc.reflection.") => vec![0x3a, 0],
        path => bail!("{path} has no sample request: add one, and say in the gateway's table of calls who may make it"),
    })
}

/// Calls a method with its sample; what the other side says first.
async fn call(channel: &Channel, path: &str) -> Result<Result<Vec<u8>, Status>> {
    send(channel, path, sample(path)?).await
}

/// Calls a method by its path; what the other side says first, which is nothing if the call just ends.
pub async fn send(channel: &Channel, path: &str, request: Vec<u8>) -> Result<Result<Vec<u8>, Status>> {
    let request = Request::new(tokio_stream::iter([request]));
    let path: PathAndQuery = path.parse()?;
    let said = async {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
        client.streaming(request, path, Raw).await?.into_inner().message().await.map(Option::unwrap_or_default)
    };
    timeout(Duration::from_secs(30), said).await.context("no answer")
}

/// The reason code of a refusal.
fn reason(status: &Status) -> String {
    refusal_of_status(status).map(|r| r.reason).unwrap_or_default()
}

fn uri(org: &str, role: IdentityRole, id: &str) -> Result<Identity> {
    Ok(format!("spiffe://{TRUST_DOMAIN}/org/{org}/{}/{id}", role.as_str()).parse()?)
}

fn issue(ca: &Ca, org: &str, role: IdentityRole) -> Result<Credential> {
    Ok(ca.issue(&uri(org, role, "denied")?, &["localhost"], Validity::days(1))?)
}

async fn dial_gateway(federation: &Federation, address: Address, credential: &Credential) -> Result<Channel> {
    let trust = federation.authority().trust_anchor()?;
    Ok(connect(&address.to_string(), credential, &trust, &gateway_identity().parse()?).await?)
}

/// As somebody of that role at the local listener of an agency's adapter.
async fn dial_local(local: Address, credential: &Credential, trust: &TrustAnchor) -> Result<Channel> {
    let adapter = uri(AGENCY, IdentityRole::Adapter, "main")?;
    Ok(connect(&local.to_string(), credential, trust, &adapter).await?)
}

#[test]
fn every_rpc_has_a_denial_test() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let methods = methods()?;
        for (call, _) in CALLS {
            ensure!(methods.iter().any(|m| m == call), "{call} is in the gateway's table and in no descriptor");
        }
        assert!(methods.len() >= 20, "{methods:?}");
        for (org, role) in FEDERATION {
            let credential = issue(shared.federation.authority(), org, role)?;
            let channel = dial_gateway(&shared.federation, shared.live.address, &credential).await?;
            for path in &methods {
                let said = call(&channel, path).await?;
                let status = said.err();
                if is_allowed(path, role) {
                    let refused = status.as_ref().is_some_and(|s| reason(s) == "ROLE_NOT_ALLOWED");
                    ensure!(!refused, "{path} is refused to {role:?}, who may call it");
                    let unknown = status.is_some_and(|s| s.code() == Code::Unimplemented);
                    ensure!(!unknown, "{path} is in the gateway's table and not served");
                } else {
                    let status = status.with_context(|| format!("{path} is answered to {role:?}"))?;
                    let found = (status.code(), reason(&status));
                    ensure!(
                        found == (Code::PermissionDenied, "ROLE_NOT_ALLOWED".to_owned()),
                        "{path}, {role:?}: {found:?}"
                    );
                }
            }
        }
        Ok(())
    })
}

#[test]
fn the_services_of_adapters_are_denied_to_everybody_at_the_gateway() -> Result<()> {
    for path in methods()? {
        let of_an_adapter = [".agency.", ".local.", ".MatchSessionService/"].iter().any(|part| path.contains(part));
        let served = IdentityRole::ALL.iter().any(|role| is_allowed(&path, *role));
        assert_eq!(served, !of_an_adapter, "{path}");
    }
    Ok(())
}

#[test]
fn staff_of_an_agency_are_not_let_in_at_the_gateway() -> Result<()> {
    run(async {
        let shared = shared().await?;
        for role in IdentityRole::ALL.into_iter().filter(|r| r.is_local()) {
            let credential = issue(shared.federation.authority(), AGENCY, role)?;
            assert!(dial_gateway(&shared.federation, shared.live.address, &credential).await.is_err(), "{role:?}");
        }
        let staff = Ca::load(&shared.federation.layout().local_authority(AGENCY))?;
        let analyst = issue(&staff, "nso", IdentityRole::Analyst)?;
        assert!(dial_gateway(&shared.federation, shared.live.address, &analyst).await.is_err());

        let twin = issue(shared.federation.authority(), "nso", IdentityRole::Analyst)?;
        dial_gateway(&shared.federation, shared.live.address, &twin).await?;
        Ok(())
    })
}

#[test]
fn an_adapters_local_listener_serves_its_own_staff_their_own_calls_alone() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let local = shared.live.adapter(AGENCY)?.local;
        let staff = Ca::load(&shared.federation.layout().local_authority(AGENCY))?;
        for role in IdentityRole::ALL.into_iter().filter(|r| r.is_local()) {
            let channel = dial_local(local, &issue(&staff, AGENCY, role)?, &staff.trust_anchor()?).await?;
            for path in methods()? {
                let status = call(&channel, &path).await?.err();
                let code = status.as_ref().map_or(Code::Ok, Status::code);
                let told = status.as_ref().map(reason).unwrap_or_default();
                if !path.contains(".local.") {
                    assert_eq!(code, Code::Unimplemented, "{path}, {role:?}");
                } else if matches!(role, IdentityRole::Caseworker | IdentityRole::Steward) {
                    assert_ne!(told, "ROLE_NOT_ALLOWED", "{path}, {role:?}");
                } else {
                    assert_eq!((code, told.as_str()), (Code::PermissionDenied, "ROLE_NOT_ALLOWED"), "{path}, {role:?}");
                }
            }
        }
        Ok(())
    })
}

#[test]
fn an_adapters_local_listener_lets_in_nobody_of_the_federation() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let local = shared.live.adapter(AGENCY)?.local;
        let staff = Ca::load(&shared.federation.layout().local_authority(AGENCY))?;
        let trust = staff.trust_anchor()?;
        for (org, role) in FEDERATION {
            for (authority, whose) in [(shared.federation.authority(), "the federation's"), (&staff, "the agency's")] {
                let credential = issue(authority, org, role)?;
                assert!(dial_local(local, &credential, &trust).await.is_err(), "{role:?} under {whose} authority");
            }
        }
        // Nor another agency's staff, nor ours under the federation's authority.
        let other = Ca::load(&shared.federation.layout().local_authority("education-agency"))?;
        for authority in [&other, shared.federation.authority()] {
            let credential = issue(authority, AGENCY, IdentityRole::Caseworker)?;
            assert!(dial_local(local, &credential, &trust).await.is_err());
        }
        dial_local(local, &issue(&staff, AGENCY, IdentityRole::Caseworker)?, &trust).await?;
        Ok(())
    })
}

#[test]
fn nobody_calls_anything_without_a_certificate() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let layout = shared.federation.layout();
        let staff = layout.local_authority(AGENCY);
        let gateway = (shared.live.address, layout.authority(), layout.certificate("nso", "analyst", "nameless"));
        let local = (shared.live.adapter(AGENCY)?.local, staff, layout.staff_certificate(AGENCY, "caseworker", "desk"));
        shared.federation.issue("nso", "analyst", "nameless")?;
        let mut lines = String::new();
        for path in methods()? {
            let request: String = sample(&path)?.iter().map(|b| format!("{b:02x}")).collect();
            lines += &format!("{path} {request}\n");
        }
        for (address, authority, own) in [gateway, local] {
            let mut arguments = vec![address.port().to_string(), authority.join("ca.pem").display().to_string()];
            let codes = codes(&script("uncertified.py", &arguments, &lines)?)?;
            assert_eq!(codes.len(), methods()?.len());
            for (path, code) in codes {
                assert_eq!(code, "UNAVAILABLE", "{path} is answered to nobody in particular");
            }
            arguments.extend(["cert.pem", "key.pem"].map(|f| own.join(f).display().to_string()));
            for (path, code) in self::codes(&script("uncertified.py", &arguments, &lines)?)? {
                assert_ne!(code, "UNAVAILABLE", "{path} is not reached with a certificate either");
            }
        }
        Ok(())
    })
}

fn codes(printed: &str) -> Result<BTreeMap<String, String>> {
    let line = |line: &str| line.split_once(' ').map(|(path, code)| (path.to_owned(), code.to_owned()));
    printed.lines().map(|l| line(l).with_context(|| format!("no code in {l}"))).collect()
}

#[test]
fn a_role_that_may_not_ask_is_refused_as_clients_see_it() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let trust = shared.federation.authority().trust_anchor()?;
        let overseer = issue(shared.federation.authority(), "oversight-council", IdentityRole::Overseer)?;
        let address = shared.live.address.to_string();
        let connection = Connection::open(&address, overseer, &trust, &gateway_identity().parse()?).await?;
        let ask = firebreak::client::Ask::new(
            "health-statistics",
            "health-planning",
            "SELECT COUNT(*) AS n FROM health.visits",
        )?;
        match firebreak::client::run_query(&connection, &ask, &mut |_| {}).await {
            Err(ClientError::Refused(refused)) => assert_eq!(refused.refusal.reason, "ROLE_NOT_ALLOWED"),
            other => bail!("{other:?}"),
        }
        assert!(!firebreak::client::list_datasets(&connection).await.is_err());
        Ok(())
    })
}
