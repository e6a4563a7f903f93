//! `completion`: what a shell needs to ask this program for completions. The candidates come from [`crate::complete`].

use clap_complete::aot::Shell;
use clap_complete::env::Shells;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::Answer;
use crate::output::page::Page;

/// The variable by which a shell asks.
const VARIABLE: &str = "COMPLETE";
const PROGRAM: &str = "goproxyctl";

#[derive(Serialize)]
struct Script {
    shell: String,
    script: String,
}

pub(super) fn run(shell: Shell) -> Result<Answer, Failure> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&name);
    let completer =
        completer.ok_or_else(|| Failure::usage(format!("there is no completion for {name}"), ""))?;
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)
        .map_err(Failure::Output)?;
    let script = String::from_utf8_lossy(&script).into_owned();
    let page = Page::new().verbatim(script.clone());
    Ok(Answer::new(Script { shell: name, script }, page))
}
