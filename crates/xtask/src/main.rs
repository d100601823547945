//! The project's own chores: `cargo xtask test`, `cargo xtask bench`, `cargo xtask faults`, `cargo xtask codegen`.
#![expect(clippy::print_stdout, reason = "a chore speaks to the person at the terminal")]

mod bench;
mod codegen;
mod commands;
mod faults;
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
    },
    /// Plants the faults of `tests/faults` in a copy of the tree, one after another, and says which test finds each.
    Faults {
        /// Only these.
        names: Vec<String>,
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
        Chore::Bench { names, profile } => bench::run(&root(), &names, &profile),
        Chore::Faults { names } => faults::run(&root(), &names),
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
