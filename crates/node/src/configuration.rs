use firebreak_domain::Identity;
use firebreak_transport::{Credential, CredentialError, TrustAnchor};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// A configuration that a program does not start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// No such file.
    #[error("cannot read {0}; name it with --config FILE")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// Not TOML, an unknown key, or a key missing.
    #[error("{0}: {1}")]
    Content(PathBuf, toml::de::Error),
    /// A file that the configuration names.
    #[error("cannot read {0}, which the configuration names")]
    Named(PathBuf, #[source] std::io::Error),
    /// Keys or certificates.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The certificate is for something else.
    #[error("the certificate names {found}, this program needs {needed}")]
    Role {
        /// What it is for.
        found: Identity,
        /// What is needed, in words.
        needed: &'static str,
    },
}

/// Reads a configuration file. Unknown keys are refused, and relative paths in it are taken from its own folder by
/// whoever uses them ([`Path::join`] leaves absolute ones alone).
///
/// # Errors
/// [`ConfigurationError`].
pub fn load<T: DeserializeOwned>(file: &Path) -> Result<T, ConfigurationError> {
    let text = std::fs::read_to_string(file).map_err(|e| ConfigurationError::Unreadable(file.to_owned(), e))?;
    toml::from_str(&text).map_err(|e| ConfigurationError::Content(file.to_owned(), e))
}

/// Who a program is, and whom it believes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The program's own certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, readable by its owner alone.
    pub key: PathBuf,
    /// The certificates of the authority that vouches for the others, PEM.
    pub authority: PathBuf,
    /// The trust domain: one deployment serves one.
    pub trust_domain: String,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`ConfigurationError::Named`], [`ConfigurationError::Credential`].
    pub fn open(&self, base: &Path) -> Result<(Credential, TrustAnchor), ConfigurationError> {
        for named in [&self.certificate, &self.key, &self.authority] {
            let path = base.join(named);
            std::fs::File::open(&path).map_err(|e| ConfigurationError::Named(path, e))?;
        }
        let credential = Credential::load_files(&base.join(&self.certificate), &base.join(&self.key))?;
        let trust = TrustAnchor::load(&base.join(&self.authority), &self.trust_domain)?;
        Ok((credential, trust))
    }
}

/// Where policy comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundles {
    /// The folder in which overseers' bundles are put. It is looked at every `interval_seconds`.
    pub folder: PathBuf,
    /// The `overseers.toml` whose quorum the first bundle needs: the pin of all that follows.
    pub trust_root: PathBuf,
    /// Seconds between two looks at the folder.
    #[serde(default = "default_interval")]
    pub interval_seconds: u64,
}

const fn default_interval() -> u64 {
    5
}
