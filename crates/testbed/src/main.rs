//! `cargo run --bin demo`: a whole federation on this machine, and what it does and does not give.

#![expect(clippy::print_stdout, reason = "the demonstration speaks to whoever runs it")]

mod attempts;
mod scenes;
mod truth;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use firebreak_testbed::{Federation, Options, Programs};
use firebreak_transport::init;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(name = "demo", about = "Firebreak, shown on a synthetic population")]
struct Arguments {
    /// Persons in the synthetic population.
    #[arg(long, default_value_t = 100_000)]
    persons: u32,
    /// The population's seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder in which everything is made; by default a new one among the system's temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Leaves everything running and prints commands to try.
    #[arg(long)]
    keep: bool,
    #[command(subcommand)]
    program: Option<Inner>,
}

/// The programs of the federation, which the demonstration starts as processes of their own.
#[derive(Subcommand)]
enum Inner {
    #[command(hide = true)]
    RunGateway {
        #[arg(long)]
        config: PathBuf,
        /// The level of its log.
        #[arg(long, default_value = "info")]
        log: String,
    },
    #[command(hide = true)]
    RunAdapter {
        #[arg(long)]
        config: PathBuf,
        /// The level of its log.
        #[arg(long, default_value = "info")]
        log: String,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.program {
        Some(Inner::RunGateway { config, log }) => {
            init(true, &log)?;
            Ok(firebreak_gateway::program::run(&config, false).await?)
        }
        Some(Inner::RunAdapter { config, log }) => {
            init(true, &log)?;
            Ok(agency_adapter::program::run(&config, false).await?)
        }
        None => demonstrate(&arguments).await,
    }
}

async fn demonstrate(arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    let folder = match &arguments.dir {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("firebreak-demo-{}", std::process::id())),
    };
    scenes::title("Firebreak: figures and services, without the pipes that could find people");
    println!("Everything below happens on this machine, in {}, with people who do not exist.\n", folder.display());
    let options = Options { persons: arguments.persons, seed: arguments.seed, ..Options::default() };
    let federation = Federation::prepare(&folder, &options, |step| println!("  made {step}")).with_context(|| {
        format!("the federation could not be made in {}; name an empty folder with --dir", folder.display())
    })?;
    let programs = Programs::of_this_executable()?;
    let mut live = federation.start(&programs, &[]).await?;
    println!("  running: a gateway on {} and three agencies' adapters, TLS 1.3 between them\n", live.address);

    scenes::questions(&federation, &live).await?;
    scenes::a_match(&federation, &live).await?;
    attempts::refused(&federation, &live).await?;
    scenes::budgets(&federation, &live).await?;
    // What an agency refused by itself is in the log once the gateway has called on it, twice a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    scenes::log(&federation)?;
    println!("\nShown in {:.0} s.", begun.elapsed().as_secs_f64());

    if arguments.keep {
        scenes::keep(&federation, &live)?;
        tokio::signal::ctrl_c().await?;
    }
    live.stop().await?;
    if arguments.dir.is_none() && !arguments.keep {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}
