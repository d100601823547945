//! `firebreak match`.

use super::receipt;
use crate::arguments::{self, LocalOptions};
use crate::client::{ClientError, MatchAsk, run_match};
use crate::failure::Failure;
use crate::number::count;
use crate::table::fields;
use crate::terminal::{Terminal, printable};
use clap::Args;
use firebreak_domain::RequestId;
use firebreak_wire::local::v1::{MatchProgress, MatchSummary};
use std::path::PathBuf;

/// Cells of the bar.
const BAR: usize = 30;
/// Where no bar can be drawn, a line is written each time that so many more hundredths are done.
const STRIDE: u64 = 10;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The data-sharing agreement, which names both agencies, their datasets and the match key
    #[arg(long)]
    agreement: String,
    /// The purpose, as the agreement names it
    #[arg(long)]
    purpose: String,
    /// Which of your agency's own records take part, as a condition: "birth_year BETWEEN 2010 AND 2018" [default: all]
    #[arg(long, value_name = "WHERE")]
    selection: Option<String>,
    /// Stores the receipt of the authorisation, or of the refusal
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Resumes a match that was cut off
    #[arg(long, value_name = "HEX", value_parser = arguments::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    local: LocalOptions,
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut ask = MatchAsk::new(&arguments.agreement, &arguments.purpose)?;
    ask.selection = arguments.selection.unwrap_or_default();
    ask.request_id = arguments.request_id.unwrap_or(ask.request_id);
    let connection = arguments.local.connect().await?;
    let mut bar = Bar::new(terminal.err_is_terminal);
    let came = run_match(&connection, &ask, &mut |progress| terminal.note_block(bar.step(progress))).await;
    terminal.note_block(bar.end());
    if let Err(ClientError::Failed { .. } | ClientError::Answer(_)) = came {
        terminal.note(format!("The request was {}: add --request-id {0} to resume it.", ask.request_id));
    }
    let summary = receipt::keep(came, |summary| summary.receipt.as_str(), arguments.receipt.as_deref())?;
    Ok(terminal.block(shown(&summary, terminal.width))?)
}

fn shown(summary: &MatchSummary, width: usize) -> String {
    let counted = fields(
        &[
            ("Own records that took part", &count(summary.offered)),
            ("Held by the other agency too", &count(summary.matched)),
            ("Without a usable identifier", &count(summary.unusable)),
            ("Withheld by consent or restriction", &count(summary.withheld)),
        ],
        width,
    );
    // In one piece however narrow the terminal is: it is there to be copied.
    format!("{counted}\nList them: firebreak matched --session {}\n", hex::encode(&summary.session_id))
}

/// Progress: a bar that is drawn over itself on a terminal, lines elsewhere.
struct Bar {
    on_terminal: bool,
    /// Step and hundredths last shown.
    last: Option<(String, u64)>,
}

impl Bar {
    const fn new(on_terminal: bool) -> Self {
        Self { on_terminal, last: None }
    }

    /// What to write for a step; nothing where it would show nothing new.
    fn step(&mut self, progress: &MatchProgress) -> String {
        let words = printable(&progress.step).into_owned();
        let hundredths = progress.done.min(progress.of).saturating_mul(100).checked_div(progress.of).unwrap_or(0);
        let new_step = self.last.as_ref().is_none_or(|(last, _)| *last != words);
        let moved = self.last.as_ref().map_or(0, |(_, last)| hundredths.saturating_sub(*last));
        let stride = if self.on_terminal { 1 } else { STRIDE };
        if !new_step && moved < stride {
            return String::new();
        }
        let open = self.last.replace((words.clone(), hundredths)).is_some();
        let of = if progress.of == 0 { String::new() } else { format!(" {hundredths} %") };
        if !self.on_terminal {
            return format!("… {words}{of}\n");
        }
        let full = usize::try_from(hundredths).unwrap_or(0) * BAR / 100;
        let drawn = format!("[{}{}]", "█".repeat(full), " ".repeat(BAR.saturating_sub(full)));
        // A finished step stays on its own line.
        let start = match (open, new_step) {
            (true, true) => "\n",
            (true, false) => "\r",
            (false, _) => "",
        };
        if progress.of == 0 { format!("{start}{words}") } else { format!("{start}{drawn}{of} {words}") }
    }

    /// Leaves the line on which the bar was drawn.
    fn end(&mut self) -> &'static str {
        if self.on_terminal && self.last.take().is_some() { "\n" } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(on_terminal: bool, steps: &[(&str, u64, u64)]) -> String {
        let mut bar = Bar::new(on_terminal);
        let mut text = String::new();
        for (step, done, of) in steps {
            text += &bar.step(&MatchProgress { step: (*step).to_owned(), done: *done, of: *of });
        }
        text + bar.end()
    }

    #[test]
    fn without_a_terminal_each_step_and_each_tenth_is_a_line() {
        let mut steps = vec![("forming the set", 0, 0)];
        steps.extend((0..=1000).map(|done| ("evaluating", done, 1000)));
        let text = drawn(false, &steps);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.first(), Some(&"… forming the set"));
        assert_eq!((lines.get(1), lines.last()), (Some(&"… evaluating 0 %"), Some(&"… evaluating 100 %")));
        assert_eq!(lines.len(), 12, "{text}");
    }

    #[test]
    fn on_a_terminal_a_step_is_drawn_over_itself_and_ends_its_line() {
        let text = drawn(true, &[("forming", 0, 0), ("evaluating", 0, 4), ("evaluating", 2, 4), ("evaluating", 4, 4)]);
        assert_eq!(text.matches('\n').count(), 2, "{text:?}");
        assert_eq!(text.matches('\r').count(), 2, "{text:?}");
        assert!(text.ends_with(&format!("\r[{}] 100 % evaluating\n", "█".repeat(BAR))), "{text:?}");
    }

    #[test]
    fn more_done_than_there_is_draws_a_full_bar() {
        assert!(drawn(true, &[("x", 9, 4)]).contains("100 %"));
        assert!(drawn(true, &[("x", u64::MAX, u64::MAX)]).contains(" % x"));
    }

    #[test]
    fn a_summary_counts_and_says_how_to_list() {
        let summary = MatchSummary {
            session_id: vec![0xab; 32],
            offered: 21_000,
            matched: 1234,
            unusable: 5,
            withheld: 7,
            receipt: "r".into(),
        };
        let text = shown(&summary, 80).replace('\u{202f}', " ");
        let list = format!("firebreak matched --session {}\n", "ab".repeat(32));
        for part in ["21 000", "1 234", &list] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
