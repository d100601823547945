use crate::x509::{CertificateError, identity_of_cert, pin_of_cert, validity_of_cert};
use crate::{Side, TrustAnchor};
use firebreak_domain::{Identity, Pin};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};

/// Whom the dialling or accepting side takes for its peer.
///
/// SECURITY: every kind of peer check stands in this file, and each is made during the handshake: a peer that
/// fails it has never been connected.
#[derive(Debug)]
pub(crate) enum Accept {
    /// Anybody to whom the authority gave one identity in our trust domain that belongs on this side.
    Anybody(TrustAnchor, Side),
    /// This identity, as issued by the authority.
    Issued(TrustAnchor, Identity),
    /// This identity with this key, whoever issued its certificate.
    Pinned(Identity, Pin),
}

impl Accept {
    fn leaf(&self, leaf: &[u8], now: UnixTime) -> Result<(), CertificateError> {
        match self {
            Self::Anybody(trust, side) => {
                let identity = trust.identity(leaf)?;
                if side.admits(identity.role) { Ok(()) } else { Err(CertificateError::WrongSide) }
            }
            Self::Issued(trust, expected) => {
                if trust.identity(leaf)? == *expected {
                    Ok(())
                } else {
                    Err(CertificateError::OtherIdentity)
                }
            }
            Self::Pinned(expected, pin) => {
                // SECURITY: the key first. Whoever runs the common authority can issue the right name.
                if pin_of_cert(leaf)? != *pin {
                    return Err(CertificateError::OtherKey);
                }
                if identity_of_cert(leaf)? != *expected {
                    return Err(CertificateError::OtherIdentity);
                }
                let (from, to) = validity_of_cert(leaf)?;
                let now = i64::try_from(now.as_secs()).map_err(|_| CertificateError::OutsideValidity)?;
                if (from.secs()..=to.secs()).contains(&now) { Ok(()) } else { Err(CertificateError::OutsideValidity) }
            }
        }
    }
}

fn refuse(error: CertificateError) -> rustls::Error {
    use rustls::CertificateError as Rustls;
    rustls::Error::InvalidCertificate(match error {
        CertificateError::Unreadable => Rustls::BadEncoding,
        CertificateError::OutsideValidity => Rustls::Expired,
        // Seen by our own side alone: the peer gets an alert without words.
        _ => Rustls::Other(rustls::OtherError(std::sync::Arc::new(error))),
    })
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    ring::default_provider().signature_verification_algorithms
}

fn tls12() -> rustls::Error {
    rustls::Error::General("only TLS 1.3 is spoken here".to_owned())
}

/// Checks that the authority issued the chain for a server, and that it holds at `now`.
pub(crate) fn check_server(
    trust: &TrustAnchor,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let parsed = ParsedCertificate::try_from(leaf)?;
    verify_server_cert_signed_by_trust_anchor(&parsed, trust.roots(), intermediates, now, algorithms().all)
}

impl ServerCertVerifier for Accept {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self {
            Self::Anybody(trust, _) | Self::Issued(trust, _) => {
                check_server(trust, end_entity, intermediates, now)?;
            }
            Self::Pinned(..) => {}
        }
        self.leaf(end_entity, now).map_err(refuse)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

impl ClientCertVerifier for Accept {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self {
            Self::Anybody(trust, _) | Self::Issued(trust, _) => {
                trust.clients().verify_client_cert(end_entity, intermediates, now)?;
            }
            Self::Pinned(..) => {}
        }
        self.leaf(end_entity, now).map_err(refuse)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}
