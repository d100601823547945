use crate::support::{ADA, EDUCATION, Federation, GATEWAY, HEALTH, Running, any, ask, id};
use firebreak_domain::{Clock, SystemClock};
use firebreak_transport::{
    CertificateError, CertificateRequest, ConnectError, REVERSE_ALPN, Server, ServerTls, Validity, connect,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A client that is not ours: any TLS version, any certificate or none, and it checks the server by DNS name.
struct Foreign<'a> {
    federation: &'a Federation,
    version: &'static SupportedProtocolVersion,
    shows: Option<(Vec<Vec<u8>>, Vec<u8>)>,
    alpn: Vec<Vec<u8>>,
}

impl<'a> Foreign<'a> {
    fn showing(federation: &'a Federation, request: &CertificateRequest) -> Self {
        let (chain, key) = federation.ca.issue_raw(request).unwrap();
        Self { federation, version: &TLS13, shows: Some((chain, key.to_vec())), alpn: vec![b"h2".to_vec()] }
    }

    fn config(self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.federation.ca.certificate())).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shows {
            Some((chain, key)) => {
                let chain = chain.into_iter().map(CertificateDer::from).collect();
                config.with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key))).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        Arc::new(config)
    }

    /// The first bytes that the server sends once the handshake is done.
    async fn first_bytes(self, address: SocketAddr) -> io::Result<Vec<u8>> {
        Ok(first_bytes(self.config(), address).await?.0)
    }
}

async fn first_bytes(config: Arc<ClientConfig>, address: SocketAddr) -> io::Result<(Vec<u8>, HandshakeKind)> {
    let name = ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(address).await?;
    let mut tls = TlsConnector::from(config).connect(name, tcp).await?;
    let mut first = vec![0; 64];
    let count = timeout(Duration::from_secs(5), tls.read(&mut first)).await??;
    first.truncate(count);
    let kind = tls.get_ref().1.handshake_kind().unwrap();
    if first.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((first, kind)) }
}

fn ada() -> CertificateRequest {
    CertificateRequest::new(&id(ADA))
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let mut client = Foreign::showing(&federation, &ada());
    client.shows = None;
    let error = client.first_bytes(gateway.address).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");

    let twin = Foreign::showing(&federation, &ada());
    assert!(twin.first_bytes(gateway.address).await.is_ok());
}

#[tokio::test]
async fn a_certificate_with_two_uri_names_is_refused() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let two = ada().also_uri("spiffe://firebreak.test/org/nso/overseer/ada");
    let error = Foreign::showing(&federation, &two).first_bytes(gateway.address).await.unwrap_err();
    assert!(error.to_string().contains("received fatal alert"), "{error}");

    assert!(Foreign::showing(&federation, &ada()).first_bytes(gateway.address).await.is_ok());
}

#[tokio::test]
async fn a_tls_1_2_client_is_refused() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let mut client = Foreign::showing(&federation, &ada());
    client.version = &TLS12;
    let error = client.first_bytes(gateway.address).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");

    assert!(Foreign::showing(&federation, &ada()).first_bytes(gateway.address).await.is_ok());
}

#[tokio::test]
async fn every_connection_shows_its_certificate_again() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let config = Foreign::showing(&federation, &ada()).config();
    for _ in 0..3 {
        let (_, kind) = first_bytes(Arc::clone(&config), gateway.address).await.unwrap();
        assert_eq!(kind, HandshakeKind::Full, "a resumed session shows no certificate");
    }
}

#[tokio::test]
async fn a_client_that_names_no_protocol_of_ours_is_refused() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    for alpn in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut client = Foreign::showing(&federation, &ada());
        client.alpn = alpn;
        assert!(client.first_bytes(gateway.address).await.is_err());
    }
    assert!(Foreign::showing(&federation, &ada()).first_bytes(gateway.address).await.is_ok());
}

#[tokio::test]
async fn only_an_adapter_may_make_a_reverse_connection() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let mut first = Vec::new();
    for who in [ADA, HEALTH] {
        let mut client = Foreign::showing(&federation, &CertificateRequest::new(&id(who)));
        client.alpn = vec![REVERSE_ALPN.to_vec()];
        first.push(client.first_bytes(gateway.address).await);
    }
    assert!(first[0].is_err());
    // The accepting side is the HTTP/2 client there: it opens with the client's preface.
    assert!(first[1].as_ref().unwrap().starts_with(b"PRI * HTTP/2.0"));
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    let now = SystemClock.now();
    for (from, to, fits) in [(-7200, -3600, false), (3600, 7200, false), (-3600, 3600, true)] {
        let validity = Validity { not_before: now.plus_secs(from), not_after: now.plus_secs(to) };
        let credential = federation.ca.issue(&id(ADA), &[], validity).unwrap();
        let connected = connect(&gateway.at(), &credential, &federation.trust, &id(GATEWAY)).await;
        assert_eq!(connected.is_ok(), fits);
        if let Err(error) = connected {
            assert!(matches!(error, ConnectError::Refused(_)), "{error}");
        }
    }
}

#[tokio::test]
async fn an_expired_server_is_refused() {
    let federation = Federation::new();
    let now = SystemClock.now();
    for (from, to, fits) in [(-7200, -3600, false), (-3600, 3600, true)] {
        let validity = Validity { not_before: now.plus_secs(from), not_after: now.plus_secs(to) };
        let gateway = federation.serve(&federation.ca.issue(&id(GATEWAY), &[], validity).unwrap()).await;
        match connect(&gateway.at(), &federation.issue(ADA), &federation.trust, &id(GATEWAY)).await {
            Ok(_) => assert!(fits),
            Err(error) => {
                assert!(
                    matches!(error, ConnectError::WrongPeer(CertificateError::OutsideValidity)) && !fits,
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_either_side() {
    let (ours, theirs) = (Federation::new(), Federation::new());
    let gateway = ours.gateway().await;
    let error = connect(&gateway.at(), &theirs.issue(ADA), &ours.trust, &id(GATEWAY)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    let error = connect(&gateway.at(), &ours.issue(ADA), &theirs.trust, &id(GATEWAY)).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongPeer(CertificateError::NotTrusted)), "{error}");

    let channel = connect(&gateway.at(), &ours.issue(ADA), &ours.trust, &id(GATEWAY)).await.unwrap();
    ask(channel).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_another_trust_domain_is_refused_although_our_authority_issued_it() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    for (uri, fits) in [("spiffe://elsewhere.test/org/nso/analyst/ada", false), (ADA, true)] {
        let connected = connect(&gateway.at(), &federation.issue(uri), &federation.trust, &id(GATEWAY)).await;
        assert_eq!(connected.is_ok(), fits, "{uri}");
        if let Err(error) = connected {
            assert!(matches!(error, ConnectError::Refused(_)), "{error}");
        }
    }
}

#[tokio::test]
async fn another_identitys_valid_certificate_in_the_gateways_place_is_refused() {
    let federation = Federation::new();
    let impostor = federation.serve(&federation.issue(EDUCATION)).await;
    let ada = federation.issue(ADA);
    let error = connect(&impostor.at(), &ada, &federation.trust, &id(GATEWAY)).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongPeer(CertificateError::OtherIdentity)), "{error}");
    // Another gateway of the same organisation is another identity.
    let second = id("spiffe://firebreak.test/org/exchange/gateway/two");
    let gateway = federation.gateway().await;
    assert!(connect(&gateway.at(), &ada, &federation.trust, &second).await.is_err());

    let channel = connect(&impostor.at(), &ada, &federation.trust, &id(EDUCATION)).await.unwrap();
    ask(channel).await.unwrap();
}

#[tokio::test]
async fn another_agencys_valid_certificate_is_seen_as_that_agency() {
    let federation = Federation::new();
    let gateway = federation.gateway().await;
    for who in [EDUCATION, HEALTH, ADA] {
        let credential = federation.issue(who);
        ask(connect(&gateway.at(), &credential, &federation.trust, &id(GATEWAY)).await.unwrap()).await.unwrap();
        let seen = gateway.seen.lock().unwrap().pop().unwrap();
        assert_eq!(seen.identity, id(who));
        assert_eq!(seen.pin, credential.pin());
        assert_eq!(seen.certificate, credential.chain()[0]);
    }
}

#[tokio::test]
async fn staff_and_federation_do_not_meet_on_one_listener() {
    let federation = Federation::new();
    let officer = "spiffe://firebreak.test/org/health/officer/jo";
    let adapter = federation.issue(HEALTH);
    let local = Server::bind(any(), ServerTls::local(&adapter, &federation.trust)).await.unwrap();
    let federal = Server::bind(any(), ServerTls::federation(&adapter, &federation.trust)).await.unwrap();
    let (local, federal) = (Running::start(local), Running::start(federal));
    for (server, who, fits) in
        [(&local, officer, true), (&local, ADA, false), (&federal, officer, false), (&federal, ADA, true)]
    {
        let connected = connect(&server.at(), &federation.issue(who), &federation.trust, &id(HEALTH)).await;
        assert_eq!(connected.is_ok(), fits, "{who}");
    }
    // Not even an adapter gets a reverse connection at a local listener.
    let mut client = Foreign::showing(&federation, &CertificateRequest::new(&id(officer)));
    client.alpn = vec![REVERSE_ALPN.to_vec()];
    assert!(client.first_bytes(local.address).await.is_err());
}

#[tokio::test]
async fn an_analysts_certificate_does_not_pass_for_a_servers() {
    let federation = Federation::new();
    let impostor = federation.serve(&federation.issue(ADA)).await;
    let error = connect(&impostor.at(), &federation.issue(HEALTH), &federation.trust, &id(ADA)).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongPeer(CertificateError::NotTrusted)), "{error}");
}

#[tokio::test]
async fn nobody_at_the_address_is_said_so() {
    let federation = Federation::new();
    let free = Server::bind(any(), ServerTls::federation(&federation.issue(GATEWAY), &federation.trust)).await.unwrap();
    let address = free.local_addr().to_string();
    drop(free);
    let error = connect(&address, &federation.issue(ADA), &federation.trust, &id(GATEWAY)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_said_so() {
    let federation = Federation::new();
    let tcp = tokio::net::TcpListener::bind(any()).await.unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut socket, _) = tcp.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = socket.read(&mut [0; 1024]).await;
    });
    let error = connect(&address, &federation.issue(ADA), &federation.trust, &id(GATEWAY)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Protocol(_)), "{error}");
}
