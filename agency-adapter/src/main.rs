//! An agency's adapter: `agency-adapter --config FILE [--check]`.

use agency_adapter::program;
use anyhow::Context;
use clap::Parser;
use firebreak_transport::init;
use std::path::PathBuf;

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
    Ok(program::run(&arguments.config, arguments.check).await?)
}
