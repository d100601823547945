//! `firebreak release`.

use super::progress::Progress;
use super::query::{OutputOptions, keep_and_deliver};
use crate::arguments::{self, GatewayOptions};
use crate::client::{Ask, cite_release, get_release};
use crate::failure::Failure;
use crate::table::wrap;
use crate::terminal::{Terminal, printable};
use clap::{Args, Subcommand};
use firebreak_domain::{ReleaseName, RequestId};
use firebreak_format::citation;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Gives a stored release again, to whoever may ask the question that it answers
    Get(Get),
    /// Says how to cite a release, as text and as BibTeX; charges nothing
    Cite(Cite),
}

#[derive(Args)]
pub(crate) struct Get {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    output: OutputOptions,
    /// Stores the receipt, of a refusal too
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Repeats an earlier request, which costs nothing more
    #[arg(long, value_name = "HEX", value_parser = arguments::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    gateway: GatewayOptions,
}

#[derive(Args)]
pub(crate) struct Cite {
    #[command(flatten)]
    named: Named,
    /// BibTeX alone
    #[arg(long)]
    bibtex: bool,
    #[command(flatten)]
    gateway: GatewayOptions,
}

/// Which release, and by what right.
#[derive(Args)]
struct Named {
    /// The release's id, as its answer told it
    #[arg(value_name = "ID")]
    release: ReleaseName,
    /// The data-sharing agreement under which its question may be asked
    #[arg(long)]
    agreement: String,
    /// The purpose, as the agreement names it
    #[arg(long)]
    purpose: String,
}

pub(crate) async fn run(command: Command, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        Command::Get(arguments) => get(arguments, terminal).await,
        Command::Cite(arguments) => cite(arguments, terminal).await,
    }
}

async fn get(arguments: Get, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let Named { release, agreement, purpose } = arguments.named;
    let mut ask = Ask::without_question(&agreement, &purpose)?;
    ask.request_id = arguments.request_id.unwrap_or(ask.request_id);
    let destination = arguments.output.open(terminal)?;
    let connection = arguments.gateway.connect().await?;
    let progress = Progress::of(terminal);
    let came = progress.follow(get_release(&connection, &ask, release, &mut |step| progress.step(step))).await;
    keep_and_deliver(came, &ask, arguments.receipt.as_deref(), destination, terminal)
}

async fn cite(arguments: Cite, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let Named { release, agreement, purpose } = arguments.named;
    let ask = Ask::without_question(&agreement, &purpose)?;
    let connection = arguments.gateway.connect().await?;
    let cited = cite_release(&connection, &ask, release).await?;
    let entry = citation::bibtex(&cited);
    let shown = if arguments.bibtex {
        entry
    } else {
        let text = citation::text(&cited);
        let paragraph = wrap(&printable(&text), terminal.width);
        format!("{}\n\n{entry}", paragraph.join("\n"))
    };
    Ok(terminal.block(shown)?)
}
