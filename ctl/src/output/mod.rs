//! The only place that writes: data to standard output, talk to standard error.
//!
//! A command's [`Answer`] is rendered as a table, as JSON or as YAML; which it is, no command knows. Whoever stops reading
//! standard output ends the program quietly.

pub(crate) mod ask;
pub(crate) mod json;
pub(crate) mod page;
pub(crate) mod progress;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod yaml;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, Write as _};

use serde::Serialize;

use crate::args::global::Format;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::surroundings::Surroundings;
use page::Page;
use progress::Progress;
use style::Style;

/// What can be printed as JSON.
pub(crate) trait Data {
    /// On one line.
    fn line(&self) -> serde_json::Result<String>;
    /// Over several lines, as people read it.
    fn pretty(&self) -> serde_json::Result<String>;
}

impl<T: Serialize> Data for T {
    fn line(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn pretty(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

/// What a command has to say.
pub(crate) struct Answer {
    data: Box<dyn Data>,
    page: Page,
    notes: Vec<String>,
    pub(crate) exit: Exit,
}

impl Answer {
    /// Data for programs, and the same as a page for people.
    pub(crate) fn new(data: impl Serialize + 'static, page: Page) -> Self {
        Self { data: Box::new(data), page, notes: Vec::new(), exit: Exit::Done }
    }

    /// Says something beside it, on standard error.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Says something beside it if there is something to say.
    #[must_use]
    pub(crate) fn notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// Ends the program with this code.
    #[must_use]
    pub(crate) fn ending(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// Standard output and standard error.
pub(crate) struct Screen {
    format: Cell<Format>,
    verbose: bool,
    terminal_out: bool,
    terminal_ask: bool,
    style: Style,
    /// Lines of the picture on the terminal that the next one goes over.
    drawn: Cell<usize>,
    /// Pictures shown.
    frames: Cell<usize>,
    said: RefCell<BTreeSet<String>>,
}

impl Screen {
    /// The process's own, which answers in tables until told otherwise.
    pub(crate) fn new(around: &Surroundings, verbose: bool) -> Self {
        Self {
            format: Cell::new(Format::Table),
            verbose,
            terminal_out: around.terminal_out,
            terminal_ask: around.terminal_ask,
            style: Style::new(around.colour()),
            drawn: Cell::new(0),
            frames: Cell::new(0),
            said: RefCell::new(BTreeSet::new()),
        }
    }

    /// Answers in this form from now on.
    pub(crate) fn speak(&self, format: Format) {
        self.format.set(format);
    }

    /// Says the answer, and what comes beside it.
    pub(crate) fn answer(&self, answer: &Answer) -> Result<Exit, Failure> {
        let text = match self.format.get() {
            Format::Table => answer.page.render(self.style),
            Format::Json => answer.data.pretty().map_err(internal)? + "\n",
            Format::Yaml => yaml::of_json(&answer.data.line().map_err(internal)?).map_err(internal)?,
        };
        out(&text)?;
        for note in &answer.notes {
            self.talk(note);
        }
        Ok(answer.exit)
    }

    /// Says one answer of several: a line of JSON, a document of YAML, a picture that goes over the one before.
    pub(crate) fn frame(&self, answer: &Answer) -> Result<(), Failure> {
        let text = match self.format.get() {
            Format::Table => self.picture(&answer.page.render(self.style)),
            Format::Json => answer.data.line().map_err(internal)? + "\n",
            Format::Yaml => {
                format!("---\n{}", yaml::of_json(&answer.data.line().map_err(internal)?).map_err(internal)?)
            }
        };
        self.frames.set(self.frames.get() + 1);
        out(&text)
    }

    fn picture(&self, page: &str) -> String {
        if !self.terminal_out {
            let gap = if self.frames.get() == 0 { "" } else { "\n" };
            return format!("{gap}{page}");
        }
        // Up to where the last picture began, and nothing below that.
        let up = match self.drawn.get() {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        };
        self.drawn.set(page.lines().count());
        up + page
    }

    /// Says something on standard error.
    #[expect(clippy::unused_self, reason = "who writes needs the screen")]
    pub(crate) fn talk(&self, text: &str) {
        err(&format!("{}\n", style::harmless(text)));
    }

    /// Says something on standard error unless it was said before.
    pub(crate) fn talk_once(&self, text: &str) {
        if self.said.borrow_mut().insert(text.to_owned()) {
            self.talk(text);
        }
    }

    /// Says something on standard error to who wants to know more.
    pub(crate) fn verbose(&self, text: &str) {
        if self.verbose {
            self.talk(text);
        }
    }

    /// Shows a person what is about to be done, on standard error, where he is asked.
    pub(crate) fn preview(&self, page: &Page) {
        err(&format!("{}\n", page.render(self.style)));
    }

    /// Says why it went wrong, who was asked, and what to do.
    #[expect(clippy::unused_self, reason = "who writes needs the screen")]
    pub(crate) fn failure(&self, failure: &Failure) {
        if matches!(failure, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return;
        }
        err(&explain(failure));
    }

    /// A progress bar on standard error, if a person is there to see it.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(self.terminal_ask && self.format.get() == Format::Table)
    }

    /// Has a person type the name of what is to be destroyed.
    pub(crate) async fn confirm(&self, deed: &str, name: &str, yes: bool) -> Result<(), Failure> {
        let (terminal, deed, name) = (self.terminal_ask, deed.to_owned(), name.to_owned());
        // In a thread of its own, since Ctrl-C has to be heard meanwhile, and without holding standard error, which whoever
        // hears it says so on.
        let asked = tokio::task::spawn_blocking(move || {
            ask::confirm(&mut io::stdin().lock(), &mut io::stderr(), terminal, &deed, &name, yes)
        });
        asked.await.unwrap_or(Err(Failure::NotConfirmed))
    }
}

/// An error as it stands on standard error.
fn explain(failure: &Failure) -> String {
    let cause = std::error::Error::source(failure)
        .map(|cause| common::error_chain::ErrorChain::new(cause).to_string());
    let mut text = match cause {
        Some(cause) => format!("error: {failure}: {cause}\n"),
        None => format!("error: {failure}\n"),
    };
    let mut label = "asked: ";
    for line in failure.asked() {
        text.push_str(label);
        text.push_str(&line);
        text.push('\n');
        label = "       ";
    }
    if let Some(hint) = failure.hint() {
        text.push_str("\nhint: ");
        text.push_str(&hint);
        text.push('\n');
    }
    style::harmless(&text)
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err calls")]
fn internal(error: serde_json::Error) -> Failure {
    Failure::Internal(format!("the answer does not become JSON: {error}"))
}

fn out(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Nobody can be told that standard error is gone.
fn err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
