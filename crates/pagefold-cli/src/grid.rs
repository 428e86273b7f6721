//! Text in columns that fit the width of the terminal.

use std::io::{self, Write};
use std::iter;

use console::measure_text_width;

use crate::terminal::{Ink, Terminal};

/// Between two columns.
const GAP: usize = 2;
/// No column is made narrower than this to fit.
const MIN_COLUMN: usize = 14;

/// A piece of text in one colour.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    ink: Ink,
}

impl Cell {
    /// `text` in `ink`.
    pub(crate) fn new(ink: Ink, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ink,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Ink::Plain, text)
    }
}

/// Rows of cells below titles.
#[derive(Debug)]
pub(crate) struct Grid {
    titles: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Grid {
    /// A grid of one column for each title.
    pub(crate) fn new(titles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            titles: titles.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Cells that are not given stay empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes the grid. A cell that is wider than its column is continued in the next line, indented.
    pub(crate) fn write(&self, terminal: Terminal, out: &mut dyn Write) -> io::Result<()> {
        let widths = self.widths(terminal.width);
        let titles: Vec<Cell> = self
            .titles
            .iter()
            .map(|title| Cell::new(Ink::Title, title))
            .collect();
        let rule: Vec<Cell> = widths
            .iter()
            .map(|width| Cell::new(Ink::Faint, "-".repeat(*width)))
            .collect();
        for row in [&titles, &rule].into_iter().chain(&self.rows) {
            write_row(row, &widths, terminal, out)?;
        }
        Ok(())
    }

    fn widths(&self, available: usize) -> Vec<usize> {
        let natural: Vec<usize> = self
            .titles
            .iter()
            .enumerate()
            .map(|(column, title)| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells
                    .map(|cell| measure_text_width(&cell.text))
                    .chain([measure_text_width(title)])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let gaps = GAP * natural.len().saturating_sub(1);
        fit(&natural, available.saturating_sub(gaps))
    }
}

/// Widths with a sum of at most `available`, if that is enough: narrow columns keep what they need, and wide ones
/// share what is left.
fn fit(natural: &[usize], available: usize) -> Vec<usize> {
    let mut widths = natural.to_vec();
    let mut order: Vec<usize> = (0..natural.len()).collect();
    order.sort_by_key(|column| natural[*column]);
    let mut left = available;
    for (done, column) in order.into_iter().enumerate() {
        let share = left / (natural.len() - done);
        widths[column] = natural[column].min(share.max(MIN_COLUMN));
        left = left.saturating_sub(widths[column]);
    }
    widths
}

fn write_row(
    row: &[Cell],
    widths: &[usize],
    terminal: Terminal,
    out: &mut dyn Write,
) -> io::Result<()> {
    let cells: Vec<Vec<String>> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| wrap(&cell.text, *width))
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        // Blanks are written only when something follows them.
        let mut blanks = 0;
        for ((cell, lines), width) in row.iter().zip(&cells).zip(widths) {
            let text = lines.get(line).map_or("", String::as_str);
            if text.is_empty() {
                blanks += width + GAP;
                continue;
            }
            write!(out, "{:blanks$}{}", "", terminal.paint(cell.ink, text))?;
            blanks = width.saturating_sub(measure_text_width(text)) + GAP;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The lines of `text`, none wider than `width`; those after the first are indented two further than it.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    if measure_text_width(text) <= width {
        return vec![text.to_owned()];
    }
    let indent = text.len() - text.trim_start_matches(' ').len();
    let hanging = " ".repeat((indent + 2).min(width / 4));
    let mut lines = Vec::new();
    let mut line = " ".repeat(indent.min(width / 4));
    let mut blank = true;
    let words = text.split_whitespace();
    for piece in words.flat_map(|word| pieces(word, width - hanging.len())) {
        if !blank && measure_text_width(&line) + 1 + measure_text_width(piece) > width {
            lines.push(std::mem::replace(&mut line, hanging.clone()));
            blank = true;
        }
        if !blank {
            line.push(' ');
        }
        line.push_str(piece);
        blank = false;
    }
    lines.push(line);
    lines
}

/// A word in pieces of at most `width` characters.
fn pieces(word: &str, width: usize) -> impl Iterator<Item = &str> {
    let mut rest = word;
    iter::from_fn(move || {
        let end = rest
            .char_indices()
            .nth(width.max(1))
            .map_or(rest.len(), |(offset, _)| offset);
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_share_what_is_there() {
        assert_eq!(fit(&[10, 20, 30], 60), [10, 20, 30]);
        assert_eq!(fit(&[10, 40, 30], 60), [10, 25, 25]);
        assert_eq!(fit(&[5, 80, 20], 60), [5, 35, 20]);
        assert_eq!(fit(&[50, 50], 8), [MIN_COLUMN, MIN_COLUMN]);
        assert_eq!(fit(&[], 8), Vec::<usize>::new());
    }

    #[test]
    fn long_text_goes_on_in_the_next_line() {
        assert_eq!(wrap("", 10), Vec::<String>::new());
        assert_eq!(wrap("  read pmd y", 12), ["  read pmd y"]);
        assert_eq!(
            wrap("  set_pte y[1] -> frame 14", 18),
            ["  set_pte y[1] ->", "    frame 14"]
        );
        assert_eq!(wrap("abcdefghijkl", 8), ["abcdef", "  ghijkl"]);
    }

    #[test]
    fn blanks_at_the_end_are_not_written() {
        let mut grid = Grid::new(["a", "b", "c"]);
        grid.row(["one".into(), Cell::default(), "three".into()]);
        grid.row(["one".into(), Cell::default(), Cell::default()]);
        let mut out = Vec::new();
        let terminal = Terminal {
            width: 80,
            color: false,
        };
        grid.write(terminal, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "a    b  c\n---  -  -----\none     three\none\n");
    }
}
