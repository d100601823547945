//! One federation for all tests of a binary, on one runtime.

use crate::Liar;
use anyhow::{Context, Result, ensure};
use firebreak_audit::{Receipt, VerifiedReceipt, VerifierKey};
use firebreak_domain::ReasonCode;
use firebreak_testbed::{Federation, Live, Options, Programs, figure, http_answer};
use std::sync::LazyLock;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build());
static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// A running federation of 2,000 persons, and a gateway that lies.
pub struct Shared {
    /// Its folder.
    pub federation: Federation,
    /// Its programs.
    pub live: Live,
    /// A false gateway, to which every adapter is connected as well.
    pub liar: Liar,
    _folder: TempDir,
}

/// Runs a test on the one runtime.
pub fn run<T>(test: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = RUNTIME.as_ref().map_err(|e| anyhow::anyhow!("no runtime: {e}"))?;
    runtime.block_on(test)
}

/// The federation, started at the first call.
pub async fn shared() -> Result<&'static Shared> {
    SHARED.get_or_try_init(Shared::start).await
}

impl Shared {
    async fn start() -> Result<Self> {
        Self::own(2_000, |_| Ok(())).await
    }

    /// A federation that one test has to itself, `change`d before its programs start.
    pub async fn own(persons: u32, change: impl FnOnce(&Federation) -> Result<()>) -> Result<Self> {
        Self::with(&Programs::built()?, persons, change).await
    }

    /// The same with other programs than the built ones.
    pub async fn with(
        programs: &Programs,
        persons: u32,
        change: impl FnOnce(&Federation) -> Result<()>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = Options { persons, seed: 7, tick_milliseconds: 20 };
        let federation = Federation::prepare(&folder.path().join("federation"), &options, |_| {})?;
        change(&federation)?;
        let liar = Liar::listen(&federation).await?;
        let live = federation.start(programs, &[liar.address()]).await?;
        let shared = Self { federation, live, liar, _folder: folder };
        shared.liar.wait_for_agencies().await?;
        Ok(shared)
    }

    /// How many times the engines of an agency were asked.
    pub async fn engine_executions(&self, agency: &str) -> Result<u64> {
        figure(self.live.adapter(agency)?.metrics, "firebreak_engine_executions_total").await
    }

    /// The log's public key.
    pub fn log_key(&self) -> Result<VerifierKey> {
        Ok(self.federation.log_key().parse()?)
    }
}

/// The answer of a loopback listener, headers included, as text.
pub async fn http_get(address: std::net::SocketAddr, path: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&http_answer(address, path).await?).into_owned())
}

/// Checks that a receipt proves a refusal for that reason in the log of that key.
pub fn verified_refusal(receipt: &str, key: &VerifierKey, reason: ReasonCode) -> Result<VerifiedReceipt> {
    let verified = Receipt::decode(receipt.as_bytes()).context("the receipt cannot be read")?.verify(key)?;
    let leaf = verified.leaf.leaf();
    ensure!(leaf.kind == firebreak_audit::LeafKind::Refusal, "the leaf is of kind {}", leaf.kind.as_str());
    ensure!(leaf.reason == Some(reason), "the leaf gives another reason");
    Ok(verified)
}
