use firebreak_domain::Identity;
use firebreak_transport::{
    Ca, Credential, Peer, ReverseConnections, Server, ServerTls, Shutdown, TrustAnchor, Validity, peer,
};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

pub const DOMAIN: &str = "firebreak.test";
pub const GATEWAY: &str = "spiffe://firebreak.test/org/exchange/gateway/one";
pub const HEALTH: &str = "spiffe://firebreak.test/org/health/adapter/one";
pub const EDUCATION: &str = "spiffe://firebreak.test/org/education/adapter/one";
pub const ADA: &str = "spiffe://firebreak.test/org/nso/analyst/ada";

pub fn id(uri: &str) -> Identity {
    uri.parse().unwrap()
}

pub struct Federation {
    pub ca: Ca,
    pub trust: TrustAnchor,
}

impl Federation {
    pub fn new() -> Self {
        Self::of(DOMAIN)
    }

    pub fn of(domain: &str) -> Self {
        let ca = Ca::generate("test", domain).unwrap();
        let trust = ca.trust_anchor().unwrap();
        Self { ca, trust }
    }

    pub fn issue(&self, uri: &str) -> Credential {
        self.ca.issue(&id(uri), &["localhost", "127.0.0.1"], Validity::days(1)).unwrap()
    }

    /// A gateway that answers health checks, and whom it saw.
    pub async fn gateway(&self) -> Running {
        self.serve(&self.issue(GATEWAY)).await
    }

    pub async fn serve(&self, credential: &Credential) -> Running {
        let server = Server::bind(any(), ServerTls::federation(credential, &self.trust)).await.unwrap();
        Running::start(server)
    }
}

pub fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub type Seen = Arc<Mutex<Vec<Peer>>>;

/// The service of all these tests, which also writes down who asked.
pub fn routes() -> (Routes, Seen) {
    let seen = Seen::default();
    let by = Arc::clone(&seen);
    let (_, health) = tonic_health::server::health_reporter();
    let service = InterceptedService::new(health, move |request: Request<()>| {
        by.lock().unwrap().push(peer(&request)?.clone());
        Ok::<_, Status>(request)
    });
    (Routes::new(service), seen)
}

pub struct Running {
    pub address: SocketAddr,
    pub seen: Seen,
    pub adapters: ReverseConnections,
    pub shutdown: Shutdown,
}

impl Running {
    pub fn start(server: Server) -> Self {
        Self::start_admitting(server, |_| true)
    }

    pub fn start_admitting(server: Server, admits: impl Fn(&Peer) -> bool + Send + Sync + 'static) -> Self {
        let (address, shutdown, adapters) = (server.local_addr(), Shutdown::new(), ReverseConnections::new());
        let (routes, seen) = routes();
        let accepted = server.accept(&shutdown);
        let (set, until) = (adapters.clone(), shutdown.clone());
        tokio::spawn(async move { set.accept(accepted.reverse, admits).await });
        tokio::spawn(async move { accepted.grpc.serve(routes, &until, Duration::from_secs(1)).await });
        Self { address, seen, adapters, shutdown }
    }

    pub fn at(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

pub async fn ask(channel: Channel) -> Result<(), Status> {
    let mut health = HealthClient::new(channel);
    let asked = health.check(HealthCheckRequest::default());
    timeout(Duration::from_secs(10), asked).await.expect("no answer within ten seconds").map(|_| ())
}

/// Waits until something holds; ten seconds are more than anything here takes.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}
