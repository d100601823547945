//! Gateway and adapter in this process, under a clock that a test moves.

use super::{MISPLACED, PLANNED, patiently};
use crate::refusals::ground::{GATEWAY, SignedBy, adapter_of};
use crate::refusals::request::{Outcome, Request, Sent, Told, What};
use anyhow::{Context, Result, bail, ensure};
use firebreak_audit::VerifierKey;
use firebreak_domain::{ManualClock, ReasonCode, Timestamp};
use firebreak_testbed::{Address, Federation, Options};
use firebreak_tests::{Caller, Liar};
use firebreak_transport::{Metrics, Shutdown};
use firebreak_wire::export::v1::ExportKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

/// Gateway and the health agency's adapter in this process, under a clock that the test moves.
pub struct Clocked {
    /// Its folder.
    pub federation: Federation,
    /// The clock of both.
    pub clock: Arc<ManualClock>,
    liar: Liar,
    running: Option<(firebreak_gateway::program::Running, agency_adapter::program::Running, Shutdown)>,
    /// Where the gateway listens.
    pub gateway: Address,
    _alone: MutexGuard<'static, ()>,
    _folder: tempfile::TempDir,
}

/// The figures of engines are those of the whole process: one federation at a time has engines in it.
static ALONE: Mutex<()> = Mutex::const_new(());

impl Clocked {
    /// A federation whose folder is changed before its programs start at that time.
    pub async fn prepare(at: Timestamp, change: impl FnOnce(&Federation) -> Result<()>) -> Result<Self> {
        let alone = ALONE.lock().await;
        Metrics::install()?;
        let folder = tempfile::tempdir()?;
        let options = Options { persons: 200, seed: 7, tick_milliseconds: 20 };
        let federation = Federation::prepare(&folder.path().join("federation"), &options, |_| {})?;
        change(&federation)?;
        let liar = Liar::listen(&federation).await?;
        let gateway = ([127, 0, 0, 1], 0).into();
        let clock = Arc::new(ManualClock::at(at));
        let mut this = Self { federation, clock, liar, running: None, gateway, _alone: alone, _folder: folder };
        this.start().await?;
        Ok(this)
    }

    async fn start(&mut self) -> Result<()> {
        let shutdown = Shutdown::new();
        let file = self.federation.configure_gateway(([127, 0, 0, 1], 0).into(), None, None)?;
        let checked = firebreak_gateway::program::check(&file)?;
        let gateway = firebreak_gateway::program::serve(checked, self.clock.clone(), &shutdown).await?;
        self.gateway = gateway.address;
        let gateways = [self.gateway, self.liar.address()];
        let file = self.federation.configure_adapter("health-agency", &gateways, None)?;
        let checked = agency_adapter::program::check(&file)?;
        match agency_adapter::program::serve(checked, self.clock.clone(), &shutdown).await {
            Ok(adapter) => {
                self.running = Some((gateway, adapter, shutdown));
                Ok(())
            }
            Err(error) => {
                shutdown.request();
                gateway.finished().await;
                Err(error.into())
            }
        }
    }

    /// Ends both programs and starts them again.
    pub async fn restart(&mut self) -> Result<()> {
        let (gateway, adapter, shutdown) = self.running.take().context("not running")?;
        shutdown.request();
        gateway.finished().await;
        adapter.finished().await;
        for _ in 0..100 {
            match self.start().await {
                // The old programs hold their state folders until their last task is gone.
                Err(error) if format!("{error:#}").contains("in use") => sleep(Duration::from_millis(100)).await,
                other => return other,
            }
        }
        bail!("the state folders were never let go")
    }

    /// Sends to the adapter, by the gateway that lies.
    pub async fn to_adapter(&self, sent: &Sent) -> Result<Outcome> {
        for _ in 0..100 {
            // A connection of before a restart may still be listed.
            match self.liar.agency("health-agency") {
                Ok(adapter) => match sent.to_adapter(adapter).await {
                    Ok(outcome) => return Ok(outcome),
                    Err(_) => sleep(Duration::from_millis(100)).await,
                },
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
        bail!("the adapter was never reached")
    }

    /// A query, a table and a match, each as it would be made at `at`.
    pub fn everything(&self, at: Timestamp, rho: u64) -> Result<Vec<Sent>> {
        let clinic = Caller("ngo-clinic", "endpoint", "clinic-desk");
        let sql = "SELECT COUNT(*) AS n FROM health.visits";
        let table = What::Export(ExportKind::DpAggregate, Some("clinic-desk"), sql);
        let matching = Request {
            who: Caller("health-agency", "adapter", "main"),
            agreement: "vaccination-round",
            purpose: "vaccination-round",
            what: What::Match,
        };
        [PLANNED, Request { who: clinic, what: table, ..PLANNED }, matching]
            .iter()
            .zip([rho, rho + 1_000, 0])
            .map(|(request, rho)| request.signed(&self.federation, at, rho))
            .collect()
    }

    /// Everything is refused by both, because the time of the bundle has passed.
    pub async fn nothing_is_answered(&self, at: Timestamp, rho: u64) -> Result<()> {
        self.refuses_everything(at, rho, &["constitution/a-bundle-is-in-force"]).await
    }

    /// Everything is refused by both, because no policy is in force: by those policies, with evidence that each signed,
    /// and without any engine.
    pub async fn refuses_everything(&self, at: Timestamp, rho: u64, policies: &[&str]) -> Result<()> {
        let key = self.federation.log_key().parse()?;
        let before = executions()?;
        for sent in self.everything(at, rho)? {
            let by_gateway =
                sent.to_gateway(&self.federation, self.gateway).await?.refused().context("by the gateway")?;
            let by_adapter = self.to_adapter(&sent).await?.refused().context("by the adapter alone")?;
            for (told, signer) in [(by_gateway, GATEWAY), (by_adapter, adapter_of("health-agency"))] {
                ensure!(told.reason == "NO_POLICY_IN_FORCE", "{signer:?} refused for {}", told.reason);
                ensure!(told.policies == policies, "{signer:?}: {:?}", told.policies);
                let leaf = told.leaf(&key, ReasonCode::NoPolicyInForce)?;
                let Caller(org, role, id) = signer;
                let signed = leaf.is_signed(&SignedBy(self.federation.issue(org, role, id)?));
                ensure!(signed, "not signed by {signer:?}");
            }
        }
        let ran = executions()? - before;
        ensure!(ran == 0, "an engine ran {ran} times");
        Ok(())
    }

    /// Waits until both programs decide by a bundle in force, and gives the sequences of the two.
    pub async fn taken_up(&self, at: Timestamp) -> Result<[u64; 2]> {
        let sent = MISPLACED.signed(&self.federation, at, 100_000)?;
        for _ in 0..100 {
            let by_gateway = sent.to_gateway(&self.federation, self.gateway).await?.refused()?;
            let by_adapter = self.to_adapter(&sent).await?.refused()?;
            if [&by_gateway.reason, &by_adapter.reason] == ["PURPOSE_NOT_COVERED"; 2] {
                let key: VerifierKey = self.federation.log_key().parse()?;
                let sequence = |told: Told| {
                    Ok::<_, anyhow::Error>(told.leaf(&key, ReasonCode::PurposeNotCovered)?.leaf().bundle_sequence)
                };
                return Ok([sequence(by_gateway)?, sequence(by_adapter)?]);
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("no bundle was taken up")
    }

    /// The query and the table are answered by both.
    pub async fn tables_are_answered(&self, at: Timestamp, rho: u64) -> Result<()> {
        let before = executions()?;
        for sent in self.everything(at, rho)?.iter().take(2) {
            patiently(async || sent.to_gateway(&self.federation, self.gateway).await)
                .await?
                .answered()
                .context("by the gateway")?;
            patiently(async || self.to_adapter(sent).await).await?.answered().context("by the adapter")?;
        }
        // That the counter counts here is what its standing still at a refusal means something by.
        ensure!(executions()? > before, "answered without an engine");
        Ok(())
    }
}

/// How often the engines of this process were asked.
fn executions() -> Result<u64> {
    let figures = Metrics::install()?.render();
    let line = figures.lines().find(|line| line.starts_with("firebreak_engine_executions_total"));
    Ok(line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default() as u64)
}
