//! How the gateway starts and stops.

use crate::access::AccessLayer;
use crate::app::{App, Courier, EvidenceLog, Failure, LogFailure};
use crate::configuration::Configuration;
use crate::health::Health;
use crate::rpc::{
    Catalogue, ConnectedAgencies, Evidence, Export, Flight, Matching, Publications, Query, Tickets, public_page,
};
use arrow_flight::flight_service_server::FlightServiceServer;
use firebreak_audit::{NoteKey, NoteKeyError};
use firebreak_domain::{Clock, IdentityRole, Recipient, SystemClock};
use firebreak_node::{
    ConfigurationError, EvidenceError, PolicyError, PolicyInForce, Recorder, check_loopback, check_state_key, load,
};
use firebreak_store::{KeyError, OpenError, State, StateKey};
use firebreak_transport::{
    CertificateUse, Credential, LoopbackError, Metrics, Page, Peer, ReverseConnections, ServeError, Server, ServerTls,
    Shutdown, TrustAnchor, serve_on_loopback,
};
use firebreak_wire::DESCRIPTORS;
use firebreak_wire::catalogue::v1::catalogue_service_server::CatalogueServiceServer;
use firebreak_wire::evidence::v1::evidence_service_server::EvidenceServiceServer;
use firebreak_wire::export::v1::export_service_server::ExportServiceServer;
use firebreak_wire::matching::v1::matching_service_server::MatchingServiceServer;
use firebreak_wire::publication::v1::publication_service_server::PublicationServiceServer;
use firebreak_wire::query::v1::query_service_server::QueryServiceServer;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tonic::service::Routes;

/// How long requests in flight may take to end.
const DRAIN: Duration = Duration::from_secs(10);
/// Largest request: SQL, certificates, a signature.
const REQUEST: usize = 256 * 1024;

/// Why the gateway does not start or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The configuration.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The log's key.
    #[error("log_key {0}: {1}")]
    LogKey(PathBuf, String),
    /// The state folder.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The state's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Evidence.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogFailure),
    /// Leaves that a crash left behind.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The listener.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The public log's listener.
    #[error("public_log: {0}")]
    PublicLog(#[source] LoopbackError),
    /// Where the federation's web server shows what is public.
    #[error("public_url: give an address that begins with https:// and has no slash at its end")]
    PublicUrl,
    /// The operators' figures.
    #[error(transparent)]
    Metrics(#[from] firebreak_transport::MetricsError),
    /// The system's signals.
    #[error("the system's signals cannot be caught")]
    Signals(#[source] std::io::Error),
    /// The descriptors compiled in.
    #[error("the service descriptors compiled in cannot be read")]
    Descriptors,
}

/// Everything read and checked, nothing opened.
pub struct Checked {
    configuration: Configuration,
    base: PathBuf,
    credential: Credential,
    trust: TrustAnchor,
    log_key: NoteKey,
}

/// Reads and checks the configuration and every file that it names. What the first start makes need not be there yet.
///
/// # Errors
/// [`ProgramError`]: what is wrong, and where.
pub fn check(file: &Path) -> Result<Checked, ProgramError> {
    let configuration: Configuration = load(file)?;
    let base = file.parent().unwrap_or(Path::new(".")).to_owned();
    let (credential, trust) = configuration.federation.open(&base)?;
    if credential.identity().role != IdentityRole::Gateway {
        let found = credential.identity().clone();
        return Err(ConfigurationError::Role { found, needed: "one of a gateway" }.into());
    }
    let path = base.join(&configuration.log_key);
    let text = std::fs::read(&path).map_err(|e| ProgramError::LogKey(path.clone(), e.to_string()))?;
    let log_key = NoteKey::decode(&text).map_err(|e: NoteKeyError| ProgramError::LogKey(path, e.to_string()))?;
    configuration.bundles.check(&base)?;
    check_state_key(&base.join(&configuration.state_key))?;
    check_loopback("metrics", configuration.metrics)?;
    check_loopback("public_log", configuration.public_log)?;
    if configuration.public_url.as_ref().is_some_and(|url| !url.starts_with("https://") || url.ends_with('/')) {
        return Err(ProgramError::PublicUrl);
    }
    Ok(Checked { configuration, base, credential, trust, log_key })
}

/// A running gateway.
pub struct Running {
    /// The address that it listens on.
    pub address: SocketAddr,
    tasks: tokio::task::JoinSet<()>,
}

impl Running {
    /// Waits until everything has ended after the shutdown.
    pub async fn finished(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Starts the gateway: opens state and log, takes up policy, then listens.
///
/// # Errors
/// [`ProgramError`].
pub async fn serve(checked: Checked, clock: Arc<dyn Clock>, shutdown: &Shutdown) -> Result<Running, ProgramError> {
    let Checked { configuration, base, credential, trust, log_key } = checked;
    let state_folder = base.join(&configuration.state_folder);
    let key = StateKey::load_or_create(&base.join(&configuration.state_key))?;
    let tickets = Tickets::new(&key);
    let state = State::open(&state_folder, key, clock).await?;
    let policy = Arc::new(PolicyInForce::open(&configuration.bundles, &base, &state_folder, &state).await?);
    let recorder = Recorder::new(&credential, policy.sealer())?;
    policy.refresh(&recorder, &state).await?;
    let log = EvidenceLog::open(&base.join(&configuration.log_folder), log_key, state.clone())?;
    let connections = ReverseConnections::new();
    let agencies = Arc::new(ConnectedAgencies::new(connections.clone()));
    let public_url = configuration.public_url.clone().unwrap_or_default();
    let app = App::open(state.clone(), Arc::clone(&policy), trust.clone(), recorder, log, agencies, public_url).await?;
    let app = Arc::new(app);

    let mut tasks = tokio::task::JoinSet::new();
    if let Some(address) = configuration.metrics {
        Metrics::install()?.serve(address, shutdown).await?;
    }
    if let Some(address) = configuration.public_log {
        serve_on_loopback(address, public_pages(&app), shutdown).await.map_err(ProgramError::PublicLog)?;
    }
    let wake = Arc::new(Notify::new());
    let (routes, health) = routes(&app, &wake, tickets, shutdown)?;
    health.say(app.is_serving()).await;
    let interval = Duration::from_secs(configuration.bundles.interval_seconds.max(1));
    let (watched, watching, kept) = (Arc::clone(&app), shutdown.clone(), connections.clone());
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = watching.requested() => return,
                () = tokio::time::sleep(interval) => {}
            }
            if let Err(error) = watched.refresh_policy().await {
                tracing::error!(error_kind = %error, "policy could not be looked at");
            }
            if let Err(error) = watched.lift_embargoes().await {
                tracing::error!(error_kind = %error, "what lies under an embargo could not be looked at");
            }
            let policy = Arc::clone(watched.policy());
            kept.retain(|peer| admits(&policy, peer));
            health.say(watched.is_serving()).await;
        }
    });
    let renewal = configuration.federation.renewal("federation", &base, (&credential, &trust), CertificateUse::Server);
    let renewing = shutdown.clone();
    // Nobody pins the gateway's key: its identity is what counts. Whoever checks leaves has each of its certificates.
    tasks.spawn(async move { renewal.keep(interval, |_| true, &renewing).await });
    let courier = Courier::new(Arc::clone(&wake));
    let (carried, ending) = (Arc::clone(&app), shutdown.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = ending.requested() => {}
            () = courier.run(&carried) => {}
        }
    });

    let server = Server::bind(configuration.listen, ServerTls::federation(&credential, &trust)).await?;
    let address = server.local_addr();
    let accepted = server.accept(shutdown);
    let admitted = Arc::clone(&policy);
    let reverse = accepted.reverse;
    tasks.spawn(async move { connections.accept(reverse, |peer| admits(&admitted, peer)).await });
    let ending = shutdown.clone();
    let grpc = accepted.grpc;
    tasks.spawn(async move {
        if let Err(error) = grpc.serve(routes, &ending, DRAIN).await {
            tracing::error!(error_kind = %error, "listener ended");
        }
    });
    Ok(Running { address, tasks })
}

/// The log's files by their paths, of which the checkpoint alone changes, and what else everybody may read.
fn public_pages(app: &Arc<App>) -> impl Fn(&str) -> Option<Page> + Send + Sync + use<> {
    let (app, runtime) = (Arc::clone(app), Handle::current());
    move |path| {
        if path.starts_with("/publications") || path.starts_with("/loss") {
            return public_page(&app, &runtime, path);
        }
        let path = path.strip_prefix('/')?;
        let changes = path == "checkpoint";
        let content_type = if changes { "text/plain; charset=utf-8" } else { "application/octet-stream" };
        Some(Page::new(content_type, changes, app.log().file(path)?.into()))
    }
}

/// Whether an adapter's connection is taken: the agency is registered, and it holds the key that the bundle pins.
fn admits(policy: &PolicyInForce, peer: &Peer) -> bool {
    let Some(bundle) = policy.accepted() else { return false };
    let org = &peer.identity.org;
    let pinned = bundle.registry().organisation(org).and_then(|o| o.pin);
    peer.identity.role == IdentityRole::Adapter
        && bundle.class_of(&Recipient::Organisation(org.clone())).registered
        && pinned == Some(peer.pin)
}

fn routes(
    app: &Arc<App>,
    wake: &Arc<Notify>,
    tickets: Tickets,
    shutdown: &Shutdown,
) -> Result<(Routes, Health), ProgramError> {
    let (reporter, serving) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = reflection().build_v1().map_err(|_| ProgramError::Descriptors)?;
    let v1alpha = reflection().build_v1alpha().map_err(|_| ProgramError::Descriptors)?;
    let query = Query::new(Arc::clone(app), Arc::clone(wake));
    let export = Export::new(Arc::clone(app), Arc::clone(wake));
    let flight = Flight::new(Arc::clone(app), Arc::clone(wake), tickets);
    let publications = Publications::new(Arc::clone(app), Arc::clone(wake));
    let matching = Matching::new(Arc::clone(app), Arc::clone(wake), shutdown.clone());
    let routes = Routes::new(serving)
        .add_service(v1)
        .add_service(v1alpha)
        .add_service(QueryServiceServer::new(query).max_decoding_message_size(REQUEST))
        .add_service(CatalogueServiceServer::new(Catalogue::new(Arc::clone(app))).max_decoding_message_size(REQUEST))
        .add_service(EvidenceServiceServer::new(Evidence::new(Arc::clone(app))).max_decoding_message_size(REQUEST))
        .add_service(ExportServiceServer::new(export).max_decoding_message_size(REQUEST))
        .add_service(FlightServiceServer::new(flight).max_decoding_message_size(REQUEST))
        .add_service(PublicationServiceServer::new(publications).max_decoding_message_size(REQUEST))
        .add_service(MatchingServiceServer::new(matching).max_decoding_message_size(REQUEST));
    // SECURITY: the layer stands before every service, so that one added without a row in the table is refused.
    Ok((Routes::from(routes.into_axum_router().layer(AccessLayer)), Health::new(reporter)))
}

/// The whole life of the program: reads the configuration, and unless it is only to be checked serves until a signal.
///
/// # Errors
/// [`ProgramError`].
pub async fn run(file: &Path, only_check: bool) -> Result<(), ProgramError> {
    let checked = check(file)?;
    if only_check {
        return Ok(());
    }
    let shutdown = Shutdown::on_signals().map_err(ProgramError::Signals)?;
    let running = serve(checked, Arc::new(SystemClock), &shutdown).await?;
    tracing::info!(address = %running.address, "listening");
    running.finished().await;
    Ok(())
}
