//! `firebreak join`.

use crate::arguments::{LocalOptions, request_id};
use crate::client::replay_join;
use crate::failure::Failure;
use crate::table::fields;
use crate::terminal::Terminal;
use clap::{Args, Subcommand};
use firebreak_domain::RequestId;
use firebreak_wire::local::v1::{ReplayOutcome, ReplayedJoin};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Has your agency's adapter make again what it sent in a join, and compare it with what it committed to in the log
    Replay(Replay),
}

#[derive(Args)]
pub(crate) struct Replay {
    /// The id of the request for the join, as its receipt names it
    #[arg(value_name = "REQUEST", value_parser = request_id)]
    request: RequestId,
    #[command(flatten)]
    local: LocalOptions,
}

pub(crate) async fn run(command: Command, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let Command::Replay(Replay { request, local }) = command;
    let connection = local.connect().await?;
    let joins = replay_join(&connection, &request).await?;
    if joins.is_empty() {
        terminal.note("No join of that request is kept: it was never begun here, or its time has passed.");
    }
    Ok(terminal.block(shown(&joins, terminal.width))?)
}

/// Every join as a list of fields, an empty line between two.
fn shown(joins: &[ReplayedJoin], width: usize) -> String {
    let one = |join: &ReplayedJoin| {
        fields(
            &[
                ("Session", &hex::encode(&join.session)),
                ("Own list", words(join.own_list())),
                ("Added", words(join.added())),
                ("Sent on", words(join.sent_on())),
            ],
            width,
        )
    };
    joins.iter().map(one).collect::<Vec<_>>().join("\n")
}

const fn words(outcome: ReplayOutcome) -> &'static str {
    match outcome {
        ReplayOutcome::Equal => "as committed",
        ReplayOutcome::Different => "DIFFERENT from what was committed",
        ReplayOutcome::NotSent => "the join did not come so far",
        ReplayOutcome::Gone => "cannot be made again: the session's files are deleted, or the contract has changed",
        ReplayOutcome::Unspecified => "an outcome that this program does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_stands_out() {
        let join = |own: ReplayOutcome| ReplayedJoin {
            session: vec![0xab; 32],
            own_list: own.into(),
            added: ReplayOutcome::Equal.into(),
            sent_on: ReplayOutcome::Gone.into(),
        };
        let text = shown(&[join(ReplayOutcome::Different), join(ReplayOutcome::NotSent)], 100);
        assert_eq!(text.matches("DIFFERENT").count(), 1);
        assert_eq!(text.matches(&"ab".repeat(32)).count(), 2);
        assert_eq!(shown(&[], 100), "");
    }
}
