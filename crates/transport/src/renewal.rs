use crate::x509::CertificateError;
use crate::{Credential, CredentialError, Shutdown, TrustAnchor};
use firebreak_domain::{Clock, Pin, SystemClock, Timestamp};
use std::path::PathBuf;
use std::time::Duration;

/// On which side of a handshake a certificate is checked against the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateUse {
    /// Its program dials, and signs requests.
    Client,
    /// Its program listens.
    Server,
}

/// Why what lies in the files is not taken up. The certificate before stays.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// Files that are not whole, not readable, or do not belong together.
    #[error("{0}; put the certificate and its key there whole, each by a rename")]
    Files(CredentialError),
    /// The certificate of somebody else.
    #[error("the certificate names another identity: a program changes who it is by a restart alone")]
    OtherIdentity,
    /// Another key where the key is what counts.
    #[error("the key is not the one that policy pins: renew with the same key, or have a bundle pin the new one first")]
    OtherKey,
    /// A certificate that others would refuse.
    #[error("{0}: get one from the configured authority; a new authority is believed after a restart")]
    Certificate(CertificateError),
    /// The certificate in use has ended, and no other is there.
    #[error("the certificate in use has expired and nobody accepts it: put a renewed one in its place")]
    Expired,
}

/// Keeps a [`Credential`] as its files are: a certificate that is renewed there is taken up without a restart.
///
/// SECURITY: only whole. The key belongs to the certificate and is for its owner alone, the identity is the same, the
/// certificate holds now and comes from the authority that is believed, and where a key is pinned it is that key.
/// Whatever is short of this changes nothing, and is said once.
pub struct Renewal {
    location: &'static str,
    credential: Credential,
    trust: TrustAnchor,
    shown_as: CertificateUse,
    cert: PathBuf,
    key: PathBuf,
    /// The leaf that was found at the last look, if one could be read.
    found: Option<Vec<u8>>,
    /// What was last said, and of which leaf.
    said: Option<(Option<Vec<u8>>, String)>,
}

impl Renewal {
    /// Keeps `credential` as the PEM files `cert` and `key` are, as far as `trust` issued what lies there for
    /// `shown_as`. The log names it by its `location` in the configuration.
    #[must_use]
    pub const fn new(
        location: &'static str,
        credential: Credential,
        trust: TrustAnchor,
        shown_as: CertificateUse,
        cert: PathBuf,
        key: PathBuf,
    ) -> Self {
        Self { location, credential, trust, shown_as, cert, key, found: None, said: None }
    }

    /// Looks at the files every `interval` until `shutdown`.
    ///
    /// A certificate for the same key is taken up, one for another key if `takes_key`.
    pub async fn keep(mut self, interval: Duration, takes_key: impl Fn(Pin) -> bool, shutdown: &Shutdown) {
        loop {
            self.show();
            tokio::select! {
                () = shutdown.requested() => return,
                () = tokio::time::sleep(interval) => {}
            }
            match self.look(&takes_key, SystemClock.now()) {
                Ok(renewed) => {
                    self.said = None;
                    if renewed {
                        tracing::info!(location = self.location, "certificate renewed");
                    }
                }
                Err(error) if self.is_new(&error) => {
                    tracing::warn!(location = self.location, reason = %error, "certificate not renewed");
                }
                Err(_) => {}
            }
        }
    }

    /// Looks at the files once, at `now`: whether they held a renewed certificate, which is current from then on.
    ///
    /// # Errors
    /// [`RenewalError`]; then nothing has changed.
    pub fn look(&mut self, takes_key: impl Fn(Pin) -> bool, now: Timestamp) -> Result<bool, RenewalError> {
        self.found = None;
        let fresh = Credential::load_files(&self.cert, &self.key).map_err(RenewalError::Files)?;
        let chain = fresh.chain();
        self.found = chain.first().cloned();
        if chain == self.credential.chain() {
            return if now > fresh.expires() { Err(RenewalError::Expired) } else { Ok(false) };
        }
        if fresh.identity() != self.credential.identity() {
            return Err(RenewalError::OtherIdentity);
        }
        if fresh.pin() != self.credential.pin() && !takes_key(fresh.pin()) {
            return Err(RenewalError::OtherKey);
        }
        let issued = match self.shown_as {
            CertificateUse::Client => self.trust.verify_client(&chain, now),
            CertificateUse::Server => self.trust.verify_server(&chain, now),
        };
        issued.map_err(RenewalError::Certificate)?;
        self.credential.renew(&fresh);
        Ok(true)
    }

    /// Whether that has not been said of these files yet. From now on it has.
    fn is_new(&mut self, error: &RenewalError) -> bool {
        let said = Some((self.found.clone(), error.to_string()));
        let new = self.said != said;
        self.said = said;
        new
    }

    /// Shows to operators when the certificate in use ends.
    fn show(&self) {
        let ends = self.credential.expires().secs() as f64;
        metrics::gauge!("firebreak_certificate_expires_seconds", "location" => self.location).set(ends);
    }
}

#[cfg(test)]
mod tests;
