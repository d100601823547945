use super::*;
use crate::credential::{CERT_FILE, KEY_FILE};
use crate::{Ca, CertificateRequest, Validity};
use firebreak_domain::Identity;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

const HEALTH: &str = "spiffe://firebreak.test/org/health/adapter/main";
const DAY: i64 = 86_400;

fn id(uri: &str) -> Identity {
    uri.parse().unwrap()
}

fn until(secs: i64) -> Validity {
    let now = SystemClock.now();
    Validity { not_before: now.plus_secs(-2 * DAY), not_after: now.plus_secs(secs) }
}

/// A program's credential, its files, and the authority that issued it.
struct Program {
    ca: Ca,
    folder: TempDir,
    credential: Credential,
    renewal: Renewal,
}

impl Program {
    fn new() -> Self {
        Self::shown_as(CertificateUse::Client)
    }

    fn shown_as(shown_as: CertificateUse) -> Self {
        let ca = Ca::generate("test", "firebreak.test").unwrap();
        let folder = tempfile::tempdir().unwrap();
        ca.issue(&id(HEALTH), &[], until(DAY)).unwrap().save(folder.path()).unwrap();
        let credential = Credential::load(folder.path()).unwrap();
        let (cert, key) = (folder.path().join(CERT_FILE), folder.path().join(KEY_FILE));
        let trust = ca.trust_anchor().unwrap();
        let renewal = Renewal::new("federation", credential.clone(), trust, shown_as, cert, key);
        Self { ca, folder, credential, renewal }
    }

    fn cert(&self) -> std::path::PathBuf {
        self.folder.path().join(CERT_FILE)
    }

    fn renewed(&self, validity: Validity) -> Credential {
        self.ca.renew(&self.credential, validity).unwrap()
    }

    fn other_key(&self) -> Credential {
        self.ca.issue(&id(HEALTH), &[], until(2 * DAY)).unwrap()
    }

    /// Looks where no key but the present one will do.
    fn look(&mut self) -> Result<bool, RenewalError> {
        self.renewal.look(|_| false, SystemClock.now())
    }

    /// Looks, and checks that nothing has changed.
    #[track_caller]
    fn kept_out(&mut self) -> RenewalError {
        let before = self.credential.chain();
        let error = self.look().unwrap_err();
        assert_eq!(self.credential.chain(), before);
        error
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_certificate_renewed_for_the_same_key_is_taken_up_by_every_clone() {
    let mut program = Program::new();
    assert!(!program.look().unwrap(), "nothing was renewed");
    let (held, old) = (program.credential.clone(), program.credential.snapshot());
    let renewed = program.renewed(until(2 * DAY));
    renewed.save(program.folder.path()).unwrap();
    assert!(program.look().unwrap());
    assert_eq!((held.chain(), held.expires()), (renewed.chain(), renewed.expires()));
    assert_ne!(old.chain(), held.chain(), "a snapshot changed");
    assert!(!program.look().unwrap(), "it was taken up twice");

    let signature = crate::sign(&held, b"request").unwrap();
    assert_eq!(crate::verify(&held.chain()[0], b"request", &signature), Ok(()));
}

#[test]
fn another_key_is_taken_up_only_where_it_may_be() {
    let mut program = Program::new();
    let other = program.other_key();
    other.save(program.folder.path()).unwrap();
    assert!(matches!(program.kept_out(), RenewalError::OtherKey));
    // As once a bundle pins it.
    let pinned = other.pin();
    assert!(program.renewal.look(|key| key == pinned, SystemClock.now()).unwrap());
    assert_eq!(program.credential.pin(), pinned);
    let signature = crate::sign(&program.credential, b"request").unwrap();
    assert_eq!(crate::verify(&other.chain()[0], b"request", &signature), Ok(()));
}

#[test]
fn another_identity_is_kept_out_with_whatever_key() {
    let mut program = Program::new();
    for uri in [
        "spiffe://firebreak.test/org/education/adapter/main",
        "spiffe://firebreak.test/org/health/gateway/main",
        "spiffe://firebreak.test/org/health/adapter/second",
        "spiffe://elsewhere.test/org/health/adapter/main",
    ] {
        program.ca.issue(&id(uri), &[], until(2 * DAY)).unwrap().save(program.folder.path()).unwrap();
        let looked = program.renewal.look(|_| true, SystemClock.now());
        assert!(matches!(looked, Err(RenewalError::OtherIdentity)), "{uri}");
        assert_eq!(program.credential.identity(), &id(HEALTH));
    }
}

#[test]
fn a_certificate_that_does_not_hold_now_is_kept_out_until_it_does() {
    let mut program = Program::new();
    program.renewed(until(-DAY)).save(program.folder.path()).unwrap();
    assert!(matches!(program.kept_out(), RenewalError::Certificate(CertificateError::OutsideValidity)));

    let now = SystemClock.now();
    let soon = Validity { not_before: now.plus_secs(DAY / 2), not_after: now.plus_secs(2 * DAY) };
    program.renewed(soon).save(program.folder.path()).unwrap();
    assert!(matches!(program.kept_out(), RenewalError::Certificate(CertificateError::OutsideValidity)));
    assert!(program.renewal.look(|_| false, now.plus_secs(DAY)).unwrap());
}

#[test]
fn a_certificate_renewed_after_the_old_one_has_ended_is_taken_up() {
    let mut program = Program::new();
    let late = SystemClock.now().plus_secs(DAY + 1);
    assert!(matches!(program.renewal.look(|_| false, late), Err(RenewalError::Expired)));
    program.renewed(until(2 * DAY)).save(program.folder.path()).unwrap();
    assert!(program.renewal.look(|_| false, late).unwrap());
}

#[test]
fn a_certificate_of_another_authority_or_for_another_use_is_kept_out() {
    let mut program = Program::new();
    let theirs = Ca::generate("test", "firebreak.test").unwrap();
    theirs.renew(&program.credential, until(2 * DAY)).unwrap().save(program.folder.path()).unwrap();
    assert!(matches!(program.kept_out(), RenewalError::Certificate(CertificateError::NotTrusted)));

    // What an analyst is issued is good for dialling alone.
    let ca = Ca::generate("test", "firebreak.test").unwrap();
    let ada = id("spiffe://firebreak.test/org/nso/analyst/ada");
    let folder = tempfile::tempdir().unwrap();
    for (shown_as, fits) in [(CertificateUse::Server, false), (CertificateUse::Client, true)] {
        let first = ca.issue(&ada, &[], until(DAY)).unwrap();
        ca.renew(&first, until(2 * DAY)).unwrap().save(folder.path()).unwrap();
        let (cert, key) = (folder.path().join(CERT_FILE), folder.path().join(KEY_FILE));
        let mut renewal = Renewal::new("federation", first, ca.trust_anchor().unwrap(), shown_as, cert, key);
        assert_eq!(renewal.look(|_| false, SystemClock.now()).is_ok(), fits, "{shown_as:?}");
    }

    let mut listener = Program::shown_as(CertificateUse::Server);
    listener.renewed(until(2 * DAY)).save(listener.folder.path()).unwrap();
    assert!(listener.look().unwrap());
}

#[test]
fn files_that_are_half_written_or_missing_keep_the_old_one() {
    let mut program = Program::new();
    let folder = program.folder.path().to_owned();
    program.renewed(until(2 * DAY)).save(&folder).unwrap();
    let (cert, key) = (folder.join(CERT_FILE), folder.join(KEY_FILE));
    let whole = (fs::read(&cert).unwrap(), fs::read(&key).unwrap());
    for length in [0, 1, whole.0.len() / 2, whole.0.len() - 30] {
        write(&cert, &whole.0[..length], 0o644);
        assert!(matches!(program.kept_out(), RenewalError::Files(_)), "{length} bytes of the certificate");
    }
    write(&cert, &whole.0, 0o644);
    for length in [0, 1, whole.1.len() / 2, whole.1.len() - 30] {
        write(&key, &whole.1[..length], 0o600);
        assert!(matches!(program.kept_out(), RenewalError::Files(_)), "{length} bytes of the key");
    }
    write(&key, &whole.1, 0o644);
    let exposed = program.kept_out();
    assert!(matches!(exposed, RenewalError::Files(CredentialError::Exposed { .. })), "{exposed}");
    fs::remove_file(&key).unwrap();
    assert!(matches!(program.kept_out(), RenewalError::Files(CredentialError::File { .. })));

    write(&key, &whole.1, 0o600);
    assert!(program.look().unwrap(), "whole, it is taken up");
}

#[test]
fn a_certificate_and_a_key_of_two_pairs_are_kept_out_also_where_any_key_will_do() {
    let mut program = Program::new();
    let folder = program.folder.path().to_owned();
    let old = fs::read(folder.join(CERT_FILE)).unwrap();
    program.other_key().save(&folder).unwrap();
    // As between the two renames of who renews.
    let new = fs::read(folder.join(CERT_FILE)).unwrap();
    write(&folder.join(CERT_FILE), &old, 0o644);
    let mixed = program.renewal.look(|_| true, SystemClock.now());
    assert!(matches!(mixed, Err(RenewalError::Files(CredentialError::KeyMismatch))));
    write(&folder.join(CERT_FILE), &new, 0o644);
    assert!(program.renewal.look(|_| true, SystemClock.now()).unwrap());
}

#[test]
fn a_certificate_with_two_names_is_kept_out() {
    let mut program = Program::new();
    let request = CertificateRequest::new(&id(HEALTH)).also_uri("spiffe://firebreak.test/org/health/gateway/main");
    let (chain, _) = program.ca.issue_raw(&request).unwrap();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &chain[0]);
    let text = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
    write(&program.cert(), text.as_bytes(), 0o644);
    assert!(matches!(program.kept_out(), RenewalError::Files(CredentialError::Certificate(_))));
}

#[test]
fn what_is_kept_out_is_said_once_and_of_other_files_again() {
    let mut program = Program::new();
    let folder = program.folder.path().to_owned();
    let mut said = || {
        let error = program.renewal.look(|_| false, SystemClock.now()).unwrap_err();
        program.renewal.is_new(&error)
    };
    let ca = Ca::generate("test", "firebreak.test").unwrap();
    ca.issue(&id(HEALTH), &[], until(DAY)).unwrap().save(&folder).unwrap();
    assert_eq!([said(), said(), said()], [true, false, false]);
    ca.issue(&id(HEALTH), &[], until(DAY)).unwrap().save(&folder).unwrap();
    assert_eq!([said(), said()], [true, false], "another certificate, the same fault");
    fs::remove_file(folder.join(CERT_FILE)).unwrap();
    assert_eq!([said(), said()], [true, false], "no certificate");
}

#[test]
fn every_reason_says_what_to_do_and_repeats_no_name() {
    let mut program = Program::new();
    program.other_key().save(program.folder.path()).unwrap();
    let mut reasons = vec![program.kept_out(), RenewalError::Expired];
    let secret = id("spiffe://firebreak.test/org/secret/adapter/main");
    program.ca.issue(&secret, &[], until(DAY)).unwrap().save(program.folder.path()).unwrap();
    reasons.push(program.kept_out());
    program.renewed(until(-DAY)).save(program.folder.path()).unwrap();
    reasons.push(program.kept_out());
    for reason in reasons {
        let text = reason.to_string();
        assert!(!text.contains("health") && !text.contains("secret"), "{text}");
        assert!(["renew", "restart"].iter().any(|what| text.contains(what)), "{text}");
    }
}
