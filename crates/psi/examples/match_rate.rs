//! Measures a match of n × n elements on one thread, without a network.
//!
//! `cargo run --release -p firebreak-psi --example match_rate -- [N] [CHUNK] [oprf]` prints the CPU time of each step in
//! microseconds an element, and `match_rate: x elements/core-s`: n over the CPU seconds of both sides together. `oprf`
//! leaves the proofs out.
#![expect(clippy::print_stdout, reason = "a program that measures prints what it measured")]

use firebreak_psi::{
    FORMAT, KeyContext, MatchParams, Mode, Normaliser, Receiver, SecretSeed, Sender, SessionId, derive_session_key,
    padded_size,
};
use std::time::{Duration, Instant};

/// CPU time of this thread from Linux; elsewhere the time that passes.
fn cpu_time(start: Instant) -> Duration {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|line| line.split_whitespace().next()?.parse().ok());
    nanoseconds.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let n: u32 = arguments.next().as_deref().unwrap_or("100000").parse()?;
    let chunk: u32 = arguments.next().as_deref().unwrap_or("4096").parse()?;
    let mode = match arguments.next().as_deref() {
        None => Mode::Voprf,
        Some("oprf") => Mode::Oprf,
        Some(other) => return Err(format!("{other} is no mode: oprf leaves the proofs out").into()),
    };
    let start = Instant::now();
    let mut last = cpu_time(start);
    let mut step = |name: &str| {
        let now = cpu_time(start);
        let spent = now.saturating_sub(last);
        last = now;
        println!("{name}: {:.1} us/element", spent.as_secs_f64() * 1e6 / f64::from(n));
        spent
    };

    let numbers = |first: u32| -> Vec<_> {
        (first..first.saturating_add(n)).filter_map(|i| Normaliser::V1.normalise(&format!("id-{i:09}"))).collect()
    };
    let (mine, theirs) = (numbers(0), numbers(n / 2));
    step("normalise_both_sets");

    let context = KeyContext {
        agreement: "bench",
        receiver: "receiver",
        field: "number",
        normaliser: Normaliser::V1,
        session: &[0; 16],
        mode,
    };
    let key = derive_session_key(&SecretSeed::generate()?, &context)?;
    let public = key.public_key().clone();
    let params = MatchParams::new(FORMAT, chunk, padded_size(mine.len(), chunk)?, n)?.in_mode(mode);
    let mut receiver = Receiver::new(SessionId::from_bytes([0; 16]), &SecretSeed::generate()?, mine, public, params)?;
    let mut total = step("receiver_new");
    let sender = Sender::new(key, theirs, params)?;
    let list = sender.tag_list()?;
    total += step("sender_tag_list");

    let chunks: Vec<_> = (0..params.chunks()).map(|number| receiver.blind_chunk(number)).collect::<Result<_, _>>()?;
    total += step("receiver_blind");
    let answers: Vec<_> =
        chunks.iter().map(|chunk| sender.evaluate(chunk.id().number, chunk.as_bytes())).collect::<Result<_, _>>()?;
    total += step("sender_evaluate");
    for (chunk, answer) in chunks.iter().zip(&answers) {
        let verified = receiver.verify_chunk(chunk, answer)?;
        receiver.accept(&verified)?;
    }
    total += step("receiver_verify");
    receiver.push_tags(list.as_bytes())?;
    let matches = receiver.finish()?;
    total += step("receiver_compare");

    println!("matched: {} elements", matches.inputs().len());
    println!("match_rate: {:.0} elements/core-s", f64::from(n) / total.as_secs_f64());
    Ok(())
}
