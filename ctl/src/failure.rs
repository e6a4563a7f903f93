//! Why a command did not do what it was asked for, and the exit code and the hint that follow from it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use proto::{ErrorCode, Fault};
use thiserror::Error;

use crate::dial::DialError;
use crate::exit::Exit;
use crate::hint;
use crate::server::Server;

/// Why a command ended badly.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The command line, the environment or a profile asks for something that makes no sense.
    #[error("{message}")]
    Usage {
        /// What.
        message: String,
        /// What to do; may be empty.
        hint: String,
    },
    /// A server answered that it will not, or the answer did not come in time.
    #[error("{fault}")]
    Refused {
        /// What it said.
        fault: Box<Fault>,
        /// Who said it.
        server: Server,
        /// What the client adds to it; may be empty.
        hint: String,
    },
    /// None of the servers could be reached.
    #[error("no server can be reached")]
    Unreachable {
        /// The last attempt at each.
        tries: Vec<(Server, DialError)>,
        /// What the client adds to it; may be empty.
        hint: String,
    },
    /// A file could not be read or written.
    #[error("{} {}", verb, path.display())]
    File {
        /// `read`, `write`.
        verb: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Standard output is gone.
    #[error("write to standard output")]
    Output(#[source] io::Error),
    /// What is asked for needs something that is not there.
    #[error("{message}")]
    Nothing {
        /// What is not there.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Not what was typed when it asked.
    #[error("not confirmed, nothing was changed")]
    NotConfirmed,
    /// A job ended otherwise than well.
    #[error("job {id} {how}")]
    Job {
        /// The job.
        id: String,
        /// How it ended.
        how: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// A program of this machine would not, or could not.
    #[error("{message}")]
    Program {
        /// What it said.
        message: String,
        /// What to do.
        hint: String,
        /// What that means.
        exit: Exit,
    },
    /// A fault of this program.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// A wrong command line or setting.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }

    /// What a server said.
    pub(crate) fn refused(fault: Fault, server: Server) -> Self {
        Self::Refused { fault: Box::new(fault), server, hint: String::new() }
    }

    /// The same, with what this side knows of it. The server's own hint comes first.
    #[must_use]
    pub(crate) fn or_hint(mut self, other: impl Into<String>) -> Self {
        if let Self::Refused { hint, .. } | Self::Unreachable { hint, .. } = &mut self
            && hint.is_empty()
        {
            *hint = other.into();
        }
        self
    }

    /// What the server's refusal means, if it is one.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { fault, .. } => Some(fault.code),
            Self::Usage { .. }
            | Self::Unreachable { .. }
            | Self::File { .. }
            | Self::Output(_)
            | Self::Nothing { .. }
            | Self::NotConfirmed
            | Self::Job { .. }
            | Self::Program { .. }
            | Self::Interrupted
            | Self::Internal(_) => None,
        }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Nothing { .. } => Exit::Precondition,
            Self::Refused { fault, .. } => Exit::of(fault.code),
            Self::Unreachable { .. } => Exit::Unreachable,
            // Whoever stopped reading has what he wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::File { .. } | Self::Output(_) | Self::Job { .. } | Self::Internal(_) => Exit::Failed,
            Self::Program { exit, .. } => *exit,
            Self::NotConfirmed | Self::Interrupted => Exit::Interrupted,
        }
    }

    /// Who was asked, a line each.
    pub(crate) fn asked(&self) -> Vec<String> {
        match self {
            Self::Refused { fault, server, .. } if fault.subject.is_empty() => {
                vec![format!("{server} ({})", fault.code)]
            }
            Self::Refused { fault, server, .. } => {
                vec![format!("{server} ({}: {})", fault.code, fault.subject)]
            }
            Self::Unreachable { tries, .. } => {
                tries.iter().map(|(server, error)| format!("{server}: {}", error.chain())).collect()
            }
            Self::Usage { .. }
            | Self::File { .. }
            | Self::Output(_)
            | Self::Nothing { .. }
            | Self::NotConfirmed
            | Self::Job { .. }
            | Self::Program { .. }
            | Self::Interrupted
            | Self::Internal(_) => Vec::new(),
        }
    }

    /// What to do about it, where something can be said.
    pub(crate) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Refused { fault, hint, .. } => {
                let general = || hint::of_code(fault.code).to_owned();
                [fault.hint.clone(), hint.clone()]
                    .into_iter()
                    .find(|text| !text.is_empty())
                    .unwrap_or_else(general)
            }
            Self::Unreachable { tries, hint } if hint.is_empty() => {
                hint::of_tries(tries.iter().map(|(_, error)| error))
            }
            Self::Usage { hint, .. }
            | Self::Unreachable { hint, .. }
            | Self::Nothing { hint, .. }
            | Self::Program { hint, .. } => hint.clone(),
            Self::Job { id, .. } => format!("`goproxyctl cluster jobs show {id}` has the job"),
            Self::File { .. } | Self::Output(_) | Self::NotConfirmed | Self::Interrupted => String::new(),
            Self::Internal(_) => "this is a fault of goproxyctl; please report it".to_owned(),
        };
        Some(text).filter(|text| !text.is_empty())
    }
}

/// The refusal for an answer that did not come within `timeout`.
pub(crate) fn too_late(timeout: Duration) -> Fault {
    let after = common::duration_text::DurationText(timeout);
    Fault::new(ErrorCode::Deadline, format!("no answer within {after}"))
}
