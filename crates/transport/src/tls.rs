use crate::verifier::Accept;
use crate::{Credential, REVERSE_ALPN, TrustAnchor};
use firebreak_domain::IdentityRole;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;

/// HTTP/2's ALPN name (RFC 9113 §3.2).
pub(crate) const H2_ALPN: &[u8] = b"h2";

/// Which of an agency's two worlds a listener belongs to. No identity is at home in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Between organisations, under the federation's authority.
    Federation,
    /// Within one agency, under its own authority: its staff at its adapter.
    Local,
}

impl Side {
    /// Whether somebody in this role may connect on this side.
    #[must_use]
    pub const fn admits(self, role: IdentityRole) -> bool {
        match self {
            Self::Federation => !role.is_local(),
            Self::Local => role.is_local(),
        }
    }
}

/// How a server shows itself and whom it lets in: TLS 1.3 alone, and nobody without a certificate that `trust`
/// issued, with exactly one URI, an identity of its trust domain whose role belongs on that side.
#[derive(Clone)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
}

impl ServerTls {
    /// For a listener that other organisations reach. Also takes reverse connections ([`REVERSE_ALPN`]).
    #[must_use]
    pub fn federation(credential: &Credential, trust: &TrustAnchor) -> Self {
        Self::new(credential, trust, Side::Federation, &[H2_ALPN, REVERSE_ALPN])
    }

    /// For an adapter's listener for its own agency's staff, under the agency's own authority.
    #[must_use]
    pub fn local(credential: &Credential, trust: &TrustAnchor) -> Self {
        Self::new(credential, trust, Side::Local, &[H2_ALPN])
    }

    fn new(credential: &Credential, trust: &TrustAnchor, side: Side, alpn: &[&[u8]]) -> Self {
        Self { config: server_config(credential, Accept::Anybody(trust.clone(), side), alpn) }
    }
}

/// The one source of cryptography, named at every use: no process-wide default is set or read.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn names(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.to_vec()).collect()
}

#[expect(clippy::expect_used, reason = "ring always supports TLS 1.3; a test builds both kinds of configuration")]
pub(crate) fn server_config(credential: &Credential, accept: Accept, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring supports TLS 1.3")
        .with_client_cert_verifier(Arc::new(accept))
        .with_cert_resolver(credential.as_server());
    config.alpn_protocols = names(alpn);
    // SECURITY: a resumed session would skip the peer's certificate, expired by then perhaps: there are none.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

#[expect(clippy::expect_used, reason = "ring always supports TLS 1.3; a test builds both kinds of configuration")]
pub(crate) fn client_config(credential: &Credential, accept: Accept, alpn: &[u8]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring supports TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(accept))
        .with_client_cert_resolver(credential.as_client());
    config.alpn_protocols = names(&[alpn]);
    config.resumption = Resumption::disabled();
    // The identity is a URI; a server name would only tell the network whom we call.
    config.enable_sni = false;
    Arc::new(config)
}
