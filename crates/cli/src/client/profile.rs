use super::{ClientError, Connection};
use firebreak_domain::{FORMAT, Identity, IdentityRole, check_format};
use firebreak_transport::{Credential, TrustAnchor};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// `firebreak.toml`: who asks, whom, and who is believed. Unknown keys are refused.
///
/// Relative paths in a file are taken from the file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Format number of the file.
    pub format: u32,
    /// The folder that holds `cert.pem` and `key.pem`.
    #[serde(default)]
    pub identity: Option<PathBuf>,
    /// The certificates of the authority that is believed, PEM.
    #[serde(default)]
    pub authority: Option<PathBuf>,
    /// The trust domain; by default that of the own certificate.
    #[serde(default)]
    pub trust_domain: Option<String>,
    /// The gateway, `host:port`.
    #[serde(default)]
    pub gateway: Option<String>,
    /// The identity that the gateway must show.
    #[serde(default)]
    pub gateway_identity: Option<String>,
    /// The local listener of the own agency's adapter, `host:port`.
    #[serde(default)]
    pub local: Option<String>,
    /// The identity that the adapter must show there; by default `adapter/main` of the own organisation.
    #[serde(default)]
    pub adapter_identity: Option<String>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            format: FORMAT,
            identity: None,
            authority: None,
            trust_domain: None,
            gateway: None,
            gateway_identity: None,
            local: None,
            adapter_identity: None,
        }
    }
}

impl Profile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ClientError::Profile`], which names the file and what is wrong with it.
    pub fn load(file: &Path) -> Result<Self, ClientError> {
        let wrong = |problem: String| ClientError::Profile(format!("{}: {problem}", file.display()));
        let text = std::fs::read_to_string(file)
            .map_err(|e| wrong(format!("cannot be read ({e}); name another with --profile or FIREBREAK_PROFILE")))?;
        let mut profile: Self = toml::from_str(&text).map_err(|e| wrong(e.message().to_owned()))?;
        check_format("a profile", profile.format).map_err(|e| wrong(e.to_string()))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        for path in [&mut profile.identity, &mut profile.authority].into_iter().flatten() {
            *path = folder.join(&*path);
        }
        Ok(profile)
    }

    /// The file's text, for [`Profile::load`].
    ///
    /// # Errors
    /// [`ClientError::Profile`] for a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String, ClientError> {
        toml::to_string(self).map_err(|e| ClientError::Profile(format!("the profile cannot be written as TOML: {e}")))
    }

    /// This profile, with everything that it leaves open taken from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            format: self.format,
            identity: self.identity.or(other.identity),
            authority: self.authority.or(other.authority),
            trust_domain: self.trust_domain.or(other.trust_domain),
            gateway: self.gateway.or(other.gateway),
            gateway_identity: self.gateway_identity.or(other.gateway_identity),
            local: self.local.or(other.local),
            adapter_identity: self.adapter_identity.or(other.adapter_identity),
        }
    }

    /// Connects to the gateway.
    ///
    /// # Errors
    /// What the profile lacks, files that cannot be used, [`ClientError::Connect`].
    pub async fn connect(&self) -> Result<Connection, ClientError> {
        let address = needed(self.gateway.as_ref(), "--gateway host:port")?;
        let expected = needed(self.gateway_identity.as_ref(), "--gateway-identity URI")?.parse()?;
        let (credential, trust) = self.keys()?;
        Connection::open(address, credential, &trust, &expected).await
    }

    /// Connects to the local listener of the own agency's adapter.
    ///
    /// # Errors
    /// As [`Profile::connect`].
    pub async fn connect_local(&self) -> Result<Connection, ClientError> {
        let address = needed(self.local.as_ref(), "--local host:port")?;
        let (credential, trust) = self.keys()?;
        let expected = match &self.adapter_identity {
            Some(uri) => uri.parse()?,
            None => own_adapter(credential.identity(), trust.trust_domain()),
        };
        Connection::open(address, credential, &trust, &expected).await
    }

    fn keys(&self) -> Result<(Credential, TrustAnchor), ClientError> {
        let folder = needed(self.identity.as_ref(), "--identity DIR")?;
        let authority = needed(self.authority.as_ref(), "--authority FILE")?;
        let credential = Credential::load(folder)?;
        let domain = self.trust_domain.as_deref().unwrap_or(&credential.identity().trust_domain);
        let trust = TrustAnchor::load(authority, domain)?;
        Ok((credential, trust))
    }
}

fn own_adapter(own: &Identity, trust_domain: &str) -> Identity {
    Identity {
        trust_domain: trust_domain.to_owned(),
        org: own.org.clone(),
        role: IdentityRole::Adapter,
        id: "main".to_owned(),
    }
}

fn needed<'a, T>(value: Option<&'a T>, flag: &str) -> Result<&'a T, ClientError> {
    value.ok_or_else(|| {
        ClientError::Profile(format!(
            "{flag} is missing: give it, or name a profile (--profile FILE or FIREBREAK_PROFILE)"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("firebreak.toml");
        std::fs::write(&file, text).unwrap();
        (folder, file)
    }

    #[test]
    fn paths_are_taken_from_the_files_folder_and_flags_win() {
        let (folder, file) =
            written("format = 1\nidentity = \"ada\"\nauthority = \"/etc/ca.pem\"\ngateway = \"a:1\"\n");
        let profile = Profile::load(&file).unwrap();
        assert_eq!(profile.identity, Some(folder.path().join("ada")));
        assert_eq!(profile.authority, Some("/etc/ca.pem".into()));
        let flags = Profile { gateway: Some("b:2".into()), ..Profile::default() };
        let merged = flags.or(profile.clone());
        assert_eq!((merged.gateway.as_deref(), merged.identity), (Some("b:2"), profile.identity));
    }

    #[test]
    fn unknown_keys_and_later_formats_are_refused_by_name() {
        for (text, named) in [("format = 1\ngatway = \"a:1\"\n", "gatway"), ("format = 2\n", "format 2")] {
            let (_folder, file) = written(text);
            let error = Profile::load(&file).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("firebreak.toml"), "{error}");
        }
    }

    #[test]
    fn a_profile_reads_back_as_written() {
        let profile = Profile { local: Some("c:3".into()), identity: Some("/x".into()), ..Profile::default() };
        let (_folder, file) = written(&profile.to_toml().unwrap());
        assert_eq!(Profile::load(&file).unwrap(), profile);
    }

    #[tokio::test]
    async fn what_is_missing_is_named_with_its_flag() {
        let error = Profile::default().connect().await.map(drop).unwrap_err().to_string();
        assert!(error.contains("--gateway host:port"), "{error}");
        let error = Profile::default().connect_local().await.map(drop).unwrap_err().to_string();
        assert!(error.contains("--local host:port"), "{error}");
    }

    #[test]
    fn staff_expect_their_own_agencys_adapter() {
        let own = "spiffe://health.local/org/health/caseworker/eve".parse().unwrap();
        assert_eq!(own_adapter(&own, "health.local").to_string(), "spiffe://health.local/org/health/adapter/main");
    }
}
