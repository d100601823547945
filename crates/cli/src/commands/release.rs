//! `firebreak release`.

use super::progress::Progress;
use super::query::{OutputOptions, deliver, keep_and_deliver, note_again, receipt_of};
use super::{files, receipt};
use crate::arguments::{self, GatewayOptions};
use crate::client::{Ask, Step, changes, cite_release, get_release};
use crate::failure::Failure;
use crate::table::wrap;
use crate::terminal::{Terminal, printable};
use clap::{Args, Subcommand};
use firebreak_domain::{ReleaseName, RequestId};
use firebreak_format::citation;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Gives a stored release again, to whoever may ask the question that it answers
    Get(Get),
    /// Adds up cells of a stored release to the answer of another question, at no loss to the persons
    RollUp(RollUp),
    /// Shows by how much, and by what factor, a later release of a question differs from an earlier one
    ///
    /// Both are paid for as if they were asked again, and --request-id repeats both. --receipt FILE stores the
    /// receipt of the later one, and beside it in FILE.earlier that of the other.
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
    /// Counts and sums of the release, with its FROM and WHERE, by some of its groups or by none; or -, to read the
    /// SELECT from standard input
    sql: String,
}

#[derive(Args)]
pub(crate) struct Change {
    #[command(flatten)]
    get: Get,
    /// The id of the earlier release, of the same question over another cut or at another price
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
        Command::RollUp(RollUp { get: arguments, sql }) => get(arguments, Some(files::statement(sql)?), terminal).await,
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
    if since == named.release {
        return Err(Failure::Usage(
            "a release does not differ from itself: name an earlier one with --since".to_owned(),
        ));
    }
    let mut ask = Ask::without_question(&named.agreement, &named.purpose)?;
    ask.request_id = request_id.unwrap_or(ask.request_id);
    let destination = output.open(terminal)?;
    let connection = gateway.connect().await?;
    let progress = Progress::of(terminal);
    let both = async {
        let report = &mut |step: Step<'_>| progress.step(step);
        // Each receipt is kept before more is asked: what comes after it may fail.
        let earlier = get_release(&connection, &ask.further(since), since, report).await;
        let earlier = receipt::keep(earlier, receipt_of, receipt.as_deref().map(beside).as_deref())?;
        let later = get_release(&connection, &ask, named.release, report).await;
        Ok::<_, Failure>((earlier, receipt::keep(later, receipt_of, receipt.as_deref())?))
    };
    let came = progress.follow(both).await;
    let changed = came.and_then(|(earlier, later)| Ok(changes(&earlier, &later)?));
    let delivered = changed.and_then(|answer| deliver(&answer, destination, terminal));
    note_again(&delivered, &ask, terminal);
    delivered
}

/// Where the receipt of the earlier of two releases is kept.
fn beside(receipt: &Path) -> PathBuf {
    let mut name = receipt.as_os_str().to_owned();
    name.push(".earlier");
    name.into()
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
