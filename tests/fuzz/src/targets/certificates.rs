//! Certificates, and the files in which a program keeps its own.

use firebreak_domain::{Clock as _, Identity, SystemClock};
use firebreak_transport::{
    Ca, Credential, TrustAnchor, Validity, identity_of_cert, pin_of_cert, serial_of_cert, sign, verify,
    verify_signed_by,
};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::LazyLock;
use tempfile::TempDir;

const SIGNED: &[u8] = b"request";

struct Issued {
    ca: Ca,
    credential: Credential,
    signature: Vec<u8>,
}

static ISSUED: LazyLock<Issued> = LazyLock::new(|| {
    let ca = Ca::generate("fuzz", "firebreak.example").unwrap();
    let ada: Identity = "spiffe://firebreak.example/org/nso/analyst/ada".parse().unwrap();
    let credential = ca.issue(&ada, &["nso.example"], Validity::days(2)).unwrap();
    let signature = sign(&credential, SIGNED).unwrap();
    Issued { ca, credential, signature }
});

/// A certificate that came with a signed request, or in a handshake.
pub fn certificate(der: &[u8]) -> bool {
    let Issued { ca, credential, signature } = &*ISSUED;
    let _ = (pin_of_cert(der), serial_of_cert(der), TrustAnchor::new(&[der.to_vec()], "firebreak.example"));
    if verify(der, SIGNED, signature).is_ok() {
        assert_eq!(pin_of_cert(der).ok(), Some(credential.pin()), "another key's signature was accepted");
    }
    let trust = ca.trust_anchor().unwrap();
    if let Ok(who) = verify_signed_by(&trust, &[der.to_vec()], SystemClock.now(), SIGNED, signature) {
        assert!(who == *credential.identity() && credential.chain() == [der], "a certificate was issued by nobody");
    }
    let Ok(identity) = identity_of_cert(der) else { return false };
    assert_eq!(identity.to_string().parse(), Ok(identity));
    true
}

pub fn certificates() -> Vec<Vec<u8>> {
    ISSUED.credential.chain()
}

/// `cert.pem` behind its length (2 bytes), then `key.pem`.
pub fn credential(bytes: &[u8]) -> bool {
    let Some((length, files)) = bytes.split_first_chunk() else { return false };
    let Some((cert, key)) = files.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { return false };
    let folder = TempDir::new().unwrap();
    for (name, content) in [("cert.pem", cert), ("key.pem", key)] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let Ok(loaded) = Credential::load(folder.path()) else { return false };
    assert_eq!(loaded.identity(), &identity_of_cert(&loaded.chain()[0]).unwrap());
    let signature = sign(&loaded, SIGNED).unwrap();
    assert!(verify(&loaded.chain()[0], SIGNED, &signature).is_ok(), "key and certificate do not belong together");
    true
}

pub fn credentials() -> Vec<Vec<u8>> {
    static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let folder = TempDir::new().unwrap();
        ISSUED.credential.save(folder.path()).unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| fs::read(folder.path().join(name)).unwrap());
        [u16::try_from(cert.len()).unwrap().to_be_bytes().as_slice(), &cert, &key].concat()
    });
    vec![SAMPLE.clone()]
}
