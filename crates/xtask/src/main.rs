//! The project's own chores: `cargo xtask test`, `cargo xtask bench`, `cargo xtask faults`, `cargo xtask fuzz`,
//! `cargo xtask codegen`.
#![expect(clippy::print_stdout, reason = "a chore speaks to the person at the terminal")]

mod bench;
mod codegen;
mod commands;
mod faults;
mod fuzz;
mod needs;
mod outcome;
mod suite;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Firebreak's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs every test of the project, after fetching what they need beside Rust.
    Test {
        /// Only tests whose name contains one of these.
        names: Vec<String>,
    },
    /// Measures: runs the programs under `tests/bench`, which print `name: value unit`.
    Bench {
        /// Only these, without `bench-`.
        names: Vec<String>,
        /// The profile to build with. `dev` is for a first look: its figures are not the programs' own.
        #[arg(long, default_value = "release")]
        profile: String,
        /// What the one measurement that is named takes, after `--`: see the head of its file.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Plants the faults of `tests/faults` in a copy of the tree, one after another, and says which test finds each.
    Faults {
        /// Only these.
        names: Vec<String>,
    },
    /// Looks for inputs that break a decoder: libFuzzer on the targets of `tests/fuzz`.
    Fuzz {
        /// Only these targets.
        names: Vec<String>,
        /// How long each is tried, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Writes the Rust code for `proto/` into `crates/wire/src/gen`.
    Codegen {
        /// Only checks that what stands there is current.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Test { names } => suite::run(&root(), &names),
        Chore::Bench { names, profile, arguments } => bench::run(&root(), &names, &arguments, &profile),
        Chore::Faults { names } => faults::run(&root(), &names),
        Chore::Fuzz { names, seconds } => fuzz::run(&root(), &names, seconds),
        Chore::Codegen { check } => codegen::run(&root(), check).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_after_the_dashes_is_for_the_measurement() {
        let read = Arguments::try_parse_from(["xtask", "bench", "ledger", "--", "1000000", "7"]);
        let Ok(Arguments { chore: Chore::Bench { names, arguments, .. } }) = read else { panic!("not a measurement") };
        assert_eq!((names, arguments), (vec!["ledger".to_owned()], vec!["1000000".to_owned(), "7".to_owned()]));
    }
}
