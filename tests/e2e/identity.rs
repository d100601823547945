//! R29, R10: who is let in at the real gateway, at an agency's place and inside a tunnel. Each refusal has its twin.

use crate::python::script;
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{Ask, ClientError, Connection, MatchAsk, QueryAnswer, list_datasets, run_match, run_query};
use firebreak_domain::{Clock, Identity, SystemClock};
use firebreak_testbed::{Address, Federation, Options, Program, Programs, Started, TRUST_DOMAIN, gateway_identity};
use firebreak_tests::{Caller, http_get, refusal_of, run, shared};
use firebreak_transport::{
    ByteStream, Ca, CertificateRequest, ConnectError, Credential, ReverseConnections, Server, ServerTls, Shutdown,
    Validity, connect, dial_reverse, receive_chunks, serve_pinned,
};
use firebreak_wire::matching::v1::matching_service_server::{MatchingService, MatchingServiceServer};
use firebreak_wire::matching::v1::{
    OpenTunnelRequest, OpenTunnelResponse, TunnelOpened, open_tunnel_request, open_tunnel_response,
};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const DAY: i64 = 86_400;

fn analyst(id: &str) -> Result<Identity> {
    Ok(format!("spiffe://{TRUST_DOMAIN}/org/nso/analyst/{id}").parse()?)
}

fn adapter(agency: &str) -> Result<Identity> {
    Ok(format!("spiffe://{TRUST_DOMAIN}/org/{agency}/adapter/main").parse()?)
}

/// Asks the real gateway for its catalogue under that certificate.
async fn admitted(credential: Credential) -> Result<(), ClientError> {
    let shared = shared().await.map_err(|e| ClientError::Profile(e.to_string()))?;
    let trust = shared.federation.authority().trust_anchor()?;
    let address = shared.live.address.to_string();
    let connection = Connection::open(&address, credential, &trust, &gateway_identity().parse()?).await?;
    list_datasets(&connection).await.map(drop)
}

/// The gateway ends the handshake because of what it was shown.
fn is_refused_at_the_handshake(outcome: &Result<(), ClientError>) -> bool {
    matches!(outcome, Err(ClientError::Connect { source: ConnectError::Refused(_), .. }))
}

#[test]
fn an_expired_certificate_is_refused() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let now = SystemClock.now();
        for (from, to, fits) in [(-2 * DAY, -DAY, false), (DAY, 2 * DAY, false), (-DAY, DAY, true)] {
            let validity = Validity { not_before: now.plus_secs(from), not_after: now.plus_secs(to) };
            let outcome = admitted(shared.federation.authority().issue(&analyst("late")?, &[], validity)?).await;
            assert_eq!(outcome.is_ok(), fits, "{outcome:?}");
            assert_eq!(is_refused_at_the_handshake(&outcome), !fits, "{outcome:?}");
        }
        Ok(())
    })
}

#[test]
fn a_certificate_of_another_authority_is_refused_though_it_names_our_domain() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let theirs = Ca::generate("Federation", TRUST_DOMAIN)?;
        let outcome = admitted(theirs.issue(&analyst("mallory")?, &[], Validity::days(1))?).await;
        assert!(is_refused_at_the_handshake(&outcome), "{outcome:?}");
        admitted(shared.federation.authority().issue(&analyst("mallory")?, &[], Validity::days(1))?).await?;
        Ok(())
    })
}

#[test]
fn a_name_of_another_trust_domain_is_refused_though_our_authority_signed_it() -> Result<()> {
    run(async {
        let shared = shared().await?;
        for (uri, fits) in [
            ("spiffe://elsewhere.example/org/nso/analyst/abroad".to_owned(), false),
            (format!("spiffe://{TRUST_DOMAIN}/org/nso/analyst/abroad"), true),
        ] {
            let credential = shared.federation.authority().issue(&uri.parse()?, &[], Validity::days(1))?;
            let outcome = admitted(credential).await;
            assert_eq!(outcome.is_ok(), fits, "{uri}: {outcome:?}");
            assert_eq!(is_refused_at_the_handshake(&outcome), !fits, "{outcome:?}");
        }
        Ok(())
    })
}

#[test]
fn an_analyst_of_an_unregistered_organisation_is_refused_every_answer() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let sql = "SELECT COUNT(*) AS n FROM health.visits WHERE region = 'R01'";
        let mut ask = Ask::new("health-statistics", "health-planning", sql)?;
        ask.rho = firebreak_domain::Rho::at_least(0.0001);
        let unknown = Caller("relief-fund", "analyst", "rita").connect(&shared.federation, shared.live.address).await?;
        let refused = refusal_of(run_query(&unknown, &ask, &mut |_| {}).await)?;
        assert_eq!(refused.refusal.reason, "UNREGISTERED_RECIPIENT");
        assert_eq!(list_datasets(&unknown).await?.len(), 0);

        let known = Caller("nso", "analyst", "rita").connect(&shared.federation, shared.live.address).await?;
        answered(&known, &ask).await?;
        Ok(())
    })
}

#[test]
fn a_role_without_the_right_to_ask_is_refused() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let sql = "SELECT COUNT(*) AS n FROM health.visits WHERE region = 'R02'";
        let mut ask = Ask::new("health-statistics", "health-planning", sql)?;
        ask.rho = firebreak_domain::Rho::at_least(0.0001);
        for role in ["endpoint", "overseer", "authority", "adapter", "gateway"] {
            let wrong = Caller("nso", role, "roland").connect(&shared.federation, shared.live.address).await?;
            let refused = refusal_of(run_query(&wrong, &ask, &mut |_| {}).await)?;
            assert_eq!(refused.refusal.reason, "ROLE_NOT_ALLOWED", "{role}");
        }
        let right = Caller("nso", "analyst", "roland").connect(&shared.federation, shared.live.address).await?;
        answered(&right, &ask).await?;
        Ok(())
    })
}

/// Asks until the adapter has seen the log, which takes it a second after its start.
async fn answered(connection: &Connection, ask: &Ask) -> Result<QueryAnswer> {
    for _ in 0..60 {
        match run_query(connection, ask, &mut |_| {}).await {
            Err(ClientError::Refused(r))
                if ["EVIDENCE_OUTSTANDING", "AGENCY_UNAVAILABLE"].contains(&r.refusal.reason.as_str()) =>
            {
                sleep(Duration::from_millis(250)).await;
            }
            outcome => return Ok(outcome?),
        }
    }
    bail!("not answered within fifteen seconds")
}

/// How the gateway takes a client that is not ours.
async fn handshake(version: &str, shown: Option<(&Path, &Path)>) -> Result<String> {
    let shared = shared().await?;
    let authority = shared.federation.layout().authority().join("ca.pem");
    let port = shared.live.address.port().to_string();
    let mut arguments = vec![port, authority.display().to_string(), version.to_owned()];
    if let Some((certificate, key)) = shown {
        arguments.extend([certificate, key].map(|f| f.display().to_string()));
    }
    Ok(script("handshake.py", &arguments, "")?.trim().to_owned())
}

fn written(folder: &Path, request: &CertificateRequest, ca: &Ca) -> Result<(PathBuf, PathBuf)> {
    let (chain, key) = ca.issue_raw(request)?;
    let files = (folder.join("cert.der"), folder.join("key.der"));
    std::fs::write(&files.0, chain.first().context("no certificate")?)?;
    std::fs::write(&files.1, &*key)?;
    Ok(files)
}

#[test]
fn no_certificate_two_names_and_tls_1_2_are_refused() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let folder = tempfile::tempdir()?;
        let one = CertificateRequest::new(&analyst("foreign")?);
        let two = one.clone().also_uri(&format!("spiffe://{TRUST_DOMAIN}/org/nso/overseer/foreign"));

        let (certificate, key) = written(folder.path(), &two, shared.federation.authority())?;
        let said = handshake("1.3", Some((&certificate, &key))).await?;
        assert!(said.starts_with("refused ") && said.contains("ALERT"), "two URI names: {said}");

        let (certificate, key) = written(folder.path(), &one, shared.federation.authority())?;
        let said = handshake("1.2", Some((&certificate, &key))).await?;
        assert!(said.starts_with("refused ") && said.contains("PROTOCOL_VERSION"), "TLS 1.2: {said}");
        let said = handshake("1.3", None).await?;
        assert!(said.starts_with("refused ") && said.contains("CERTIFICATE_REQUIRED"), "no certificate: {said}");

        assert_eq!(handshake("1.3", Some((&certificate, &key))).await?, "accepted TLSv1.3");
        Ok(())
    })
}

/// Somebody who listens under a certificate of the federation, as the gateway would, and takes what connects.
struct InTheGatewaysPlace {
    address: SocketAddr,
    dialled: ReverseConnections,
    _shutdown: Shutdown,
}

impl InTheGatewaysPlace {
    async fn listen(federation: &Federation, credential: &Credential) -> Result<Self> {
        let trust = federation.authority().trust_anchor()?;
        let server = Server::bind(ANY, ServerTls::federation(credential, &trust)).await?;
        let (address, shutdown, dialled) = (server.local_addr(), Shutdown::new(), ReverseConnections::new());
        let accepted = server.accept(&shutdown);
        let (taking, ending) = (dialled.clone(), shutdown.clone());
        tokio::spawn(async move { taking.accept(accepted.reverse, |_| true).await });
        tokio::spawn(async move { accepted.grpc.serve(Routes::default(), &ending, Duration::from_secs(1)).await });
        Ok(Self { address, dialled, _shutdown: shutdown })
    }
}

#[test]
fn nobody_elses_certificate_passes_for_the_gateways() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let federation = &shared.federation;
        let trust = federation.authority().trust_anchor()?;
        let gateway: Identity = gateway_identity().parse()?;
        let issue = |identity: &Identity| federation.authority().issue(identity, &["localhost"], Validity::days(1));
        let second = format!("spiffe://{TRUST_DOMAIN}/org/federation/gateway/second").parse()?;
        let ada = issue(&analyst("careful")?)?;
        let health = issue(&adapter("health-agency")?)?;
        for (identity, fits) in [(adapter("education-agency")?, false), (second, false), (gateway.clone(), true)] {
            let there = InTheGatewaysPlace::listen(federation, &issue(&identity)?).await?;
            let address = there.address.to_string();
            // An analyst does not speak to it.
            let connected = connect(&address, &ada, &trust, &gateway).await;
            assert_eq!(connected.is_ok(), fits, "{identity}");
            let wrong = matches!(connected, Err(ConnectError::WrongPeer(_)));
            assert_eq!(wrong, !fits, "{identity}");
            // An adapter does not serve it: the services of an agency are reached by its gateway alone.
            let shutdown = Shutdown::new();
            let dialler = dial_reverse(&[address], &health, &trust, &gateway, &Routes::default(), &shutdown);
            let mut state = dialler.state();
            let up = timeout(Duration::from_secs(if fits { 10 } else { 1 }), state.wait_for(|s| s.complete())).await;
            assert_eq!(up.is_ok(), fits, "{identity}");
            let taken = timeout(Duration::from_secs(if fits { 10 } else { 1 }), async {
                while there.dialled.connected().is_empty() {
                    sleep(Duration::from_millis(10)).await;
                }
            });
            assert_eq!(taken.await.is_ok(), fits, "{identity}");
            shutdown.request();
        }
        Ok(())
    })
}

/// A federation of its own, of which the test starts the adapters.
struct Small {
    federation: Federation,
    gateway: Started,
    address: Address,
    metrics: Address,
    folder: TempDir,
}

/// An adapter in this process. Dropping it ends it.
struct Adapter {
    local: Address,
    shutdown: Shutdown,
    _running: agency_adapter::program::Running,
}

impl Adapter {
    async fn start(configuration: &Path) -> Result<Self> {
        let shutdown = Shutdown::new();
        let checked = agency_adapter::program::check(configuration)?;
        let running = agency_adapter::program::serve(checked, Arc::new(SystemClock), &shutdown).await?;
        Ok(Self { local: running.local.context("no local listener")?, shutdown, _running: running })
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

impl Small {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = Options { persons: 300, seed: 11, tick_milliseconds: 10 };
        let federation = Federation::prepare(&folder.path().join("federation"), &options, |_| {})?;
        let metrics = std::net::TcpListener::bind(ANY)?.local_addr()?;
        let configuration = federation.configure_gateway(ANY, Some(metrics), None)?;
        let mut gateway = Programs::built()?.start(Program::Gateway, &configuration)?;
        let address = gateway.address().await?;
        Ok(Self { federation, gateway, address, metrics, folder })
    }

    async fn adapter(&self, agency: &str) -> Result<Adapter> {
        Adapter::start(&self.federation.configure_adapter(agency, &[self.address], None)?).await
    }

    /// The agency's adapter as it is, but under another certificate, with a state of its own.
    async fn adapter_under(&self, agency: &str, credential: &Credential) -> Result<Adapter> {
        let genuine = self.federation.configure_adapter(agency, &[self.address], None)?;
        let own = self.federation.layout().certificate(agency, "adapter", "main");
        let other = self.folder.path().join("another-key");
        credential.save(&other)?;
        let text = std::fs::read_to_string(&genuine)?;
        let changed = text
            .replace(&own.display().to_string(), &other.display().to_string())
            .replace("state_folder = \"state\"", "state_folder = \"impostor-state\"")
            .replace("state_key = \"state.key\"", "state_key = \"impostor-state.key\"");
        ensure!(changed.matches("another-key").count() == 2, "the configuration names its certificate otherwise");
        let file = genuine.with_file_name("impostor.toml");
        std::fs::write(&file, changed)?;
        Adapter::start(&file).await
    }

    /// Connections that the gateway took no part in, because it does not know who they are.
    async fn not_admitted(&self) -> Result<u64> {
        let text = http_get(self.metrics, "/metrics").await?;
        let line =
            text.lines().find(|l| l.starts_with("firebreak_connections_refused_total") && l.contains("not_admitted"));
        Ok(line.and_then(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default() as u64)
    }

    async fn until_not_admitted(&self, more_than: u64) -> Result<u64> {
        for _ in 0..200 {
            let found = self.not_admitted().await?;
            if found > more_than {
                return Ok(found);
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("no connection was turned away")
    }

    async fn ask_education(&self) -> Result<(Connection, Ask)> {
        let connection = Caller::ADA.connect(&self.federation, self.address).await?;
        let sql = "SELECT COUNT(*) AS n FROM education.enrolments";
        Ok((connection, Ask::new("education-statistics", "school-planning", sql)?))
    }

    async fn ask_match(&self, health: &Adapter) -> Result<(Connection, MatchAsk)> {
        let connection = Caller::connect_local(&self.federation, "health-agency", health.local).await?;
        let mut ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
        ask.selection = "birth_year BETWEEN 2008 AND 2018".to_owned();
        Ok((connection, ask))
    }
}

#[test]
fn in_an_adapters_place_only_the_key_that_the_bundle_pins_is_admitted() -> Result<()> {
    run(async {
        let mut small = Small::start().await?;
        let health = small.adapter("health-agency").await?;
        // The right name, from the common authority, with a key of somebody else's.
        let name = adapter("education-agency")?;
        let impostor = small.federation.authority().issue(&name, &["localhost"], Validity::days(1))?;
        let impostor = small.adapter_under("education-agency", &impostor).await?;
        let turned_away = small.until_not_admitted(0).await?;

        let (ada, question) = small.ask_education().await?;
        let refused = refusal_of(run_query(&ada, &question, &mut |_| {}).await)?;
        assert_eq!(refused.refusal.reason, "AGENCY_UNAVAILABLE");
        let (desk, matching) = small.ask_match(&health).await?;
        let failed = until_evidence_is_seen(&desk, &matching).await;
        match failed {
            Err(ClientError::Refused(refused)) => assert_eq!(refused.refusal.reason, "AGENCY_UNAVAILABLE"),
            other => bail!("{other:?}"),
        }
        drop(impostor);

        // An organisation that the bundle does not know, whatever it holds.
        let unknown = small.federation.issue("relief-fund", "adapter", "main")?;
        let trust = small.federation.authority().trust_anchor()?;
        let shutdown = Shutdown::new();
        let gateway = gateway_identity().parse()?;
        let address = [small.address.to_string()];
        let _dialler = dial_reverse(&address, &unknown, &trust, &gateway, &Routes::default(), &shutdown);
        small.until_not_admitted(turned_away).await?;
        shutdown.request();

        let _education = small.adapter("education-agency").await?;
        answered(&ada, &question).await?;
        let (desk, matching) = small.ask_match(&health).await?;
        until_evidence_is_seen(&desk, &matching).await?;
        small.gateway.kill().await
    })
}

async fn until_evidence_is_seen(desk: &Connection, ask: &MatchAsk) -> Result<u64, ClientError> {
    let mut tries = 0;
    loop {
        match run_match(desk, ask, &mut |_| {}).await {
            Err(ClientError::Refused(r)) if r.refusal.reason == "EVIDENCE_OUTSTANDING" && tries < 60 => {
                tries += 1;
                sleep(Duration::from_millis(250)).await;
            }
            outcome => return outcome.map(|summary| summary.matched),
        }
    }
}

/// A gateway that opens every tunnel and ends it itself, in the sender's place.
struct InTheTunnel {
    shown: Credential,
    receiver: Credential,
    shutdown: Shutdown,
}

#[tonic::async_trait]
impl MatchingService for InTheTunnel {
    type OpenTunnelStream = ReceiverStream<Result<OpenTunnelResponse, Status>>;

    async fn open_tunnel(
        &self,
        request: Request<Streaming<OpenTunnelRequest>>,
    ) -> Result<Response<Self::OpenTunnelStream>, Status> {
        let mut frames = request.into_inner();
        frames.message().await?.ok_or_else(|| Status::invalid_argument("no header"))?;
        let incoming = receive_chunks(frames.map(|frame| match frame?.frame {
            Some(open_tunnel_request::Frame::Bytes(bytes)) => Ok(bytes.into()),
            _ => Err(Status::invalid_argument("not bytes")),
        }));
        let (answer, answers) = mpsc::channel(8);
        let opened = open_tunnel_response::Frame::Opened(TunnelOpened { receipt: String::new() });
        let _ = answer.send(Ok(OpenTunnelResponse { frame: Some(opened) })).await;
        let (outgoing, mut chunks) = mpsc::channel::<tonic::codegen::Bytes>(8);
        tokio::spawn(async move {
            while let Some(chunk) = chunks.recv().await {
                let frame = Some(open_tunnel_response::Frame::Bytes(chunk.to_vec()));
                if answer.send(Ok(OpenTunnelResponse { frame })).await.is_err() {
                    return;
                }
            }
        });
        let (shown, receiver, shutdown) = (self.shown.clone(), self.receiver.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            let stream = ByteStream::new(incoming, outgoing);
            // It serves nothing: whether anybody speaks to it at all is the question.
            let (peer, pin) = (receiver.identity(), receiver.pin());
            serve_pinned(stream, &shown, peer, pin, Routes::default(), &shutdown).await
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

#[test]
fn inside_a_tunnel_the_right_name_with_another_key_is_not_spoken_to() -> Result<()> {
    run(async {
        let mut small = Small::start().await?;
        let federation = &small.federation;
        let pinned = federation.issue("education-agency", "adapter", "main")?;
        let other = federation.authority().issue(pinned.identity(), &["localhost"], Validity::days(1))?;
        assert_ne!(pinned.pin(), other.pin());
        let receiver = federation.issue("health-agency", "adapter", "main")?;
        let genuine = federation.issue("federation", "gateway", "main")?;
        let trust = federation.authority().trust_anchor()?;
        for (shown, reached) in [(other, false), (pinned, true)] {
            let server = Server::bind(ANY, ServerTls::federation(&genuine, &trust)).await?;
            let (lying, shutdown) = (server.local_addr(), Shutdown::new());
            let tunnel = InTheTunnel { shown, receiver: receiver.clone(), shutdown: shutdown.clone() };
            let ending = shutdown.clone();
            let routes = Routes::new(MatchingServiceServer::new(tunnel));
            tokio::spawn(async move { server.serve(routes, &ending, Duration::from_secs(1)).await });
            // The first gateway is asked for the tunnel; the second, genuine one shows the adapter the log.
            let configuration = federation.configure_adapter("health-agency", &[lying, small.address], None)?;
            let text = std::fs::read_to_string(&configuration)?;
            let text = text
                .replace("\"state\"", &format!("\"state-{reached}\""))
                .replace("\"state.key\"", &format!("\"state-{reached}.key\""));
            std::fs::write(&configuration, text)?;
            let health = Adapter::start(&configuration).await?;
            let (desk, matching) = small.ask_match(&health).await?;
            match until_evidence_is_seen(&desk, &matching).await {
                Err(ClientError::Failed { code, said }) if reached => {
                    assert_eq!(code, Code::Unimplemented, "the session was not asked for: {said}");
                }
                Err(ClientError::Failed { code, said }) => {
                    assert_eq!(code, Code::Unavailable, "{said}");
                    assert!(said.contains("the sender was not reached"), "{said}");
                }
                other => bail!("{other:?}"),
            }
            shutdown.request();
        }
        small.gateway.kill().await
    })
}
