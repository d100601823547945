//! A permitted match of two registers of one size, through both adapters and the gateway between them.
//!
//! `bench-match [PERSONS]`: as many in each register, half of them in both; the aim of `match_peak` is for 10,000,000.
//! The CPU time is that of both adapters, from reading their files to writing down who matched; `match_1m_proved` is that
//! of a million, scaled where they are not 1,000,000. A second match is made by programs of their own under an agreement
//! that wants no proofs: `match_1m`.
//! Beside it the protocol alone, on one thread of this process: how fast the curve is on this machine.

mod registers;

use anyhow::{Context, Result, ensure};
use firebreak::client::{ClientError, Connection, MatchAsk, run_match};
use firebreak_psi::{
    FORMAT, KeyContext, MatchParams, Mode, Normaliser, Receiver, SecretSeed, Sender, SessionId, derive_session_key,
};
use firebreak_testbed::{Federation, figure as counted};
use firebreak_tests::Caller;
use firebreak_tests::bench::{
    Aim, Bench, Spent, aimed, argument, conditions, figure, forget_peak, peak_of, process_of, remark,
};
use firebreak_wire::local::v1::{MatchProgress, MatchSummary};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PERSONS: u32 = 100_000;
const MILLION: u64 = 1_000_000;
const TEN_MILLION: u64 = 10 * MILLION;
/// The gateway's count of what it carried, in both directions.
const TUNNEL: &str = "firebreak_tunnel_bytes_total";
const AGREEMENT: &str = "vaccination-round";

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let persons = argument(PERSONS)?;
    proved(persons).await?;
    unproved(persons).await
}

/// The match as agreements have it that say nothing of proofs, measured in every respect.
async fn proved(persons: u32) -> Result<()> {
    let bench = Bench::start_with(1000, |federation| registers::stretch(federation, persons)).await?;
    let local = bench.live.adapter("health-agency")?.local;
    let staff = Caller::connect_local(&bench.federation, "health-agency", local).await?;
    let ask = MatchAsk::new(AGREEMENT, AGREEMENT)?;

    let programs = [bench.adapter("health-agency"), bench.adapter("education-agency"), bench.gateway()];
    let carried = || counted(bench.live.gateway_metrics, TUNNEL);
    let (spent, before) = (Spent::by(&programs)?, carried().await?);
    let adapters = programs.get(..2).unwrap_or_default();
    // What the programs did before is not of the match.
    for file in adapters {
        forget_peak(&process_of(file)?)?;
    }
    let begun = Instant::now();
    let mut stages = Stages::of(&programs);
    let summary = matched(&staff, &ask, &mut |progress| stages.note(progress)).await?;
    let wall = begun.elapsed().as_secs_f64();
    let spent = spent.each()?;
    let [receiver, sender, gateway] = spent.as_slice() else { anyhow::bail!("three programs are measured") };

    let n = u64::from(persons);
    let both = u64::from(persons - persons / 2);
    ensure!(summary.offered == n && summary.matched == both, "{} of {both} matched", summary.matched);
    remark(&format!("{n} persons in each register, {both} in both; {wall:.1} s"));
    remark(&format!("CPU: receiver {receiver:.1} s, sender {sender:.1} s; gateway, not counted, {gateway:.1} s"));
    let bytes = (carried().await? - before) as f64;
    let peaks = adapters.iter().map(|file| peak_of(&process_of(file)?)).collect::<Result<Vec<_>>>()?;
    bench.stop().await?;
    aimed("match_bytes", bytes / n as f64, "B an element", Aim::AtMost(100.0));
    let peak = peaks.into_iter().max().unwrap_or_default();
    let aim = Aim::Below(1_000.0).only_if(n >= TEN_MILLION, "below 1,000 at ten million");
    aimed("match_peak", peak as f64 / 1e3, "MB on the larger side", aim);
    for (stage, words) in [(EVALUATING, "evaluating"), (LISTING, "making and passing on the list")] {
        let (cpu, wall) = stages.between(stage).context("a stage of the match was not seen")?;
        remark(&format!("{words}: {cpu:.1} s of CPU in {wall:.1} s"));
    }
    let (cpu, evaluating) = stages.between(EVALUATING).context("the pipeline was not seen")?;
    let processors = std::thread::available_parallelism()?.get().min(2) as f64;
    aimed(
        "match_busy",
        cpu / evaluating / processors,
        "of two processors, while chunks are evaluated",
        Aim::AtLeast(0.9),
    );
    of_a_million("match_1m_proved", receiver + sender, n, Aim::AtMost(130.0));
    let (rate, bare) = (n as f64 / (receiver + sender), protocol_alone()?);
    remark(&format!("the protocol alone: {bare:.0} elements/core-s"));
    aimed("match_rate", rate, "elements/core-s", Aim::AtLeast(8_000.0));
    figure("match_rate_over_protocol_alone", rate / bare, "ratio");
    Ok(())
}

/// The same match under an agreement that wants no proofs: its CPU time alone.
async fn unproved(persons: u32) -> Result<()> {
    let bench = Bench::start_with(1000, |federation| {
        without_proofs(federation)?;
        // With which the bundle is signed.
        registers::stretch(federation, persons)
    });
    let bench = bench.await?;
    let local = bench.live.adapter("health-agency")?.local;
    let staff = Caller::connect_local(&bench.federation, "health-agency", local).await?;
    let spent = Spent::by(&[bench.adapter("health-agency"), bench.adapter("education-agency")])?;
    let summary = matched(&staff, &MatchAsk::new(AGREEMENT, AGREEMENT)?, &mut |_| {}).await?;
    let spent = spent.each()?;
    let [receiver, sender] = spent.as_slice() else { anyhow::bail!("two programs are measured") };
    let (n, both) = (u64::from(persons), u64::from(persons - persons / 2));
    ensure!(summary.offered == n && summary.matched == both, "{} of {both} matched", summary.matched);
    remark(&format!("CPU without proofs: receiver {receiver:.1} s, sender {sender:.1} s"));
    bench.stop().await?;
    of_a_million("match_1m", receiver + sender, n, Aim::AtMost(90.0));
    aimed("match_rate_unproved", n as f64 / (receiver + sender), "elements/core-s", Aim::AtLeast(11_000.0));
    Ok(())
}

/// What a million elements take where `n` took so many seconds of CPU.
fn of_a_million(name: &str, seconds: f64, n: u64, aim: Aim) {
    if n != MILLION {
        remark(&format!("{name} is scaled from {n} elements"));
    }
    aimed(name, seconds / n as f64 * MILLION as f64, "core-seconds", aim);
}

/// Has the agreement want no proofs. The bundle is to be signed anew.
fn without_proofs(federation: &Federation) -> Result<()> {
    let file = federation.layout().bundle().join(format!("agreements/{AGREEMENT}.toml"));
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains("[match]\n"), "the sample's terms are written in another way");
    Ok(std::fs::write(&file, text.replace("[match]\n", "[match]\nproofs = false\n"))?)
}

/// Elements in a second for which one thread does what both sides do: hash, blind, evaluate, prove, verify, unblind and
/// compare, without files, padding, connections or disks.
fn protocol_alone() -> Result<f64> {
    const ELEMENTS: u32 = 16_384;
    const CHUNK: u32 = 4_096;
    let session = SessionId::from_bytes([3; 16]);
    let context = KeyContext {
        agreement: "bench",
        receiver: "bench",
        field: "number",
        normaliser: Normaliser::V1,
        session: &[3; 16],
        mode: Mode::Voprf,
    };
    let inputs = || {
        (0..ELEMENTS)
            .map(|n| Normaliser::V1.normalise(&format!("id-{n:08}")))
            .collect::<Option<Vec<_>>>()
            .context("no number")
    };
    let params = MatchParams::new(FORMAT, CHUNK, ELEMENTS, ELEMENTS)?;
    let key = derive_session_key(&SecretSeed::generate()?, &context)?;
    let public = key.public_key().clone();
    let mut receiver = Receiver::new(session, &SecretSeed::generate()?, inputs()?, public, params)?;
    let sender = Sender::new(key, inputs()?, params)?;
    let begun = Instant::now();
    while let Some(next) = receiver.next_chunk() {
        let chunk = receiver.blind_chunk(next)?;
        let verified = receiver.verify_chunk(&chunk, &sender.evaluate(next, chunk.as_bytes())?)?;
        receiver.accept(&verified)?;
    }
    receiver.push_tags(sender.tag_list()?.as_bytes())?;
    ensure!(receiver.finish()?.inputs().len() == ELEMENTS as usize, "the protocol alone lost a match");
    Ok(f64::from(ELEMENTS) / begun.elapsed().as_secs_f64())
}

/// The unit of a stage's progress, by which it is known.
const EVALUATING: &str = "elements";
const LISTING: &str = "bytes";

/// When each stage of a match was first and last told of, and what the three programs had spent by then.
struct Stages<'a> {
    programs: &'a [PathBuf],
    spent: Option<Spent>,
    begun: Instant,
    seen: HashMap<String, [(f64, f64); 2]>,
}

impl<'a> Stages<'a> {
    fn of(programs: &'a [PathBuf]) -> Self {
        Self { programs, spent: None, begun: Instant::now(), seen: HashMap::new() }
    }

    fn note(&mut self, progress: &MatchProgress) {
        if self.spent.is_none() {
            self.spent = Spent::by(self.programs).ok();
        }
        let Some(Ok(each)) = self.spent.as_ref().map(Spent::each) else { return };
        let now = (each.iter().sum(), self.begun.elapsed().as_secs_f64());
        self.seen.entry(progress.unit.clone()).or_insert([now, now])[1] = now;
    }

    /// Seconds of CPU and of the clock between the first word of a stage and the last.
    fn between(&self, unit: &str) -> Option<(f64, f64)> {
        let [(cpu, at), (cpu_end, end)] = *self.seen.get(unit)?;
        (end > at).then_some((cpu_end - cpu, end - at))
    }
}

/// Runs the match, and again under the same id for as long as an adapter waits to see the log, as it does at first.
async fn matched(
    staff: &Connection,
    ask: &MatchAsk,
    note: &mut (dyn FnMut(&MatchProgress) + Send),
) -> Result<MatchSummary> {
    let mut outcome = run_match(staff, ask, note).await;
    for _ in 0..100 {
        match &outcome {
            Err(ClientError::Refused(refused)) if refused.refusal.reason == "EVIDENCE_OUTSTANDING" => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                outcome = run_match(staff, ask, note).await;
            }
            _ => break,
        }
    }
    outcome.context("the match did not end")
}
