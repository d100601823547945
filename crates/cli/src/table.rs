//! Tables and lists of fields for a terminal.

use crate::terminal::printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
pub(crate) const GAP: usize = 2;
/// A column of text is not made narrower, and a heading not narrower than its longest word up to this.
const NARROWEST: usize = 12;

/// How a column lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    /// Text: wrapped where the table is too wide.
    Left,
    /// Numbers: never wrapped, never cut.
    Right,
    /// Drawings: as numbers, but on the left.
    Drawn,
}

#[derive(Debug, Clone)]
struct Column {
    heading: String,
    align: Align,
}

/// A table that fits a width: columns of text are wrapped at words; if that is not enough, each row is shown as a
/// list of fields. Nothing is ever left out.
///
/// ```
/// use firebreak::table::Table;
/// let mut table = Table::new().text("region").number("visits");
/// table.row(["north", "1200"]);
/// table.row(["south-west", "80"]);
/// assert_eq!(table.render(40), "\
/// region      visits
/// ──────────  ──────
/// north         1200
/// south-west      80
/// ");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column of text.
    #[must_use]
    pub fn text(self, heading: &str) -> Self {
        self.column(heading, Align::Left)
    }

    /// Adds a column of numbers.
    #[must_use]
    pub fn number(self, heading: &str) -> Self {
        self.column(heading, Align::Right)
    }

    /// Adds a column of drawings that are as wide as they are.
    #[must_use]
    pub fn drawing(self, heading: &str) -> Self {
        self.column(heading, Align::Drawn)
    }

    fn column(mut self, heading: &str, align: Align) -> Self {
        self.columns.push(Column { heading: printable(heading).into_owned(), align });
        self
    }

    /// Adds a row. Cells that it lacks are empty, cells too many are dropped.
    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let mut cells: Vec<String> = cells.into_iter().map(|cell| printable(cell.as_ref()).into_owned()).collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// Rows so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table in at most `width` columns, each line ended. Without rows it is the headings alone.
    #[must_use]
    pub fn render(&self, width: usize) -> String {
        match self.widths(width) {
            Some(widths) => self.as_grid(&widths),
            None => self.as_fields(width),
        }
    }

    /// The columns that it takes where nothing has to give way.
    #[must_use]
    pub fn full_width(&self) -> usize {
        self.full_widths().iter().sum::<usize>() + GAP * self.columns.len().saturating_sub(1)
    }

    fn full_widths(&self) -> Vec<usize> {
        let cells = |place: usize| self.rows.iter().filter_map(move |row| row.get(place));
        let columns = self.columns.iter().enumerate();
        columns
            .map(|(place, column)| cells(place).map(|c| c.width()).fold(column.heading.width(), usize::max))
            .collect()
    }

    /// What each column gets; `None` if even the narrowest layout is too wide.
    fn widths(&self, width: usize) -> Option<Vec<usize>> {
        let cells = |place: usize| self.rows.iter().filter_map(move |row| row.get(place));
        let widths = self.full_widths();
        // Words stay whole if they can: an identifier in two pieces is neither read nor copied with ease.
        let mut least: Vec<usize> = (0..self.columns.len())
            .map(|place| {
                cells(place).flat_map(|c| c.split(' ')).map(UnicodeWidthStr::width).fold(NARROWEST, usize::max)
            })
            .collect();
        loop {
            if let Some(found) = self.narrowed(widths.clone(), &least, width) {
                return Some(found);
            }
            // The longest words are broken first.
            let longest = least.iter_mut().max().filter(|longest| **longest > NARROWEST)?;
            *longest -= 1;
        }
    }

    /// The widest column of text gives way first, each down to its `least`; `None` if that is not enough.
    fn narrowed(&self, mut widths: Vec<usize>, least: &[usize], width: usize) -> Option<Vec<usize>> {
        let gaps = GAP * self.columns.len().saturating_sub(1);
        loop {
            let total: usize = widths.iter().sum::<usize>() + gaps;
            let excess = total.checked_sub(width).filter(|excess| *excess > 0);
            let Some(excess) = excess else { return Some(widths) };
            let columns = self.columns.iter().zip(&widths).zip(least).enumerate();
            let giving: Vec<_> = columns
                .filter(|(_, ((column, width), least))| column.align == Align::Left && width > least)
                .map(|(place, ((_, width), least))| (place, *width, *least))
                .collect();
            let (widest, most, own) = *giving.iter().max_by_key(|(_, width, _)| *width)?;
            let next =
                giving.iter().filter(|(place, ..)| *place != widest).map(|(_, width, _)| *width).max().unwrap_or(0);
            let floor = next.min(most - 1).max(own);
            if let Some(gives) = widths.get_mut(widest) {
                *gives = most.saturating_sub(excess).max(floor);
            }
        }
    }

    fn as_grid(&self, widths: &[usize]) -> String {
        let mut text = String::new();
        let headings: Vec<&str> = self.columns.iter().map(|c| c.heading.as_str()).collect();
        self.put_row(&mut text, &headings, widths);
        let rules: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        put_line(&mut text, &rules.join(&" ".repeat(GAP)));
        for row in &self.rows {
            self.put_row(&mut text, &row.iter().map(String::as_str).collect::<Vec<_>>(), widths);
        }
        text
    }

    fn put_row(&self, text: &mut String, cells: &[&str], widths: &[usize]) {
        let wrapped: Vec<Vec<String>> = cells.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
        let lines = wrapped.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..lines {
            let pieces = self.columns.iter().zip(&wrapped).zip(widths).map(|((column, cell), width)| {
                let piece = cell.get(line).map_or("", String::as_str);
                let pad = " ".repeat(width.saturating_sub(piece.width()));
                match column.align {
                    Align::Left | Align::Drawn => format!("{piece}{pad}"),
                    Align::Right => format!("{pad}{piece}"),
                }
            });
            put_line(text, &pieces.collect::<Vec<_>>().join(&" ".repeat(GAP)));
        }
    }

    fn as_fields(&self, width: usize) -> String {
        let rows = self.rows.iter().map(|row| {
            let mut cells: Vec<(&str, String)> = Vec::new();
            for (column, cell) in self.columns.iter().zip(row) {
                let before = cells.iter_mut().rfind(|(_, before)| !before.is_empty());
                match before.filter(|_| column.heading.is_empty() && !cell.is_empty()) {
                    // A mark has no name of its own: it stands behind what it marks.
                    Some((_, marked)) => *marked = format!("{marked}{}{cell}", " ".repeat(GAP)),
                    None => cells.push((&column.heading, cell.clone())),
                }
            }
            fields(&cells.iter().map(|(name, cell)| (*name, cell.as_str())).collect::<Vec<_>>(), width)
        });
        rows.collect::<Vec<_>>().join("\n")
    }
}

/// A list of fields, `name  text`, the text wrapped beside its name; empty texts are left out.
#[must_use]
pub fn fields(fields: &[(&str, &str)], width: usize) -> String {
    const INDENT: usize = 2;
    let fields: Vec<_> = fields.iter().filter(|(_, t)| !t.is_empty()).map(|(n, t)| (printable(n), *t)).collect();
    let most = (width / 2).saturating_sub(INDENT + GAP).max(1);
    let names = fields.iter().map(|(name, _)| name.width()).max().unwrap_or(0).min(most);
    let left = width.saturating_sub(INDENT + names + GAP).max(1);
    let mut text = String::new();
    for (name, said) in fields {
        let lines: Vec<String> = said.lines().flat_map(|line| wrap(&printable(line), left)).collect();
        let mut name = wrap(&name, names).into_iter();
        let mut lines = lines.into_iter();
        loop {
            let (name, line) = (name.next(), lines.next());
            if name.is_none() && line.is_none() {
                break;
            }
            let (name, line) = (name.unwrap_or_default(), line.unwrap_or_default());
            let pad = " ".repeat(names.saturating_sub(name.width()) + GAP);
            put_line(&mut text, &format!("{}{name}{pad}{line}", " ".repeat(INDENT)));
        }
    }
    text
}

/// A paragraph in lines of at most `width` columns, broken between words, and within a word only if it is longer than
/// a line.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if !line.is_empty() && line.width() + c.width().unwrap_or(0) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

fn put_line(text: &mut String, line: &str) {
    text.push_str(line.trim_end_matches(' '));
    text.push('\n');
}

#[cfg(test)]
mod tests;
