//! How an adapter starts and stops.

use crate::app::{App, Gate, Tick};
use crate::configuration::Configuration;
use crate::datasets::{DatasetError, Datasets};
use crate::rpc::{Agency, LocalMatch, Way};
use crate::views::Views;
use firebreak_audit::VerifierKey;
use firebreak_domain::{Binding, Clock, Closed, Identity, IdentityRole, Pin, SystemClock};
use firebreak_node::{
    ConfigurationError, EvidenceError, PolicyError, PolicyInForce, Recorder, check_folder, check_loopback,
    check_state_key, load,
};
use firebreak_store::{KeyError, OpenError, State, StateKey};
use firebreak_transport::{
    CertificateUse, Credential, Metrics, ServeError, Server, ServerTls, Shutdown, TrustAnchor, dial_reverse,
};
use firebreak_wire::agency::v1::agency_service_server::AgencyServiceServer;
use firebreak_wire::local::v1::local_match_service_server::LocalMatchServiceServer;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tonic::service::Routes;

/// Largest message between gateway and adapter.
const MESSAGE: usize = 16 * 1024 * 1024;
/// How long requests in flight may take to end.
const DRAIN: Duration = Duration::from_secs(10);
/// How soon what could not be read is tried again.
const TRIED_AGAIN: Duration = Duration::from_secs(10);

/// Why an adapter does not start or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The configuration.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// A value in it.
    #[error("{0}")]
    Value(String),
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
    /// Data.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A listener.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The operators' figures.
    #[error(transparent)]
    Metrics(#[from] firebreak_transport::MetricsError),
    /// The system's signals.
    #[error("the system's signals cannot be caught")]
    Signals(#[source] std::io::Error),
}

/// Everything read and checked, nothing opened.
pub struct Checked {
    configuration: Configuration,
    base: PathBuf,
    credential: Credential,
    trust: TrustAnchor,
    gateway: Identity,
    log_key: VerifierKey,
    bindings: Vec<Binding>,
}

/// Reads and checks the configuration and every file that it names. What the first start makes need not be there yet.
///
/// # Errors
/// [`ProgramError`]: what is wrong, and where.
pub fn check(file: &Path) -> Result<Checked, ProgramError> {
    let configuration: Configuration = load(file)?;
    let base = file.parent().unwrap_or(Path::new(".")).to_owned();
    let (credential, trust) = configuration.federation.open(&base)?;
    if credential.identity().role != IdentityRole::Adapter {
        let found = credential.identity().clone();
        return Err(ConfigurationError::Role { found, needed: "one of an adapter" }.into());
    }
    let gateway = configuration.gateway().map_err(|e| ProgramError::Value(format!("gateway_identity: {e}")))?;
    let log_key = configuration.log_key.parse().map_err(|e| ProgramError::Value(format!("log_key: {e}")))?;
    if configuration.closed.len() > Closed::MOST {
        let most = Closed::MOST;
        return Err(ProgramError::Value(format!("closed: at most {most} datasets and columns; close whole datasets")));
    }
    let bindings = configuration.bindings.iter().map(|b| load(&base.join(b))).collect::<Result<_, _>>()?;
    if let Some(local) = &configuration.local {
        local.tls.open(&base)?;
    }
    configuration.bundles.check(&base)?;
    check_folder("data_folder", &base.join(&configuration.data_folder))?;
    check_state_key(&base.join(&configuration.state_key))?;
    check_loopback("metrics", configuration.metrics)?;
    Ok(Checked { configuration, base, credential, trust, gateway, log_key, bindings })
}

/// A running adapter.
pub struct Running {
    /// The local listener, if there is one.
    pub local: Option<std::net::SocketAddr>,
    tasks: tokio::task::JoinSet<()>,
}

impl Running {
    /// Waits until everything has ended after the shutdown.
    pub async fn finished(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Opens what an adapter works with: its state, its policy, its data. Nothing is dialled and nobody is listened to.
///
/// # Errors
/// [`ProgramError`].
pub async fn open(checked: &Checked, clock: Arc<dyn Clock>) -> Result<App, ProgramError> {
    let Checked { configuration, base, credential, trust, log_key, bindings, .. } = checked;
    let state_folder = base.join(&configuration.state_folder);
    let key = StateKey::load_or_create(&base.join(&configuration.state_key))?;
    let ranking = *key.secret("row ranking");
    let state = State::open(&state_folder, key, clock).await?;
    let policy = Arc::new(PolicyInForce::open(&configuration.bundles, base, &state_folder, &state).await?);
    let recorder = Recorder::new(credential, policy.sealer())?;
    policy.refresh(&recorder, &state).await?;
    let folder = base.join(&configuration.data_folder);
    let views = Views::open(&state_folder.join("views")).map_err(DatasetError::Folder)?;
    let datasets = Datasets::new(folder, bindings.clone(), ranking, configuration.threads, views);
    let tick = Tick::of(Duration::from_millis(configuration.tick_milliseconds.max(1)));
    let (closed, gate) = (configuration.closed.clone(), Gate::new(log_key.clone()));
    let app = App::new(state, policy, trust.clone(), recorder, datasets, closed, gate, tick);
    app.warm_up().await?;
    Ok(app)
}

/// Starts an adapter: [`open`], then it dials the gateways.
///
/// # Errors
/// [`ProgramError`].
pub async fn serve(checked: Checked, clock: Arc<dyn Clock>, shutdown: &Shutdown) -> Result<Running, ProgramError> {
    let app = Arc::new(open(&checked, clock).await?);
    let Checked { configuration, base, credential, trust, gateway, .. } = checked;

    let mut tasks = tokio::task::JoinSet::new();
    if let Some(address) = configuration.metrics {
        Metrics::install()?.serve(address, shutdown).await?;
    }
    let interval = Duration::from_secs(configuration.bundles.interval_seconds.max(1));
    let new_policy = Arc::new(Notify::new());
    let (watched, watching, changed) = (Arc::clone(&app), shutdown.clone(), Arc::clone(&new_policy));
    tasks.spawn(async move {
        loop {
            if let Err(error) = watched.close_old_sessions().await {
                tracing::error!(error_kind = %error, "match sessions past their lifetime could not be closed");
            }
            if let Err(error) = watched.delete_expired_disclosures().await {
                tracing::error!(error_kind = %error, "what matches disclosed could not be deleted on its day");
            }
            if let Err(error) = watched.state().delete_old_joins(watched.state().now()).await {
                tracing::error!(error_kind = %error, "what joins are replayed from could not be deleted");
            }
            tokio::select! {
                () = watching.requested() => return,
                () = tokio::time::sleep(interval) => {}
            }
            match watched.refresh_policy().await {
                // What it changes of a view is not left to whoever asks first.
                Ok(true) => changed.notify_one(),
                Ok(false) => {}
                Err(error) => tracing::error!(error_kind = %error, "policy could not be looked at"),
            }
        }
    });
    let (read, stopping) = (Arc::clone(&app), shutdown.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = keep_read(&read, &new_policy) => {}
            () = stopping.requested() => {}
        }
    });
    let renewal = configuration.federation.renewal("federation", &base, (&credential, &trust), CertificateUse::Client);
    let (pinning, own, renewing) = (Arc::clone(&app), credential.identity().org.clone(), shutdown.clone());
    // SECURITY: the others know this adapter by its key alone. Another one is taken up when policy pins it, not before.
    let is_pinned = move |key: Pin| {
        let bundle = pinning.policy().accepted();
        bundle.and_then(|bundle| bundle.registry().organisation(&own)?.pin) == Some(key)
    };
    tasks.spawn(async move { renewal.keep(interval, is_pinned, &renewing).await });
    let way = Way {
        credential: credential.clone(),
        trust: trust.clone(),
        gateways: configuration.gateways.clone(),
        gateway: gateway.clone(),
    };
    let agency = Agency::new(Arc::clone(&app), way.clone(), shutdown.clone());
    let agency = AgencyServiceServer::new(agency).max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE);
    let local = match &configuration.local {
        None => None,
        Some(local) => {
            let (own, authority) = local.tls.open(&base)?;
            let renewal = local.tls.renewal("local.tls", &base, (&own, &authority), CertificateUse::Server);
            let renewing = shutdown.clone();
            tasks.spawn(async move { renewal.keep(interval, |_| true, &renewing).await });
            let server = Server::bind(local.listen, ServerTls::local(&own, &authority)).await?;
            let address = server.local_addr();
            let service = LocalMatch::new(Arc::clone(&app), way.clone());
            let routes = Routes::new(LocalMatchServiceServer::new(service));
            let ending = shutdown.clone();
            tasks.spawn(async move {
                if let Err(error) = server.serve(routes, &ending, DRAIN).await {
                    tracing::error!(error_kind = %error, "local listener ended");
                }
            });
            Some(address)
        }
    };
    let routes = Routes::new(agency);
    let dialer = dial_reverse(&configuration.gateways, &credential, &trust, &gateway, &routes, shutdown);
    tasks.spawn(dialer.finished());
    Ok(Running { local, tasks })
}

/// Reads what is served: from the start on the cuts before the latest, what a new policy changes, and again what could not
/// be read.
async fn keep_read(app: &App, new_policy: &Notify) {
    loop {
        let begun = Instant::now();
        app.read_all_cuts().await;
        // A file that is read in vain takes a tenth of the time at most.
        let pause = (begun.elapsed() * 9).max(TRIED_AGAIN);
        tokio::select! {
            () = new_policy.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
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
    if let Some(address) = running.local {
        tracing::info!(address = %address, "listening for staff");
    }
    running.finished().await;
    Ok(())
}
