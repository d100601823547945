//! `firebreak match`.

use super::hand_out::OutOptions;
use super::pace::{Pace, Told};
use super::progress::cut;
use super::receipt;
use crate::arguments::{self, LocalOptions};
use crate::client::{ClientError, Connection, MatchAsk, run_match};
use crate::failure::Failure;
use crate::number::count;
use crate::table::{fields, wrap};
use crate::terminal::{Terminal, printable};
use clap::Args;
use firebreak_domain::{ReasonCode, RequestId, Timestamp};
use firebreak_wire::local::v1::{MatchProgress, MatchSummary};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Cells of the bar.
const BAR: usize = 30;
/// A bar that does not move is drawn again so often, with the rate and the time left by then.
const AGAIN: Duration = Duration::from_secs(1);
/// Nothing more on the line.
const CLEAR: &str = "\u{1b}[K";
/// Where no bar can be drawn, a line is written each time that so many more hundredths are done.
const STRIDE: u64 = 10;

/// Refusals after which the same request goes on where it was.
const RESUMED: [&str; 3] =
    [ReasonCode::ConnectionLost.as_str(), ReasonCode::PeerStalled.as_str(), ReasonCode::BundleMismatch.as_str()];

#[derive(Args)]
pub(crate) struct Arguments {
    /// The data-sharing agreement, which names both agencies, their datasets and the match keys
    #[arg(long)]
    agreement: String,
    /// The purpose, as the agreement names it
    #[arg(long)]
    purpose: String,
    /// Which of your agency's own records take part, as a condition: "birth_year BETWEEN 2010 AND 2018" [default: all]
    #[arg(long, value_name = "WHERE")]
    selection: Option<String>,
    /// Matches by this one of the agreement's keys alone [default: all, the strongest first, each for whoever is left]
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// For a weaker key, the request of the finished match by the next stronger one
    #[arg(long, value_name = "HEX", requires = "key", value_parser = arguments::request_id)]
    after: Option<RequestId>,
    /// Stores the receipt of the authorisation, or of the refusal. That of a further key goes to a file beside it, with
    /// the key in its name, and so does --out
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Resumes a match that was cut off
    #[arg(long, value_name = "HEX", value_parser = arguments::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    out: OutOptions,
    #[command(flatten)]
    local: LocalOptions,
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut ask = MatchAsk::new(&arguments.agreement, &arguments.purpose)?;
    ask.selection = arguments.selection.unwrap_or_default();
    ask.request_id = arguments.request_id.unwrap_or(ask.request_id);
    (ask.key, ask.after) = (arguments.key.unwrap_or_default(), arguments.after);
    let alone = !ask.key.is_empty();
    let (mut out, mut receipt) = (arguments.out.open()?, arguments.receipt);
    ask.hand_out = out.is_some();
    let connection = arguments.local.connect().await?;
    let (first_out, first_receipt) = (out.clone(), receipt.clone());
    let (mut finished, mut not_taken) = (Vec::new(), None);
    let ran = loop {
        let summary = match by_one_key(&connection, &ask, receipt.as_deref(), terminal).await {
            Ok(summary) => summary,
            Err(failure) => break Err(failure),
        };
        if ask.hand_out {
            finished.push((out.take(), summary.session_id));
        }
        let key = summary.next_key;
        if key.is_empty() {
            break Ok(());
        }
        let next = ask.next(&key);
        if alone {
            let words = resuming(&next);
            terminal.note(format!("A weaker key is left, for whoever is: {words} matches by it."));
            break Ok(());
        }
        terminal.note(format!("Next by the weaker key {}, for whoever is left.", printable(&key)));
        // PRIVACY: the weaker key runs whatever became of files. Who sees how many matched before it does, and then decides
        // whether it does, tells the sender.
        out = match first_out.as_ref().map(|out| out.of_key(&key)).transpose() {
            Ok(out) => out,
            Err(failure) => {
                not_taken.get_or_insert(failure);
                None
            }
        };
        receipt = first_receipt.as_deref().map(|file| of_key(file, &key));
        ask = next;
    };
    // PRIVACY: taking keys out takes longer the more matched: nothing of it comes between two keys, whose tunnels the
    // sender and the gateway see.
    let mut stopped = false;
    for (out, session) in &finished {
        let taken = match out {
            // Each is an entry in the register: whoever stopped one wants no other.
            Some(out) if !stopped => out.take(&connection, session, terminal).await.map(|()| true),
            _ => Ok(false),
        };
        match taken {
            Ok(true) => continue,
            Ok(false) => {}
            Err(failure) => {
                stopped = true;
                not_taken.get_or_insert(failure);
            }
        }
        let session = hex::encode(session);
        terminal.note(format!("Not taken out: firebreak matched --session {session} --out FILE does it."));
    }
    match (ran, not_taken) {
        (Err(failure), Some(also)) => {
            terminal.note(also.to_string());
            Err(failure)
        }
        (ran, not_taken) => ran.and(not_taken.map_or(Ok(()), Err)),
    }
}

/// Matches by one key, and shows what came of it.
async fn by_one_key(
    connection: &Connection,
    ask: &MatchAsk,
    receipt: Option<&Path>,
    terminal: &mut Terminal<'_>,
) -> Result<MatchSummary, Failure> {
    let mut bar = Bar::new(terminal.err_is_terminal, terminal.width);
    let mut shown_step = |progress: &MatchProgress| terminal.note_block(bar.step(progress, Instant::now()));
    let came = run_match(connection, ask, &mut shown_step).await;
    terminal.note_block(bar.end());
    let resumes = match &came {
        Err(ClientError::Failed { .. } | ClientError::Answer(_)) => true,
        Err(ClientError::Refused(refused)) => RESUMED.contains(&refused.refusal.reason.as_str()),
        _ => false,
    };
    if resumes {
        terminal.note(format!("The request was {}: add {} to resume it.", ask.request_id, resuming(ask)));
    }
    let summary = receipt::keep(came, |summary| summary.receipt.as_str(), receipt)?;
    terminal.block(shown(&summary, terminal.width))?;
    Ok(summary)
}

/// The options by which the same match is asked for again.
fn resuming(ask: &MatchAsk) -> String {
    let key = if ask.key.is_empty() { String::new() } else { format!("--key {} ", printable(&ask.key)) };
    let after = ask.after.map(|after| format!("--after {after} ")).unwrap_or_default();
    format!("{key}{after}--request-id {}", ask.request_id)
}

/// The name of a file beside `file` for what comes of a further key.
pub(super) fn of_key(file: &Path, key: &str) -> PathBuf {
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push("-");
    name.push(key);
    if let Some(extension) = file.extension() {
        name.push(".");
        name.push(extension);
    }
    file.with_file_name(name)
}

/// What is said of matches that people have to look at.
pub(super) fn provisional(key: &str) -> String {
    format!(
        "Matched by key {}, provisionally: nothing may follow from any of them before somebody has looked at it.",
        printable(key)
    )
}

fn shown(summary: &MatchSummary, width: usize) -> String {
    let mut counts = vec![
        ("Own records that took part", count(summary.offered)),
        ("Held by the other agency too", count(summary.matched)),
        ("Without a usable identifier", count(summary.unusable)),
        ("Withheld by consent or restriction", count(summary.withheld)),
        ("Matched by key", summary.key.clone()),
    ];
    if let Some(payload) = &summary.payload {
        counts.extend([
            ("Disclosed with columns", count(payload.disclosed)),
            ("Matched, and nothing disclosed", count(payload.undisclosed)),
            ("Matched, and the row unreadable", count(payload.unreadable)),
        ]);
    }
    if summary.held_until != 0 {
        counts.push(("List of this epoch held until", Timestamp::from_secs(summary.held_until).to_string()));
    }
    let counts: Vec<_> = counts.iter().map(|(name, count)| (*name, count.as_str())).collect();
    let counted = fields(&counts, width);
    let mut said = String::new();
    if summary.provisional {
        said = wrap(&provisional(&summary.key), width).join("\n") + "\n";
    }
    // In one piece however narrow the terminal is: it is there to be copied.
    format!("{counted}{said}\nList them: firebreak matched --session {}\n", hex::encode(&summary.session_id))
}

/// Progress: a bar that is drawn over itself on a terminal, with rate and time left; lines elsewhere.
struct Bar {
    on_terminal: bool,
    /// Columns of the terminal.
    width: usize,
    last: Option<Drawn>,
    /// Of the step last shown.
    pace: Pace,
}

/// What was last shown, and when.
struct Drawn {
    step: String,
    hundredths: u64,
    at: Instant,
}

impl Bar {
    fn new(on_terminal: bool, width: usize) -> Self {
        Self { on_terminal, width, last: None, pace: Pace::default() }
    }

    /// What to write for a step; nothing where it would show nothing new.
    fn step(&mut self, progress: &MatchProgress, now: Instant) -> String {
        let step = printable(&progress.step).into_owned();
        let hundredths = progress.done.min(progress.of).saturating_mul(100).checked_div(progress.of).unwrap_or(0);
        let new_step = self.last.as_ref().is_none_or(|last| last.step != step);
        if new_step {
            self.pace = Pace::default();
        }
        let told = self.pace.step(now, progress.done, progress.of);
        let moved = self.last.as_ref().map_or(0, |last| hundredths.saturating_sub(last.hundredths));
        let again = self.last.as_ref().is_some_and(|last| now.saturating_duration_since(last.at) >= AGAIN);
        let news = if self.on_terminal { moved > 0 || (again && told.is_some()) } else { moved >= STRIDE };
        if !new_step && !news {
            return String::new();
        }
        let open = self.last.replace(Drawn { step: step.clone(), hundredths, at: now }).is_some();
        let of = if progress.of == 0 { String::new() } else { format!(" {hundredths} %") };
        if !self.on_terminal {
            return format!("… {step}{of}\n");
        }
        // A finished step stays on its own line.
        let start = match (open, new_step) {
            (true, true) => "\n",
            (true, false) => "\r",
            (false, _) => "",
        };
        // The last column stays free: some terminals go on to the next line once it is taken.
        let line = cut(&drawn(&step, hundredths, progress, told), self.width.saturating_sub(1));
        format!("{start}{line}{CLEAR}")
    }

    /// Leaves the line on which the bar was drawn.
    fn end(&mut self) -> &'static str {
        if self.on_terminal && self.last.take().is_some() { "\n" } else { "" }
    }
}

/// The line of a step on a terminal.
fn drawn(step: &str, hundredths: u64, progress: &MatchProgress, told: Option<Told>) -> String {
    if progress.of == 0 {
        return step.to_owned();
    }
    let full = usize::try_from(hundredths).unwrap_or(0).saturating_mul(BAR) / 100;
    let bar = format!("[{}{}]", "█".repeat(full), " ".repeat(BAR.saturating_sub(full)));
    let pace = told.map(|told| format!(", {}", told.words(&printable(&progress.unit)))).unwrap_or_default();
    format!("{bar} {hundredths} % {step}{pace}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_wire::local::v1::MatchPayload;

    /// What is written for steps that come so many milliseconds one after another, on a terminal of 100 columns.
    fn written(on_terminal: bool, apart: u64, steps: &[(&str, u64, u64)]) -> String {
        let (mut now, mut bar) = (Instant::now(), Bar::new(on_terminal, 100));
        let mut text = String::new();
        for (step, done, of) in steps {
            let unit = if *of == 0 { "" } else { "elements" }.to_owned();
            text += &bar.step(&MatchProgress { step: (*step).to_owned(), done: *done, of: *of, unit }, now);
            now += Duration::from_millis(apart);
        }
        text + bar.end()
    }

    fn drawn(on_terminal: bool, steps: &[(&str, u64, u64)]) -> String {
        written(on_terminal, 0, steps)
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
        assert!(text.ends_with(&format!("\r[{}] 100 % evaluating{CLEAR}\n", "█".repeat(BAR))), "{text:?}");
    }

    #[test]
    fn on_a_terminal_rate_and_time_left_are_told_and_elsewhere_they_are_not() {
        let steps = [("forming", 0, 0), ("evaluating", 0, 100_000), ("evaluating", 1000, 100_000), ("tags", 5, 10)];
        let text = written(true, 1000, &steps).replace('\u{202f}', " ");
        assert!(text.contains(&format!(" 1 % evaluating, 1 000 elements/s, 1 min 39 s left{CLEAR}\n[")), "{text:?}");
        // A new step has no rate of the one before.
        assert!(text.ends_with(&format!(" 50 % tags{CLEAR}\n")), "{text:?}");
        assert!(!written(false, 1000, &steps).contains("/s"));
    }

    #[test]
    fn a_bar_that_does_not_move_is_drawn_again_each_second_with_the_time_left() {
        let steps: Vec<_> = (0..=20).map(|done| ("evaluating", done, 100_000)).collect();
        assert_eq!(written(true, 250, &steps).matches("left").count(), 5);
        assert_eq!(written(false, 250, &steps).lines().count(), 1);
    }

    #[test]
    fn a_line_fits_into_the_terminal() {
        let mut bar = Bar::new(true, 40);
        let step = "a step with a name that is longer than the line".to_owned();
        let line = bar.step(&MatchProgress { step, done: 1, of: 2, unit: String::new() }, Instant::now());
        assert_eq!(line.strip_suffix(CLEAR).unwrap().chars().count(), 39, "{line:?}");
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
            payload: None,
            key: "number".into(),
            provisional: false,
            next_key: "names".into(),
            held_until: 0,
        };
        let text = shown(&summary, 80).replace('\u{202f}', " ");
        let list = format!("firebreak matched --session {}\n", "ab".repeat(32));
        for part in ["21 000", "1 234", &list] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("Disclosed") && !text.contains("held until"), "{text}");
        let text = shown(&MatchSummary { held_until: 1_750_000_000, ..summary.clone() }, 80);
        assert!(text.contains("List of this epoch held until") && text.contains("2025-06-15T15:06:40Z"), "{text}");
        let payload = Some(MatchPayload { disclosed: 1200, undisclosed: 31, unreadable: 3 });
        let text = shown(&MatchSummary { payload, ..summary }, 80).replace('\u{202f}', " ");
        for part in ["Disclosed with columns", "1 200", "nothing disclosed", "31", "unreadable"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_provisional_match_says_so_and_by_which_key_it_was_made() {
        let summary = |provisional| MatchSummary { key: "names".into(), provisional, ..MatchSummary::default() };
        let text = shown(&summary(true), 80);
        assert!(text.contains("Matched by key names, provisionally"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let text = shown(&summary(false), 80);
        assert!(text.contains("names") && !text.contains("provisionally"), "{text}");
    }

    #[test]
    fn a_match_by_a_weaker_key_is_asked_for_again_in_the_same_words() {
        let mut ask = MatchAsk::new("round", "round").unwrap();
        ask.request_id = RequestId::from_bytes([1; 16]);
        let first = "01".repeat(16);
        assert_eq!(resuming(&ask), format!("--request-id {first}"));
        let next = ask.next("names");
        assert_eq!(resuming(&next), format!("--key names --after {first} --request-id {}", next.request_id));
        assert_eq!(next.request_id, ask.next("names").request_id, "it is another request each time");
        assert_ne!(next.request_id, ask.next("passport").request_id);
        assert_eq!(next.next("passport").after, Some(next.request_id));
    }

    #[test]
    fn what_comes_of_a_further_key_goes_to_a_file_beside_the_first() {
        for (file, beside) in [
            ("a/keys.csv", "a/keys-names.csv"),
            ("receipt", "receipt-names"),
            ("a.b/keys.tar.gz", "a.b/keys.tar-names.gz"),
        ] {
            assert_eq!(of_key(Path::new(file), "names"), Path::new(beside));
        }
    }
}
