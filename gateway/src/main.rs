//! The gateway: `firebreak-gateway --config FILE [--check]`.

use anyhow::Context;
use clap::Parser;
use firebreak_domain::SystemClock;
use firebreak_gateway::program;
use firebreak_transport::{Shutdown, init};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Parser)]
#[command(version, about = "Firebreak's gateway between agencies")]
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
    tracing::info!(address = %running.address, "listening");
    running.finished().await;
    Ok(())
}
