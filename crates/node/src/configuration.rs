use firebreak_domain::Identity;
use firebreak_policy::TrustRoot;
use firebreak_store::StateKey;
use firebreak_transport::{CertificateUse, Credential, CredentialError, LoopbackError, Renewal, TrustAnchor};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
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
    /// What a key names does not do.
    #[error("{key} = {value}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it is set to.
        value: String,
        /// What is wrong, and what to do.
        problem: String,
    },
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

fn wrong(key: &'static str, value: impl ToString, problem: impl ToString) -> ConfigurationError {
    ConfigurationError::Value { key, value: value.to_string(), problem: problem.to_string() }
}

/// Checks that a folder is there.
///
/// # Errors
/// [`ConfigurationError::Value`].
pub fn check_folder(key: &'static str, path: &Path) -> Result<(), ConfigurationError> {
    let listed = std::fs::read_dir(path).map(drop);
    listed.map_err(|e| wrong(key, path.display(), format!("the folder cannot be read; make it, or name another: {e}")))
}

/// Checks that the file at `path` holds a state key, if it is there: the first start makes it.
///
/// # Errors
/// [`ConfigurationError::Value`].
pub fn check_state_key(path: &Path) -> Result<(), ConfigurationError> {
    StateKey::check(path).map_err(|e| wrong("state_key", path.display(), e))
}

/// Checks that what is served to anybody who asks is served on loopback.
///
/// # Errors
/// [`ConfigurationError::Value`].
pub fn check_loopback(key: &'static str, address: Option<SocketAddr>) -> Result<(), ConfigurationError> {
    match address {
        Some(address) if !address.ip().is_loopback() => Err(wrong(key, address, LoopbackError::NotLoopback)),
        _ => Ok(()),
    }
}

/// Who a program is, and whom it believes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The program's own certificate chain, PEM. Looked at again while the program runs, with its key.
    pub certificate: PathBuf,
    /// Its key, PEM, readable by its owner alone.
    pub key: PathBuf,
    /// The certificates of the authority that vouches for the others, PEM. Read at the start alone.
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

    /// What keeps a credential that [`Tls::open`] gave as its files are. `table` is that of this configuration.
    #[must_use]
    pub fn renewal(
        &self,
        table: &'static str,
        base: &Path,
        (credential, trust): (&Credential, &TrustAnchor),
        shown_as: CertificateUse,
    ) -> Renewal {
        let (cert, key) = (base.join(&self.certificate), base.join(&self.key));
        Renewal::new(table, credential.clone(), trust.clone(), shown_as, cert, key)
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
    /// Seconds between two looks at the folder, and at the program's own certificates.
    #[serde(default = "default_interval")]
    pub interval_seconds: u64,
}

impl Bundles {
    /// Checks that the trust root can be read and that the folder is there. What is in the folder may change while the
    /// program runs, and is not looked at.
    ///
    /// # Errors
    /// [`ConfigurationError::Value`].
    pub fn check(&self, base: &Path) -> Result<(), ConfigurationError> {
        let root = base.join(&self.trust_root);
        let unfit = |problem: String| wrong("bundles.trust_root", root.display(), problem);
        let text = std::fs::read_to_string(&root).map_err(|e| unfit(format!("the file cannot be read: {e}")))?;
        TrustRoot::parse(&text).map_err(|e| unfit(e.to_string()))?;
        check_folder("bundles.folder", &base.join(&self.folder))
    }
}

const fn default_interval() -> u64 {
    5
}
