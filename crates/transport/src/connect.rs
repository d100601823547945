use crate::peer::PeerStream;
use crate::tls::{H2_ALPN, client_config};
use crate::verifier::Accept;
use crate::x509::CertificateError;
use crate::{Credential, TrustAnchor};
use firebreak_domain::Identity;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long a connection and its handshake may take.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether it lives, and how long it may take to answer.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);
pub(crate) const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers at the address.
    #[error("nobody answers at the address: check it, and that the program runs")]
    Unreachable(#[source] io::Error),
    /// Nothing happened for ten seconds.
    #[error("the other side did not finish the handshake within {} seconds", HANDSHAKE_LIMIT.as_secs())]
    TimedOut,
    /// The other side is not who it should be.
    #[error("the other side is not the one expected: {0}")]
    WrongPeer(CertificateError),
    /// The other side does not accept our certificate.
    #[error("the other side refused our certificate: {0}")]
    Refused(&'static str),
    /// The other side speaks something else.
    #[error("the other side does not speak this protocol over TLS 1.3")]
    Protocol(#[source] io::Error),
    /// HTTP/2 did not start.
    #[error("the connection was made but no HTTP/2 session on it")]
    Http(#[source] tonic::transport::Error),
}

impl ConnectError {
    /// Reads what rustls says within an I/O error.
    pub(crate) fn of(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => {
                Self::WrongPeer(other.0.downcast_ref().copied().unwrap_or(CertificateError::NotTrusted))
            }
            Some(invalid @ rustls::Error::InvalidCertificate(_)) => {
                Self::WrongPeer(CertificateError::of_chain(invalid))
            }
            Some(rustls::Error::AlertReceived(alert)) => match alert {
                AlertDescription::CertificateRequired => Self::Refused("it asks for one and none was shown"),
                AlertDescription::CertificateExpired => Self::Refused("it has expired or is not yet valid"),
                AlertDescription::UnknownCA => Self::Refused("it comes from an authority unknown there"),
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::DecryptError
                | AlertDescription::AccessDenied => Self::Refused("its name, key or use is not accepted there"),
                _ => Self::Protocol(error),
            },
            _ => Self::Protocol(error),
        }
    }
}

/// Where and how to dial; each call gives a fresh connection.
#[derive(Clone)]
pub(crate) struct Dialler {
    address: Arc<str>,
    config: Arc<ClientConfig>,
}

impl Dialler {
    pub(crate) fn new(
        address: &str,
        credential: &Credential,
        trust: &TrustAnchor,
        expected: &Identity,
        alpn: &[u8],
    ) -> Self {
        let config = client_config(credential, Accept::Issued(trust.clone(), expected.clone()), alpn);
        Self { address: address.into(), config }
    }

    /// Connects, proves both ends, and waits for the other side's first bytes, so that a refusal is seen here.
    pub(crate) async fn dial(&self) -> Result<PeerStream, ConnectError> {
        let dialled = async {
            let tcp = TcpStream::connect(&*self.address).await.map_err(ConnectError::Unreachable)?;
            tcp.set_nodelay(true).map_err(ConnectError::Unreachable)?;
            handshake(tcp, &self.config).await
        };
        timeout(HANDSHAKE_LIMIT, dialled).await.map_err(|_| ConnectError::TimedOut)?
    }
}

/// Makes the client's side of a handshake on any stream and waits for the other side's first bytes.
pub(crate) async fn handshake<T>(io: T, config: &Arc<ClientConfig>) -> Result<PeerStream, ConnectError>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    // Neither sent nor looked at: the peer's name is the URI that `config` demands.
    let unused = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
    let tls = TlsConnector::from(Arc::clone(config)).connect(unused, io).await.map_err(ConnectError::of)?;
    // SECURITY: without this a server that ignores ALPN could be talked to in a protocol neither side chose.
    if tls.get_ref().1.alpn_protocol() != config.alpn_protocols.first().map(Vec::as_slice) {
        return Err(ConnectError::Protocol(io::ErrorKind::Unsupported.into()));
    }
    let mut stream =
        PeerStream::new(TlsStream::Client(tls), CancellationToken::new()).map_err(ConnectError::WrongPeer)?;
    stream.first_bytes().await.map_err(ConnectError::of)?;
    Ok(stream)
}

/// The settings of every HTTP/2 connection on which we ask. The name in it is never resolved.
pub(crate) fn endpoint() -> Endpoint {
    Endpoint::from_static("http://firebreak.invalid")
        .connect_timeout(HANDSHAKE_LIMIT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_LIMIT)
        .keep_alive_while_idle(true)
}

/// Runs HTTP/2 over one connection that cannot be made again.
pub(crate) async fn channel_over(stream: PeerStream) -> Result<Channel, ConnectError> {
    let once = Mutex::new(Some(stream));
    endpoint()
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move { stream.map(TokioIo::new).ok_or(io::Error::from(io::ErrorKind::NotConnected)) }
        }))
        .await
        .map_err(ConnectError::Http)
}

/// Connects to `address` (`host:port`), where `expected` must answer: exactly this identity, issued by `trust`.
///
/// The first connection is made now, with a typed error; the channel makes further ones when it is lost.
///
/// # Errors
/// Nobody there, somebody else there, our certificate refused there.
pub async fn connect(
    address: &str,
    credential: &Credential,
    trust: &TrustAnchor,
    expected: &Identity,
) -> Result<Channel, ConnectError> {
    let dialler = Dialler::new(address, credential, trust, expected, H2_ALPN);
    let first = Mutex::new(Some(dialler.dial().await?));
    endpoint()
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let dialler = dialler.clone();
            async move {
                match first {
                    Some(stream) => Ok(TokioIo::new(stream)),
                    None => dialler.dial().await.map(TokioIo::new),
                }
            }
        }))
        .await
        .map_err(ConnectError::Http)
}
