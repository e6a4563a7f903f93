//! goproxyctl: reads the command line, does it, says what came of it, ends with an exit code. Nothing is decided here.

#![forbid(unsafe_code)]

mod args;
mod balancer;
mod build;
mod client;
mod commands;
mod complete;
mod dial;
mod exit;
mod failure;
mod files;
mod go_sum;
mod hint;
mod output;
mod profile;
mod server;
mod settings;
mod surroundings;
mod time;
mod view;

use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use args::Cli;
use commands::Context;
use exit::Exit;
use failure::Failure;
use output::Screen;
use settings::Settings;
use surroundings::Surroundings;

fn main() -> ExitCode {
    // A shell asks by a variable; then this prints candidates and ends the process.
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let around = Surroundings::of_process();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(usage(&error).number()),
    };
    let screen = Rc::new(Screen::new(&around, cli.global.verbose));
    match run(cli, around, &screen) {
        Ok(exit) => ExitCode::from(exit.number()),
        Err(error) => {
            let failure = error.downcast().unwrap_or_else(|error| Failure::Internal(format!("{error:#}")));
            screen.failure(&failure);
            ExitCode::from(failure.exit().number())
        }
    }
}

fn run(cli: Cli, around: Surroundings, screen: &Rc<Screen>) -> anyhow::Result<Exit> {
    let settings = Settings::resolve(&cli.global, &around)?;
    screen.speak(settings.output.value);
    let context = Context::new(settings, around, Rc::clone(screen));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let said = runtime.block_on(async {
        tokio::select! {
            said = commands::run(&context, cli.noun) => said,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        }
    });
    // A name that takes long to resolve has a thread that cannot be stopped.
    runtime.shutdown_background();
    let exit = match said? {
        Some(answer) => screen.answer(&answer)?,
        None => Exit::Done,
    };
    Ok(exit)
}

/// Help and version are answers; everything else that clap says is about usage.
fn usage(error: &clap::Error) -> Exit {
    let answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // clap knows whether there is a terminal with colours; who closed the stream reads nothing.
    let _ = error.print();
    if answer { Exit::Done } else { Exit::Usage }
}
