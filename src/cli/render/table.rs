//! Columns that line up.

use super::style::{Painter, Tone};

/// One cell: text that is safe to show, and what it is.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// Its tone.
    pub tone: Tone,
}

/// A cell.
pub fn cell(tone: Tone, text: impl Into<String>) -> Cell {
    Cell { text: text.into(), tone }
}

/// Rows of cells under headings; the last column takes what is left of the line and goes on below itself.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

/// Between two columns.
const GAP: usize = 2;

/// A last column narrower than this is not worth keeping aside: it begins a line of its own.
const NARROWEST: usize = 24;

impl Table {
    /// A table with headings.
    pub fn with_heads(heads: &[&str]) -> Table {
        Table { rows: vec![heads.iter().map(|head| cell(Tone::Dim, *head)).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines, each indented by `indent`.
    pub fn show(&self, painter: Painter, indent: usize, width: Option<usize>) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|at| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| length(&cell.text)).max())
            .map(|width| width.unwrap_or(0))
            .collect();
        let mut shown = String::new();
        for row in &self.rows {
            shown.push_str(&row_shown(row, &widths, painter, indent, width));
        }
        shown
    }
}

fn row_shown(
    row: &[Cell],
    widths: &[usize],
    painter: Painter,
    indent: usize,
    width: Option<usize>,
) -> String {
    let mut line = " ".repeat(indent);
    let mut at = indent;
    let last = row.len().saturating_sub(1);
    for (number, cell) in row.iter().enumerate() {
        let is_last_column = number + 1 == widths.len();
        if is_last_column && let Some(room) = width.map(|width| width.saturating_sub(at)) {
            let room = room.max(NARROWEST);
            let parts = wrapped(&cell.text, room);
            let painted: Vec<String> = parts.iter().map(|part| painter.paint(cell.tone, part)).collect();
            line.push_str(&painted.join(&format!("\n{}", " ".repeat(at))));
            continue;
        }
        line.push_str(&painter.paint(cell.tone, &cell.text));
        if number < last {
            let pad = widths[number].saturating_sub(length(&cell.text)) + GAP;
            line.push_str(&" ".repeat(pad));
            at += widths[number] + GAP;
        }
    }
    format!("{}\n", line.trim_end())
}

/// Breaks a text between words; a word that is too long for a line stays whole.
pub fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && length(&line) + 1 + length(word) > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_their_colour() {
        let mut table = Table::with_heads(&["NAME", "STATE"]);
        table.row(vec![cell(Tone::Good, "ü"), cell(Tone::Bad, "fine")]);
        table.row(vec![cell(Tone::Plain, "longer"), cell(Tone::Plain, "worse and worse still")]);
        let plain = table.show(Painter { colour: false }, 2, None);
        assert_eq!(plain, "  NAME    STATE\n  ü       fine\n  longer  worse and worse still\n");
        let painted = table.show(Painter { colour: true }, 2, None);
        let stripped = painted.replace("\u{1b}[0m", "");
        let stripped = ["2", "32", "1;31"]
            .iter()
            .fold(stripped, |text, code| text.replace(&format!("\u{1b}[{code}m"), ""));
        assert_eq!(stripped, plain);
    }

    #[test]
    fn the_last_column_goes_on_below_itself() {
        let mut table = Table::default();
        table.row(vec![cell(Tone::Plain, "a"), cell(Tone::Plain, "one two three four five six seven eight")]);
        let shown = table.show(Painter { colour: false }, 0, Some(30));
        assert_eq!(shown, "a  one two three four five six\n   seven eight\n");
    }
}
