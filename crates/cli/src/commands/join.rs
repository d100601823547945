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

/// Every join as a list of fields, an empty line between two: what became of each thing, and its hash in the log.
fn shown(joins: &[ReplayedJoin], width: usize) -> String {
    joins.iter().map(|join| one(join, width)).collect::<Vec<_>>().join("\n")
}

fn one(join: &ReplayedJoin, width: usize) -> String {
    let (committed, sent) = (join.committed.clone().unwrap_or_default(), join.sent.clone().unwrap_or_default());
    let with = |outcome: ReplayOutcome, hash: &[u8]| format!("{}\n{}", words(outcome), hex::encode(hash));
    let leaf = match join.commitment() {
        ReplayOutcome::Equal => "opens to the seed, key, terms and own list below",
        ReplayOutcome::Different => "DIFFERENT: it does not open to the seed, key, terms and own list below",
        other => words(other),
    };
    // Names of at most eleven letters leave room for a hash in eighty columns.
    fields(
        &[
            ("Session", &hex::encode(&join.session)),
            ("Leaf", &format!("{leaf}\n{}", hex::encode(&join.leaf))),
            ("Seed", &hex::encode(&committed.seed)),
            ("Key", &with(join.key(), &committed.key)),
            ("Terms", &with(join.terms(), &committed.terms)),
            ("Own list", &with(join.own_list(), &committed.own_list)),
            ("Received", &hex::encode(&sent.received)),
            ("Added", &with(join.added(), &sent.added)),
            ("Sent on", &with(join.sent_on(), &sent.sent_on)),
            ("Other's key", &hex::encode(&sent.their_key)),
        ],
        width,
    )
}

const fn words(outcome: ReplayOutcome) -> &'static str {
    match outcome {
        ReplayOutcome::Equal => "as committed",
        ReplayOutcome::Different => "DIFFERENT from what was committed",
        ReplayOutcome::NotSent => "the join did not come so far",
        ReplayOutcome::Gone => {
            "cannot be made again: the cut or the session's files are deleted, or the contract has changed"
        }
        ReplayOutcome::NotCommitted => "an earlier program began the join and did not commit to it",
        ReplayOutcome::Unspecified => "an outcome that this program does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_wire::local::v1::{ReplayedCommitment, ReplayedSending};

    #[test]
    fn what_differs_stands_out_and_every_hash_stands_whole_beside_its_name() {
        let join = |own: ReplayOutcome, commitment: ReplayOutcome, sent: Option<ReplayedSending>| ReplayedJoin {
            session: vec![0xab; 32],
            leaf: vec![0x10; 32],
            commitment: commitment.into(),
            key: ReplayOutcome::Equal.into(),
            terms: ReplayOutcome::Equal.into(),
            own_list: own.into(),
            added: ReplayOutcome::Equal.into(),
            sent_on: ReplayOutcome::Gone.into(),
            committed: Some(ReplayedCommitment {
                seed: vec![0x11; 32],
                key: vec![0x12; 32],
                terms: vec![0x13; 32],
                own_list: vec![0x14; 32],
            }),
            sent,
        };
        let sent = ReplayedSending {
            received: vec![0x15; 32],
            added: vec![0x16; 32],
            sent_on: vec![0x17; 32],
            their_key: vec![0x18; 32],
        };
        let whole = join(ReplayOutcome::Different, ReplayOutcome::Equal, Some(sent));
        let begun = join(ReplayOutcome::NotSent, ReplayOutcome::Different, None);
        let text = shown(&[whole, begun], 80);
        assert_eq!(text.matches("DIFFERENT").count(), 2);
        assert_eq!(text.matches(&"ab".repeat(32)).count(), 2);
        for (hash, times) in [(0x10, 2), (0x11, 2), (0x12, 2), (0x13, 2), (0x14, 2), (0x15, 1), (0x16, 1), (0x17, 1)] {
            assert_eq!(text.matches(&hex::encode([hash; 32])).count(), times, "{text}");
        }
        let theirs = text.lines().find(|line| line.contains("Other's key")).unwrap();
        assert!(theirs.ends_with(&"18".repeat(32)), "{text}");
        assert_eq!(shown(&[], 100), "");
    }
}
