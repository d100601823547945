//! R29, R9: who may call what. Every method that the descriptors know is called by everybody who may not.

mod samples;

use crate::python::script;
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{ClientError, Connection};
use firebreak_domain::{Identity, IdentityRole};
use firebreak_gateway::access::CALLS;
use firebreak_testbed::{AGENCIES, Address, Federation, TRUST_DOMAIN, gateway_identity};
use firebreak_tests::{run, send, shared};
use firebreak_transport::{Ca, Credential, TrustAnchor, Validity, connect};
use firebreak_wire::refusal_of_status;
use samples::{Place, methods, sample};
use std::collections::{BTreeMap, BTreeSet};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

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

/// Calls a method with its sample; what the other side says first.
async fn call(channel: &Channel, path: &str) -> Result<Result<Vec<u8>, Status>> {
    send(channel, path, sample(path)?.request).await
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
        assert!(methods.len() >= 20, "{methods:?}");
        for (org, role) in FEDERATION {
            let credential = issue(shared.federation.authority(), org, role)?;
            let channel = dial_gateway(&shared.federation, shared.live.address, &credential).await?;
            for path in &methods {
                let status = call(&channel, path).await?.err();
                if sample(path)?.is_for(Place::AtGateway, role) {
                    let refused = status.as_ref().is_some_and(|s| reason(s) == "ROLE_NOT_ALLOWED");
                    ensure!(!refused, "{path} is refused to {role:?}, who may call it");
                    // What is served and refuses by name has something to say.
                    let unknown = status.is_some_and(|s| s.code() == Code::Unimplemented && s.message().is_empty());
                    ensure!(!unknown, "{path} is not served to {role:?}, who may call it");
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

/// The services that the gateway itself says it describes.
async fn described_by(channel: Channel) -> Result<BTreeSet<String>> {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let asked = tokio_stream::iter([request]);
    let mut answers = ServerReflectionClient::new(channel).server_reflection_info(asked).await?.into_inner();
    match answers.message().await? {
        Some(ServerReflectionResponse {
            message_response: Some(MessageResponse::ListServicesResponse(list)), ..
        }) => Ok(list.service.into_iter().map(|service| service.name).collect()),
        other => bail!("no list of services: {other:?}"),
    }
}

/// What a method of another project's, or a row of the gateway's table, could add to what is called here.
#[test]
fn no_service_and_no_row_of_the_gateways_table_is_without_its_denial_test() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let methods = methods()?;
        for (call, _) in CALLS {
            ensure!(methods.iter().any(|m| m == call), "{call} is in the gateway's table and in no descriptor");
        }
        let credential = issue(shared.federation.authority(), "nso", IdentityRole::Analyst)?;
        let channel = dial_gateway(&shared.federation, shared.live.address, &credential).await?;
        let called: BTreeSet<_> = methods.iter().filter_map(|m| m.split('/').nth(1)).map(str::to_owned).collect();
        let described = described_by(channel).await?;
        ensure!(described.len() >= 8, "{described:?}");
        let strangers: Vec<_> = described.difference(&called).collect();
        ensure!(strangers.is_empty(), "the gateway describes {strangers:?}, which nobody calls here");
        Ok(())
    })
}

/// A gateway that is compromised holds the real one's certificate, and so the connection.
#[test]
fn on_the_connection_that_an_adapter_dialled_it_serves_the_gateways_calls_and_no_others() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let mut elsewhere = 0;
        for (agency, _, _) in AGENCIES {
            let channel = shared.liar.channel(agency)?;
            for path in methods()? {
                let place = sample(&path)?.place;
                let status = call(&channel, &path).await?.err();
                let code = status.map_or(Code::Ok, |s| s.code());
                if place == Place::Dialled {
                    ensure!(code != Code::Unimplemented, "{path} is not served by {agency}");
                } else {
                    ensure!(code == Code::Unimplemented, "{path} at {agency}: {code:?}");
                    elsewhere += usize::from(matches!(place, Place::Local | Place::Tunnel));
                }
            }
        }
        ensure!(elsewhere >= 5 * AGENCIES.len(), "{elsewhere} calls of staff and of matches are too few");
        Ok(())
    })
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
                let sample = sample(&path)?;
                if sample.place != Place::Local {
                    assert_eq!(code, Code::Unimplemented, "{path}, {role:?}");
                } else if sample.is_for(Place::Local, role) {
                    assert_ne!(code, Code::Unimplemented, "{path}, {role:?}");
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
            let request: String = sample(&path)?.request.iter().map(|b| format!("{b:02x}")).collect();
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
        assert!(firebreak::client::list_datasets(&connection).await.is_ok());
        Ok(())
    })
}
