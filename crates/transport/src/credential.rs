use crate::verifier::check_server;
use crate::x509::{CertificateError, identity_of_cert, is_authority, p256_key_of_cert, pin_of_cert, validity_of_cert};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firebreak_domain::{Identity, OrgId, Pin, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Signature};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// The file of a certificate chain, leaf first.
pub(crate) const CERT_FILE: &str = "cert.pem";
/// The file of the key that belongs to it.
pub(crate) const KEY_FILE: &str = "key.pem";

/// A credential or an authority that cannot be used. Names a file by its kind, never by its path.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file that cannot be read or written.
    #[error("{file} cannot be read or written")]
    File {
        /// Which of the files.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file that is not PEM of the right kind.
    #[error("{file} is not PEM of the right kind: it must hold {holds}")]
    Pem {
        /// Which of the files.
        file: &'static str,
        /// What belongs there.
        holds: &'static str,
    },
    /// A key that others can read.
    #[error("{file} can be read by others: give it mode 0600")]
    Exposed {
        /// Which of the files.
        file: &'static str,
    },
    /// A certificate that is not usable.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key of another kind.
    #[error("the key is not ECDSA P-256 in PKCS#8: make a new one of that kind")]
    KeyKind,
    /// A key that does not belong to the certificate.
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    /// A certificate of an authority that may not issue.
    #[error("the certificate given as an authority is not one, or several are needed and none was found")]
    NotAnAuthority,
    /// A folder that holds an authority.
    #[error("an authority is there already, and every certificate that it issued rests on it: name another folder")]
    AuthorityExists,
    /// A trust domain that is not well formed.
    #[error("the trust domain is not well formed: use 1 to 64 characters of a-z, 0-9, '.', '-' or '_'")]
    TrustDomain,
    /// A certificate that cannot be made.
    #[error("the certificate cannot be made: {0}")]
    Issue(&'static str),
}

/// A certificate chain and its private key: who this program, or this person, is.
///
/// ECDSA P-256. Cheap to clone, and every clone is the same one: what a [`Renewal`](crate::Renewal) takes up is shown
/// at the next handshake of each of them and signs from then on. Connections that are open stay as they are. Who it
/// is never changes. Has no `Debug`, and the key leaves it only by [`Credential::save`].
#[derive(Clone)]
pub struct Credential(Arc<Held>);

struct Held {
    identity: Identity,
    current: watch::Sender<Arc<Current>>,
}

/// A certificate and its key, until others take their place.
pub(crate) struct Current {
    pin: Pin,
    expires: Timestamp,
    pkcs8: Zeroizing<Vec<u8>>,
    certified: Arc<CertifiedKey>,
    signing: EcdsaKeyPair,
}

impl Credential {
    /// Takes a chain (DER, leaf first) and the leaf's key (PKCS#8 DER).
    ///
    /// # Errors
    /// A leaf without exactly one identity, a key of another kind, a key of another certificate.
    pub fn new(chain: Vec<Vec<u8>>, pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, CredentialError> {
        let leaf = chain.first().ok_or(CertificateError::Unreadable)?;
        let identity = identity_of_cert(leaf)?;
        let pin = pin_of_cert(leaf)?;
        let (_, expires) = validity_of_cert(leaf)?;
        if p256_key_of_cert(leaf)?.is_none() {
            return Err(CredentialError::KeyKind);
        }
        let borrowed = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
        let key = rustls::crypto::ring::sign::any_ecdsa_type(&borrowed).map_err(|_| CredentialError::KeyKind)?;
        let certified = CertifiedKey::new(chain.into_iter().map(CertificateDer::from).collect(), key);
        certified.keys_match().map_err(|_| CredentialError::KeyMismatch)?;
        // Read once: to read a key is to check it against its public half, which takes as long as a signature.
        let signing = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &SystemRandom::new())
            .map_err(|_| CredentialError::KeyKind)?;
        let current = Current { pin, expires, pkcs8, certified: Arc::new(certified), signing };
        Ok(Self(Arc::new(Held { identity, current: watch::Sender::new(Arc::new(current)) })))
    }

    /// Reads `cert.pem` and `key.pem` from a folder.
    ///
    /// # Errors
    /// As [`Credential::new`]; a key file that anybody but its owner (and, to read, its group) can open.
    pub fn load(folder: &Path) -> Result<Self, CredentialError> {
        Self::load_files(&folder.join(CERT_FILE), &folder.join(KEY_FILE))
    }

    /// Reads a chain and a key from two PEM files.
    ///
    /// # Errors
    /// As [`Credential::load`].
    pub fn load_files(cert: &Path, key: &Path) -> Result<Self, CredentialError> {
        let chain = read_certificates(cert, CERT_FILE)?.into_iter().map(|der| der.to_vec()).collect();
        Self::new(chain, read_key(key, KEY_FILE)?)
    }

    /// Writes `cert.pem` and `key.pem` (mode 0600) into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// A folder or file that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), CredentialError> {
        let current = self.0.current();
        let chain: Vec<&[u8]> = current.certified.cert.iter().map(AsRef::as_ref).collect();
        save_pair(folder, (CERT_FILE, &chain), (KEY_FILE, &current.pkcs8))
    }

    /// Who this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// The pin of its key, as a bundle registers it.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.0.current().pin
    }

    /// The last second of the leaf's validity.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.current().expires
    }

    /// The certificates, leaf first, in DER: what travels with a signed request.
    #[must_use]
    pub fn chain(&self) -> Vec<Vec<u8>> {
        self.0.current().certified.cert.iter().map(|der| der.to_vec()).collect()
    }

    /// It as it is now, which no renewal changes: for what needs its key and its certificate, or two signatures, to fit
    /// each other.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let current = watch::Sender::new(self.0.current());
        Self(Arc::new(Held { identity: self.0.identity.clone(), current }))
    }

    /// Takes up what `fresh` holds. Whether that may be is for the caller to have looked at.
    pub(crate) fn renew(&self, fresh: &Self) {
        self.0.current.send_replace(fresh.0.current());
    }

    /// Hears of every renewal from now on.
    pub(crate) fn renewals(&self) -> watch::Receiver<Arc<Current>> {
        self.0.current.subscribe()
    }

    /// A signature with the key for requests and leaves.
    pub(crate) fn signature(&self, bytes: &[u8]) -> Result<Signature, ring::error::Unspecified> {
        self.0.current().signing.sign(&SystemRandom::new(), bytes)
    }

    pub(crate) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        self.0.current().pkcs8.clone()
    }

    pub(crate) fn as_server(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(Shown(Arc::clone(&self.0)))
    }

    pub(crate) fn as_client(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(Shown(Arc::clone(&self.0)))
    }
}

impl Held {
    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.borrow())
    }
}

/// What a handshake shows: certificate and key as they are when it begins.
struct Shown(Arc<Held>);

impl Shown {
    fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.current().certified)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("identity", &self.0.identity).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A certificate authority as others see it, with the one trust domain for which it speaks.
///
/// A federation has one; each agency has another for its own staff. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TrustAnchor {
    trust_domain: Arc<str>,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl TrustAnchor {
    /// Takes the authority's certificates (DER; several while one replaces another) and its trust domain.
    ///
    /// # Errors
    /// No certificate, one that may not issue, a trust domain that is not well formed.
    pub fn new(certificates: &[Vec<u8>], trust_domain: &str) -> Result<Self, CredentialError> {
        OrgId::new(trust_domain).map_err(|_| CredentialError::TrustDomain)?;
        let mut roots = RootCertStore::empty();
        for der in certificates {
            if !is_authority(der)? {
                return Err(CredentialError::NotAnAuthority);
            }
            roots.add(CertificateDer::from(der.as_slice())).map_err(|_| CredentialError::NotAnAuthority)?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider)
            .build()
            .map_err(|_| CredentialError::NotAnAuthority)?;
        Ok(Self { trust_domain: trust_domain.into(), roots, clients })
    }

    /// Reads the authority's certificates from a PEM file.
    ///
    /// # Errors
    /// As [`TrustAnchor::new`]; a file that cannot be read.
    pub fn load(file: &Path, trust_domain: &str) -> Result<Self, CredentialError> {
        let certificates: Vec<_> = read_certificates(file, "the authority's certificate")?;
        Self::new(&certificates.iter().map(|der| der.to_vec()).collect::<Vec<_>>(), trust_domain)
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    pub(crate) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    pub(crate) fn clients(&self) -> &Arc<dyn ClientCertVerifier> {
        &self.clients
    }

    /// Checks at `now` that this authority issued `chain` (leaf first) for a client, and reads the identity.
    pub(crate) fn verify_client(&self, chain: &[Vec<u8>], now: Timestamp) -> Result<Identity, CertificateError> {
        self.verify(chain, now, |leaf, intermediates, now| {
            self.clients.verify_client_cert(leaf, intermediates, now).map(drop)
        })
    }

    /// The same for a server.
    pub(crate) fn verify_server(&self, chain: &[Vec<u8>], now: Timestamp) -> Result<Identity, CertificateError> {
        self.verify(chain, now, |leaf, intermediates, now| check_server(self, leaf, intermediates, now))
    }

    fn verify(
        &self,
        chain: &[Vec<u8>],
        now: Timestamp,
        issued: impl Fn(&CertificateDer<'_>, &[CertificateDer<'_>], UnixTime) -> Result<(), rustls::Error>,
    ) -> Result<Identity, CertificateError> {
        let [leaf, intermediates @ ..] = chain else {
            return Err(CertificateError::Unreadable);
        };
        let now = u64::try_from(now.secs()).map_err(|_| CertificateError::OutsideValidity)?;
        let intermediates: Vec<_> = intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        issued(&CertificateDer::from(leaf.as_slice()), &intermediates, now)
            .map_err(|error| CertificateError::of_chain(&error))?;
        self.identity(leaf)
    }

    /// Reads the identity of a leaf whose chain has been checked.
    pub(crate) fn identity(&self, leaf: &[u8]) -> Result<Identity, CertificateError> {
        let identity = identity_of_cert(leaf)?;
        if identity.trust_domain != *self.trust_domain {
            return Err(CertificateError::OtherTrustDomain);
        }
        Ok(identity)
    }
}

impl CertificateError {
    /// What rustls found, in our words.
    pub(crate) fn of_chain(error: &rustls::Error) -> Self {
        use rustls::CertificateError as Rustls;
        match error {
            rustls::Error::InvalidCertificate(
                Rustls::Expired
                | Rustls::ExpiredContext { .. }
                | Rustls::NotValidYet
                | Rustls::NotValidYetContext { .. },
            ) => Self::OutsideValidity,
            rustls::Error::InvalidCertificate(Rustls::BadEncoding) => Self::Unreadable,
            _ => Self::NotTrusted,
        }
    }
}

/// Reads every certificate of a PEM file.
pub(crate) fn read_certificates(
    path: &Path,
    file: &'static str,
) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let pem = fs::read(path).map_err(|source| CredentialError::File { file, source })?;
    let holds = "at least one certificate";
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(CredentialError::Pem { file, holds }),
    }
}

/// Reads one PKCS#8 key from a PEM file that others cannot read.
pub(crate) fn read_key(path: &Path, file: &'static str) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let failed = |source| CredentialError::File { file, source };
    // SECURITY: the group may read, as mounted secrets need; nobody else, and nobody but the owner may write.
    if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o037 != 0 {
        return Err(CredentialError::Exposed { file });
    }
    let pem = Zeroizing::new(fs::read(path).map_err(failed)?);
    let key = PrivatePkcs8KeyDer::from_pem_slice(&pem)
        .map_err(|_| CredentialError::Pem { file, holds: "one private key in PKCS#8" })?;
    let key = Zeroizing::new(key);
    Ok(Zeroizing::new(key.secret_pkcs8_der().to_vec()))
}

/// Writes certificates and their key as two PEM files, the key first and for its owner alone.
pub(crate) fn save_pair(
    folder: &Path,
    (cert_file, certificates): (&'static str, &[&[u8]]),
    (key_file, pkcs8): (&'static str, &[u8]),
) -> Result<(), CredentialError> {
    fs::create_dir_all(folder).map_err(|source| CredentialError::File { file: "the folder", source })?;
    write_file(folder, key_file, 0o600, &pem("PRIVATE KEY", pkcs8))?;
    let mut text = Zeroizing::new(String::new());
    for der in certificates {
        text.push_str(&pem("CERTIFICATE", der));
    }
    write_file(folder, cert_file, 0o644, &text)
}

fn write_file(folder: &Path, file: &'static str, mode: u32, text: &str) -> Result<(), CredentialError> {
    let failed = |source| CredentialError::File { file, source };
    // The mode counts only when a file is made, so that an old one is replaced and never reused.
    let fresh = folder.join(format!("{file}.new"));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh).map_err(failed)?;
    open.write_all(text.as_bytes()).and_then(|()| open.sync_all()).map_err(failed)?;
    fs::rename(&fresh, folder.join(file)).map_err(failed)
}

/// The textual encoding of RFC 7468.
fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    // Room for all of it at once: a string that grows leaves copies of a key behind.
    let mut text = Zeroizing::new(String::with_capacity(encoded.len() + encoded.len() / 64 + 2 * label.len() + 64));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ca, Validity};

    fn identity(text: &str) -> Identity {
        text.parse().unwrap()
    }

    fn ca() -> Ca {
        Ca::generate("test", "firebreak.test").unwrap()
    }

    #[test]
    fn a_credential_reads_back_as_saved_and_its_key_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let who = identity("spiffe://firebreak.test/org/health/adapter/one");
        let credential = ca().issue(&who, &["localhost"], Validity::days(1)).unwrap();
        credential.save(folder.path()).unwrap();
        credential.save(folder.path()).unwrap();
        let read = Credential::load(folder.path()).unwrap();
        assert_eq!(read.identity(), &who);
        assert_eq!(read.pin(), credential.pin());
        assert_eq!(read.chain(), credential.chain());
        let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let who = identity("spiffe://firebreak.test/org/health/adapter/one");
        ca().issue(&who, &[], Validity::days(1)).unwrap().save(folder.path()).unwrap();
        for (mode, fits) in [(0o644, false), (0o660, false), (0o604, false), (0o640, true), (0o400, true)] {
            fs::set_permissions(folder.path().join(KEY_FILE), fs::Permissions::from_mode(mode)).unwrap();
            let exposed = matches!(Credential::load(folder.path()), Err(CredentialError::Exposed { .. }));
            assert_eq!(exposed, !fits, "{mode:o}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let ca = ca();
        let who = identity("spiffe://firebreak.test/org/health/adapter/one");
        let one = ca.issue(&who, &[], Validity::days(1)).unwrap();
        let two = ca.issue(&who, &[], Validity::days(1)).unwrap();
        assert!(Credential::new(one.chain(), one.pkcs8()).is_ok());
        let mixed = Credential::new(one.chain(), two.pkcs8());
        assert!(matches!(mixed, Err(CredentialError::KeyMismatch)));
    }

    #[test]
    fn a_leaf_is_not_taken_for_an_authority() {
        let ca = ca();
        let who = identity("spiffe://firebreak.test/org/health/adapter/one");
        let leaf = ca.issue(&who, &[], Validity::days(1)).unwrap().chain();
        assert!(matches!(TrustAnchor::new(&leaf, "firebreak.test"), Err(CredentialError::NotAnAuthority)));
        assert!(matches!(TrustAnchor::new(&[], "firebreak.test"), Err(CredentialError::NotAnAuthority)));
        assert_eq!(ca.trust_anchor().unwrap().trust_domain(), "firebreak.test");
    }
}
