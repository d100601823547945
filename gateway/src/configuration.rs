//! What the gateway is started with. `deploy/` has a sample that a test reads.

use firebreak_node::{Bundles, Tls};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `gateway.toml`. Relative paths are taken from its own folder; unknown keys are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The address for callers and for adapters.
    pub listen: SocketAddr,
    /// The gateway's certificate and the federation's authority.
    pub federation: Tls,
    /// Where policy comes from.
    pub bundles: Bundles,
    /// Accounts, stored releases, leaves on their way to the log.
    pub state_folder: PathBuf,
    /// The key under which the state is sealed; made at the first start.
    pub state_key: PathBuf,
    /// The public log: static files.
    pub log_folder: PathBuf,
    /// The key that signs the log's checkpoints.
    pub log_key: PathBuf,
    /// The loopback address at which the public log is served over HTTP, for the federation's web server to pass on.
    #[serde(default)]
    pub public_log: Option<SocketAddr>,
    /// Where that web server shows them, for citations of what is published: `https://` and no slash at the end.
    #[serde(default)]
    pub public_url: Option<String>,
    /// The loopback address of the figures for operators.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
}
