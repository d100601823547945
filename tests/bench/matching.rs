//! A permitted match of two sets of about the same size, through both adapters and the gateway between them.
//!
//! `bench-match [PERSONS]`; 5,000,000 make a match of a million by a million. The CPU time is that of both adapters, from reading their files to writing down who
//! matched. The receiver takes part with about as many of its persons, by year of birth, as the sender has, and the
//! figure counts the smaller of both sets. Beside it the protocol alone, on one thread of this process: how fast the
//! curve is on this machine.

use anyhow::{Context, Result, ensure};
use firebreak::client::{ClientError, Connection, MatchAsk, run_match};
use firebreak_psi::{
    FORMAT, KeyContext, MatchParams, Mode, Normaliser, Receiver, SecretSeed, Sender, SessionId, derive_session_key,
};
use firebreak_testbed::{Federation, figure as counted};
use firebreak_tests::Caller;
use firebreak_tests::bench::{Bench, Spent, aimed, argument, conditions, figure, peak_of, process_of, remark};
use firebreak_wire::local::v1::MatchSummary;
use std::collections::HashMap;
use std::time::{Duration, Instant};

const PERSONS: u32 = 200_000;
const MILLION: u64 = 1_000_000;
/// The gateway's count of what it carried, in both directions.
const TUNNEL: &str = "firebreak_tunnel_bytes_total";

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let bench = Bench::start(argument(PERSONS)?).await?;
    let (theirs, since) = sizes(&bench.federation);
    let local = bench.live.adapter("health-agency")?.local;
    let staff = Caller::connect_local(&bench.federation, "health-agency", local).await?;
    let mut ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
    ask.selection = format!("birth_year >= {since}");

    let programs = [bench.adapter("health-agency"), bench.adapter("education-agency"), bench.gateway()];
    let carried = || counted(bench.live.gateway_metrics, TUNNEL);
    let (spent, before) = (Spent::by(&programs)?, carried().await?);
    let begun = Instant::now();
    let summary = matched(&staff, &ask).await?;
    let wall = begun.elapsed().as_secs_f64();
    let spent = spent.each()?;
    let [receiver, sender, gateway] = spent.as_slice() else { anyhow::bail!("three programs are measured") };

    let offered = summary.offered;
    let n = offered.min(theirs);
    ensure!(n > 0 && summary.matched > 0, "nobody matched: the population is too small");
    remark(&format!(
        "n = {n}: {offered} persons offered, {theirs} at the sender, {} matched, {wall:.1} s",
        summary.matched
    ));
    remark(&format!("CPU: receiver {receiver:.1} s, sender {sender:.1} s; gateway, not counted, {gateway:.1} s"));
    let bytes = (carried().await? - before) as f64;
    let peaks = programs.iter().take(2).map(|file| peak_of(&process_of(file)?)).collect::<Result<Vec<_>>>()?;
    bench.stop().await?;
    let elements = (offered + theirs) as f64 / 2.0;
    aimed("match_bytes", bytes / elements, "B an element", "at most 100");
    let peak = peaks.into_iter().max().unwrap_or_default();
    aimed("match_peak", peak as f64 / 1e3, "MB on the larger side", "below 1,000 at ten million");
    aimed("match_busy", (receiver + sender) / wall / 2.0, "of two processors", "at least 0.9");
    if n >= MILLION {
        let of_a_million = (receiver + sender) / n as f64 * MILLION as f64;
        aimed("match_1m_proved", of_a_million, "core-seconds", "at most 130");
    }
    let (rate, bare) = (n as f64 / (receiver + sender), protocol_alone()?);
    remark(&format!("the protocol alone: {bare:.0} elements/core-s"));
    aimed("match_rate", rate, "elements/core-s", "at least 8,000");
    figure("match_rate_over_protocol_alone", rate / bare, "ratio");
    Ok(())
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

/// How many persons with a number the sender's register holds, and the year of birth from which on the receiver's
/// register holds about as many.
fn sizes(federation: &Federation) -> (u64, i32) {
    let (mut sender, mut receiver) = (HashMap::new(), HashMap::new());
    for row in federation.population().truth() {
        let set = match row.register.as_str() {
            "education" => &mut sender,
            "health" => &mut receiver,
            _ => continue,
        };
        if let Some(number) = row.national_number {
            set.insert(number.to_string(), row.birth_year);
        }
    }
    let mut years: Vec<i32> = receiver.into_values().collect();
    years.sort_unstable_by(|a, b| b.cmp(a));
    let since = years.get(sender.len()).or(years.last()).copied().unwrap_or_default();
    (sender.len() as u64, since)
}

/// Runs the match, and again under the same id for as long as an adapter waits to see the log, as it does at first.
async fn matched(staff: &Connection, ask: &MatchAsk) -> Result<MatchSummary> {
    let mut outcome = run_match(staff, ask, &mut |_| {}).await;
    for _ in 0..100 {
        match &outcome {
            Err(ClientError::Refused(refused)) if refused.refusal.reason == "EVIDENCE_OUTSTANDING" => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                outcome = run_match(staff, ask, &mut |_| {}).await;
            }
            _ => break,
        }
    }
    outcome.context("the match did not end")
}
