//! The folder in which somebody works.

use crate::{Address, Federation, gateway_identity};
use anyhow::{Context, Result};
use firebreak::client::Profile;
use std::fs;
use std::path::Path;

impl Federation {
    /// Makes the folder that programs of the README and the cookbook are run in: `ca.pem`, `cert.pem` and `key.pem` of
    /// somebody (organisation, role, name), and `firebreak.toml`, which names them and the gateway.
    ///
    /// # Errors
    /// A certificate that cannot be issued, a folder that cannot be written.
    pub fn working_folder(&self, folder: &Path, who: (&str, &str, &str), gateway: Address) -> Result<()> {
        let (org, role, id) = who;
        self.issue(org, role, id)?;
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let own = self.layout().certificate(org, role, id);
        for (from, file) in [(&self.layout().authority(), "ca.pem"), (&own, "cert.pem"), (&own, "key.pem")] {
            let from = from.join(file);
            fs::copy(&from, folder.join(file)).with_context(|| format!("{} cannot be copied", from.display()))?;
        }
        let profile = Profile {
            identity: Some(".".into()),
            authority: Some("ca.pem".into()),
            gateway: Some(format!("localhost:{}", gateway.port())),
            gateway_identity: Some(gateway_identity()),
            ..Profile::default()
        };
        Ok(fs::write(folder.join("firebreak.toml"), profile.to_toml()?)?)
    }
}
