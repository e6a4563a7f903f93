//! What is wrong with settings, said so that it can be found and put right.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(super) place: Place,
    pub(super) reason: String,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Flag(String),
    Variable(String),
    File { path: PathBuf, line: Option<usize>, key: String },
    General,
}

impl Problem {
    pub(super) fn general(reason: String) -> Self {
        Self { place: Place::General, reason }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Flag(key) => write!(f, "--{key}: ")?,
            Place::Variable(name) => write!(f, "{name}: ")?,
            Place::File { path, line, key } => {
                write!(f, "{}:", path.display())?;
                if let Some(line) = line {
                    write!(f, "{line}:")?;
                }
                f.write_str(" ")?;
                if !key.is_empty() {
                    write!(f, "{key}: ")?;
                }
            }
            Place::General => {}
        }
        f.write_str(&self.reason)
    }
}

/// Everything that is wrong, at least one thing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| writeln!(f, "error: {problem}"))
    }
}
