//! A thousand against ten million: what a small set costs once the tags of its epoch are made and held.
//!
//! `bench-unbalanced [TAGS]`. The CPU time is that of both sides in this process, from the receiver's own identifiers to
//! which of them the held list has: blind, read, evaluate, prove, verify, unblind and look up, each by the code that the
//! adapters run, with the list in a sealed file as a receiver holds it. Of the list, half of the receiver's tags are real;
//! the others are random, which tags cannot be told from. Beside it what the same thousand cost where the list has to be
//! made first, as in a session of its own: worked out from the tags of fewer records.

use anyhow::{Context, Result, ensure};
use firebreak_domain::SystemClock;
use firebreak_psi::{
    Blinding, Evaluator, FORMAT, KeyContext, MatchParams, Mode, NormalisedInput, Normaliser, SecretSeed, SessionId,
    Shuffle, Slot, derive_session_key,
};
use firebreak_store::{SessionFiles, State, StateKey};
use firebreak_tests::bench::{Aim, Cpu, aimed, argument, conditions, figure, remark};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::sync::Arc;

const TAGS: u32 = 10_000_000;
/// Identifiers of the receiver, and the places that they are padded to.
const OWN: u32 = 1_000;
const PLACES: u32 = 1_024;
/// How often the same is done: CPU time is counted in steps of 10 ms.
const ROUNDS: u32 = 20;
/// Records whose tags are made to work out what a whole list takes.
const SAMPLE: u32 = 65_536;
/// Bytes of records that are sorted in memory, as in an adapter.
const MEMORY: usize = 64 * 1024 * 1024;
const NAME: &str = "tags";

#[tokio::main]
async fn main() -> Result<()> {
    conditions();
    let size = argument(TAGS)?;
    ensure!(size >= SAMPLE, "at least {SAMPLE} tags");
    let folder = tempfile::tempdir()?;
    let state = State::open(folder.path(), StateKey::from_bytes([1; 32]), Arc::new(SystemClock)).await?;
    state.open_session(&[2; 32], SecretSeed::generate()?.expose()).await?;
    let files = state.session_files(&[2; 32]).await?;

    // As many evaluations in the epoch as ten years of a register of that size may have.
    let params = MatchParams::new(FORMAT, PLACES, PLACES, size)?.of_epoch(u64::from(size) * 105 / 10)?;
    let context = KeyContext {
        agreement: "bench",
        receiver: "bench",
        field: "number",
        normaliser: Normaliser::V1,
        session: b"epoch",
        mode: Mode::Voprf,
    };
    let evaluator = Evaluator::new(derive_session_key(&SecretSeed::generate()?, &context)?, params);
    let own = identifiers(OWN)?;
    let held = own.get(..own.len() / 2).context("no half")?;
    let list = write_list(&files, &evaluator, held)?;
    remark(&format!("{list} tags of {} bytes; {OWN} identifiers, half of them in the list", params.tag_bytes()));

    let cpu = Cpu::own();
    let before = cpu.seconds()?;
    let mut matched = 0;
    for round in 0..ROUNDS {
        matched += online(&files, &evaluator, &own, round)?;
    }
    let online = (cpu.seconds()? - before) / f64::from(ROUNDS);
    ensure!(matched == u64::from(ROUNDS) * held.len() as u64, "{matched} matched");

    let before = cpu.seconds()?;
    let tags = evaluator.tags(&identifiers(SAMPLE)?)?;
    let mut sorter = files.sort("sample", params.tag_bytes(), MEMORY)?;
    tags.iter().try_for_each(|tag| sorter.push(tag))?;
    let mut sorted = sorter.finish()?;
    while sorted.next()?.is_some() {}
    let a_tag = (cpu.seconds()? - before) / f64::from(SAMPLE);
    let alone = online + a_tag * f64::from(size);
    aimed("unbalanced_online", online * 1e3, "ms", Aim::AtMost(100.0));
    figure("unbalanced_alone", alone, "s, worked out from the tags of fewer records");
    figure("unbalanced_alone_over_online", alone / online, "ratio");
    Ok(())
}

fn identifiers(count: u32) -> Result<Vec<NormalisedInput>> {
    (0..count).map(|n| Normaliser::V1.normalise(&format!("id-{n:08}"))).collect::<Option<_>>().context("no number")
}

/// Writes the list as a receiver holds it. Gives how many tags it has.
fn write_list(files: &SessionFiles, evaluator: &Evaluator, held: &[NormalisedInput]) -> Result<u64> {
    let (length, size) = (evaluator.params().tag_bytes(), evaluator.params().sender_padded());
    let mut sorter = files.sort(NAME, length, MEMORY)?;
    evaluator.tags(held)?.iter().try_for_each(|tag| sorter.push(tag))?;
    let mut random = ChaCha20Rng::seed_from_u64(7);
    let mut tag = vec![0; length];
    for _ in held.len()..size as usize {
        random.fill_bytes(&mut tag);
        sorter.push(&tag)?;
    }
    let (mut sorted, mut writer) = (sorter.finish()?, files.write_look_up(NAME, length)?);
    let (mut last, mut count) = (Vec::new(), 0);
    while let Some(tag) = sorted.next()? {
        if last != tag {
            writer.push(tag)?;
            last = tag.to_vec();
            count += 1;
        }
    }
    writer.finish()?;
    Ok(count)
}

/// One session of the epoch. Gives how many of the receiver's identifiers the list has.
fn online(files: &SessionFiles, evaluator: &Evaluator, own: &[NormalisedInput], round: u32) -> Result<u64> {
    let seed = SecretSeed::generate()?;
    let shuffle = Shuffle::of_session(&seed);
    let padding = (0..u64::from(PLACES) - own.len() as u64).map(|number| shuffle.padding(number, Normaliser::V1));
    let mut slots: Vec<Slot> = own.iter().map(Slot::own).chain(padding).collect();
    slots.sort_by_cached_key(|slot| *shuffle.rank(slot));
    let session = SessionId::from_bytes([u8::try_from(round)?; 16]);
    let blinding = Blinding::new(session, &seed, evaluator.public_key().clone(), *evaluator.params());
    let chunk = blinding.blind(0, &slots)?;
    let evaluated = evaluator.evaluate_read(&evaluator.read(0, chunk.as_bytes().to_vec())?)?;
    let verified = blinding.verify(&chunk, &slots, &evaluated)?;
    let mut tags: Vec<&[u8]> = verified.tags().collect();
    tags.sort_unstable();
    let (mut list, mut matched) = (files.look_up(NAME, evaluator.params().tag_bytes())?, 0);
    for tag in tags {
        matched += u64::from(list.holds(tag)?);
    }
    Ok(matched)
}
