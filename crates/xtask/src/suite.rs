//! `cargo xtask test`: everything that is tested, in one go.

use crate::commands::{cargo, run_and_read, succeeds, target_folder};
use crate::outcome::Outcome;
use crate::{codegen, needs};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// One step of the run and how it ended.
struct Step {
    name: &'static str,
    went_well: bool,
    says: String,
}

/// Provides what the tests need, then runs all of them. True if nothing failed.
///
/// Tests and programs are built by one choice, the whole workspace with no feature chosen, which is also that of
/// `cargo run --bin demo`: whatever is large is compiled once for all of them.
pub fn run(root: &Path, names: &[String]) -> Result<bool> {
    let needs = needs::provide(root)?;
    println!("What the tests need beside Rust:");
    for need in &needs {
        println!("  {:<20} {}", need.name, need.path.display());
    }

    let generated = codegen::run(root, true);
    let says = generated.as_ref().map_or_else(|error| error.to_string(), |()| "current".to_owned());
    let mut steps = vec![Step { name: "generated code", went_well: generated.is_ok(), says }];

    let with_needs = |mut command: Command| {
        command.envs(needs.iter().map(|need| (need.variable, &need.path)));
        command
    };
    let mut build = cargo(root);
    // Some tests start programs, and some start examples of their own package.
    build.args(["build", "--workspace", "--bins", "--tests", "--examples"]);
    let built = run_and_read(&mut build, &mut |_| {})?;
    let says = if built { "built" } else { "do not compile: no test was run" };
    steps.push(Step { name: "programs and tests", went_well: built, says: says.to_owned() });

    let mut total = Outcome::default();
    if built {
        for (name, command) in runners(root, names)? {
            let mut outcome = Outcome::default();
            let ended_well = run_and_read(&mut with_needs(command), &mut |line| outcome.read(line))?;
            let went_well = ended_well && outcome.failed == 0 && outcome.skipped == 0;
            let broke_off = !ended_well && outcome.failed == 0;
            let says = if broke_off { format!("{outcome}, and broke off: see above") } else { outcome.to_string() };
            steps.push(Step { name, went_well, says });
            total = total.and(outcome);
        }
    }
    Ok(summary(&steps, &total))
}

/// What runs the tests: plain `cargo test`, or `cargo nextest`, which is faster, where it is installed.
///
/// End-to-end tests share one federation in one process and examples in docs are compiled one by one: both are always
/// run by `cargo test`. The oracle is a package outside the workspace, with a lock and a target folder of its own: what it
/// brings is older than what the programs are built of.
fn runners(root: &Path, names: &[String]) -> Result<Vec<(&'static str, Command)>> {
    let runner = |arguments: &[&str]| {
        let mut command = cargo(root);
        command.args(arguments).args(["--workspace", "--no-fail-fast", "--"]).args(names);
        command
    };
    let mut oracle = cargo(root);
    oracle.args(["test", "--manifest-path", "tests/oracle/Cargo.toml", "--no-fail-fast", "--"]).args(names);
    oracle.env("CARGO_TARGET_DIR", target_folder()?.join("oracle"));
    if !succeeds(cargo(root).args(["nextest", "--version"])) {
        return Ok(vec![("tests", runner(&["test"])), ("oracle", oracle)]);
    }
    let of_packages = ["nextest", "run", "--filterset", "not binary(=e2e)", "--no-tests=pass"];
    Ok(vec![
        ("tests of packages", runner(&of_packages)),
        ("tests end to end", runner(&["test", "--test", "e2e"])),
        ("examples in docs", runner(&["test", "--doc"])),
        ("oracle", oracle),
    ])
}

/// Prints how each step ended and, last, the plain line. True if all went well.
fn summary(steps: &[Step], total: &Outcome) -> bool {
    println!("\nSummary");
    for step in steps {
        let mark = if step.went_well { "ok  " } else { "FAIL" };
        println!("  {mark} {:<20} {}", step.name, step.says);
    }
    for name in &total.names {
        println!("       failed: {name}");
    }
    println!("\n{total}");
    steps.iter().all(|step| step.went_well)
}
