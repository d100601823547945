//! What an adapter is started with. `deploy/` has a sample that a test reads.

use firebreak_domain::{Closed, Identity};
use firebreak_node::{Bundles, Tls};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `adapter.toml`. Relative paths are taken from its own folder; unknown keys are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The certificate of this adapter and the federation's authority.
    pub federation: Tls,
    /// `host:port` of every gateway to dial.
    pub gateways: Vec<String>,
    /// The identity that every gateway shows.
    pub gateway_identity: String,
    /// The log's public key.
    pub log_key: String,
    /// Where policy comes from.
    pub bundles: Bundles,
    /// Everything that the adapter must not forget: accounts, releases, registers.
    pub state_folder: PathBuf,
    /// The key under which the state is sealed; made at the first start.
    pub state_key: PathBuf,
    /// The agency's files.
    pub data_folder: PathBuf,
    /// A binding for each dataset served.
    pub bindings: Vec<PathBuf>,
    /// What the agency keeps closed, whatever a bundle says: at most [`Closed::MOST`].
    #[serde(default)]
    pub closed: Vec<Closed>,
    /// The listener for the agency's own staff.
    #[serde(default)]
    pub local: Option<Local>,
    /// The loopback address of the figures for operators.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
    /// Milliseconds of the smallest tick on which an answer leaves.
    #[serde(default = "default_tick")]
    pub tick_milliseconds: u64,
    /// Threads that read data; 0 takes all that there are.
    #[serde(default)]
    pub threads: usize,
}

const fn default_tick() -> u64 {
    50
}

/// The listener for staff.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// The address.
    pub listen: SocketAddr,
    /// The certificate of the listener and the agency's own authority.
    pub tls: Tls,
}

impl Configuration {
    /// The gateways' identity.
    ///
    /// # Errors
    /// A name that is none.
    pub fn gateway(&self) -> Result<Identity, firebreak_domain::IdentityError> {
        self.gateway_identity.parse()
    }
}
