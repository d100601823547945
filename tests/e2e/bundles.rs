//! R4, R18: a policy bundle comes into force by a quorum of the overseers in force and by nothing else, and when its
//! time has passed everything is refused, whatever the clock says afterwards.

pub mod clocked;
mod successor;

use crate::health::says;
use crate::refusals::ground::permit_everything;
use crate::refusals::request::{Outcome, Request, What};
use anyhow::{Context, Result, bail, ensure};
use clocked::Clocked;
use firebreak_audit::{LeafKind, verify_folder};
use firebreak_domain::{Clock, ReasonCode, SystemClock};
use firebreak_policy::signing::write_manifest;
use firebreak_policy::{Candidate, Validity};
use firebreak_testbed::{AGENCIES, Federation};
use firebreak_tests::{Caller, Shared, copy_folder, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use successor::{FLAWS, Successor};
use tokio::time::sleep;
use tonic_health::pb::health_check_response::ServingStatus;

const DAY: i64 = 86_400;

/// A question under an agreement that the successor bundle of these tests does not have.
const PLANNED: Request = Request {
    who: Caller("nso", "analyst", "ada"),
    agreement: "clinic-tables",
    purpose: "service-planning",
    what: What::Query("SELECT region, COUNT(*) AS visits FROM health.visits GROUP BY region"),
};

/// A question for a purpose that its agreement, which all bundles of these tests have, does not name.
const MISPLACED: Request = Request { agreement: "health-statistics", ..PLANNED };

/// Puts a folder in the place of another at once: a program reads the one or the other.
fn put(from: &Path, to: &Path) -> Result<()> {
    let (new, old) = (to.with_extension("new"), to.with_extension("old"));
    for folder in [&new, &old] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    copy_folder(from, &new)?;
    fs::rename(to, &old)?;
    fs::rename(&new, to)?;
    Ok(())
}

/// The logs of the gateway and of every adapter.
fn logs(federation: &Federation) -> Vec<PathBuf> {
    let layout = federation.layout();
    let adapters = AGENCIES.iter().map(|(agency, _, _)| layout.adapter(agency).join("adapter.log"));
    std::iter::once(layout.gateway().join("gateway.log")).chain(adapters).collect()
}

/// Waits until every program has said something of the offered bundle, after what its log held at `since` and after so
/// many `others` of its lines on bundles.
///
/// A program looks at the folder again and again, and says of each look what it found. A look that was under way when
/// the bundle was put there ends in one line more, of the bundle before: the next line is of a look that began later.
pub async fn heard(federation: &Federation, since: &[usize], others: usize, said: &str) -> Result<()> {
    for _ in 0..400 {
        let logs = logs(federation).into_iter().zip(since);
        let all = logs.map(|(file, since)| {
            let text = fs::read_to_string(file)?;
            let lines = text.get(*since..).unwrap_or_default().lines();
            Ok(lines.filter(|line| line.contains("policy bundle")).skip(others).any(|line| line.contains(said)))
        });
        if all.collect::<Result<Vec<_>>>()?.into_iter().all(|heard| heard) {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("not every program has said {said:?}")
}

pub fn lengths(federation: &Federation) -> Result<Vec<usize>> {
    logs(federation).iter().map(|file| Ok(fs::read_to_string(file)?.len())).collect()
}

/// Sends until it is not refused for reasons of a start.
pub async fn patiently(mut send: impl AsyncFnMut() -> Result<Outcome>) -> Result<Outcome> {
    for _ in 0..100 {
        match send().await? {
            Outcome::Refused(told)
                if ["AGENCY_UNAVAILABLE", "EVIDENCE_OUTSTANDING"].contains(&told.reason.as_str()) =>
            {
                sleep(Duration::from_millis(100)).await;
            }
            outcome => return Ok(outcome),
        }
    }
    bail!("the programs did not find each other")
}

/// The sequences of the bundles by which gateway and adapter decide, from the leaves of a refusal of each.
async fn sequences(shared: &Shared) -> Result<(u64, u64)> {
    let reason = ReasonCode::PurposeNotCovered;
    let sent = MISPLACED.signed(&shared.federation, SystemClock.now(), 100_000)?;
    let key = shared.log_key()?;
    let by_gateway = sent.to_gateway(&shared.federation, shared.live.address).await?.refused()?.leaf(&key, reason)?;
    let by_adapter = sent.to_adapter(shared.liar.agency("health-agency")?).await?.refused()?.leaf(&key, reason)?;
    Ok((by_gateway.leaf().bundle_sequence, by_adapter.leaf().bundle_sequence))
}

#[test]
fn a_bundle_without_its_quorum_is_not_taken_up_and_the_one_in_force_still_answers() -> Result<()> {
    run(async {
        let shared = Shared::own(300, |_| Ok(())).await?;
        let federation = &shared.federation;
        let bundle = federation.layout().bundle();
        let (first, next) = (federation.layout().root().join("first"), federation.layout().root().join("next"));
        copy_folder(&bundle, &first)?;
        let now = SystemClock.now();
        let previous = Candidate::read(&first)?.manifest().digest();
        let validity = Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(DAY) };
        let mut rho = 200_000;
        let mut planned = || {
            rho += 1_000;
            PLANNED.signed(federation, SystemClock.now(), rho)
        };
        let prepared = || {
            if next.exists() {
                fs::remove_dir_all(&next)?;
            }
            copy_folder(&first, &next)?;
            fs::remove_file(next.join("agreements/clinic-tables.toml"))?;
            Ok::<_, anyhow::Error>(Successor { federation, folder: next.clone(), previous, validity })
        };

        for flaw in FLAWS {
            (flaw.offer)(&prepared()?).context(flaw.name)?;
            put(&next, &bundle)?;
            let since = lengths(federation)?;
            heard(federation, &since, 1, flaw.said).await.context(flaw.name)?;
            ensure!(sequences(&shared).await? == (1, 1), "{}: taken up", flaw.name);
            let sent = planned()?;
            patiently(async || sent.to_gateway(federation, shared.live.address).await)
                .await?
                .answered()
                .context(flaw.name)?;
        }

        // The twin of them all: the same successor, listed and signed by two.
        let sound = prepared()?;
        sound.list()?;
        sound.sign(&["overseer-north", "overseer-south"])?;
        let since = lengths(federation)?;
        put(&next, &bundle)?;
        heard(federation, &since, 0, "accepted").await?;
        ensure!(sequences(&shared).await? == (2, 2), "the sound successor was not taken up");
        let sent = planned()?;
        let told = sent.to_gateway(federation, shared.live.address).await?.refused()?;
        assert_eq!(told.reason, "NO_AGREEMENT");
        let told = sent.to_adapter(shared.liar.agency("health-agency")?).await?.refused()?;
        assert_eq!(told.reason, "NO_AGREEMENT");

        // Rolled back: the first bundle, as good as it ever was.
        put(&first, &bundle)?;
        let since = lengths(federation)?;
        heard(federation, &since, 0, "sequence 1 is not above 2").await?;
        ensure!(sequences(&shared).await? == (2, 2), "rolled back");
        let told = planned()?.to_gateway(federation, shared.live.address).await?.refused()?;
        assert_eq!(told.reason, "NO_AGREEMENT");
        told_in_the_log(&shared, 2).await
    })
}

/// Waits until gateway and agencies have each logged so many bundles taken up, and one that was not.
async fn told_in_the_log(shared: &Shared, taken_up: u64) -> Result<()> {
    let programs = 1 + AGENCIES.len() as u64;
    let (folder, key) = (shared.federation.layout().log(), shared.log_key()?);
    let mut counts = (0, 0);
    for _ in 0..100 {
        // A tile of the checkpoint that was read first may be gone by now.
        if let Ok(report) = verify_folder(&folder, &key, &[], None) {
            let of = |kind| report.leaves_by_kind.get(&kind).copied().unwrap_or_default();
            counts = (of(LeafKind::BundleAccepted), of(LeafKind::BundleRejected));
            if counts.0 == programs * taken_up && counts.1 >= programs {
                return Ok(());
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    bail!("{programs} programs logged {} bundles taken up and {} that were not", counts.0, counts.1)
}

#[test]
fn when_its_time_has_passed_everything_is_refused_and_no_clock_revives_it() -> Result<()> {
    run(expires(false))
}

#[test]
fn a_bundle_that_permits_everything_permits_nothing_once_its_time_has_passed() -> Result<()> {
    run(expires(true))
}

async fn expires(permissive: bool) -> Result<()> {
    let start = SystemClock.now();
    // Valid since longer than a year, so that a clock set back a year lies within it.
    let validity = Validity {
        made: start.plus_secs(-400 * DAY),
        valid_from: start.plus_secs(-400 * DAY),
        valid_until: start.plus_secs(2 * DAY),
    };
    let signed = |federation: &Federation| {
        if permissive {
            permit_everything(federation)?;
        }
        federation.sign_bundle(1, None, validity)
    };
    let mut clocked = Clocked::prepare(start, signed).await?;
    clocked.tables_are_answered(start, 1_000_000).await.context("while it is valid")?;

    let last = start.plus_secs(2 * DAY - 1);
    clocked.clock.set(last);
    clocked.tables_are_answered(last, 1_100_000).await.context("in its last second")?;

    let expired = start.plus_secs(2 * DAY);
    clocked.clock.set(expired);
    clocked.nothing_is_answered(expired, 1_200_000).await.context("in the second after")?;
    says(&clocked.federation, clocked.gateway, ServingStatus::NotServing).await?;

    for back in [start, expired.plus_secs(-365 * DAY)] {
        clocked.clock.set(back);
        clocked.nothing_is_answered(expired, 1_300_000).await.with_context(|| format!("set back to {back}"))?;
    }
    clocked.restart().await?;
    clocked.nothing_is_answered(expired, 1_400_000).await.context("started again under a clock set back")?;

    // The twin: a successor in its time, signed by two.
    let previous = Candidate::read(&clocked.federation.layout().bundle())?.manifest().digest();
    let validity =
        Validity { made: expired, valid_from: expired.plus_secs(-60), valid_until: expired.plus_secs(5 * DAY) };
    clocked.federation.sign_bundle(2, Some(previous), validity)?;
    clocked.taken_up(expired).await?;
    says(&clocked.federation, clocked.gateway, ServingStatus::Serving).await?;
    clocked.tables_are_answered(expired, 1_500_000).await.context("under a successor")
}

#[test]
fn a_program_that_never_had_a_signed_bundle_refuses_everything_until_it_has_one() -> Result<()> {
    run(async {
        for permissive in [false, true] {
            let start = SystemClock.now();
            let validity =
                Validity { made: start, valid_from: start.plus_secs(-60), valid_until: start.plus_secs(DAY) };
            let unsigned = |federation: &Federation| {
                if permissive {
                    permit_everything(federation)?;
                }
                write_manifest(&federation.layout().bundle(), 1, None, validity)?;
                Ok(())
            };
            let clocked = Clocked::prepare(start, unsigned).await?;
            // There is no bundle, so none of its policies decides, nor the constitution over it.
            clocked.refuses_everything(start, 1_000_000, &[]).await?;
            clocked.federation.sign_bundle(1, None, validity)?;
            clocked.taken_up(start).await?;
            clocked.tables_are_answered(start, 1_100_000).await?;
        }
        Ok(())
    })
}

#[test]
fn a_program_that_starts_again_over_an_older_folder_keeps_the_bundle_that_it_had() -> Result<()> {
    run(async {
        let start = SystemClock.now();
        let mut clocked = Clocked::prepare(start, |_| Ok(())).await?;
        assert_eq!(clocked.taken_up(start).await?, [1, 1]);
        let bundle = clocked.federation.layout().bundle();
        let older = clocked.federation.layout().root().join("older");
        copy_folder(&bundle, &older)?;
        let previous = Candidate::read(&bundle)?.manifest().digest();
        // Not made before the one that it follows, which was made while the federation was prepared.
        let made = SystemClock.now();
        let validity = Validity { made, valid_from: start.plus_secs(-60), valid_until: start.plus_secs(DAY) };
        clocked.federation.sign_bundle(2, Some(previous), validity)?;
        let mut sequences = [1, 1];
        for _ in 0..200 {
            sequences = clocked.taken_up(start).await?;
            if sequences == [2, 2] {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        ensure!(sequences == [2, 2], "the successor is not taken up: {sequences:?}");
        put(&older, &bundle)?;
        clocked.restart().await?;
        // Longer than a program waits between two looks at the folder.
        sleep(Duration::from_millis(1_500)).await;
        assert_eq!(clocked.taken_up(start).await?, [2, 2]);
        clocked.tables_are_answered(start, 1_000_000).await
    })
}
