use crate::x509::{CertificateError, p256_key_of_cert};
use crate::{Credential, TrustAnchor};
use firebreak_domain::{Identity, Timestamp};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

/// What stands before the bytes that are signed, so that no signature made here is one of another protocol that
/// uses the same key (TLS) and the other way round. The number is the format.
const CONTEXT: &[u8] = b"firebreak-signature/1\0";

/// Certificates that may come with a signature: a leaf and what stands between it and the authority.
const MAX_CHAIN: usize = 4;

/// A signature that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The certificate does not hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key of another kind.
    #[error("the certificate's key is not ECDSA P-256")]
    KeyKind,
    /// More certificates than a chain needs.
    #[error("too many certificates came with the signature: at most {MAX_CHAIN}")]
    LongChain,
    /// The signature is not that key's over those bytes.
    #[error("the signature is not that of the certificate's key over these bytes")]
    Mismatch,
    /// No signature could be made.
    #[error("no signature could be made: the system gives no randomness")]
    Unsigned,
}

/// Signs `bytes` with the credential's key.
///
/// ECDSA P-256 with SHA-256 over `firebreak-signature/1`, a zero byte and `bytes`; 64 bytes, r then s.
///
/// # Errors
/// [`SignatureError::Unsigned`] when the system gives no randomness.
pub fn sign(credential: &Credential, bytes: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let signature = credential.signature(&in_context(bytes)).map_err(|_| SignatureError::Unsigned)?;
    Ok(signature.as_ref().to_vec())
}

/// Checks that `signature` is that of the certificate's key (DER) over `bytes`. Says nothing of the certificate.
///
/// # Errors
/// An unreadable certificate, another kind of key, a signature that does not fit.
pub fn verify(certificate: &[u8], bytes: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let key = p256_key_of_cert(certificate)?.ok_or(SignatureError::KeyKind)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(&in_context(bytes), signature)
        .map_err(|_| SignatureError::Mismatch)
}

/// Checks a signature whose certificates (DER, leaf first) came with it, and says who made it.
///
/// The chain leads to `trust` and holds at `now`, the leaf carries exactly one URI, an identity of the trust
/// domain, and its key made `signature` over `bytes`. What that identity may do is not asked here.
///
/// # Errors
/// The first of these that fails.
pub fn verify_signed_by(
    trust: &TrustAnchor,
    chain: &[Vec<u8>],
    now: Timestamp,
    bytes: &[u8],
    signature: &[u8],
) -> Result<Identity, SignatureError> {
    if chain.len() > MAX_CHAIN {
        return Err(SignatureError::LongChain);
    }
    let identity = trust.verify_client(chain, now)?;
    let leaf = chain.first().ok_or(CertificateError::Unreadable)?;
    verify(leaf, bytes, signature)?;
    Ok(identity)
}

fn in_context(bytes: &[u8]) -> Vec<u8> {
    [CONTEXT, bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ca, CertificateRequest, Validity};
    use firebreak_domain::{Clock, SystemClock};
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

    const DOMAIN: &str = "firebreak.test";

    fn ada() -> Identity {
        "spiffe://firebreak.test/org/nso/analyst/ada".parse().unwrap()
    }

    fn ca(domain: &str) -> Ca {
        Ca::generate("test", domain).unwrap()
    }

    #[test]
    fn a_signature_names_its_maker_and_fits_its_bytes_alone() {
        let ca = ca(DOMAIN);
        let trust = ca.trust_anchor().unwrap();
        let ada = ca.issue(&ada(), &[], Validity::days(1)).unwrap();
        let signature = sign(&ada, b"request").unwrap();
        assert_eq!(signature.len(), 64);
        let now = SystemClock.now();
        let check = |bytes: &[u8], signature: &[u8]| verify_signed_by(&trust, &ada.chain(), now, bytes, signature);
        assert_eq!(check(b"request", &signature), Ok(ada.identity().clone()));
        assert_eq!(check(b"requesu", &signature), Err(SignatureError::Mismatch));
        for byte in 0..signature.len() {
            let mut changed = signature.clone();
            changed[byte] ^= 1;
            assert_eq!(check(b"request", &changed), Err(SignatureError::Mismatch), "byte {byte}");
        }
        assert_eq!(check(b"request", &signature[1..]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn a_signature_without_our_context_is_refused() {
        let ada = ca(DOMAIN).issue(&ada(), &[], Validity::days(1)).unwrap();
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &ada.pkcs8(), &random).unwrap();
        let plain = key.sign(&random, b"request").unwrap();
        assert_eq!(verify(&ada.chain()[0], b"request", plain.as_ref()), Err(SignatureError::Mismatch));
        let ours = key.sign(&random, b"firebreak-signature/1\0request").unwrap();
        assert_eq!(verify(&ada.chain()[0], b"request", ours.as_ref()), Ok(()));
    }

    #[test]
    fn another_certificate_than_the_signers_is_refused() {
        let ca = ca(DOMAIN);
        let trust = ca.trust_anchor().unwrap();
        let (one, two) = (ca.issue(&ada(), &[], Validity::days(1)).unwrap(), ca.issue(&ada(), &[], Validity::days(1)));
        let signature = sign(&one, b"request").unwrap();
        let chain = two.unwrap().chain();
        let checked = verify_signed_by(&trust, &chain, SystemClock.now(), b"request", &signature);
        assert_eq!(checked, Err(SignatureError::Mismatch));
    }

    #[test]
    fn certificates_that_do_not_hold_are_refused() {
        let (ours, theirs) = (ca(DOMAIN), ca(DOMAIN));
        let trust = ours.trust_anchor().unwrap();
        let now = SystemClock.now();
        let ada = ours.issue(&ada(), &[], Validity::days(1)).unwrap();
        let signature = sign(&ada, b"x").unwrap();
        let check = |chain: &[Vec<u8>], at| verify_signed_by(&trust, chain, at, b"x", &signature);
        assert!(check(&ada.chain(), now).is_ok());
        let late = now.plus_secs(2 * 86_400);
        let early = now.plus_secs(-86_400);
        assert_eq!(check(&ada.chain(), late), Err(CertificateError::OutsideValidity.into()));
        assert_eq!(check(&ada.chain(), early), Err(CertificateError::OutsideValidity.into()));
        assert_eq!(check(&[], now), Err(CertificateError::Unreadable.into()));
        assert_eq!(check(&[b"no certificate".to_vec()], now), Err(CertificateError::Unreadable.into()));
        assert_eq!(check(&vec![ada.chain()[0].clone(); 5], now), Err(SignatureError::LongChain));

        let request = CertificateRequest::new(ada.identity());
        let (other_ca, _) = theirs.issue_raw(&request).unwrap();
        assert_eq!(check(&other_ca, now), Err(CertificateError::NotTrusted.into()));
        let (two_uris, _) = ours.issue_raw(&request.also_uri("spiffe://firebreak.test/org/nso/overseer/eve")).unwrap();
        assert_eq!(check(&two_uris, now), Err(CertificateError::NotOneUri { found: 2 }.into()));
        let elsewhere = "spiffe://elsewhere.test/org/nso/analyst/ada".parse().unwrap();
        let (other_domain, _) = ours.issue_raw(&CertificateRequest::new(&elsewhere)).unwrap();
        assert_eq!(check(&other_domain, now), Err(CertificateError::OtherTrustDomain.into()));
        // An analyst's certificate issues nothing.
        assert_eq!(check(&[ours.certificate().to_vec()], now), Err(CertificateError::NotTrusted.into()));
    }
}
