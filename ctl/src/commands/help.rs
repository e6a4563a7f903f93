//! `help`: on a command, or the table of exit codes.

use clap::CommandFactory as _;
use serde::Serialize;

use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Answer;
use crate::output::page::Page;
use crate::output::table::Table;

#[derive(Serialize)]
struct Codes {
    exit_codes: Vec<Code>,
}

#[derive(Serialize)]
struct Code {
    code: u8,
    meaning: &'static str,
}

#[derive(Serialize)]
struct Text {
    help: String,
}

pub(super) fn run(topic: &[String]) -> Result<Answer, Failure> {
    if topic == ["exit-codes"] {
        return Ok(exit_codes());
    }
    let mut command = Cli::command();
    // So that a verb's usage line begins with the program and the noun.
    command.build();
    let mut found = &mut command;
    for (at, word) in topic.iter().enumerate() {
        found = found.find_subcommand_mut(word).ok_or_else(|| {
            let words = topic.get(..=at).unwrap_or_default().join(" ");
            Failure::usage(format!("there is no command `{words}`"), "`goproxyctl help` lists the commands")
        })?;
    }
    let help = found.render_long_help().to_string();
    let page = Page::new().verbatim(help.clone());
    Ok(Answer::new(Text { help }, page))
}

fn exit_codes() -> Answer {
    let mut table = Table::new(&[">CODE", "MEANING"], "");
    let mut codes = Vec::new();
    for exit in Exit::ALL {
        let (code, meaning) = (exit.number(), exit.meaning());
        table.row(vec![u64::from(code).into(), meaning.into()]);
        codes.push(Code { code, meaning });
    }
    Answer::new(Codes { exit_codes: codes }, Page::new().table(table))
}
