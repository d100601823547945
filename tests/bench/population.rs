//! How long the synthetic population takes to make, and how much memory.
//!
//! `bench-population [PERSONS]`. The memory is the highest that the program ever had resident (VmHWM in proc(5)).

use anyhow::{Context, Result, ensure};
use firebreak_tests::bench::{Aim, aimed, argument, conditions, remark};
use firebreak_tests::built;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PERSONS: u32 = 1_000_000;

fn main() -> Result<()> {
    conditions();
    let persons = argument(PERSONS)?;
    let folder = tempfile::tempdir()?;
    let mut making = Command::new(built("firebreak-population")?);
    making.arg("--persons").arg(persons.to_string()).arg("--out").arg(folder.path().join("population"));
    let begun = Instant::now();
    let mut child = making.stdout(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut highest = 0;
    let ended = loop {
        // Gone with the process: what was read last counts, and it only grows.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let resident =
            text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        highest = resident.unwrap_or(highest);
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(ended.success(), "the population was not made");
    let kib: f64 = Some(highest).filter(|kib| *kib > 0_u32).context("no memory was seen")?.into();
    remark(&format!("{persons} persons"));
    aimed("population", begun.elapsed().as_secs_f64(), "s", Aim::AtMost(30.0));
    aimed("population_memory", kib / 1024.0, "MiB", Aim::AtMost(2_048.0));
    Ok(())
}
