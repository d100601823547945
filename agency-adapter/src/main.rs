//! An agency's adapter: `agency-adapter --config FILE [--check]`.

use agency_adapter::program;
use anyhow::Context;
use clap::Parser;
use firebreak_domain::SystemClock;
use firebreak_transport::{Shutdown, init};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Parser)]
#[command(version, about = "An agency's side of Firebreak")]
struct Arguments {
    /// The configuration.
    #[arg(long)]
    config: PathBuf,
    /// Reads and checks everything that the configuration names, then stops.
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    init(true, "info").context("logging could not be set up")?;
    let checked = program::check(&arguments.config)?;
    if arguments.check {
        return Ok(());
    }
    let shutdown = Shutdown::on_signals()?;
    let running = program::serve(checked, Arc::new(SystemClock), &shutdown).await?;
    if let Some(address) = running.local {
        tracing::info!(address = %address, "listening for staff");
    }
    running.finished().await;
    Ok(())
}
