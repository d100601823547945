use crate::connect::{ConnectError, HANDSHAKE_LIMIT, channel_over, handshake};
use crate::peer::PeerStream;
use crate::reverse::serve_one;
use crate::tls::{H2_ALPN, client_config, server_config};
use crate::verifier::Accept;
use crate::{Credential, Shutdown};
use firebreak_domain::{Identity, Pin};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Channel;

/// Serves `routes` on `stream` to one peer: this identity with this key, whoever issued its certificate.
///
/// Returns when the connection is over. Services find the session's exporter in [`peer`](crate::peer). Dropping
/// the future, or `shutdown`, ends the connection.
///
/// # Errors
/// Another peer, another key, no handshake within ten seconds.
pub async fn serve_pinned<T>(
    stream: T,
    credential: &Credential,
    expected: &Identity,
    pin: Pin,
    routes: Routes,
    shutdown: &Shutdown,
) -> Result<(), ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = server_config(credential, Accept::Pinned(expected.clone(), pin), &[H2_ALPN]);
    let accept = TlsAcceptor::from(config).accept(stream);
    let tls = timeout(HANDSHAKE_LIMIT, accept).await.map_err(|_| ConnectError::TimedOut)?.map_err(ConnectError::of)?;
    if tls.get_ref().1.alpn_protocol() != Some(H2_ALPN) {
        return Err(ConnectError::Protocol(io::ErrorKind::Unsupported.into()));
    }
    let stream = PeerStream::new(TlsStream::Server(tls), CancellationToken::new()).map_err(ConnectError::WrongPeer)?;
    serve_one(stream, routes, shutdown).await;
    Ok(())
}

/// Connects over `stream` to one peer: this identity with this key, whoever issued its certificate.
///
/// Gives the channel and the session's exporter, 32 bytes that only both ends know
/// ([`SESSION_LABEL`](crate::SESSION_LABEL)). The channel cannot reconnect.
///
/// # Errors
/// Another peer, another key, our key not the one pinned there, no handshake within ten seconds.
pub async fn connect_pinned<T>(
    stream: T,
    credential: &Credential,
    expected: &Identity,
    pin: Pin,
) -> Result<(Channel, [u8; 32]), ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = client_config(credential, Accept::Pinned(expected.clone(), pin), H2_ALPN);
    let stream = timeout(HANDSHAKE_LIMIT, handshake(stream, &config)).await.map_err(|_| ConnectError::TimedOut)??;
    let exporter = stream.peer().exporter;
    Ok((channel_over(stream).await?, exporter))
}
