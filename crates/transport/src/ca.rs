use crate::credential::{Credential, CredentialError, TrustAnchor, read_certificates, read_key, save_pair};
use crate::x509::{dns_names_of_cert, uri_of_cert};
use firebreak_domain::{Clock, Identity, IdentityRole, OrgId, SystemClock, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use std::path::Path;
use time::OffsetDateTime;
use zeroize::Zeroizing;

const CA_CERT_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca-key.pem";
/// Clocks differ; a fresh certificate is accepted by one that runs this much behind.
const CLOCK_SKEW_SECS: i64 = 300;
const CA_YEARS: i64 = 10;

/// From when to when a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: Timestamp,
    /// The last second.
    pub not_after: Timestamp,
}

impl Validity {
    /// From five minutes ago, for clocks that run behind, to so many days from now.
    #[must_use]
    pub fn days(days: u32) -> Self {
        let now = SystemClock.now();
        Self { not_before: now.plus_secs(-CLOCK_SKEW_SECS), not_after: now.plus_secs(i64::from(days) * 86_400) }
    }
}

/// A chain in DER, leaf first, and the leaf's key in PKCS#8: what [`Credential::new`] takes.
pub type Issued = (Vec<Vec<u8>>, Zeroizing<Vec<u8>>);

/// What a certificate shall say.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    uris: Vec<String>,
    role: IdentityRole,
    dns_names: Vec<String>,
    validity: Validity,
}

impl CertificateRequest {
    /// A certificate for one identity, for 90 days, without DNS names.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self {
            uris: vec![identity.to_string()],
            role: identity.role,
            dns_names: Vec::new(),
            validity: Validity::days(90),
        }
    }

    /// Adds the names and addresses under which other clients reach this server.
    #[must_use]
    pub fn dns_names(mut self, names: &[&str]) -> Self {
        self.dns_names.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// Sets the validity.
    #[must_use]
    pub fn validity(mut self, validity: Validity) -> Self {
        self.validity = validity;
        self
    }

    /// Adds another URI name. Nobody here accepts a certificate with two: this shows that they do not.
    #[must_use]
    pub fn also_uri(mut self, uri: &str) -> Self {
        self.uris.push(uri.to_owned());
        self
    }
}

/// The certificate authority of a demonstration or a test: a key in a file beside the certificates it issues.
///
/// A real federation runs an authority of its own choosing, with its key in hardware, and gives Firebreak only
/// that authority's certificate ([`TrustAnchor`]). This one says in its common name what it is.
pub struct Ca {
    certificate: Vec<u8>,
    key: Zeroizing<KeyPair>,
    trust_domain: String,
}

impl Ca {
    /// Makes an authority with a new key, for ten years, for one trust domain.
    ///
    /// # Errors
    /// A trust domain that is not well formed.
    pub fn generate(name: &str, trust_domain: &str) -> Result<Self, CredentialError> {
        OrgId::new(trust_domain).map_err(|_| CredentialError::TrustDomain)?;
        let key = new_key()?;
        let now = SystemClock.now();
        let mut params = CertificateParams::default();
        params.not_before = moment(now.plus_secs(-CLOCK_SKEW_SECS))?;
        params.not_after = moment(now.plus_secs(CA_YEARS * 365 * 86_400))?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{name} (Firebreak demonstration authority, not for production)"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))?];
        let certificate = params.self_signed(&*key).map_err(|_| CredentialError::Issue("the authority's own"))?;
        Ok(Self { certificate: certificate.der().to_vec(), key, trust_domain: trust_domain.to_owned() })
    }

    /// Reads `ca.pem` and `ca-key.pem` from a folder.
    ///
    /// # Errors
    /// Files that are not an authority made by [`Ca::generate`]; a key that others can read.
    pub fn load(folder: &Path) -> Result<Self, CredentialError> {
        let [certificate] = &read_certificates(&folder.join(CA_CERT_FILE), CA_CERT_FILE)?[..] else {
            return Err(CredentialError::NotAnAuthority);
        };
        let pkcs8 = read_key(&folder.join(CA_KEY_FILE), CA_KEY_FILE)?;
        let key = key_of(&pkcs8)?;
        let uri = uri_of_cert(certificate)?;
        let trust_domain = uri.strip_prefix("spiffe://").ok_or(CredentialError::TrustDomain)?.to_owned();
        let ca = Self { certificate: certificate.to_vec(), key, trust_domain };
        ca.trust_anchor()?;
        Ok(ca)
    }

    /// Writes `ca.pem` and `ca-key.pem` (mode 0600) into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// A folder that holds an authority already; a folder or file that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), CredentialError> {
        if [CA_CERT_FILE, CA_KEY_FILE].iter().any(|file| folder.join(file).exists()) {
            return Err(CredentialError::AuthorityExists);
        }
        save_pair(folder, (CA_CERT_FILE, &[&self.certificate]), (CA_KEY_FILE, self.key.serialized_der()))
    }

    /// The authority as others see it.
    ///
    /// # Errors
    /// A certificate that is not an authority's.
    pub fn trust_anchor(&self) -> Result<TrustAnchor, CredentialError> {
        TrustAnchor::new(std::slice::from_ref(&self.certificate), &self.trust_domain)
    }

    /// The authority's certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Issues a certificate with a new ECDSA P-256 key for `identity`.
    ///
    /// `dns_names` are the names and addresses under which clients that are not ours reach a server.
    ///
    /// # Errors
    /// A DNS name that is not one.
    pub fn issue(
        &self,
        identity: &Identity,
        dns_names: &[&str],
        validity: Validity,
    ) -> Result<Credential, CredentialError> {
        let request = CertificateRequest::new(identity).dns_names(dns_names).validity(validity);
        let (chain, pkcs8) = self.issue_raw(&request)?;
        Credential::new(chain, pkcs8)
    }

    /// Issues another certificate for the identity, the names and the key of `credential`: a renewal, after which pins
    /// still fit.
    ///
    /// # Errors
    /// A certificate that cannot be read.
    pub fn renew(&self, credential: &Credential, validity: Validity) -> Result<Credential, CredentialError> {
        let names = credential.chain().first().map(|leaf| dns_names_of_cert(leaf)).transpose()?.unwrap_or_default();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let request = CertificateRequest::new(credential.identity()).dns_names(&names).validity(validity);
        let pkcs8 = credential.pkcs8();
        let key = key_of(&pkcs8)?;
        let certificate = self.certify(&request, &key)?;
        Credential::new(vec![certificate], pkcs8)
    }

    /// Issues what `request` says, sound or not.
    ///
    /// An authority can issue anything; who relies on it has to look. Tests use this to show that they do.
    ///
    /// # Errors
    /// A name that cannot be written into a certificate.
    pub fn issue_raw(&self, request: &CertificateRequest) -> Result<Issued, CredentialError> {
        let key = new_key()?;
        Ok((vec![self.certify(request, &key)?], Zeroizing::new(key.serialize_der())))
    }

    fn certify(&self, request: &CertificateRequest, key: &KeyPair) -> Result<Vec<u8>, CredentialError> {
        let mut params = CertificateParams::new(request.dns_names.clone())
            .map_err(|_| CredentialError::Issue("a DNS name is not one"))?;
        for name in &request.uris {
            params.subject_alt_names.push(uri(name)?);
        }
        params.not_before = moment(request.validity.not_before)?;
        params.not_after = moment(request.validity.not_after)?;
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // Only who listens may show its certificate as a server.
        if matches!(request.role, IdentityRole::Gateway | IdentityRole::Adapter) {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        let issuer = Issuer::from_ca_cert_der(&self.certificate.as_slice().into(), &*self.key)
            .map_err(|_| CredentialError::NotAnAuthority)?;
        let certificate = params.signed_by(key, &issuer).map_err(|_| CredentialError::Issue("a name does not fit"))?;
        Ok(certificate.der().to_vec())
    }
}

fn new_key() -> Result<Zeroizing<KeyPair>, CredentialError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map(Zeroizing::new)
        .map_err(|_| CredentialError::Issue("no randomness for a key"))
}

fn key_of(pkcs8: &[u8]) -> Result<Zeroizing<KeyPair>, CredentialError> {
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.into(), &PKCS_ECDSA_P256_SHA256)
        .map(Zeroizing::new)
        .map_err(|_| CredentialError::KeyKind)
}

/// A number of no other certificate (RFC 5280 §4.1.2.2): positive and at random, so that two for one key differ.
fn serial() -> Result<SerialNumber, CredentialError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CredentialError::Issue("no randomness for a number"))?;
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(bytes.to_vec().into())
}

fn uri(text: &str) -> Result<SanType, CredentialError> {
    text.try_into().map(SanType::URI).map_err(|_| CredentialError::Issue("a URI name is not ASCII"))
}

fn moment(at: Timestamp) -> Result<OffsetDateTime, CredentialError> {
    OffsetDateTime::from_unix_timestamp(at.secs()).map_err(|_| CredentialError::Issue("a date is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CertificateError, identity_of_cert};

    fn identity() -> Identity {
        "spiffe://firebreak.test/org/health/analyst/ada".parse().unwrap()
    }

    #[test]
    fn an_authority_reads_back_as_saved_and_still_issues_under_the_same_name() {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::generate("test", "firebreak.test").unwrap();
        ca.save(folder.path()).unwrap();
        let read = Ca::load(folder.path()).unwrap();
        assert_eq!(read.certificate(), ca.certificate());
        let credential = read.issue(&identity(), &[], Validity::days(1)).unwrap();
        let trust = ca.trust_anchor().unwrap();
        assert_eq!(trust.verify_client(&credential.chain(), SystemClock.now()).unwrap(), identity());
    }

    #[test]
    fn an_authority_takes_the_place_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::generate("test", "firebreak.test").unwrap();
        ca.save(folder.path()).unwrap();
        let other = Ca::generate("test", "firebreak.test").unwrap();
        assert!(matches!(other.save(folder.path()), Err(CredentialError::AuthorityExists)));
        assert_eq!(Ca::load(folder.path()).unwrap().certificate(), ca.certificate());
    }

    #[test]
    fn a_demonstration_authority_says_so() {
        let ca = Ca::generate("Ruritania", "firebreak.test").unwrap();
        let text = String::from_utf8_lossy(ca.certificate()).into_owned();
        assert!(text.contains("Ruritania (Firebreak demonstration authority, not for production)"));
    }

    #[test]
    fn a_renewed_certificate_is_another_one_for_the_same_key() {
        let ca = Ca::generate("test", "firebreak.test").unwrap();
        let names = ["localhost", "127.0.0.1", "::1"];
        let first = ca.issue(&identity(), &names, Validity::days(1)).unwrap();
        let renewed = ca.renew(&first, Validity::days(2)).unwrap();
        assert_eq!(dns_names_of_cert(&renewed.chain()[0]).unwrap(), names);
        assert_eq!((renewed.identity(), renewed.pin()), (first.identity(), first.pin()));
        assert!(renewed.expires() > first.expires());
        let same_days = ca.renew(&first, Validity::days(2)).unwrap();
        assert_ne!(
            crate::x509::serial_of_cert(&renewed.chain()[0]),
            crate::x509::serial_of_cert(&same_days.chain()[0])
        );
        let trust = ca.trust_anchor().unwrap();
        assert_eq!(trust.verify_client(&renewed.chain(), SystemClock.now()).unwrap(), identity());
    }

    #[test]
    fn a_certificate_with_two_uri_names_has_no_identity() {
        let ca = Ca::generate("test", "firebreak.test").unwrap();
        let request = CertificateRequest::new(&identity());
        let (one, _) = ca.issue_raw(&request).unwrap();
        assert_eq!(identity_of_cert(&one[0]), Ok(identity()));
        let (two, _) = ca.issue_raw(&request.also_uri("spiffe://firebreak.test/org/health/analyst/eve")).unwrap();
        assert_eq!(identity_of_cert(&two[0]), Err(CertificateError::NotOneUri { found: 2 }));
        assert_eq!(identity_of_cert(ca.certificate()).unwrap_err(), firebreak_domain::IdentityError::Form.into());
    }
}
