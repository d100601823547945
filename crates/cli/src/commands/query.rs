//! `firebreak query`.

mod destination;

use super::progress::Progress;
use super::{files, receipt};
use crate::arguments::{self, GatewayOptions};
use crate::bar::Scale;
use crate::client::{Ask, ClientError, QueryAnswer, run_query, validate_query};
use crate::failure::{Exit, Failure};
use crate::number::{charged, count, decimal, with_error};
use crate::table::{GAP, Table, fields, wrap};
use crate::terminal::{Terminal, printable};
use clap::Args;
pub(super) use destination::Destination;
use firebreak_domain::{Charge, CutId, RequestId, Rho};
use firebreak_format::{Format, unit};
use firebreak_wire::query::v1::{Accepted, Account, Estimate, LeftOut, Part, Released, Row, ValidateQueryResponse};
use firebreak_wire::{charge_from_wire, estimate_status};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tonic::Code;

/// How a margin over all values of a group is shown.
const ALL: &str = "all";
/// A bar narrower than this tells little, and one wider than this no more.
const BAR: std::ops::RangeInclusive<usize> = 10..=40;

#[derive(Args)]
pub(crate) struct Arguments {
    /// One SELECT statement, for instance "SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region"; or -, to
    /// read it from standard input
    sql: String,
    /// The data-sharing agreement under which you ask
    #[arg(long)]
    agreement: String,
    /// The purpose, as the agreement names it
    #[arg(long)]
    purpose: String,
    /// The version of the dataset, for instance 2024-Q4 [default: the latest]
    #[arg(long, value_parser = arguments::cut)]
    cut: Option<CutId>,
    /// The privacy loss to spend, as rho [default: the agreement's price]
    #[arg(long, value_parser = arguments::rho)]
    rho: Option<Rho>,
    /// Over several agencies, takes what some of them give if others give no answer; asked again with the same
    /// --request-id, the answer is completed and the others are not charged again
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    output: OutputOptions,
    /// Says what would be answered and what it would cost; asks and charges nothing
    #[arg(long, conflicts_with_all = ["format", "csv", "out", "receipt", "request_id"])]
    dry_run: bool,
    /// With --dry-run: the least price at which the 95 % interval of every count and sum is ±X at most; names the
    /// outputs of which that cannot be said
    #[arg(long, value_name = "X", requires = "dry_run", conflicts_with = "rho")]
    half_width: Option<f64>,
    /// Stores the receipt, of a refusal too; `firebreak audit verify` checks it
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Repeats an earlier request, which costs nothing more
    #[arg(long, value_name = "HEX", value_parser = arguments::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    gateway: GatewayOptions,
}

/// In what form an answer is written, and where to.
#[derive(Args)]
pub(super) struct OutputOptions {
    /// Writes the answer with full precision for other programs, and everything else to standard error
    #[arg(long, value_parser = arguments::format(), conflicts_with = "csv")]
    format: Option<Format>,
    /// The same as --format csv
    #[arg(long)]
    csv: bool,
    /// The file to write, in place of what it holds [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl OutputOptions {
    /// Opens the destination of an answer in a format; `None` for one that a person looks at.
    pub(super) fn open(self, terminal: &Terminal<'_>) -> Result<Option<(Format, Destination)>, Failure> {
        match (self.format.or(self.csv.then_some(Format::Csv)), self.out.as_deref()) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Failure::Usage("--out FILE needs --format, for instance csv".to_owned())),
            (Some(format), out) => Ok(Some((format, Destination::open(out, format, terminal)?))),
        }
    }
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let sql = files::statement(arguments.sql)?;
    let mut ask = Ask::new(&arguments.agreement, &arguments.purpose, &sql)?;
    (ask.cut, ask.rho, ask.partial) = (arguments.cut, arguments.rho, arguments.partial);
    ask.request_id = arguments.request_id.unwrap_or(ask.request_id);
    let destination = arguments.output.open(terminal)?;
    let connection = arguments.gateway.connect().await?;
    if arguments.dry_run {
        let said = validate_query(&connection, &ask, arguments.half_width).await?;
        let mut text = validated(&said, terminal.width);
        if let Some(half_width) = arguments.half_width {
            text += &priced(&said, half_width, terminal.width);
        }
        return Ok(terminal.block(text)?);
    }
    let progress = Progress::of(terminal);
    let came = progress.follow(run_query(&connection, &ask, &mut |step| progress.step(step))).await;
    keep_and_deliver(came, &ask, arguments.receipt.as_deref(), destination, terminal)
}

/// Stores the receipt of what came, and brings the answer to where it goes; after a failure, says how to repeat it.
pub(super) fn keep_and_deliver(
    came: Result<QueryAnswer, ClientError>,
    ask: &Ask,
    receipt: Option<&Path>,
    destination: Option<(Format, Destination)>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let kept = receipt::keep(came, receipt_of, receipt);
    if kept.as_ref().is_ok_and(|answer| !answer.released.missing.is_empty()) {
        terminal.note(format!("The answer is partial. {}", again(ask)));
    }
    let delivered = kept.and_then(|answer| deliver(&answer, destination, terminal));
    note_again(&delivered, ask, terminal);
    delivered
}

/// The receipt that came with an answer.
pub(super) fn receipt_of(answer: &QueryAnswer) -> &str {
    &answer.released.receipt
}

/// Brings the answer to where it goes: to a person, or in a format to its destination with the rest told beside it.
pub(super) fn deliver(
    answer: &QueryAnswer,
    destination: Option<(Format, Destination)>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let Some((format, destination)) = destination else {
        let bars = if terminal.out_is_terminal { Bars::WhereTheyFit } else { Bars::None };
        return Ok(terminal.block(shown(answer, terminal.width, bars))?);
    };
    let content = format.answer(answer)?;
    destination.write(&content, terminal)?;
    terminal.note_block(account(&answer.accepted, &answer.released, terminal.width));
    Ok(())
}

/// After a failure of what was asked and may have been paid for, says how to ask again without paying again.
pub(super) fn note_again<T>(ended: &Result<T, Failure>, ask: &Ask, terminal: &mut Terminal<'_>) {
    use ClientError::{Answer, Compared, Failed};
    let repeatable = |failure: &Failure| match failure {
        // What was aborted says itself that it takes a new id.
        Failure::Client(Failed { code, .. }) => *code != Code::Aborted,
        Failure::Client(error) => matches!(error, Answer(_) | Compared(_)),
        failure => failure.exit() == Exit::Failed,
    };
    if ended.as_ref().is_err_and(repeatable) {
        terminal.note(again(ask));
    }
}

fn again(ask: &Ask) -> String {
    format!("The request was {}: add --request-id {0} to repeat it.", ask.request_id)
}

/// Whether intervals are drawn as well as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bars {
    /// For whoever looks: beside each interval, all of an output on one scale, unless the terminal is too narrow.
    WhereTheyFit,
    /// For files and pipes.
    None,
}

/// An answer as `firebreak query` shows it: the table, what its marks mean, what it cost and left.
#[must_use]
pub(crate) fn shown(answer: &QueryAnswer, width: usize, bars: Bars) -> String {
    let estimates = || answer.rows.iter().flat_map(|row| &row.estimates);
    let statuses: BTreeSet<&str> = estimates().map(estimate_status).collect();
    let unlike_a = statuses.iter().any(|status| *status != "A");
    let clipped = estimates().any(|e| e.clipped);
    let marked = unlike_a || clipped;
    let mut text = table(answer, marked, width, bars).render(width);
    if unlike_a {
        let in_rank = answer.accepted.columns.iter().any(|column| column.in_rank);
        let unreliable = if in_rank {
            "U: unreliable, the standard error, with what is rounded in a sum over a join, is above a quarter of the value, \
             the rank may be off by more than 5 %, or nothing bounds the value, as of what is made of quantiles"
        } else {
            "U: unreliable, the standard error, with what is rounded in a sum over a join, is above a quarter of the value, \
             or nothing bounds the value, as of what is made of quantiles"
        };
        let provisional = "P: provisional, an agency's part is missing";
        let meanings = [("U", unreliable), ("O", "O: not computable"), ("P", provisional)];
        for (_, meaning) in meanings.iter().filter(|(status, _)| statuses.contains(status)) {
            text += &wrap(meaning, width).join("\n");
            text.push('\n');
        }
    }
    let clipping = clipped.then(|| {
        "c: clipped, what was drawn lies beyond a bound of the question; clipped figures are \
                                    biased"
            .to_owned()
    });
    let rounding = answer.accepted.columns.iter().filter_map(|column| {
        Some(format!(
            "{}: rounded to {}, errors and intervals are those of what was drawn",
            printable(&column.name),
            unit(column)?
        ))
    });
    for mark in clipping.into_iter().chain(rounding) {
        text += &wrap(&mark, width).join("\n");
        text.push('\n');
    }
    text.push('\n');
    text + &account(&answer.accepted, &answer.released, width)
}

/// With bars as wide as the terminal has room for, where nothing else has to give way to them.
fn table(answer: &QueryAnswer, marked: bool, width: usize, bars: Bars) -> Table {
    let mut scales = vec![None; answer.accepted.columns.len()];
    let plain = laid_out(answer, marked, &scales, 0);
    if bars == Bars::None {
        return plain;
    }
    let finest = finest(answer);
    for (place, scale) in scales.iter_mut().enumerate() {
        let rows = answer.rows.iter().filter(|row| margins(row) == finest);
        *scale = Scale::of(rows.filter_map(|row| row.estimates.get(place)));
    }
    let drawn = scales.iter().flatten().count();
    let room = width.saturating_sub(plain.full_width()).checked_div(drawn).unwrap_or(0).saturating_sub(GAP);
    let room = room.min(*BAR.end());
    if BAR.contains(&room) { laid_out(answer, marked, &scales, room) } else { plain }
}

/// Over how many of the groups a row is a margin.
fn margins(row: &Row) -> usize {
    row.groups.iter().filter(|code| code.is_empty()).count()
}

/// The margins of the finest rows. Only these have bars: on one scale with totals, none of them would be seen.
fn finest(answer: &QueryAnswer) -> usize {
    answer.rows.iter().map(margins).min().unwrap_or(0)
}

/// The table, with bars so wide for the outputs that have a scale.
fn laid_out(answer: &QueryAnswer, marked: bool, scales: &[Option<Scale>], width: usize) -> Table {
    let mut table = answer.accepted.groups.iter().fold(Table::new(), |table, name| table.text(name));
    for (column, scale) in answer.accepted.columns.iter().zip(scales) {
        table = table.number(&column.name);
        table = if column.in_rank {
            table.number("± rank, 95 %")
        } else {
            table.number("± s.e.").number("95 % interval")
        };
        if let Some(scale) = scale {
            table = table.drawing(&scale.heading(width));
        }
        if marked {
            table = table.text("");
        }
    }
    let finest = finest(answer);
    for row in &answer.rows {
        let all = |code: &String| if code.is_empty() { ALL.to_owned() } else { code.clone() };
        let mut cells: Vec<String> = row.groups.iter().map(all).collect();
        for ((column, estimate), scale) in answer.accepted.columns.iter().zip(&row.estimates).zip(scales) {
            if column.in_rank {
                cells.extend(ranked(estimate));
            } else {
                cells.extend(estimated(estimate));
            }
            let bar = |scale: Scale| if margins(row) == finest { scale.bar(estimate, width) } else { String::new() };
            cells.extend(scale.map(bar));
            if marked {
                let status = Some(estimate_status(estimate)).filter(|status| *status != "A");
                let marks = status.into_iter().chain(estimate.clipped.then_some("c"));
                cells.push(marks.collect::<Vec<_>>().join(" "));
            }
        }
        table.row(cells);
    }
    table
}

/// Value of a quantile, with all the decimals that its candidates have, and by how much its rank may be off.
fn ranked(estimate: &Estimate) -> [String; 2] {
    let value = estimate.value.map_or_else(|| "–".to_owned(), |value| with_error(value, 0.0).value);
    let off = |error: f64| format!("{} %", decimal(100.0 * error, 1));
    [value, estimate.rank_error.map(off).unwrap_or_default()]
}

/// Value, standard error, interval.
fn estimated(estimate: &Estimate) -> [String; 3] {
    let (value, error) = match (estimate.value, estimate.standard_error) {
        (Some(value), Some(error)) => (value, error),
        // What is made of quantiles has a value and no error.
        (Some(value), None) => return [with_error(value, 0.0).value, String::new(), String::new()],
        (None, _) => return ["–".to_owned(), String::new(), String::new()],
    };
    let shown = with_error(value, error);
    let interval = match (estimate.lower, estimate.upper) {
        (Some(low), Some(high)) => format!("{} … {}", decimal(low, shown.decimals), decimal(high, shown.decimals)),
        _ => String::new(),
    };
    [shown.value, shown.error, interval]
}

/// What an answer cost and left, and under what name it is kept.
pub(super) fn account(accepted: &Accepted, released: &Released, width: usize) -> String {
    let cost = charge_from_wire(accepted.cost.as_ref());
    let cut = format!("{} at {}", accepted.dataset, accepted.cut);
    let groups = released.all_groups.as_ref().map(all_groups).unwrap_or_default();
    let left: Vec<String> = released.left.iter().map(left_of).collect();
    let part = |part: &Part| format!("{} of {}: {}", part.dataset, part.agency, part.release_id);
    let parts: Vec<String> = released.parts.iter().map(part).collect();
    let left_out: Vec<String> = released.left_out.iter().map(left_out).collect();
    let left_out = left_out.join("\n");
    let missing: Vec<String> =
        released.missing.iter().map(|part| format!("{} of {}: {}", part.dataset, part.agency, part.why)).collect();
    let (mechanism, cost, left) = (accepted.mechanism.replace('_', " "), charged(cost), left.join("\n"));
    let (parts, missing) = (parts.join("\n"), missing.join("\n"));
    let mut told: Vec<(&str, &str)> = vec![
        ("Estimates", &released.estimand),
        ("All groups", &groups),
        ("Left out", &left_out),
        ("Dataset", &cut),
        ("Mechanism", &mechanism),
        ("Cost", &cost),
        ("Left", &left),
    ];
    // What is put together has no release of its own: each part has one.
    if parts.is_empty() {
        told.push(("Release", &released.release_id));
    } else {
        told.push(("Releases", &parts));
    }
    if !missing.is_empty() {
        told.push(("Missing", &missing));
    }
    fields(&told, width)
}

/// How many groups there are, shown or not.
fn all_groups(estimate: &Estimate) -> String {
    let [value, error, interval] = estimated(estimate);
    format!("{value} ± {error}, shown or not (95 %: {interval})")
}

/// What the bound on a person's rows leaves out of a cut, or how to learn it.
fn left_out(of: &LeftOut) -> String {
    let LeftOut { dataset, question, release_id, rows, persons } = of;
    match (rows, persons) {
        (Some(rows), Some(persons)) => {
            let ([rows, rows_error, _], [persons, persons_error, _]) = (estimated(rows), estimated(persons));
            format!(
                "{rows} ± {rows_error} rows of {persons} ± {persons_error} persons of {dataset}; release {release_id}"
            )
        }
        _ => format!("not measured at this cut yet; who asks pays once, for everybody: {question}"),
    }
}

fn left_of(account: &Account) -> String {
    let (limit, spent) = limit_and_spent(account);
    let left = Rho::from_nano(limit.rho.nano().saturating_sub(spent.rho.nano()));
    format!("ρ {left} of {}: {}", limit.rho, printable(&account.of))
}

/// An account's two sides.
pub(super) fn limit_and_spent(account: &Account) -> (Charge, Charge) {
    (charge_from_wire(account.limit.as_ref()), charge_from_wire(account.spent.as_ref()))
}

fn validated(said: &ValidateQueryResponse, width: usize) -> String {
    let cost = charge_from_wire(said.cost.as_ref());
    let names = |names: Vec<&str>| names.join(", ");
    let payable = if said.affordable { "yes" } else { "no: an account has less left; name a lower --rho" };
    let shown = said.selection.as_ref().map_or_else(String::new, |selection| {
        format!("groups whose noisy number of persons is at least {}", selection.threshold)
    });
    let mut text = "This would be answered. Nothing was read or charged.\n".to_owned();
    text += &fields(
        &[
            ("Dataset", &format!("{} at {}", said.dataset, said.cut)),
            ("Cost", &charged(cost)),
            ("Shown", &shown),
            ("Payable now", payable),
            ("Cells", &count(said.cells)),
            ("Grouped by", &names(said.groups.iter().map(String::as_str).collect())),
            ("Outputs", &names(said.columns.iter().map(|c| c.name.as_str()).collect())),
        ],
        width,
    );
    let mut noise = Table::new().text("Measured").number("Error of its noise, per cell");
    for measured in &said.noise {
        noise.row([&measured.measured, &with_error(0.0, measured.standard_error).error]);
    }
    text += "\n";
    text += &noise.render(width);
    text += &wrap("Errors are standard errors, but for those that are said to be a bound.", width).join("\n");
    text += "\n\nDecided, priced and signed as\n";
    for line in said.canonical_query.lines() {
        for piece in wrap(&printable(line), width.saturating_sub(2)) {
            text += &format!("  {piece}\n");
        }
    }
    text
}

/// What the price of a half-width is good for, and what not.
fn priced(said: &ValidateQueryResponse, half_width: f64, width: usize) -> String {
    let mut text = String::new();
    if !said.not_covered.is_empty() {
        text += &format!("\nNot known to be within ±{half_width} at that price\n");
        let told: Vec<_> = said.not_covered.iter().map(|output| (&*output.column, &*output.why)).collect();
        text += &fields(&told, width);
    }
    let rho = Rho::from_nano(said.rho_nano);
    text += &format!("\nAsk with --rho {rho} for 95 % intervals of ±{half_width} at most.\n");
    text
}

#[cfg(test)]
mod tests;
