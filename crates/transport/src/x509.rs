use firebreak_domain::{Identity, IdentityError, Pin, Timestamp};
use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::server::ParsedCertificate;
use std::net::IpAddr;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What stands before the uncompressed point in the SubjectPublicKeyInfo of a P-256 key (RFC 5480 §2.1.1):
/// id-ecPublicKey, secp256r1, and a bit string of 66 bytes with none unused.
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// What is wrong with a certificate. Never repeats a name from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("the certificate cannot be read: give one X.509 v3 certificate in DER")]
    Unreadable,
    /// No URI name, or several.
    #[error("the certificate carries {found} URI names: it must carry exactly one")]
    NotOneUri {
        /// How many there are.
        found: usize,
    },
    /// The URI is not an identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A name from another trust domain.
    #[error("the certificate names another trust domain")]
    OtherTrustDomain,
    /// Not the identity that was expected.
    #[error("the certificate names somebody else than expected")]
    OtherIdentity,
    /// Not the key that was expected.
    #[error("the certificate's key is not the pinned one")]
    OtherKey,
    /// A role of the other side: staff on the federation's listener, or the federation on an agency's own.
    #[error("the certificate's role has no place on this listener")]
    WrongSide,
    /// Outside its validity.
    #[error("the certificate has expired or is not yet valid")]
    OutsideValidity,
    /// Not issued by the authority we trust, or not for this use.
    #[error("the certificate was not issued by the trusted authority for this use")]
    NotTrusted,
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Unreadable),
    }
}

fn uris<'a>(certificate: &'a X509Certificate<'_>) -> Result<Vec<&'a str>, CertificateError> {
    let Some(names) = certificate.subject_alternative_name().map_err(|_| CertificateError::Unreadable)? else {
        return Ok(Vec::new());
    };
    names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(Ok(*uri)),
            GeneralName::Invalid(..) => Some(Err(CertificateError::Unreadable)),
            _ => None,
        })
        .collect()
}

/// The one URI name of a certificate, as it is written there.
///
/// # Errors
/// [`CertificateError::Unreadable`], [`CertificateError::NotOneUri`].
pub(crate) fn uri_of_cert(der: &[u8]) -> Result<String, CertificateError> {
    let certificate = parse(der)?;
    match uris(&certificate)?[..] {
        [uri] => Ok(uri.to_owned()),
        ref all => Err(CertificateError::NotOneUri { found: all.len() }),
    }
}

/// The DNS names and addresses of a certificate, as they are written.
///
/// # Errors
/// [`CertificateError::Unreadable`].
pub(crate) fn dns_names_of_cert(der: &[u8]) -> Result<Vec<String>, CertificateError> {
    let certificate = parse(der)?;
    let Some(names) = certificate.subject_alternative_name().map_err(|_| CertificateError::Unreadable)? else {
        return Ok(Vec::new());
    };
    let written = |name: &GeneralName<'_>| match *name {
        GeneralName::DNSName(name) => Some(name.to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let sixteen = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            four.or(sixteen).ok().map(|address| address.to_string())
        }
        _ => None,
    };
    Ok(names.value.general_names.iter().filter_map(written).collect())
}

/// The identity in a certificate: its one URI name. Checks neither issuer nor validity.
///
/// # Errors
/// Several or no URI names, a URI that is not an [`Identity`], bytes that are not one certificate.
pub fn identity_of_cert(der: &[u8]) -> Result<Identity, CertificateError> {
    // SECURITY: a second URI is refused, not skipped: two readers must never pick different ones.
    Ok(uri_of_cert(der)?.parse()?)
}

/// The pin of a certificate's key: SHA-256 of the DER of its SubjectPublicKeyInfo (RFC 7469 §2.4).
///
/// # Errors
/// [`CertificateError::Unreadable`].
pub fn pin_of_cert(der: &[u8]) -> Result<Pin, CertificateError> {
    let digest = digest(&SHA256, &key_of_cert(der)?);
    let bytes = digest.as_ref().try_into().map_err(|_| CertificateError::Unreadable)?;
    Ok(Pin::from_bytes(bytes))
}

/// The SubjectPublicKeyInfo in DER.
fn key_of_cert(der: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, CertificateError> {
    // SECURITY: read by the same parser that checks the handshake's signature, so that the key that is pinned
    // and the key that signs cannot be two.
    let certificate = CertificateDer::from(der);
    let parsed = ParsedCertificate::try_from(&certificate).map_err(|_| CertificateError::Unreadable)?;
    Ok(parsed.subject_public_key_info())
}

/// First and last second of a certificate's validity.
pub(crate) fn validity_of_cert(der: &[u8]) -> Result<(Timestamp, Timestamp), CertificateError> {
    let certificate = parse(der)?;
    let validity = certificate.validity();
    Ok((Timestamp::from_secs(validity.not_before.timestamp()), Timestamp::from_secs(validity.not_after.timestamp())))
}

/// The number that the authority gave to a certificate.
///
/// # Errors
/// [`CertificateError::Unreadable`].
pub fn serial_of_cert(der: &[u8]) -> Result<Vec<u8>, CertificateError> {
    Ok(parse(der)?.raw_serial().to_vec())
}

/// The uncompressed point of a P-256 key, or nothing for any other kind of key.
pub(crate) fn p256_key_of_cert(der: &[u8]) -> Result<Option<Vec<u8>>, CertificateError> {
    Ok(key_of_cert(der)?.strip_prefix(P256_SPKI).map(<[u8]>::to_vec))
}

/// Whether the certificate may issue others.
pub(crate) fn is_authority(der: &[u8]) -> Result<bool, CertificateError> {
    let certificate = parse(der)?;
    Ok(certificate
        .iter_extensions()
        .any(|e| matches!(e.parsed_extension(), ParsedExtension::BasicConstraints(b) if b.ca)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ca, Validity};

    fn leaf() -> Vec<u8> {
        let ca = Ca::generate("test", "firebreak.test").unwrap();
        let who = "spiffe://firebreak.test/org/nso/analyst/ada".parse().unwrap();
        ca.issue(&who, &[], Validity::days(1)).unwrap().chain().remove(0)
    }

    #[test]
    fn both_parsers_see_the_same_key() {
        let der = leaf();
        let certificate = parse(&der).unwrap();
        let key = certificate.public_key();
        assert_eq!(pin_of_cert(&der).unwrap().as_bytes()[..], *digest(&SHA256, key.raw).as_ref());
        let point = p256_key_of_cert(&der).unwrap().unwrap();
        assert_eq!(point, &*key.subject_public_key.data);
        assert_eq!((point.len(), point[0]), (65, 4));
    }

    #[test]
    fn bytes_that_are_not_exactly_one_certificate_are_unreadable() {
        let der = leaf();
        let longer = [&der[..], &[0]].concat();
        for bytes in [&[][..], &der[..der.len() - 1], &longer[..], b"-----BEGIN CERTIFICATE-----"] {
            assert_eq!(identity_of_cert(bytes), Err(CertificateError::Unreadable));
            assert_eq!(pin_of_cert(bytes), Err(CertificateError::Unreadable));
            assert_eq!(validity_of_cert(bytes), Err(CertificateError::Unreadable));
        }
        assert!(identity_of_cert(&der).is_ok() && pin_of_cert(&der).is_ok());
    }
}
