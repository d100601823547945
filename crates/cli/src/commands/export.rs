//! `firebreak export`.

use super::progress::Progress;
use super::query::{Destination, account, note_again};
use super::{files, receipt};
use crate::arguments::{self, GatewayOptions};
use crate::client::{Ask, Export, ExportAnswer, request_export};
use crate::failure::Failure;
use crate::terminal::Terminal;
use clap::{Args, ValueEnum};
use firebreak_domain::{CutId, RequestId, Rho};
use firebreak_format::Format;
use firebreak_wire::export::v1::ExportKind;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The table: one SELECT statement; or -, to read it from standard input
    #[arg(required_if_eq("kind", "dp_aggregate"))]
    sql: Option<String>,
    /// The data-sharing agreement under which you ask
    #[arg(long)]
    agreement: String,
    /// The purpose, as the agreement names it
    #[arg(long)]
    purpose: String,
    /// What is to leave
    #[arg(long, value_enum)]
    kind: Kind,
    /// The registered endpoint that receives [default: your organisation]
    #[arg(long)]
    endpoint: Option<String>,
    /// The dataset, where there is no SELECT
    #[arg(long)]
    dataset: Option<String>,
    /// The version of the dataset [default: the latest]
    #[arg(long, value_parser = arguments::cut)]
    cut: Option<CutId>,
    /// The privacy loss to spend, as rho [default: the agreement's price]
    #[arg(long, value_parser = arguments::rho)]
    rho: Option<Rho>,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Stores the receipt, of a refusal too
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Repeats an earlier request, which costs nothing more
    #[arg(long, value_name = "HEX", value_parser = arguments::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    gateway: GatewayOptions,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A differentially private table
    #[value(name = "dp_aggregate")]
    DpAggregate,
    /// Rows that name persons: refused, to everybody
    Identifiable,
    /// Rows under pseudonyms: refused, to everybody
    Pseudonymous,
}

impl From<Kind> for ExportKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::DpAggregate => Self::DpAggregate,
            Kind::Identifiable => Self::Identifiable,
            Kind::Pseudonymous => Self::Pseudonymous,
        }
    }
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut ask = Ask::without_question(&arguments.agreement, &arguments.purpose)?;
    ask.sql = arguments.sql.map(files::statement).transpose()?;
    (ask.cut, ask.rho) = (arguments.cut, arguments.rho);
    ask.request_id = arguments.request_id.unwrap_or(ask.request_id);
    let export = Export { kind: arguments.kind.into(), endpoint: arguments.endpoint, dataset: arguments.dataset };
    let destination = Destination::open(arguments.out.as_deref(), Format::Csv, terminal)?;
    let connection = arguments.gateway.connect().await?;
    let progress = Progress::of(terminal);
    let came = progress.follow(request_export(&connection, &ask, &export, &mut |step| progress.step(step))).await;
    let kept = receipt::keep(came, |answer| answer.released.receipt.as_str(), arguments.receipt.as_deref());
    let delivered = kept.and_then(|answer| deliver(&answer, destination, terminal));
    note_again(&delivered, &ask, terminal);
    delivered
}

fn deliver(answer: &ExportAnswer, destination: Destination, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    destination.write(&answer.file, terminal)?;
    terminal.note_block(account(&answer.accepted, &answer.released, terminal.width));
    Ok(())
}
