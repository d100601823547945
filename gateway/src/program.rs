//! How the gateway starts and stops.

use crate::access::AccessLayer;
use crate::app::{App, Courier, EvidenceLog, Failure, LogFailure};
use crate::configuration::Configuration;
use crate::rpc::{Catalogue, ConnectedAgencies, Export, Matching, Query};
use firebreak_audit::{NoteKey, NoteKeyError};
use firebreak_domain::{Clock, IdentityRole, Recipient, SystemClock};
use firebreak_node::{ConfigurationError, EvidenceError, PolicyError, PolicyInForce, Recorder, load};
use firebreak_store::{KeyError, OpenError, State, StateKey};
use firebreak_transport::{
    Credential, Metrics, Peer, ReverseConnections, ServeError, Server, ServerTls, Shutdown, TrustAnchor,
};
use firebreak_wire::DESCRIPTORS;
use firebreak_wire::catalogue::v1::catalogue_service_server::CatalogueServiceServer;
use firebreak_wire::export::v1::export_service_server::ExportServiceServer;
use firebreak_wire::matching::v1::matching_service_server::MatchingServiceServer;
use firebreak_wire::query::v1::query_service_server::QueryServiceServer;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
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

/// Reads and checks the configuration and every file that it names.
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
    let state = State::open(&state_folder, key, clock).await?;
    let policy = Arc::new(PolicyInForce::open(&configuration.bundles, &base, &state_folder, &state).await?);
    refresh(&policy, &state).await;
    let log = EvidenceLog::open(&base.join(&configuration.log_folder), log_key)?;
    let connections = ReverseConnections::new();
    let agencies = Arc::new(ConnectedAgencies::new(connections.clone()));
    let recorder = Recorder::new(&credential)?;
    let app = App::open(state.clone(), Arc::clone(&policy), trust.clone(), recorder, log, agencies).await?;
    let app = Arc::new(app);

    let mut tasks = tokio::task::JoinSet::new();
    if let Some(address) = configuration.metrics {
        Metrics::install()?.serve(address, shutdown).await?;
    }
    let interval = Duration::from_secs(configuration.bundles.interval_seconds.max(1));
    let (watched, watching, kept) = (Arc::clone(&app), shutdown.clone(), connections.clone());
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = watching.requested() => return,
                () = tokio::time::sleep(interval) => refresh(watched.policy(), watched.state()).await,
            }
            let policy = Arc::clone(watched.policy());
            kept.retain(|peer| admits(&policy, peer));
        }
    });
    let wake = Arc::new(Notify::new());
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
    let routes = routes(&app, &wake, shutdown)?;
    let ending = shutdown.clone();
    let grpc = accepted.grpc;
    tasks.spawn(async move {
        if let Err(error) = grpc.serve(routes, &ending, DRAIN).await {
            tracing::error!(error_kind = %error, "listener ended");
        }
    });
    Ok(Running { address, tasks })
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

fn routes(app: &Arc<App>, wake: &Arc<Notify>, shutdown: &Shutdown) -> Result<Routes, ProgramError> {
    let (health, serving) = tonic_health::server::health_reporter();
    tokio::spawn(async move {
        health.set_serving::<QueryServiceServer<Query>>().await;
        health.set_serving::<CatalogueServiceServer<Catalogue>>().await;
    });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = reflection().build_v1().map_err(|_| ProgramError::Descriptors)?;
    let v1alpha = reflection().build_v1alpha().map_err(|_| ProgramError::Descriptors)?;
    let query = Query::new(Arc::clone(app), Arc::clone(wake));
    let export = Export::new(Arc::clone(app), Arc::clone(wake));
    let matching = Matching::new(Arc::clone(app), Arc::clone(wake), shutdown.clone());
    let routes = Routes::new(serving)
        .add_service(v1)
        .add_service(v1alpha)
        .add_service(QueryServiceServer::new(query).max_decoding_message_size(REQUEST))
        .add_service(CatalogueServiceServer::new(Catalogue::new(Arc::clone(app))).max_decoding_message_size(REQUEST))
        .add_service(ExportServiceServer::new(export).max_decoding_message_size(REQUEST))
        .add_service(MatchingServiceServer::new(matching).max_decoding_message_size(REQUEST));
    // SECURITY: the layer stands before every service, so that one added without a row in the table is refused.
    Ok(Routes::from(routes.into_axum_router().layer(AccessLayer)))
}

async fn refresh(policy: &PolicyInForce, state: &State) {
    match policy.refresh(state).await {
        Ok(true) => tracing::info!(outcome = "accepted", "policy bundle"),
        Ok(false) => {}
        Err(error) => tracing::warn!(error_kind = %error, outcome = "kept", "policy bundle"),
    }
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
