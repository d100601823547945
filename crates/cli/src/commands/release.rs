//! `firebreak release`.

use super::progress::Progress;
use super::query::{OutputOptions, keep_and_deliver};
use crate::arguments::{self, GatewayOptions};
use crate::client::{Ask, changes, cite_release, get_release};
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
    /// Adds up cells of a stored release to the answer of another question, at no loss to the persons
    RollUp(RollUp),
    /// Shows by how much, and by what factor, a later release differs from an earlier one
    Change(Change),
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
pub(crate) struct RollUp {
    #[command(flatten)]
    get: Get,
    /// Counts and sums of the release, with its FROM and WHERE, by some of its groups or by none
    #[arg(long, value_name = "SELECT")]
    sql: String,
}

#[derive(Args)]
pub(crate) struct Change {
    #[command(flatten)]
    get: Get,
    /// The id of the earlier release, which has the same groups and figures
    #[arg(long, value_name = "ID")]
    since: ReleaseName,
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
        Command::Get(arguments) => get(arguments, None, terminal).await,
        Command::RollUp(RollUp { get: arguments, sql }) => get(arguments, Some(sql), terminal).await,
        Command::Change(arguments) => change(arguments, terminal).await,
        Command::Cite(arguments) => cite(arguments, terminal).await,
    }
}

async fn get(arguments: Get, sql: Option<String>, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let Named { release, agreement, purpose } = arguments.named;
    let mut ask = Ask { sql, ..Ask::without_question(&agreement, &purpose)? };
    ask.request_id = arguments.request_id.unwrap_or(ask.request_id);
    let destination = arguments.output.open(terminal)?;
    let connection = arguments.gateway.connect().await?;
    let progress = Progress::of(terminal);
    let came = progress.follow(get_release(&connection, &ask, release, &mut |step| progress.step(step))).await;
    keep_and_deliver(came, &ask, arguments.receipt.as_deref(), destination, terminal)
}

async fn change(arguments: Change, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let Change { get: Get { named, output, receipt, request_id, gateway }, since } = arguments;
    let mut ask = Ask::without_question(&named.agreement, &named.purpose)?;
    ask.request_id = request_id.unwrap_or(ask.request_id);
    let earlier = Ask::without_question(&named.agreement, &named.purpose)?;
    let destination = output.open(terminal)?;
    let connection = gateway.connect().await?;
    let progress = Progress::of(terminal);
    let both = async {
        let earlier = get_release(&connection, &earlier, since, &mut |step| progress.step(step)).await?;
        let later = get_release(&connection, &ask, named.release, &mut |step| progress.step(step)).await?;
        Ok((earlier, later))
    };
    let came = match progress.follow(both).await {
        Ok((earlier, later)) => Ok(changes(&earlier, &later)?),
        Err(error) => Err(error),
    };
    keep_and_deliver(came, &ask, receipt.as_deref(), destination, terminal)
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
