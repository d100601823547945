//! What is told while an answer is made.

use crate::client::Step;
use crate::number::charged;
use crate::terminal::{Terminal, printable};
use firebreak_wire::charge_from_wire;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use unicode_width::UnicodeWidthChar;

/// Between two states of the line, and before the first.
const TICK: Duration = Duration::from_secs(1);
/// Back to the beginning of the line, and nothing on it.
const CLEAR: &str = "\r\u{1b}[K";

/// Tells how a request goes: that it was accepted, on a line that stays; then, on a terminal, from one second on, what
/// is done and since when, on a line that is gone at the end. In a file or a pipe each step is a line.
pub(super) struct Progress<'a, 'b>(Mutex<State<'a, 'b>>);

struct State<'a, 'b> {
    terminal: &'a mut Terminal<'b>,
    began: Instant,
    doing: String,
    /// Whether the line stands there.
    shown: bool,
}

impl<'a, 'b> Progress<'a, 'b> {
    /// Begins now.
    pub(super) fn of(terminal: &'a mut Terminal<'b>) -> Self {
        let doing = "asking the gateway".to_owned();
        Self(Mutex::new(State { terminal, began: Instant::now(), doing, shown: false }))
    }

    /// Takes up a step.
    pub(super) fn step(&self, step: Step<'_>) {
        let mut state = self.state();
        match step {
            Step::Progress(words) if state.terminal.err_is_terminal => state.doing = printable(words).into_owned(),
            told_for_good => {
                state.clear();
                state.terminal.note(told(told_for_good));
            }
        }
    }

    /// Waits for the request, and keeps the line meanwhile.
    pub(super) async fn follow<T>(&self, request: impl Future<Output = T>) -> T {
        let mut request = pin!(request);
        loop {
            match timeout(TICK, &mut request).await {
                Ok(came) => {
                    self.state().clear();
                    return came;
                }
                Err(_) => self.state().show(),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<'a, 'b>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State<'_, '_> {
    fn show(&mut self) {
        if self.terminal.err_is_terminal {
            let line = format!("… {}, {} s", self.doing, self.began.elapsed().as_secs());
            // The last column stays free: some terminals go on to the next line once it is taken.
            let line = cut(&line, self.terminal.width.saturating_sub(1));
            self.terminal.note_block(format!("{CLEAR}{line}"));
            self.shown = true;
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.terminal.note_block(CLEAR);
        }
    }
}

/// A step as a person follows it.
fn told(step: Step<'_>) -> String {
    match step {
        Step::Accepted(accepted) => {
            let cost = charge_from_wire(accepted.cost.as_ref());
            let (dataset, cut) = (printable(&accepted.dataset), printable(&accepted.cut));
            format!("Accepted: {dataset} at {cut}, for {}", charged(cost))
        }
        Step::Progress(words) => format!("… {}", printable(words)),
    }
}

/// As much of the text as fits into so many columns.
pub(super) fn cut(text: &str, width: usize) -> String {
    let mut taken = 0;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken <= width
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_domain::{Charge, Rho};
    use firebreak_wire::charge_to_wire;
    use firebreak_wire::query::v1::Accepted;
    use tokio::time::sleep;

    const ACCEPTED: &str = "Accepted: health.visits at 2024-Q4, for ρ 0.005 (ε 0.53 at δ = 1e-6)\n";

    /// What is told on a terminal, or in a file, of a request whose answer takes so long.
    async fn told_of(milliseconds: u64, width: usize, err_is_terminal: bool) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal { out: &mut out, err: &mut err, width, out_is_terminal: true, err_is_terminal };
        let progress = Progress::of(&mut terminal);
        let accepted = Accepted {
            cost: Some(charge_to_wire(Charge::of_rho(Rho::from_nano(5_000_000)))),
            dataset: "health.visits".into(),
            cut: "2024-Q4".into(),
            ..Accepted::default()
        };
        let request = async {
            progress.step(Step::Accepted(&accepted));
            progress.step(Step::Progress("asking the\u{1b}agency"));
            sleep(Duration::from_millis(milliseconds)).await;
            7
        };
        assert_eq!(progress.follow(request).await, 7);
        assert!(out.is_empty());
        String::from_utf8(err).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_answer_is_told_without_a_line() {
        assert_eq!(told_of(900, 80, true).await, ACCEPTED);
    }

    #[tokio::test(start_paused = true)]
    async fn from_one_second_on_a_line_tells_what_is_done_and_since_when_and_is_cleared() {
        let line = |seconds: u32| format!("{CLEAR}… asking the\u{fffd}agency, {seconds} s");
        assert_eq!(told_of(2500, 80, true).await, format!("{ACCEPTED}{}{}{CLEAR}", line(1), line(2)));
        let narrow = told_of(1500, 12, true).await;
        assert!(narrow.ends_with(&format!("{CLEAR}… asking th{CLEAR}")), "{narrow:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_file_each_step_is_a_line() {
        assert_eq!(told_of(2500, 80, false).await, format!("{ACCEPTED}… asking the\u{fffd}agency\n"));
    }
}
