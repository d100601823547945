//! `firebreak query`.

use super::receipt;
use crate::arguments::{self, GatewayOptions};
use crate::client::{Ask, ClientError, QueryAnswer, Step, run_query, validate_query};
use crate::csv;
use crate::failure::Failure;
use crate::number::{count, decimal, loss, with_error};
use crate::table::{Table, fields, wrap};
use crate::terminal::{Terminal, printable};
use clap::Args;
use firebreak_domain::{Charge, CutId, RequestId, Rho};
use firebreak_wire::query::v1::{Accepted, Account, Estimate, Released, Row, ValidateQueryResponse};
use firebreak_wire::{charge_from_wire, estimate_status};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Arguments {
    /// One SELECT statement, for instance "SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region"
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
    /// Writes CSV with full precision to standard output, everything else to standard error
    #[arg(long)]
    csv: bool,
    /// Says what would be answered and what it would cost; asks and charges nothing
    #[arg(long, conflicts_with_all = ["csv", "receipt", "request_id"])]
    dry_run: bool,
    /// Stores the receipt, of a refusal too; `firebreak audit verify` checks it
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Repeats an earlier request, which costs nothing more
    #[arg(long, value_name = "HEX", value_parser = arguments::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    gateway: GatewayOptions,
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut ask = Ask::new(&arguments.agreement, &arguments.purpose, &arguments.sql)?;
    (ask.cut, ask.rho) = (arguments.cut, arguments.rho);
    ask.request_id = arguments.request_id.unwrap_or(ask.request_id);
    let connection = arguments.gateway.connect().await?;
    if arguments.dry_run {
        let said = validate_query(&connection, &ask).await?;
        return Ok(terminal.block(validated(&said, terminal.width))?);
    }
    let came = run_query(&connection, &ask, &mut |step| terminal.note(told(step))).await;
    note_retry(&came, &ask, terminal);
    let answer = receipt::keep(came, |a| a.released.receipt.as_str(), arguments.receipt.as_deref())?;
    if arguments.csv {
        terminal.block(csv::answer(&answer.accepted, &answer.rows))?;
        terminal.note_block(account(&answer.accepted, &answer.released, terminal.width));
    } else {
        terminal.block(shown(&answer, terminal.width))?;
    }
    Ok(())
}

/// After a failure, says how to ask again without paying again.
pub(super) fn note_retry<T>(came: &Result<T, ClientError>, ask: &Ask, terminal: &mut Terminal<'_>) {
    if let Err(ClientError::Failed { .. } | ClientError::Answer(_)) = came {
        terminal.note(format!("The request was {}: add --request-id {0} to repeat it.", ask.request_id));
    }
}

/// A step as a person follows it.
pub(super) fn told(step: Step<'_>) -> String {
    match step {
        Step::Accepted(accepted) => {
            let cost = charge_from_wire(accepted.cost.as_ref());
            let (dataset, cut) = (printable(&accepted.dataset), printable(&accepted.cut));
            format!("Accepted: {dataset} at {cut}, for {}", loss(cost.rho))
        }
        Step::Progress(words) => format!("… {}", printable(words)),
    }
}

/// An answer as `firebreak query` shows it: the table, what its marks mean, what it cost and left.
#[must_use]
pub(crate) fn shown(answer: &QueryAnswer, width: usize) -> String {
    let marked = answer.rows.iter().flat_map(|row| &row.estimates).any(|e| estimate_status(e) != "A");
    let mut table = answer.accepted.groups.iter().fold(Table::new(), |table, name| table.text(name));
    for column in &answer.accepted.columns {
        table = table.number(&column.name).number("± s.e.").number("95 % interval");
        if marked {
            table = table.text("");
        }
    }
    for row in &answer.rows {
        table.row(cells(row, marked));
    }
    let mut text = table.render(width);
    if marked {
        for meaning in ["U: unreliable, the standard error is above a quarter of the value", "O: not computable"] {
            text += &wrap(meaning, width).join("\n");
            text.push('\n');
        }
    }
    text.push('\n');
    text + &account(&answer.accepted, &answer.released, width)
}

fn cells(row: &Row, marked: bool) -> Vec<String> {
    let mut cells = row.groups.clone();
    for estimate in &row.estimates {
        cells.extend(estimated(estimate));
        if marked {
            let status = estimate_status(estimate);
            cells.push(if status == "A" { String::new() } else { status.to_owned() });
        }
    }
    cells
}

/// Value, standard error, interval.
fn estimated(estimate: &Estimate) -> [String; 3] {
    let (Some(value), Some(error)) = (estimate.value, estimate.standard_error) else {
        return ["–".to_owned(), String::new(), String::new()];
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
    let left: Vec<String> = released.left.iter().map(left_of).collect();
    fields(
        &[
            ("Estimates", &released.estimand),
            ("Dataset", &cut),
            ("Mechanism", &accepted.mechanism.replace('_', " ")),
            ("Cost", &loss(cost.rho)),
            ("Left", &left.join("\n")),
            ("Release", &released.release_id),
        ],
        width,
    )
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
    let mut text = "This would be answered. Nothing was read or charged.\n".to_owned();
    text += &fields(
        &[
            ("Dataset", &format!("{} at {}", said.dataset, said.cut)),
            ("Cost", &loss(cost.rho)),
            ("Payable now", payable),
            ("Cells", &count(said.cells)),
            ("Grouped by", &names(said.groups.iter().map(String::as_str).collect())),
            ("Outputs", &names(said.columns.iter().map(|c| c.name.as_str()).collect())),
        ],
        width,
    );
    let mut noise = Table::new().text("Measured").number("Standard error of its noise, per cell");
    for measured in &said.noise {
        noise.row([&measured.measured, &with_error(0.0, measured.standard_error).error]);
    }
    text += "\n";
    text += &noise.render(width);
    text += "\nDecided, priced and signed as\n";
    for line in said.canonical_query.lines() {
        for piece in wrap(&printable(line), width.saturating_sub(2)) {
            text += &format!("  {piece}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests;
