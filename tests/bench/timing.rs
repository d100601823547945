//! Whether the time of an answer, of a refusal or of a failure tells anything of the noise or of the data.
//!
//! `bench-timing [RELEASES]`. An adapter inside this process is asked directly (`App::answer`, tick included), so that no
//! network lies between the attacker and the adapter: a clock that sees more than anybody outside. Each question counts the
//! visits that cost so much or more, every time another amount, so that each is fresh. Its noise is the released count less
//! the exact one, which the bench works out from the bounded view. Each is also sent unsigned, and refused; and asked of an
//! earlier cut, whose file has the same rows but is damaged in its second half, so that it fails, once the noise is drawn and the
//! engine was asked.
//!
//! - `timing_correlation` is the largest |r| between the time and the noise, the noise's size, and the exact count; for
//!   refusals and failures the count that would have been answered.
//! - `timing_auc` is how well the best of these times tells the larger half of each from the smaller: 0.5 is not at all.
//!
//! By accident |r| comes to about 2.6/√RELEASES at most, and the area to 0.5 + 1.5/√RELEASES: 10⁵ releases are needed to
//! show what the aims ask for.

use agency_adapter::app::{Failure, Outcome};
use agency_adapter::bounded::{RankingKey, view};
use agency_adapter::source;
use anyhow::{Context, Result, bail, ensure};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use firebreak::client::Ask;
use firebreak_domain::{Binding, Rho};
use firebreak_privacy::Released;
use firebreak_store::StateKey;
use firebreak_testbed::{Federation, Options};
use firebreak_tests::Inside;
use firebreak_tests::bench::{aimed, argument, conditions, figure, remark};
use firebreak_transport::Credential;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const RELEASES: u32 = 20_000;
const TICK: u64 = 50;
const OPTIONS: Options = Options { persons: 2_000, seed: 1, tick_milliseconds: TICK };
/// Who asks at a time.
const AT_ONCE: u32 = 12;
/// ρ = 2.5·10⁻⁶ each: 10⁵ answers and as many failures, which are charged as well, are within what one analyst may spend.
const RHO: Rho = Rho::from_nano(2_500);
/// Cents up to which the amounts go.
const LARGEST: u32 = 500_000;

/// What an attacker sees of a request, and what must not be seen in it.
struct Seen {
    time: f64,
    end: End,
    /// What is exact, whether or not it was answered.
    exact: f64,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// With the noise given: what was answered less what is exact.
    Answered(f64),
    /// Before the engine was asked.
    Refused,
    /// After it was.
    Failed,
}

/// What must not be seen in a request's time.
type Secret<'a> = &'a dyn Fn(&Seen) -> f64;

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let releases = argument(RELEASES)?;
    ensure!(releases <= LARGEST, "there are {LARGEST} different questions");
    let inside = Arc::new(Inside::open_with(&OPTIONS, "", with_a_damaged_cut).await?);
    let costs = Arc::new(costs(&inside).await?);
    inside.show_log().await?;
    let ended = Arc::new(AtomicBool::new(false));
    let showing = tokio::spawn(show(Arc::clone(&inside), Arc::clone(&ended)));
    let (ada, next) = (Arc::new(inside.ada()?), Arc::new(AtomicU32::new(0)));
    let mut asking = JoinSet::new();
    for _ in 0..AT_ONCE {
        let ada = Arc::clone(&ada);
        asking.spawn(ask(Arc::clone(&inside), ada, Arc::clone(&costs), Arc::clone(&next), releases));
    }
    let mut seen = Vec::new();
    while let Some(some) = asking.join_next().await {
        seen.extend(some??);
    }
    ended.store(true, Ordering::SeqCst);
    showing.await??;
    let (ended, failures): (Vec<Seen>, Vec<Seen>) = seen.into_iter().partition(|seen| seen.end != End::Failed);
    let (refusals, answers): (Vec<Seen>, Vec<Seen>) = ended.into_iter().partition(|seen| seen.end == End::Refused);
    let late = |seen: &[Seen]| seen.iter().filter(|seen| seen.time >= 2.0 * TICK as f64).count();
    remark(&format!(
        "{} answers, {} refusals and {} failures, {AT_ONCE} at a time on the processors that ask; {} answers and {} failures \
         missed their tick",
        answers.len(),
        refusals.len(),
        failures.len(),
        late(&answers),
        late(&failures)
    ));
    let noise = |seen: &Seen| if let End::Answered(noise) = seen.end { noise } else { 0.0 };
    let size = |seen: &Seen| noise(seen).abs();
    let exact = |seen: &Seen| seen.exact;
    let (mut correlation, mut area): (f64, f64) = (0.0, 0.5);
    let compared: [(&str, &[Seen], Secret<'_>); 5] = [
        ("an answer's time and its noise", &answers, &noise),
        ("an answer's time and the size of its noise", &answers, &size),
        ("an answer's time and its exact count", &answers, &exact),
        ("a refusal's time and the exact count", &refusals, &exact),
        ("a failure's time and the exact count", &failures, &exact),
    ];
    for (name, seen, secret) in compared {
        let times: Vec<f64> = seen.iter().map(|seen| seen.time).collect();
        let secrets: Vec<f64> = seen.iter().map(secret).collect();
        let (r, auc) = (correlated(&times, &secrets).abs(), told_apart(&times, &secrets));
        remark(&format!("{name}: |r| = {r:.4}, area {auc:.4}"));
        correlation = correlation.max(r);
        area = area.max(auc);
    }
    figure("timing_releases", answers.len() as f64, "releases");
    figure("timing_failures", failures.len() as f64, "failures");
    aimed("timing_correlation", correlation, "", "below 0.01 over 100,000 releases");
    aimed("timing_auc", area, "", "at most 0.51");
    Ok(())
}

/// The cut that cannot be read to its end.
const DAMAGED: &str = "2024-Q3";

/// Makes the file of an earlier cut one whose second half cannot be decoded.
fn with_a_damaged_cut(federation: &Federation) -> Result<()> {
    let folder = federation.layout().population().join("health");
    let mut file = std::fs::read(folder.join("visits.parquet"))?;
    // The last eight bytes hold the length of what tells of the columns (Parquet's format, "File format"); that stays.
    let (length, _) = file.last_chunk::<8>().and_then(|end| end.split_first_chunk::<4>()).context("no Parquet file")?;
    let columns = file.len().saturating_sub(8 + u32::from_le_bytes(*length) as usize);
    let half = file.get_mut(columns / 2..columns).context("no Parquet file")?;
    half.iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::create_dir_all(folder.join(DAMAGED))?;
    Ok(std::fs::write(folder.join(DAMAGED).join("visits.parquet"), file)?)
}

/// The costs that the bounded view holds, in cents, the smallest first.
async fn costs(inside: &Inside) -> Result<Vec<i64>> {
    let bundle = inside.app.policy().accepted().context("no policy")?;
    let (_, contract) =
        bundle.contracts().iter().find(|(id, _)| id.as_str() == "health.visits").context("no contract")?;
    let home = inside.federation.layout().adapter("health-agency");
    let binding: Binding = toml::from_str(&std::fs::read_to_string(home.join("bindings/health.visits.toml"))?)?;
    let key = StateKey::load_or_create(&home.join("state.key"))?;
    let cut = contract.latest_cut().context("no cut")?;
    let folder = inside.federation.layout().population().join("health");
    let rows = source::read(contract, &binding, &folder, cut, None).await?;
    let key = RankingKey::of(&key.secret("row ranking"), &contract.unit_space.id);
    let view = view(contract, &rows, &key)?;
    let costs = view.column_by_name("cost").context("no costs")?.as_primitive::<Int64Type>();
    let mut costs: Vec<i64> = costs.iter().flatten().collect();
    costs.sort_unstable();
    Ok(costs)
}

/// Shows the log as a gateway does, until there is nobody to show it to.
async fn show(inside: Arc<Inside>, ended: Arc<AtomicBool>) -> Result<()> {
    while !ended.load(Ordering::SeqCst) {
        inside.show_log().await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn ask(
    inside: Arc<Inside>,
    ada: Arc<Credential>,
    costs: Arc<Vec<i64>>,
    next: Arc<AtomicU32>,
    releases: u32,
) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let (number, signs, fails) = (number / 3, number % 3 != 1, number % 3 == 2);
        if number >= releases {
            return Ok(seen);
        }
        // Each amount once, in an order that has nothing to do with time.
        let cents = (u64::from(number) * 314_159 % u64::from(LARGEST)) as i64;
        let cut = if fails { format!(" FOR SYSTEM_TIME AS OF '{DAMAGED}'") } else { String::new() };
        let sql =
            format!("SELECT COUNT(*) AS n FROM health.visits{cut} WHERE cost >= {}.{:02}", cents / 100, cents % 100);
        let mut ask = Ask::new("health-statistics", "health-planning", &sql)?;
        ask.rho = Some(RHO);
        let signer = signs.then_some(&*ada);
        let submitted = inside.request(&ask, ada.identity(), signer)?;
        let exact = (costs.len() - costs.partition_point(|cost| *cost < cents)) as f64;
        for again in 0.. {
            let begun = Instant::now();
            let outcome = inside.app.answer(&submitted, ada.identity()).await;
            let time = begun.elapsed().as_secs_f64() * 1e3;
            let end = match outcome {
                Err(Failure::Dataset(_)) if fails => End::Failed,
                Ok(Outcome::Released(answered)) if !fails => {
                    let released = Released::decode(&answered.release)?;
                    End::Answered(released.value(0, 0).context("no count")? as f64 - exact)
                }
                Ok(Outcome::Released(_)) => bail!("a damaged file was read"),
                Ok(Outcome::Refused(_)) if signer.is_none() => End::Refused,
                // The log takes up leaves as fast as it can.
                Ok(Outcome::Refused(refused)) if refused.refusal.reason.as_str() == "EVIDENCE_OUTSTANDING" => {
                    ensure!(again < 100, "the log is not taken up");
                    continue;
                }
                Ok(Outcome::Refused(refused)) => bail!("{}", refused.refusal),
                Err(failure) => return Err(failure.into()),
            };
            seen.push(Seen { time, end, exact });
            break;
        }
    }
}

/// Pearson's r.
fn correlated(one: &[f64], other: &[f64]) -> f64 {
    let n = one.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let (a, b) = (mean(one), mean(other));
    let sum = |f: &dyn Fn(f64, f64) -> f64| one.iter().zip(other).map(|(x, y)| f(x - a, y - b)).sum::<f64>();
    let spread = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    if spread > 0.0 { sum(&|x, y| x * y) / spread } else { 0.0 }
}

/// The area under the curve of who tells the larger half of the secrets from the smaller by their times, either way round:
/// from the sum of ranks (Mann and Whitney 1947), ties in the middle.
fn told_apart(times: &[f64], secrets: &[f64]) -> f64 {
    let mut sorted = secrets.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let mut marked: Vec<(f64, bool)> = times.iter().copied().zip(secrets.iter().map(|s| *s >= middle)).collect();
    marked.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let (large, small) = (marked.iter().filter(|m| m.1).count() as f64, marked.iter().filter(|m| !m.1).count() as f64);
    let (mut ranks, mut before) = (0.0, 0);
    for tied in marked.chunk_by(|one, other| one.0 == other.0) {
        let rank = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        ranks += rank * tied.iter().filter(|m| m.1).count() as f64;
        before += tied.len();
    }
    if large == 0.0 || small == 0.0 {
        return 0.5;
    }
    let area = (ranks - large * (large + 1.0) / 2.0) / (large * small);
    area.max(1.0 - area)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_tell_are_found_and_times_that_do_not_are_not() {
        let secrets: Vec<f64> = (0..10_000).map(|n| f64::from(n % 100)).collect();
        let telling: Vec<f64> = secrets.iter().map(|secret| 50.0 + secret / 1e3).collect();
        assert!(correlated(&telling, &secrets) > 0.999 && told_apart(&telling, &secrets) == 1.0);
        let reversed: Vec<f64> = telling.iter().map(|time| -time).collect();
        assert!(told_apart(&reversed, &secrets) == 1.0);
        let silent: Vec<f64> = (0..10_000).map(|n| f64::from(n / 100)).collect();
        assert!(correlated(&silent, &secrets).abs() < 1e-9 && told_apart(&silent, &secrets) < 0.5001);
        assert_eq!(told_apart(&vec![1.0; 10_000], &secrets), 0.5, "all at once tell nothing");
    }
}
