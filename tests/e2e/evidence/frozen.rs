//! An agency that hangs keeps no other agency's leaves from the log.

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use firebreak_audit::{LogEntry, NoteKey, OpeningKey, Sealer};
use firebreak_domain::{AgreementId, CapStanding, Identity, OrgId, ReasonCode, SystemClock};
use firebreak_gateway::app::{
    Agencies, AgencyAnswer, AgencyError, AgencyRefusal, App, Asked, Courier, EvidenceLog, JoinSteps, MOST_LEAVES,
    OfferedLeaf, Outstanding, Shown, TunnelAnswer,
};
use firebreak_gateway::configuration::Configuration;
use firebreak_node::{PolicyInForce, Recorder, SubmittedMatch, load};
use firebreak_store::{State, StateKey};
use firebreak_testbed::Federation;
use firebreak_tests::{Own, run};
use firebreak_transport::{ByteStream, Credential, Validity};
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
    /// Each with whether the adapter's key of today made its signature.
    leaves: Vec<(LogEntry, bool)>,
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

    async fn check_join(&self, _: &OrgId, _: &Identity, _: &Asked) -> Result<Option<AgencyRefusal>, AgencyError> {
        Err(AgencyError::NotConnected)
    }

    async fn run_join(&self, _: &OrgId, _: &Identity, _: &Asked) -> Result<Box<dyn JoinSteps>, AgencyError> {
        Err(AgencyError::NotConnected)
    }

    async fn report_join_fault(&self, _: &OrgId, _: &[u8; 32], _: ReasonCode, _: bool) -> Result<(), AgencyError> {
        Err(AgencyError::NotConnected)
    }

    async fn open_join_tunnel(&self, _: &OrgId, _: &Identity, _: &[u8; 32]) -> Result<ByteStream, AgencyError> {
        Err(AgencyError::NotConnected)
    }

    async fn caps(&self, _: &OrgId, _: &Identity, _: &AgreementId) -> Result<Vec<CapStanding>, AgencyError> {
        Err(AgencyError::NotConnected)
    }

    async fn outstanding(&self, agency: &OrgId) -> Result<Outstanding, AgencyError> {
        if agency.as_str() == SILENT {
            self.asked_silent.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        let leaves = if agency.as_str() == WELL { self.leaves.clone() } else { Vec::new() };
        let leaves = leaves.into_iter().map(|(entry, signed_by_key)| OfferedLeaf { entry, signed_by_key }).collect();
        Ok(Outstanding { leaves, ..Outstanding::default() })
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
    let recorder = Recorder::new(&credential, policy.sealer())?;
    policy.refresh(&recorder, &state).await?;
    let log_key = NoteKey::decode(&std::fs::read(base.join(&configuration.log_key))?)?;
    let log = EvidenceLog::open(&base.join(&configuration.log_folder), log_key, state.clone())?;
    Ok(App::open(state, Arc::new(policy), trust, recorder, log, agencies, String::new()).await?)
}

/// So many leaves of an agency, as its adapter would sign them with the key that it has.
async fn leaves(federation: &Federation, many: usize) -> Result<Vec<(LogEntry, bool)>> {
    let entries = entries(&federation.issue(WELL, "adapter", "main")?, many).await?;
    Ok(entries.into_iter().map(|entry| (entry, true)).collect())
}

/// So many leaves under a key.
async fn entries(credential: &Credential, many: usize) -> Result<Vec<LogEntry>> {
    let sealer = Arc::new(Sealer::default());
    sealer.seal_to(&[OpeningKey::generate()?.seal_key()])?;
    let recorder = Recorder::new(credential, &sealer)?;
    let folder = tempfile::tempdir()?;
    let key = StateKey::load_or_create(&folder.path().join("key"))?;
    let state = State::open(&folder.path().join("state"), key, Arc::new(SystemClock)).await?;
    let kind = firebreak_audit::LeafKind::BundleRejected;
    (0..many).map(|_| Ok(recorder.record_policy(kind, 1, b"", &state)?.entry())).collect()
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

/// An agency whose key was changed while leaves waited would be locked out if they counted for nothing; if any key
/// counted, anybody could put leaves into the log in its name.
#[test]
fn a_leaf_under_a_key_that_signed_before_is_taken_up_and_under_one_that_never_did_is_not() -> Result<()> {
    run(async {
        let (federation, _folder) = Own::prepare(100)?;
        let before = federation.issue(WELL, "adapter", "main")?;
        let never = federation.authority().issue(before.identity(), &["localhost"], Validity::days(1))?;
        let (known, strange) = (entries(&before, 2).await?, entries(&never, 1).await?);
        let [first, waited] = <[LogEntry; 2]>::try_from(known).map_err(|_| anyhow::anyhow!("two leaves"))?;
        let [forged] = <[LogEntry; 1]>::try_from(strange).map_err(|_| anyhow::anyhow!("one leaf"))?;
        // The first was signed when its key was the agency's; now another one is.
        let leaves = vec![(first.clone(), true), (waited.clone(), false), (forged.clone(), false)];
        let agencies = Arc::new(Some3 { leaves, ..Some3::default() });
        let app = Arc::new(gateway(&federation, agencies.clone()).await?);
        let carried = Arc::clone(&app);
        let courier = tokio::spawn(async move { Courier::new(Arc::new(Notify::new())).run(&carried).await });
        let started = Instant::now();
        while agencies.confirmed.load(Ordering::SeqCst) < 4 {
            ensure!(started.elapsed() < Duration::from_secs(5), "the agency is not visited");
            sleep(Duration::from_millis(20)).await;
        }
        courier.abort();
        for (entry, taken_up) in [(&first, true), (&waited, true), (&forged, false)] {
            assert_eq!(app.log().index_of(&entry.leaf).is_some(), taken_up);
        }
        Ok(())
    })
}
