//! Whether the time of an answer, of a refusal or of a failure tells anything of the noise or of the data.
//!
//! `bench-timing [RELEASES]`. An adapter inside this process is asked directly (`App::answer`, tick included), so that
//! no network lies between the attacker and the adapter: a clock that sees more than anybody outside. Each question is
//! about the visits that cost so much or more, every time another amount, so that each is fresh. With each amount five
//! things are asked, RELEASES times:
//!
//! - a count. Its noise is the released count less the exact one, which the bench works out from the bounded view.
//! - a median, whose choice can be made only once the engine has answered. Its noise is the chosen amount less the
//!   exact median.
//! - a count without a signature, which is refused.
//! - a count by an analyst whose account is exhausted, which is refused later: the ledger was asked.
//! - a count over an earlier cut, whose file has the same rows but is damaged in its second half, so that it fails,
//!   once the noise is drawn and the engine is asked for. The first ones have the time of reading; then it is known
//!   that the file cannot be read.
//!
//! `timing_correlation` is the largest |r| between the time of any of these and what must not be seen in it: the noise,
//! the noise's size, the exact count and the exact median; of refusals and failures the count that would have been
//! answered. `timing_auc` is how well the best of these times tells the larger half of each from the smaller: 0.5 is
//! not at all.
//!
//! By accident the largest |r| comes to about 2.6/√RELEASES, and the area to 0.5 + 1.5/√RELEASES: 10⁵ releases of each
//! kind are needed to show what the aims ask for.

use agency_adapter::app::{Failure, Outcome};
use agency_adapter::bounded::{RankingKey, view};
use agency_adapter::source;
use anyhow::{Context, Result, bail, ensure};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use firebreak::client::Ask;
use firebreak_domain::{Binding, Contract, ReasonCode, Rho};
use firebreak_privacy::Released;
use firebreak_query::{PrimitiveKind, check, parse_sql};
use firebreak_store::StateKey;
use firebreak_testbed::{Federation, Options};
use firebreak_tests::Inside;
use firebreak_tests::bench::{Aim, aimed, argument, conditions, figure, remark};
use firebreak_transport::Credential;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const RELEASES: u32 = 100_000;
const TICK: u64 = 50;
/// So many that a median at its price is chosen by the data more than by the noise.
const OPTIONS: Options = Options { persons: 10_000, seed: 1, tick_milliseconds: TICK };
/// Who asks at a time.
const AT_ONCE: u32 = 12;
/// Cents up to which the amounts go; few visits cost more.
const LARGEST: u32 = 150_000;

/// The loss of all counts together, of all failures, which are charged as well, and of all medians; each at most what
/// one question costs at [`RELEASES`]. With what exhausts the other analyst it is less than the agreement and the
/// register allow: ρ = 1 each.
const OF_COUNTS: u64 = 20_000_000;
const OF_MEDIANS: u64 = 340_000_000;
/// What exhausts an analyst under the agreement: so many questions at the most that one may cost.
const EXHAUSTING: u32 = 6;
const MOST: Rho = Rho::from_nano(100_000_000);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Count,
    Median,
    Unsigned,
    Exhausted,
    Failing,
}

const KINDS: [Kind; 5] = [Kind::Count, Kind::Unsigned, Kind::Failing, Kind::Median, Kind::Exhausted];

/// What an attacker sees of a request, and what must not be seen in it.
struct Seen {
    kind: Kind,
    /// Milliseconds.
    time: f64,
    /// What was answered less what is exact; 0 where nothing was.
    noise: f64,
    /// What is exact, whether or not it was answered.
    count: f64,
    median: f64,
}

/// What must not be seen in a request's time.
type Secret = fn(&Seen) -> f64;

const COMPARED: [(Kind, &str, Secret); 10] = [
    (Kind::Count, "a count's time and its noise", |seen| seen.noise),
    (Kind::Count, "a count's time and the size of its noise", |seen| seen.noise.abs()),
    (Kind::Count, "a count's time and the exact count", |seen| seen.count),
    (Kind::Median, "a median's time and its noise", |seen| seen.noise),
    (Kind::Median, "a median's time and the size of its noise", |seen| seen.noise.abs()),
    (Kind::Median, "a median's time and the exact median", |seen| seen.median),
    (Kind::Median, "a median's time and the exact count", |seen| seen.count),
    (Kind::Unsigned, "the time of a refusal without a signature and the exact count", |seen| seen.count),
    (Kind::Exhausted, "the time of a refusal without a budget and the exact count", |seen| seen.count),
    (Kind::Failing, "a failure's time and the exact count", |seen| seen.count),
];

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let releases = argument(RELEASES)?;
    ensure!((1..=LARGEST).contains(&releases), "there are {LARGEST} different questions");
    let inside = Inside::open_with(&OPTIONS, "", with_a_damaged_cut).await?;
    let contract = contract(&inside)?;
    let attack = Arc::new(Attack {
        ada: inside.ada()?,
        exhausted: inside.federation.issue("nso", "analyst", "eve")?,
        costs: costs(&inside, &contract).await?,
        chosen: place_of_choice(&contract)?,
        amounts: amounts(),
        next: AtomicU32::new(0),
        releases,
        inside,
    });
    attack.inside.show_log().await?;
    let ended = Arc::new(AtomicBool::new(false));
    let showing = tokio::spawn(show(Arc::clone(&attack), Arc::clone(&ended)));
    attack.exhaust().await?;
    let mut asking = JoinSet::new();
    for _ in 0..AT_ONCE {
        asking.spawn(Arc::clone(&attack).ask());
    }
    let mut seen = Vec::new();
    while let Some(some) = asking.join_next().await {
        seen.extend(some??);
    }
    ended.store(true, Ordering::SeqCst);
    showing.await??;
    remark(&format!("{AT_ONCE} at a time on the processors that ask"));
    for kind in KINDS {
        let of_kind: Vec<&Seen> = seen.iter().filter(|seen| seen.kind == kind).collect();
        let late = of_kind.iter().filter(|seen| seen.time >= 2.0 * TICK as f64).count();
        remark(&format!(
            "{kind:?}: {} asked, {late} missed their tick or asked a cut that was being read",
            of_kind.len()
        ));
    }
    let (mut correlation, mut area): (f64, f64) = (0.0, 0.5);
    for (kind, name, secret) in COMPARED {
        let of_kind = || seen.iter().filter(|seen| seen.kind == kind);
        let times: Vec<f64> = of_kind().map(|seen| seen.time).collect();
        let secrets: Vec<f64> = of_kind().map(secret).collect();
        let (r, auc) = (correlated(&times, &secrets).abs(), told_apart(&times, &secrets));
        remark(&format!("{name}: |r| = {r:.4}, area {auc:.4}"));
        correlation = correlation.max(r);
        area = area.max(auc);
    }
    figure("timing_releases", f64::from(releases), "of each kind");
    // Of fewer, more is seen by accident.
    let of_all = |aim: Aim, text| aim.only_if(releases >= RELEASES, text);
    aimed("timing_correlation", correlation, "", of_all(Aim::Below(0.01), "below 0.01 over 100,000 releases"));
    aimed("timing_auc", area, "", of_all(Aim::AtMost(0.51), "at most 0.51 over 100,000 releases"));
    Ok(())
}

/// The cut that cannot be read to its end.
const DAMAGED: &str = "2024-Q3";

/// Each amount once, in an order that has nothing to do with time: whatever follows a rule can keep step with the
/// callers.
fn amounts() -> Vec<u32> {
    let mut amounts: Vec<u32> = (0..LARGEST).collect();
    amounts.shuffle(&mut ChaCha8Rng::seed_from_u64(1));
    amounts
}

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

fn contract(inside: &Inside) -> Result<Contract> {
    let bundle = inside.app.policy().accepted().context("no policy")?;
    let found = bundle.contracts().iter().find(|(id, _)| id.as_str() == "health.visits");
    Ok(Contract::clone(found.context("no contract")?.1))
}

/// The costs that the bounded view holds, in cents, the smallest first.
async fn costs(inside: &Inside, contract: &Contract) -> Result<Vec<i64>> {
    let home = inside.federation.layout().adapter("health-agency");
    let binding: Binding = toml::from_str(&std::fs::read_to_string(home.join("bindings/health.visits.toml"))?)?;
    let key = StateKey::load_or_create(&home.join("state.key"))?;
    let cut = contract.latest_cut().context("no cut")?;
    let folder = inside.federation.layout().population().join("health");
    let rows = source::read(contract, &binding, &folder, cut).await?;
    let key = RankingKey::of(&key.secret("row ranking"), &contract.unit_space.id);
    let view = view(contract, &rows, &key)?;
    let costs = view.column_by_name("cost").context("no costs")?.as_primitive::<Int64Type>();
    let mut costs: Vec<i64> = costs.iter().flatten().collect();
    costs.sort_unstable();
    Ok(costs)
}

/// The place of what is chosen among the numbers of a median's release.
fn place_of_choice(contract: &Contract) -> Result<usize> {
    let query = parse_sql(&sql(Kind::Median, 0)).and_then(|query| check(&query, contract));
    let query = query.map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    let chosen = |kind: &PrimitiveKind| matches!(kind, PrimitiveKind::Quantile { .. });
    query.primitives().iter().position(|primitive| chosen(primitive.kind())).context("nothing is chosen")
}

/// Shows the log as a gateway does, until there is nobody to show it to.
async fn show(attack: Arc<Attack>, ended: Arc<AtomicBool>) -> Result<()> {
    while !ended.load(Ordering::SeqCst) {
        attack.inside.show_log().await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn sql(kind: Kind, cents: u32) -> String {
    let figure = if kind == Kind::Median { "MEDIAN(cost) AS m" } else { "COUNT(*) AS n" };
    let cut = if kind == Kind::Failing { format!(" FOR SYSTEM_TIME AS OF '{DAMAGED}'") } else { String::new() };
    format!("SELECT {figure} FROM health.visits{cut} WHERE cost >= {}.{:02}", cents / 100, cents % 100)
}

/// Who asks, and what they find out.
struct Attack {
    inside: Inside,
    ada: Credential,
    /// An analyst whose account has nothing left.
    exhausted: Credential,
    costs: Vec<i64>,
    chosen: usize,
    amounts: Vec<u32>,
    next: AtomicU32,
    releases: u32,
}

impl Attack {
    /// Spends all that the other analyst may.
    async fn exhaust(&self) -> Result<()> {
        for number in 0..EXHAUSTING {
            let (_, outcome) = self.time(&self.exhausted, true, &sql(Kind::Count, number), MOST).await?;
            ensure!(matches!(outcome, Ok(Outcome::Released(_))), "an account is exhausted too early");
        }
        Ok(())
    }

    /// Asks what nobody has asked yet, until all is.
    async fn ask(self: Arc<Self>) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed) as usize;
            let kind = KINDS.get(number % KINDS.len()).copied().context("no such kind")?;
            let number = (number / KINDS.len()) as u32;
            if number >= self.releases {
                return Ok(seen);
            }
            let cents = self.amounts.get(number as usize).copied().context("no such amount")?;
            seen.push(self.see(kind, cents).await?);
        }
    }

    async fn see(&self, kind: Kind, cents: u32) -> Result<Seen> {
        let each = |all: u64| all / u64::from(self.releases.max(RELEASES));
        let rho = Rho::from_nano(match kind {
            Kind::Median => each(OF_MEDIANS),
            // Never what was answered to others.
            Kind::Exhausted => each(OF_COUNTS) + 1,
            Kind::Count | Kind::Unsigned | Kind::Failing => each(OF_COUNTS),
        });
        let caller = if kind == Kind::Exhausted { &self.exhausted } else { &self.ada };
        let (time, outcome) = self.time(caller, kind != Kind::Unsigned, &sql(kind, cents), rho).await?;
        let (_, counted) = self.costs.split_at(self.costs.partition_point(|cost| *cost < i64::from(cents)));
        let count = counted.len() as f64;
        let median = counted.get(counted.len() / 2).copied().unwrap_or_default() as f64;
        let released = match (kind, outcome) {
            (Kind::Count | Kind::Median, Ok(Outcome::Released(answered))) => Released::decode(&answered.release)?,
            (Kind::Unsigned, Ok(Outcome::Refused(_))) | (Kind::Failing, Err(Failure::Dataset(_))) => {
                return Ok(Seen { kind, time, noise: 0.0, count, median });
            }
            (Kind::Exhausted, Ok(Outcome::Refused(refused))) => {
                ensure!(refused.refusal.reason == ReasonCode::BudgetExhausted, "{}", refused.refusal);
                return Ok(Seen { kind, time, noise: 0.0, count, median });
            }
            (_, Ok(Outcome::Released(_))) => bail!("{kind:?} was answered"),
            (_, Ok(Outcome::Refused(refused))) => bail!("{}", refused.refusal),
            (_, Err(failure)) => return Err(failure.into()),
        };
        let noise = match kind {
            Kind::Median => released.value(self.chosen, 0).context("nothing chosen")? as f64 - median,
            _ => released.value(0, 0).context("no count")? as f64 - count,
        };
        Ok(Seen { kind, time, noise, count, median })
    }

    /// What becomes of a question, and after how many milliseconds.
    async fn time(
        &self,
        caller: &Credential,
        signs: bool,
        sql: &str,
        rho: Rho,
    ) -> Result<(f64, Result<Outcome, Failure>)> {
        let mut ask = Ask::new("health-statistics", "health-planning", sql)?;
        ask.rho = Some(rho);
        let submitted = self.inside.request(&ask, caller.identity(), signs.then_some(caller))?;
        for _ in 0..100 {
            let begun = Instant::now();
            let outcome = self.inside.app.answer(&submitted, caller.identity()).await;
            let time = begun.elapsed().as_secs_f64() * 1e3;
            match &outcome {
                // The log takes up leaves as fast as it can.
                Ok(Outcome::Refused(refused)) if refused.refusal.reason == ReasonCode::EvidenceOutstanding => {}
                _ => return Ok((time, outcome)),
            }
        }
        bail!("the log is not taken up")
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

/// The area under the curve of who tells the larger half of the secrets from the smaller by their times, either way
/// round: from the sum of ranks (Mann and Whitney 1947), ties in the middle.
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
