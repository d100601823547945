//! How long the demonstration takes, once built.
//!
//! `bench-demo [PERSONS]`.

use anyhow::{Result, ensure};
use firebreak_tests::bench::{Aim, aimed, argument, conditions, remark};
use firebreak_tests::built;
use std::process::{Command, Stdio};
use std::time::Instant;

const PERSONS: u32 = 100_000;

fn main() -> Result<()> {
    conditions();
    let persons = argument(PERSONS)?;
    let folder = tempfile::tempdir()?;
    let mut demo = Command::new(built("demo")?);
    demo.arg("--persons").arg(persons.to_string()).arg("--dir").arg(folder.path().join("demo"));
    let begun = Instant::now();
    let output = demo.stdin(Stdio::null()).output()?;
    let seconds = begun.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the demonstration failed: {}", said.lines().next_back().unwrap_or_default());
    remark(&format!("{persons} persons"));
    aimed("demo", seconds, "s", Aim::AtMost(60.0));
    Ok(())
}
