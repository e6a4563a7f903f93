//! A page for people: fields, tables, lines, and texts that must be whole.

use unicode_width::UnicodeWidthStr as _;

use super::style::{Style, Tone, harmless, one_line};
use super::table::{Table, fit};
use crate::args::COLUMNS;

/// A text and its tone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Cell {
    /// A text in a tone.
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: one_line(&text.into()), tone }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::from(number.to_string())
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::from(number.to_string())
    }
}

enum Block {
    Fields(Vec<(&'static str, Cell)>),
    Table(Table),
    Line(Cell),
    Verbatim(String),
}

/// A page; its blocks are separated by empty lines.
#[derive(Default)]
pub(crate) struct Page(Vec<Block>);

impl Page {
    /// An empty page.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Names and values.
    #[must_use]
    pub(crate) fn fields(mut self, fields: Vec<(&'static str, Cell)>) -> Self {
        self.0.push(Block::Fields(fields));
        self
    }

    /// A table.
    #[must_use]
    pub(crate) fn table(mut self, table: Table) -> Self {
        self.0.push(Block::Table(table));
        self
    }

    /// A line of text, which is broken where it is too long.
    #[must_use]
    pub(crate) fn line(mut self, text: impl Into<Cell>) -> Self {
        self.0.push(Block::Line(text.into()));
        self
    }

    /// A text that is to be copied or has lines of its own, however long they are.
    #[must_use]
    pub(crate) fn verbatim(mut self, text: impl Into<String>) -> Self {
        self.0.push(Block::Verbatim(text.into()));
        self
    }

    /// What another page has, after this one's.
    #[must_use]
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The page as text.
    pub(crate) fn render(&self, style: Style) -> String {
        let blocks: Vec<_> =
            self.0.iter().map(|block| block.render(style)).filter(|text| !text.is_empty()).collect();
        blocks.join("\n")
    }
}

impl Block {
    fn render(&self, style: Style) -> String {
        match self {
            Self::Fields(fields) => fields_text(fields, style),
            Self::Table(table) => table.render(style),
            Self::Line(cell) => {
                wrap(&cell.text, COLUMNS).iter().map(|line| style.paint(cell.tone, line) + "\n").collect()
            }
            Self::Verbatim(text) => {
                let text = harmless(text);
                if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" }
            }
        }
    }
}

fn fields_text(fields: &[(&str, Cell)], style: Style) -> String {
    let width = fields.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, cell) in fields {
        let mut label = style.paint(Tone::Strong, &format!("{name:width$}"));
        for line in wrap(&cell.text, COLUMNS.saturating_sub(width + 2)) {
            text.push_str(&label);
            text.push_str("  ");
            text.push_str(&style.paint(cell.tone, &line));
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
            label = " ".repeat(width);
        }
    }
    text
}

/// Breaks a text at its spaces so that no line is wider than `width`; what has no space is cut.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            *line = fit(word, width);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(fit(word, width));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_broken_at_spaces() {
        assert_eq!(wrap("ab cd ef", 5), ["ab cd", "ef"]);
        assert_eq!(wrap("abcdefgh", 5), ["abcd…"]);
        assert_eq!(wrap("", 5), [""]);
        let page = Page::new().fields(vec![("a", "1".into()), ("name", "x".into())]).line("y");
        assert_eq!(page.render(Style::new(false)), "a     1\nname  x\n\ny\n");
    }
}
