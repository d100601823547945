//! An agency that hangs keeps no other agency's leaves from the log.

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use firebreak_audit::{NoteKey, SignedLeaf};
use firebreak_domain::{Identity, OrgId, SystemClock};
use firebreak_gateway::app::{
    Agencies, AgencyAnswer, AgencyError, App, Asked, Courier, EvidenceLog, MOST_LEAVES, OfferedLeaf, Shown,
    TunnelAnswer,
};
use firebreak_gateway::configuration::Configuration;
use firebreak_node::{PolicyInForce, Recorder, SubmittedMatch, load};
use firebreak_store::{State, StateKey};
use firebreak_testbed::Federation;
use firebreak_tests::{Own, run};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

const SILENT: &str = "education-agency";
const MUTE: &str = "immigration-agency";
const WELL: &str = "health-agency";

/// Three agencies: one never says what is outstanding, one never confirms, one answers at once.
#[derive(Default)]
struct Some3 {
    asked_silent: AtomicU64,
    asked_mute: AtomicU64,
    confirmed: AtomicU64,
    most: AtomicU64,
    leaves: Vec<SignedLeaf>,
}

#[async_trait]
impl Agencies for Some3 {
    fn connected(&self) -> Vec<OrgId> {
        [SILENT, MUTE, WELL].iter().filter_map(|name| name.parse().ok()).collect()
    }

    async fn execute(&self, _: &OrgId, _: &Identity, _: &Asked) -> Result<AgencyAnswer, AgencyError> {
        Err(AgencyError::NotConnected)
    }

    async fn open_tunnel(&self, _: &OrgId, _: &Identity, _: &SubmittedMatch) -> Result<TunnelAnswer, AgencyError> {
        Err(AgencyError::NotConnected)
    }

    async fn outstanding(&self, agency: &OrgId) -> Result<(Vec<OfferedLeaf>, u64), AgencyError> {
        if agency.as_str() == SILENT {
            self.asked_silent.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        let leaves = if agency.as_str() == WELL { self.leaves.clone() } else { Vec::new() };
        Ok((leaves.into_iter().map(|leaf| OfferedLeaf { leaf, signed_by_key: true }).collect(), 0))
    }

    async fn confirm(&self, agency: &OrgId, shown: Shown) -> Result<(), AgencyError> {
        if agency.as_str() == MUTE {
            self.asked_mute.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        self.most.fetch_max(shown.leaves.len() as u64, Ordering::SeqCst);
        self.confirmed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

async fn gateway(federation: &Federation, agencies: Arc<Some3>) -> Result<App> {
    let file = federation.configure_gateway(([127, 0, 0, 1], 0).into(), None, None)?;
    let base = file.parent().context("no folder")?;
    let configuration: Configuration = load(&file)?;
    let (credential, trust) = configuration.federation.open(base)?;
    let key = StateKey::load_or_create(&base.join(&configuration.state_key))?;
    let folder = base.join(&configuration.state_folder);
    let state = State::open(&folder, key, Arc::new(SystemClock)).await?;
    let policy = PolicyInForce::open(&configuration.bundles, base, &folder, &state).await?;
    let recorder = Recorder::new(&credential)?;
    policy.refresh(&recorder, &state).await?;
    let log_key = NoteKey::decode(&std::fs::read(base.join(&configuration.log_key))?)?;
    let log = EvidenceLog::open(&base.join(&configuration.log_folder), log_key)?;
    Ok(App::open(state, Arc::new(policy), trust, recorder, log, agencies).await?)
}

/// So many leaves of an agency, as its adapter would sign them.
async fn leaves(federation: &Federation, many: usize) -> Result<Vec<SignedLeaf>> {
    let recorder = Recorder::new(&federation.issue(WELL, "adapter", "main")?)?;
    let folder = tempfile::tempdir()?;
    let key = StateKey::load_or_create(&folder.path().join("key"))?;
    let state = State::open(&folder.path().join("state"), key, Arc::new(SystemClock)).await?;
    let kind = firebreak_audit::LeafKind::BundleRejected;
    (0..many).map(|_| Ok(recorder.record_policy(kind, 1, b"", &state)?.leaf)).collect()
}

#[test]
fn an_agency_that_hangs_delays_no_other_and_none_is_taken_up_without_bounds() -> Result<()> {
    run(async {
        let (federation, _folder) = Own::prepare(100)?;
        let agencies = Arc::new(Some3 { leaves: leaves(&federation, MOST_LEAVES + 76).await?, ..Some3::default() });
        let app = Arc::new(gateway(&federation, agencies.clone()).await?);
        let (carried, wake) = (Arc::clone(&app), Arc::new(Notify::new()));
        let courier = tokio::spawn(async move { Courier::new(wake).run(&carried).await });
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);

        // Far within the ten seconds after which an agency that is not visited refuses.
        let started = Instant::now();
        while count(&agencies.confirmed) < 4 {
            ensure!(started.elapsed() < Duration::from_secs(5), "{} visits", count(&agencies.confirmed));
            sleep(Duration::from_millis(20)).await;
        }
        ensure!(count(&agencies.asked_silent) == 1 && count(&agencies.asked_mute) == 1, "they hang no more");
        assert_eq!(count(&agencies.most), MOST_LEAVES as u64);

        // One that hung is visited again once its time is up.
        while count(&agencies.asked_silent) < 2 || count(&agencies.asked_mute) < 2 {
            ensure!(started.elapsed() < Duration::from_secs(12), "an agency that hung once is given up");
            sleep(Duration::from_millis(50)).await;
        }
        courier.abort();
        Ok(())
    })
}
