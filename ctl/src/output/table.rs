//! Tables that fit 100 columns: what is too wide is cut, the widest column first, and says so by an ellipsis.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::page::Cell;
use super::style::{Style, Tone};
use crate::args::COLUMNS;

/// Between two columns.
const GAP: usize = 2;
/// No column is made narrower than this or its heading.
const WIDTH_MIN: usize = 4;

/// How a column stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table with headings.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
    none: &'static str,
}

impl Table {
    /// A table with these columns; those whose heading begins with `>` have numbers. Without rows it says `none`.
    pub(crate) fn new(headings: &[&'static str], none: &'static str) -> Self {
        let column = |heading: &&'static str| match heading.strip_prefix('>') {
            Some(heading) => (heading, Align::Right),
            None => (*heading, Align::Left),
        };
        Self { columns: headings.iter().map(column).collect(), rows: Vec::new(), none }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as text.
    pub(crate) fn render(&self, style: Style) -> String {
        if self.rows.is_empty() {
            return if self.none.is_empty() { String::new() } else { format!("{}\n", self.none) };
        }
        let widths = self.widths();
        let headings: Vec<_> =
            self.columns.iter().map(|(heading, _)| Cell::new(*heading, Tone::Strong)).collect();
        std::iter::once(&headings).chain(&self.rows).map(|row| self.line(row, &widths, style)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<_> = self.columns.iter().map(|(heading, _)| heading.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        loop {
            let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
            // Numbers are not cut: half a number is another number.
            let texts = widths.iter_mut().zip(&self.columns).filter(|(_, (_, align))| *align == Align::Left);
            let widest = texts.map(|(width, (heading, _))| (width, heading.width().max(WIDTH_MIN)));
            let Some((width, _)) =
                widest.filter(|(width, min)| **width > *min).max_by_key(|(width, _)| **width)
            else {
                return widths;
            };
            if total <= COLUMNS {
                return widths;
            }
            *width -= 1;
        }
    }

    fn line(&self, row: &[Cell], widths: &[usize], style: Style) -> String {
        let mut line = String::new();
        for ((cell, (_, align)), width) in row.iter().zip(&self.columns).zip(widths) {
            if !line.is_empty() {
                line.push_str(&" ".repeat(GAP));
            }
            let text = fit(&cell.text, *width);
            let room = " ".repeat(width.saturating_sub(text.width()));
            let text = style.paint(cell.tone, &text);
            line.push_str(&match align {
                Align::Left => text + &room,
                Align::Right => room + &text,
            });
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// The text, cut to the width where it is wider.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let kept = text.chars().take_while(|c| {
        let needed = c.width().unwrap_or(0);
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        fits
    });
    kept.chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_needed() {
        let mut table = Table::new(&["NAME", ">BYTES", "NOTE"], "nothing");
        assert_eq!(table.render(Style::new(false)), "nothing\n");
        table.row(vec!["a".into(), 12_u64.into(), "x".into()]);
        table.row(vec!["long-name".into(), 1_234_567_u64.into(), "".into()]);
        let expected = "NAME         BYTES  NOTE\na               12  x\nlong-name  1234567\n";
        assert_eq!(table.render(Style::new(false)), expected);
    }

    #[test]
    fn what_is_too_wide_is_cut_and_numbers_are_not() {
        let mut table = Table::new(&["A", "B", ">N"], "");
        table.row(vec!["é".repeat(90).into(), "漢".repeat(40).into(), u64::MAX.into()]);
        let text = table.render(Style::new(false));
        assert!(text.lines().all(|line| line.width() <= COLUMNS), "{text}");
        assert!(text.contains('…') && text.contains(&u64::MAX.to_string()), "{text}");
        assert_eq!(fit("漢字", 3), "漢…");
        assert_eq!(fit("ab", 2), "ab");
    }
}
