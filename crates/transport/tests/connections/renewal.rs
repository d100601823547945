//! Certificates that are renewed while programs run: what begins afterwards shows the new one, what is open goes on.

use crate::support::{ADA, EDUCATION, Federation, GATEWAY, HEALTH, ask, id, routes, until};
use firebreak_domain::{Clock, OrgId, SystemClock};
use firebreak_transport::{
    CertificateUse, Credential, Renewal, Shutdown, Validity, connect, connect_pinned, dial_reverse, serial_of_cert,
    serve_pinned,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// A credential kept as its files are.
struct Kept {
    folder: TempDir,
    credential: Credential,
    shutdown: Shutdown,
}

impl Kept {
    fn issued(federation: &Federation, uri: &str, shown_as: CertificateUse, seconds: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let first = federation.ca.issue(&id(uri), &["localhost"], lasting(seconds)).unwrap();
        first.save(folder.path()).unwrap();
        let credential = Credential::load(folder.path()).unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let renewal = Renewal::new("federation", credential.clone(), federation.trust.clone(), shown_as, cert, key);
        let shutdown = Shutdown::new();
        let ending = shutdown.clone();
        tokio::spawn(async move { renewal.keep(Duration::from_millis(20), |_| false, &ending).await });
        Self { folder, credential, shutdown }
    }

    /// Puts a certificate for the same key into the files and waits until it is taken up.
    async fn renew(&self, federation: &Federation) {
        let renewed = federation.ca.renew(&self.credential, lasting(86_400)).unwrap();
        renewed.save(self.folder.path()).unwrap();
        until("the renewal", || self.credential.chain() == renewed.chain()).await;
    }

    fn serial(&self) -> Vec<u8> {
        serial_of_cert(&self.credential.chain()[0]).unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

fn lasting(seconds: i64) -> Validity {
    let now = SystemClock.now();
    Validity { not_before: now.plus_secs(-60), not_after: now.plus_secs(seconds) }
}

fn health() -> OrgId {
    OrgId::new("health").unwrap()
}

/// The number of the certificate that a server shows to a client that is not ours.
async fn shown(federation: &Federation, address: SocketAddr) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(federation.ca.certificate())).unwrap();
    let request = firebreak_transport::CertificateRequest::new(&id(ADA));
    let (chain, key) = federation.ca.issue_raw(&request).unwrap();
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    serial_of_cert(&tls.get_ref().1.peer_certificates().unwrap()[0]).unwrap()
}

#[tokio::test]
async fn who_dials_after_a_renewal_shows_the_new_certificate_and_what_was_dialled_before_goes_on() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let ada = Kept::issued(&federation, ADA, CertificateUse::Client, 3600);
    let before = ada.serial();
    let old = connect(&gateway.at(), &ada.credential, &federation.trust, &id(GATEWAY)).await.unwrap();
    ask(old.clone()).await.unwrap();
    ada.renew(&federation).await;
    assert_ne!(ada.serial(), before);
    let new = connect(&gateway.at(), &ada.credential, &federation.trust, &id(GATEWAY)).await.unwrap();
    ask(old).await.unwrap();
    ask(new).await.unwrap();
    let seen = gateway.seen.lock().unwrap();
    let serials: Vec<_> = seen.iter().map(|peer| serial_of_cert(&peer.certificate).unwrap()).collect();
    assert_eq!(serials, [before.clone(), before, ada.serial()]);
    assert_eq!(seen[0].exporter, seen[1].exporter, "the old connection was made again");
}

#[tokio::test]
async fn who_listens_shows_the_new_certificate_and_keeps_the_connections_that_it_has() {
    let federation = Federation::new();
    let listener = Kept::issued(&federation, GATEWAY, CertificateUse::Server, 3600);
    let gateway = federation.serve(&listener.credential).await;
    let before = listener.serial();
    assert_eq!(shown(&federation, gateway.address).await, before);
    let old = connect(&gateway.at(), &federation.issue(ADA), &federation.trust, &id(GATEWAY)).await.unwrap();
    ask(old.clone()).await.unwrap();
    listener.renew(&federation).await;
    assert_ne!(listener.serial(), before);
    assert_eq!(shown(&federation, gateway.address).await, listener.serial());
    ask(old).await.unwrap();
    let seen = gateway.seen.lock().unwrap();
    assert_eq!(seen[0].exporter, seen[1].exporter, "the old connection was made again");
}

#[tokio::test]
async fn an_adapter_that_renewed_dials_anew_and_a_stream_on_its_old_connection_goes_on() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let adapter = Kept::issued(&federation, HEALTH, CertificateUse::Client, 3600);
    let (reporter, service) = tonic_health::server::health_reporter();
    let (trust, shutdown) = (&federation.trust, Shutdown::new());
    let address = [gateway.at()];
    let routes = Routes::new(service);
    let dialer = dial_reverse(&address, &adapter.credential, trust, &id(GATEWAY), &routes, &shutdown);
    until("two connections", || gateway.adapters.connected() == [(health(), 2)]).await;
    let mut asking = HealthClient::new(gateway.adapters.channel(&health()).unwrap());
    let mut watch = asking.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());

    adapter.renew(&federation).await;
    let shows = || gateway.adapters.peer(&health()).map(|peer| serial_of_cert(&peer.certificate).unwrap());
    until("the new certificate", || shows() == Some(adapter.serial())).await;
    // One of the old ones has nothing to do and goes, the other has the stream.
    until("three connections", || gateway.adapters.connected() == [(health(), 3)]).await;
    for _ in 0..8 {
        ask(gateway.adapters.channel(&health()).unwrap()).await.unwrap();
    }
    assert!(dialer.state().borrow().complete());
    reporter.set_service_status("", ServingStatus::NotServing).await;
    let told = timeout(Duration::from_secs(10), watch.message()).await.expect("the stream is dead").unwrap().unwrap();
    assert_eq!(told.status, tonic_health::pb::health_check_response::ServingStatus::NotServing as i32);
    drop((watch, asking));
    until("two connections", || gateway.adapters.connected() == [(health(), 2)]).await;
}

#[tokio::test]
async fn an_adapter_that_renewed_in_time_is_reached_beyond_the_end_of_its_old_certificate() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let adapter = Kept::issued(&federation, HEALTH, CertificateUse::Client, 6);
    let end = adapter.credential.expires().plus_secs(2);
    let (routes, seen) = routes();
    let (trust, shutdown) = (&federation.trust, Shutdown::new());
    let _dialer = dial_reverse(&[gateway.at()], &adapter.credential, trust, &id(GATEWAY), &routes, &shutdown);
    until("two connections", || gateway.adapters.connected() == [(health(), 2)]).await;
    adapter.renew(&federation).await;
    while SystemClock.now() <= end {
        ask(gateway.adapters.channel(&health()).expect("not connected")).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    assert!(!seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_adapter_that_renewed_too_late_is_reached_again_without_a_restart() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let adapter = Kept::issued(&federation, HEALTH, CertificateUse::Client, 2);
    let (routes, _) = routes();
    let (trust, shutdown) = (&federation.trust, Shutdown::new());
    let _dialer = dial_reverse(&[gateway.at()], &adapter.credential, trust, &id(GATEWAY), &routes, &shutdown);
    until("it is connected", || gateway.adapters.channel(&health()).is_some()).await;
    until("its certificate ends", || gateway.adapters.channel(&health()).is_none()).await;
    sleep(Duration::from_secs(1)).await;
    assert!(gateway.adapters.channel(&health()).is_none(), "an expired certificate was let in");
    adapter.renew(&federation).await;
    until("it is connected again", || gateway.adapters.channel(&health()).is_some()).await;
    ask(gateway.adapters.channel(&health()).unwrap()).await.unwrap();
}

#[tokio::test]
async fn an_adapter_dials_anew_before_the_gateways_old_certificate_ends() {
    let federation = Federation::new();
    let listener = Kept::issued(&federation, GATEWAY, CertificateUse::Server, 14);
    let gateway = federation.serve(&listener.credential).await;
    let adapter = federation.issue(HEALTH);
    let (routes, seen) = routes();
    let (trust, shutdown) = (&federation.trust, Shutdown::new());
    let _dialer = dial_reverse(&[gateway.at()], &adapter, trust, &id(GATEWAY), &routes, &shutdown);
    until("two connections", || gateway.adapters.connected() == [(health(), 2)]).await;
    let before = listener.serial();
    listener.renew(&federation).await;
    // Nobody tells the adapter: it dials again at half of what was left.
    let mut found = before.clone();
    for _ in 0..130 {
        ask(gateway.adapters.channel(&health()).expect("not connected")).await.unwrap();
        found = serial_of_cert(&seen.lock().unwrap().last().unwrap().certificate).unwrap();
        if found != before {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(found, listener.serial());
}

#[tokio::test]
async fn pinned_peers_meet_after_either_renewed_for_its_key() {
    let federation = Federation::new();
    let asks = Kept::issued(&federation, HEALTH, CertificateUse::Client, 3600);
    let serves = Kept::issued(&federation, EDUCATION, CertificateUse::Client, 3600);
    let pins = (asks.credential.pin(), serves.credential.pin());
    asks.renew(&federation).await;
    serves.renew(&federation).await;
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (routes, seen) = routes();
    let credential = serves.credential.clone();
    tokio::spawn(async move {
        serve_pinned(far, &credential, &id(HEALTH), pins.0, routes, &Shutdown::new()).await.unwrap();
    });
    let (channel, _) = connect_pinned(near, &asks.credential, &id(EDUCATION), pins.1).await.unwrap();
    ask(channel).await.unwrap();
    let shown = serial_of_cert(&seen.lock().unwrap()[0].certificate).unwrap();
    assert_eq!(shown, asks.serial());
}

#[tokio::test]
async fn a_program_goes_on_with_its_certificate_while_the_files_are_unfit() {
    let federation = Federation::new();
    let listener = Kept::issued(&federation, GATEWAY, CertificateUse::Server, 3600);
    let gateway = federation.serve(&listener.credential).await;
    let before = listener.serial();
    // Another key, which nothing here lets in.
    federation.ca.issue(&id(GATEWAY), &["localhost"], lasting(86_400)).unwrap().save(listener.folder.path()).unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(shown(&federation, gateway.address).await, before);
    listener.renew(&federation).await;
    assert_eq!(shown(&federation, gateway.address).await, listener.serial());
}
