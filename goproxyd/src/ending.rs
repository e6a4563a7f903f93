//! How the process ends: what it says last, and the exit code that scripts go by.

use std::io::Write;
use std::process::ExitCode;

use common::error_chain::ErrorChain;
use tracing::{error, info};

use crate::roles::ServeError;

/// The server ran into trouble that it could not handle.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line or the settings are wrong.
pub(crate) const EXIT_USAGE: u8 = 2;
/// The data directory is in use by another process, or damaged.
const EXIT_DATA_DIR: u8 = 3;

/// Says what came of work on the directory of a server that is stopped.
pub(crate) fn conclude(done: Result<String, ServeError>) -> ExitCode {
    match done {
        Ok(text) => say(&mut std::io::stdout(), &text, ExitCode::SUCCESS),
        Err(failure) => {
            let text = format!("error: {}\n", ErrorChain::new(&failure));
            say(&mut std::io::stderr(), &text, exit_code(&failure))
        }
    }
}

/// Writes a text for the user. A closed pipe is no failure: whoever reads has seen enough.
pub(crate) fn say(to: &mut impl Write, text: &str, code: ExitCode) -> ExitCode {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    code
}

/// Says in the log how serving ended.
pub(crate) fn report(ended: &Result<(), ServeError>) -> ExitCode {
    match ended {
        Ok(()) => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            error!(error = %ErrorChain::new(failure), "stopped with an error");
            exit_code(failure)
        }
    }
}

fn exit_code(failure: &ServeError) -> ExitCode {
    ExitCode::from(match failure {
        ServeError::DataDir(_) => EXIT_DATA_DIR,
        ServeError::Settings(_) | ServeError::Recover(_) => EXIT_USAGE,
        ServeError::Failed(_) | ServeError::Forced => EXIT_FAILED,
    })
}
