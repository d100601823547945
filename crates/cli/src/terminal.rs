//! Where a command writes, and what may be written there.

use std::borrow::Cow;
use std::io::{self, Write};

/// The columns of a terminal that does not say how wide it is, and of files and pipes.
const USUAL_WIDTH: usize = 100;
/// Narrower than this no table is laid out.
const LEAST_WIDTH: usize = 40;

/// Where a command writes.
pub struct Terminal<'a> {
    /// Results: what a pipe passes on.
    pub out: &'a mut (dyn Write + Send),
    /// Progress, refusals and failures.
    pub err: &'a mut (dyn Write + Send),
    /// Columns that tables may take.
    pub width: usize,
    /// Whether a person sees `out` as it is written.
    pub out_is_terminal: bool,
    /// Whether a person sees `err` as it is written.
    pub err_is_terminal: bool,
}

impl Terminal<'_> {
    /// Writes a line of the result.
    ///
    /// # Errors
    /// What the system says, for instance that nobody reads any more.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.out, "{}", text.as_ref())
    }

    /// Writes a block of the result that ends in a line break of its own.
    ///
    /// # Errors
    /// As [`Terminal::line`].
    pub fn block(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        write!(self.out, "{}", text.as_ref())
    }

    /// Tells how things go. Nobody has to read it, so a failure to write it is none.
    pub fn note(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.err, "{}", text.as_ref());
    }

    /// Tells how things go in a block that ends in a line break of its own.
    pub fn note_block(&mut self, text: impl AsRef<str>) {
        let _ = write!(self.err, "{}", text.as_ref());
    }
}

/// How wide tables may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width(usize);

impl Width {
    /// The environment's `COLUMNS` if it holds a number, else the width of the terminal, else 100.
    #[must_use]
    pub fn of_environment() -> Self {
        let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self::of(std::env::var("COLUMNS").ok().as_deref(), terminal)
    }

    fn of(variable: Option<&str>, terminal: Option<usize>) -> Self {
        let said = variable.and_then(|text| text.parse().ok()).filter(|width| *width > 0);
        Self(said.or(terminal).unwrap_or(USUAL_WIDTH).max(LEAST_WIDTH))
    }

    /// Columns.
    #[must_use]
    pub const fn columns(self) -> usize {
        self.0
    }
}

/// The text with everything replaced that a terminal would obey instead of show.
///
/// SECURITY: titles, codes and refusals come over the network; an escape sequence in one could rewrite what a person
/// sees, and a direction mark could turn it round.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(obeyed) { Cow::Owned(text.replace(obeyed, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_columns_win_over_the_terminal_and_nonsense_does_not() {
        assert_eq!(Width::of(Some("77"), Some(120)).columns(), 77);
        assert_eq!(Width::of(Some("wide"), Some(120)).columns(), 120);
        assert_eq!(Width::of(Some("0"), None).columns(), USUAL_WIDTH);
        assert_eq!(Width::of(Some("5"), None).columns(), LEAST_WIDTH);
    }

    #[test]
    fn what_a_terminal_would_obey_is_replaced() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{9b}\u{202e}"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}");
        assert!(matches!(printable("Åre, 東京"), Cow::Borrowed("Åre, 東京")));
    }
}
