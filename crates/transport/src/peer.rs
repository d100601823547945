use crate::x509::{CertificateError, identity_of_cert, pin_of_cert, validity_of_cert};
use bytes::Bytes;
use firebreak_domain::{Clock, Identity, Pin as KeyPin, SystemClock, Timestamp};
use rustls::CommonState;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::transport::server::Connected;

/// The label under which both ends of a connection derive [`Peer::exporter`] (RFC 8446 §7.5, empty context).
/// The number is its format.
pub const SESSION_LABEL: &[u8] = b"EXPORTER-firebreak-session/1";

/// Who is at the other end of a connection, as its handshake proved.
#[derive(Clone)]
pub struct Peer {
    /// The identity in its certificate.
    pub identity: Identity,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// The pin of its key.
    pub pin: KeyPin,
    /// The last second of its certificate's validity. The connection ends then.
    pub expires: Timestamp,
    /// 32 bytes that only the two ends of this one connection know: what a session is bound to.
    pub exporter: [u8; 32],
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("identity", &self.identity).field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl Peer {
    /// Reads the peer of a finished handshake.
    pub(crate) fn of<T>(tls: &TlsStream<T>) -> Result<Self, CertificateError> {
        let (_, state): (_, &CommonState) = tls.get_ref();
        let leaf = state.peer_certificates().and_then(<[_]>::first).ok_or(CertificateError::NotTrusted)?;
        let (_, expires) = validity_of_cert(leaf)?;
        let exported = match tls {
            TlsStream::Client(tls) => tls.get_ref().1.export_keying_material([0; 32], SESSION_LABEL, None),
            TlsStream::Server(tls) => tls.get_ref().1.export_keying_material([0; 32], SESSION_LABEL, None),
        };
        Ok(Self {
            identity: identity_of_cert(leaf)?,
            certificate: leaf.to_vec(),
            pin: pin_of_cert(leaf)?,
            expires,
            exporter: exported.map_err(|_| CertificateError::NotTrusted)?,
        })
    }
}

/// Who sent this request: the peer of the connection on which it came.
///
/// # Errors
/// `UNAUTHENTICATED` for a request that came on no connection of ours.
pub fn peer<T>(request: &tonic::Request<T>) -> Result<&Peer, Status> {
    request
        .extensions()
        .get::<Arc<Peer>>()
        .map(AsRef::as_ref)
        .ok_or_else(|| Status::unauthenticated("the connection carries no identity"))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An authenticated connection, ready for HTTP/2.
///
/// It ends when its peer's certificate expires, when its `cut` token is cancelled, or with the socket.
pub struct PeerStream {
    io: Box<dyn Stream>,
    peer: Arc<Peer>,
    /// Bytes already read from the peer.
    early: Bytes,
    cut: CancellationToken,
    cut_seen: Pin<Box<WaitForCancellationFutureOwned>>,
    gone: CancellationToken,
    _gone_on_drop: DropGuard,
    /// Dropped with the connection; nothing reads it.
    _held: Option<Box<dyn Send>>,
}

impl fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerStream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl PeerStream {
    /// Wraps a finished handshake. Cancelling `cut` ends the connection.
    pub(crate) fn new<T>(tls: TlsStream<T>, cut: CancellationToken) -> Result<Self, CertificateError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let peer = Arc::new(Peer::of(&tls)?);
        let gone = CancellationToken::new();
        tokio::spawn(cut_at_expiry(peer.expires, cut.clone(), gone.clone()));
        Ok(Self {
            io: Box::new(tls),
            peer,
            early: Bytes::new(),
            cut_seen: Box::pin(cut.clone().cancelled_owned()),
            cut,
            gone: gone.clone(),
            _gone_on_drop: gone.drop_guard(),
            _held: None,
        })
    }

    /// Keeps `held` until the connection is gone.
    pub(crate) fn holding(mut self, held: impl Send + 'static) -> Self {
        self._held = Some(Box::new(held));
        self
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Cancelling this ends the connection at once, with all that runs on it.
    #[must_use]
    pub fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// Cancelled when the connection is gone, for whatever reason.
    #[must_use]
    pub fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// Waits for the peer's first bytes, which stay to be read.
    ///
    /// In TLS 1.3 a client is done before the server has looked at its certificate; a refusal arrives here.
    pub(crate) async fn first_bytes(&mut self) -> io::Result<()> {
        let mut first = vec![0; 1024];
        let count = self.read(&mut first).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        first.truncate(count);
        self.early = Bytes::from(first);
        Ok(())
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut_seen.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

/// SECURITY: a certificate's end ends its connections; without this one made the day before would outlive it.
async fn cut_at_expiry(expires: Timestamp, cut: CancellationToken, gone: CancellationToken) {
    tokio::select! {
        () = gone.cancelled() => {}
        () = cut.cancelled() => {}
        () = reached(expires.plus_secs(1)) => cut.cancel(),
    }
}

/// Waits until the clock shows `at`.
pub(crate) async fn reached(at: Timestamp) {
    // In steps, so that a machine that slept or whose clock was set wakes to the right time.
    while let Some(left) = u64::try_from(at.secs().saturating_sub(SystemClock.now().secs())).ok().filter(|l| *l > 0) {
        tokio::time::sleep(Duration::from_secs(left.min(3600))).await;
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        if !self.early.is_empty() {
            let count = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Connected for PeerStream {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_came_on_no_connection_of_ours_has_no_peer() {
        let refused = peer(&tonic::Request::new(())).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    }
}
