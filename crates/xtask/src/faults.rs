//! `cargo xtask faults`: plants each fault of `tests/faults` in a copy of the tree, and says which test finds it.

mod copy;
mod list;

use crate::commands::cargo;
use anyhow::{Context, Result, bail, ensure};
use copy::Copy;
use list::Fault;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Instant;

/// Where tests over the built programs are, and what they start.
const END_TO_END: &str = "--workspace --test e2e";
const PROGRAMS: [&str; 4] = ["firebreak-gateway", "agency-adapter", "firebreak", "demo"];
/// The share of faults that must be found.
const WANTED_PERCENT: usize = 95;

/// Plants the faults named, or all, one after another, and runs the tests that are to find each. True if enough are
/// found.
///
/// The working tree stays as it is: all happens below `target/faults`, whose builds are kept for the next time.
///
/// # Errors
/// A file that is no fault. Where a test fails without any, and of what does not apply or compile, it is said, and the
/// rest goes on.
pub fn run(root: &Path, names: &[String]) -> Result<bool> {
    let faults = chosen(list::read(&root.join(list::FOLDER))?, names)?;
    let replay = Replay { copy: Copy::of(root, &root.join("target/faults/src"))?, kept: root.join("target/faults") };
    let (mut found, mut all_are_faults) = (0, true);
    for alike in faults.chunk_by(|one, other| one.caught.places().eq(other.caught.places())) {
        if let Err(error) = replay.finds_nothing_without_a_fault(alike) {
            all_are_faults = false;
            println!(
                "{}: not replayed: {error:#}",
                alike.iter().map(|fault| fault.name.as_str()).collect::<Vec<_>>().join(" ")
            );
            continue;
        }
        for fault in alike {
            let begun = Instant::now();
            let says = match replay.failed_under(fault) {
                Ok(failed) if failed.is_empty() => "NOT CAUGHT".to_owned(),
                Ok(failed) => {
                    found += 1;
                    format!("caught by {}", join(&failed))
                }
                Err(error) => {
                    all_are_faults = false;
                    format!("{error:#}")
                }
            };
            println!("{}: {says} ({:.0} s)", fault.name, begun.elapsed().as_secs_f64());
        }
    }
    let all = faults.len();
    println!("{found} of {all} faults caught: {:.1} %", found as f64 / all as f64 * 100.0);
    Ok(all_are_faults && found * 100 >= all * WANTED_PERCENT)
}

fn chosen(mut faults: Vec<Fault>, names: &[String]) -> Result<Vec<Fault>> {
    for name in names {
        ensure!(faults.iter().any(|fault| fault.name == *name), "there is no fault {name} in {}", list::FOLDER);
    }
    faults.retain(|fault| names.is_empty() || names.contains(&fault.name));
    // Those found in one place after another, and of them those in one file: what a file is compiled into is then
    // compiled once for each and not twice.
    faults.sort_by(|one, other| {
        let places = one.caught.places().cmp(other.caught.places());
        places.then_with(|| one.files().cmp(other.files()))
    });
    Ok(faults)
}

struct Replay {
    copy: Copy,
    /// Builds, and what cargo said.
    kept: PathBuf,
}

impl Replay {
    /// A test that fails anyway finds nothing.
    fn finds_nothing_without_a_fault(&self, faults: &[Fault]) -> Result<()> {
        let places: BTreeSet<&str> = faults.iter().flat_map(|fault| fault.caught.places()).collect();
        let tests: BTreeSet<&str> = faults.iter().flat_map(|fault| fault.caught.tests()).collect();
        let failed = self.failed("unchanged", &places, &tests)?;
        ensure!(failed.is_empty(), "without any fault these tests fail: {}", join(&failed));
        Ok(())
    }

    fn failed_under(&self, fault: &Fault) -> Result<BTreeSet<String>> {
        let _planted = self.copy.plant(fault)?;
        let places: BTreeSet<&str> = fault.caught.places().collect();
        self.failed(&fault.name, &places, &fault.caught.tests().collect())
    }

    /// Which of the tests named fail.
    fn failed(&self, what: &str, places: &BTreeSet<&str>, tests: &BTreeSet<&str>) -> Result<BTreeSet<String>> {
        let mut builds = vec![self.cargo(places, &["--no-run"], &[])?];
        if places.contains(END_TO_END) {
            builds.push(self.programs()?);
        }
        let log = self.kept.join(format!("{what}.log"));
        if let Some(built) = builds.iter().find(|built| !built.status.success()) {
            fs::write(&log, &built.stderr)?;
            bail!("does not compile with {what}, which is no fault of the program then: see {}", log.display());
        }
        let ran = self.cargo(places, &["--no-fail-fast"], &tests.iter().copied().collect::<Vec<_>>())?;
        fs::write(&log, [ran.stdout.as_slice(), &ran.stderr].concat())?;
        let said = String::from_utf8_lossy(&ran.stdout);
        let ended = ends(&said);
        let missing = tests.iter().filter(|test| !ended.iter().any(|(name, _)| name == *test));
        let missing: BTreeSet<String> = missing.map(|test| (*test).to_owned()).collect();
        // One that brought its program down with it did not pass.
        ensure!(missing.is_empty() || !ran.status.success(), "{what}: these tests were not run: {}", join(&missing));
        let failed = ended.into_iter().filter(|(name, passed)| !passed && tests.contains(name.as_str()));
        Ok(failed.map(|(name, _)| name).chain(missing).collect())
    }

    /// Builds what end-to-end tests start: a build of the tests alone leaves it as it was.
    fn programs(&self) -> Result<Output> {
        let mut command = cargo(self.copy.folder());
        command.args(["build", "--workspace"]).args(PROGRAMS.iter().flat_map(|program| ["--bin", program]));
        command.env("CARGO_TARGET_DIR", self.kept.join("build"));
        command.stdin(Stdio::null()).output().context("cargo cannot be started")
    }

    /// Of the package alone that a fault is found in, unless that needs the engine: a choice of packages chooses other
    /// features, and with those the engine would be built anew.
    fn cargo(&self, places: &BTreeSet<&str>, how: &[&str], tests: &[&str]) -> Result<Output> {
        let mut command = cargo(self.copy.folder());
        command.arg("test").args(places.iter().flat_map(|place| place.split(' '))).args(how);
        command.arg("--").args(tests).env("CARGO_TARGET_DIR", self.kept.join("build")).env("CARGO_TERM_COLOR", "never");
        command.stdin(Stdio::null()).output().context("cargo cannot be started")
    }
}

/// The tests that ended, by the last part of their names, and whether each passed.
fn ends(said: &str) -> Vec<(String, bool)> {
    let end = |line: &str| {
        let (path, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        let path = path.split(" - ").next()?;
        let passed = match outcome {
            "ok" => true,
            "FAILED" => false,
            _ => return None,
        };
        Some((path.rsplit("::").next()?.to_owned(), passed))
    };
    said.lines().filter_map(end).collect()
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_passed_and_failed_are_read_by_their_own_names() {
        let said =
            "running 2 tests\ntest a::b::one ... ok\ntest two - should panic ... FAILED\ntest three ... ignored\n";
        assert_eq!(ends(said), [("one".to_owned(), true), ("two".to_owned(), false)]);
    }
}
