//! The ledger: how many durable charges it takes in a second, and whether any schedule of charges, retries,
//! settlements and kills overspends, answers for nothing or is stuck.
//!
//! `bench-ledger [SCHEDULES] [SEED] [KILLS]`. Speed is measured over the real store on the disk of the working
//! folder, where each charge is to five accounts, as every question's is. `ledger_charges` is how many there are in a
//! second where each caller charges again as soon as it is answered. `ledger_p99` is how long a charge takes where
//! the callers together charge [`OFFERED`] times a second, as the aim asks for, each at times fixed beforehand; a
//! caller that is still waiting then counts from that time, so that no wait is left out because it kept a caller from
//! charging. What a schedule is stands in `crates/store/tests/store/schedules.rs`, whose code this is; of the kills,
//! each of a program of its own, in `crash.rs`. The schedules by default take most of an hour on two cores, the kills a
//! few minutes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the store's own tests are used as they are: what fails there fails the measurement"
)]

#[path = "../../crates/store/tests/store/crash.rs"]
mod crash;
#[path = "../../crates/store/tests/store/schedules.rs"]
mod schedules;
#[expect(dead_code, reason = "the store's own tests use the rest")]
#[path = "../../crates/store/tests/store/support.rs"]
mod support;

use anyhow::{Context, Result, ensure};
use firebreak_domain::{RequestId, SystemClock, UnitSpaceId};
use firebreak_store::{AccountKind, ReleaseKey, RequestKey, Reserved, State, StateKey};
use firebreak_tests::bench::{Aim, aimed, argument, conditions, figure, remark};
use firebreak_tests::built;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{agreement, analyst, life, organisation, rho, within};
use tokio::task::JoinSet;

const SCHEDULES: u32 = 1_000_000;
const SEED: u64 = 1;
const KILLS: u32 = 2_000;
/// Kills over one folder, whose whole ledger is verified after each of them.
const OVER_ONE_FOLDER: u32 = 100;
/// Schedules that share a state.
const TOGETHER: u64 = 64;
/// Who charges at a time.
const CALLERS: u64 = 64;
/// How long each speed is measured, after a second that is not.
const TIME: Duration = Duration::from_secs(10);
/// Charges in a second by all callers together, where how long each takes is measured.
const OFFERED: u32 = 5_000;
/// What a charge adds to the log of writes: the pages that it changes by itself.
const APPENDED: usize = 8 * 1024;

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let schedules = u64::from(argument(SCHEDULES)?);
    let seed = number(2, SEED)?;
    let kills = u32::try_from(number(3, u64::from(KILLS))?)?;
    // On the disk and not in a folder that is kept in memory.
    let folder = tempfile::tempdir_in(std::env::current_dir()?.join("target"))?;
    speed(folder.path()).await?;
    let violations = run(schedules, seed).await?;
    kill(kills, seed).await?;
    ensure!(violations == 0, "schedules were violated: see above");
    Ok(())
}

/// Kills so many programs, and holds the ledgers to what they had promised.
async fn kill(kills: u32, seed: u64) -> Result<()> {
    let (begun, charger) = (Instant::now(), built("examples/charger")?);
    let (mut killed, mut promises) = (0, 0);
    while killed < kills {
        let more = OVER_ONE_FOLDER.min(kills - killed);
        promises += crash::kills(&charger, more, seed + u64::from(killed)).await.iter().sum::<usize>();
        killed += more;
    }
    remark(&format!("{OVER_ONE_FOLDER} kills over one folder; {:.0} s in all", begun.elapsed().as_secs_f64()));
    figure("ledger_kills", f64::from(killed), "programs killed");
    figure("ledger_promises_kept", promises as f64, "promises of killed programs");
    Ok(())
}

fn number(place: usize, default: u64) -> Result<u64> {
    std::env::args().nth(place).map_or(Ok(default), |a| a.parse().with_context(|| format!("{a} is not a number")))
}

async fn speed(folder: &Path) -> Result<()> {
    let (syncs, slowest) = syncs(folder)?;
    let alone = charge(&folder.join("alone"), 1, None).await?;
    let together = charge(&folder.join("together"), CALLERS, None).await?;
    let offered = charge(&folder.join("offered"), CALLERS, Some(OFFERED)).await?;
    remark(&format!(
        "the disk alone: {syncs:.0} appends of {APPENDED} bytes, each synced, in a second, 99 % within {slowest:.2} ms"
    ));
    remark(&format!(
        "one caller alone: {:.0} charges in a second, 99 % within {:.2} ms",
        alone.each_second,
        alone.within(0.99)
    ));
    remark(&format!(
        "{CALLERS} callers, each again as soon as it is answered: half within {:.2} ms, 99 % within {:.2} ms",
        together.within(0.5),
        together.within(0.99)
    ));
    remark(&format!(
        "{CALLERS} callers at {OFFERED} charges in a second, {:.0} done: half within {:.2} ms",
        offered.each_second,
        offered.within(0.5)
    ));
    aimed("ledger_charges", together.each_second, "1/s", Aim::AtLeast(5_000.0));
    aimed("ledger_p99", offered.within(0.99), "ms", Aim::AtMost(5.0));
    figure("ledger_p99_saturated", together.within(0.99), "ms");
    figure("ledger_charges_over_syncs", together.each_second / syncs, "charges a sync of the disk");
    figure("ledger_p99_over_sync_p99", offered.within(0.99) / slowest, "ratio");
    Ok(())
}

/// How often this disk keeps an append in a second, and within how many milliseconds it keeps 99 % of them.
fn syncs(folder: &Path) -> Result<(f64, f64)> {
    let mut file = File::create(folder.join("appended"))?;
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < TIME / 5 {
        let asked = Instant::now();
        file.write_all(&[times.len() as u8; APPENDED])?;
        file.sync_data()?;
        times.push(asked.elapsed());
    }
    let each_second = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok((each_second, Charges { each_second, times }.within(0.99)))
}

struct Charges {
    each_second: f64,
    /// From asking to the answer, the shortest first.
    times: Vec<Duration>,
}

impl Charges {
    /// Milliseconds within which a share of the charges are done.
    fn within(&self, share: f64) -> f64 {
        let place = ((self.times.len() as f64 * share) as usize).min(self.times.len().saturating_sub(1));
        self.times.get(place).copied().unwrap_or_default().as_secs_f64() * 1e3
    }
}

/// Charges by so many callers at once, each with a fresh request of its own after the other: at once, or so that
/// there are `offered` in a second.
async fn charge(folder: &Path, callers: u64, offered: Option<u32>) -> Result<Charges> {
    let state = State::open(folder, StateKey::from_bytes([42; 32]), Arc::new(SystemClock)).await?;
    // Nobody's clock stands still here.
    let space = UnitSpaceId::new("health.persons")?;
    let of_this_year = AccountKind::UnitSpaceYear { space, year: state.now().year() };
    let next = Arc::new(AtomicU64::new(0));
    let (begin, mut charging) = (Instant::now() + Duration::from_secs(1), JoinSet::new());
    for caller in 0..callers {
        let (state, next, of_this_year) = (state.clone(), Arc::clone(&next), of_this_year.clone());
        charging.spawn(async move {
            let name = format!("analyst-{caller}");
            let accounts = [of_this_year.clone(), life(), agreement(), analyst(&name), organisation()]
                .map(|account| within(account, u64::MAX));
            let mut times = Vec::new();
            // Callers take turns.
            let each = offered.map(|offered| Duration::from_secs(callers) / offered);
            let mut due = Instant::now() + each.map_or(Duration::ZERO, |each| each * caller as u32 / callers as u32);
            while begin + TIME > Instant::now() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let (request, key) = fresh(&name, number);
                let mut asked = Instant::now();
                if let Some(each) = each {
                    if asked < due {
                        tokio::time::sleep_until(due.into()).await;
                        asked = Instant::now();
                    } else {
                        asked = due;
                    }
                    due += each;
                }
                let reserved = state.reserve(&request, &key, rho(1), &accounts).await?;
                ensure!(matches!(reserved, Reserved::Fresh(_)), "a fresh request was charged before");
                if asked >= begin {
                    times.push(asked.elapsed());
                }
            }
            Ok::<_, anyhow::Error>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(of_one) = charging.join_next().await {
        times.extend(of_one??);
    }
    times.sort_unstable();
    state.verify_chain().await?;
    state.close().await;
    Ok(Charges { each_second: times.len() as f64 / TIME.as_secs_f64(), times })
}

fn fresh(name: &str, number: u64) -> (RequestKey, ReleaseKey) {
    // Ids and digests are random in life: they fall all over their index.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (mut id, mut digest) = ([0; 16], [0; 32]);
    id[..8].copy_from_slice(&spread.to_be_bytes());
    digest[..8].copy_from_slice(&spread.to_be_bytes());
    let request = RequestKey { principal: support::principal(name), request_id: RequestId::from_bytes(id), digest };
    (request, ReleaseKey::from_bytes(digest))
}

/// Runs the schedules, and says how many were violated.
async fn run(schedules: u64, seed: u64) -> Result<usize> {
    let begun = Instant::now();
    // What is lost with the machine's power is not what is looked for here: the state may lie in memory.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let (mut ran, mut violations) = (0, 0);
    while ran < schedules {
        let together = TOGETHER.min(schedules - ran);
        for violation in schedules::round(folder.path(), seed + ran / TOGETHER, together).await {
            remark(&violation);
            violations += 1;
        }
        ran += together;
    }
    remark(&format!(
        "{TOGETHER} schedules in a state, which is broken off once; {:.0} schedules in a second",
        ran as f64 / begun.elapsed().as_secs_f64()
    ));
    aimed("ledger_schedules", ran as f64, "schedules", Aim::AtLeast(1_000_000.0));
    aimed("ledger_violations", violations as f64, "schedules", Aim::AtMost(0.0));
    Ok(violations)
}
