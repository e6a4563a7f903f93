//! From flags, environment, file and defaults to one [`Settings`].
//!
//! Every value is carried as the text it was given as, with its source; the highest source wins, and the winners are
//! read by the very value parsers that the flags have. So a setting is defined once and cannot mean different
//! things in different places. Nothing here reads the process's environment: that comes in as [`Surroundings`].

mod file;
mod layers;
mod print;
mod problem;
mod surroundings;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use dataplane::upstream::OriginSpec;

pub(crate) use layers::variable;
pub(crate) use print::{example, show};
pub(crate) use problem::Problems;
pub(crate) use surroundings::Surroundings;

use crate::settings::Settings;
use layers::{Layers, Source};
use problem::{Place, Problem};

/// Keys whose values must not be shown: they are or may hold a secret.
const SECRET_KEYS: [&str; 2] = ["join-token", "upstream"];

/// Settings with what there is to say about them.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The settings in force.
    pub(crate) settings: Settings,
    /// What an operator should know and may have done by mistake; to be logged.
    pub(crate) warnings: Vec<String>,
    /// Each setting's text and source, for `config show`.
    layers: Layers,
}

/// Merges the flags in `matches` with environment, file and defaults, for a process that serves modules or not.
pub(crate) fn load(
    matches: &ArgMatches,
    around: &Surroundings,
    serves_modules: bool,
) -> Result<Loaded, Problems> {
    let command = settings_command();
    let mut problems = Vec::new();
    let mut layers = Layers::defaults(&command, around);
    let path = matches.get_one::<PathBuf>("config").cloned().or_else(|| around.config_file());
    if let Some(path) = &path {
        problems.extend(file::read(path, &command, &mut layers));
    }
    problems.extend(layers::read_environment(around, &command, &mut layers));
    layers::read_flags(matches, &command, &mut layers);
    let settings = settle(&command, &mut layers, path.as_deref(), problems, serves_modules)?;
    let warnings = warnings(&settings, around, &command);
    Ok(Loaded { settings, warnings, layers })
}

/// Checks a file on its own, over the defaults.
pub(crate) fn check(path: &Path, around: &Surroundings) -> Result<(), Problems> {
    let command = settings_command();
    let mut layers = Layers::defaults(&command, around);
    let problems = file::read(path, &command, &mut layers);
    settle(&command, &mut layers, Some(path), problems, true)?;
    Ok(())
}

/// A command that takes the settings and nothing else.
fn settings_command() -> Command {
    Settings::augment_args(
        Command::new("settings").no_binary_name(true).disable_help_flag(true).disable_version_flag(true),
    )
}

/// Reads the winning texts and judges them together. All problems are reported at once.
fn settle(
    command: &Command,
    layers: &mut Layers,
    file: Option<&Path>,
    problems: Vec<Problem>,
    serves_modules: bool,
) -> Result<Settings, Problems> {
    if !problems.is_empty() {
        return Err(Problems::new(problems));
    }
    layers.derive();
    let other =
        |error: &clap::Error| Problems::new(vec![Problem::general(error.to_string().trim().to_owned())]);
    let matches = command.clone().try_get_matches_from(layers.as_flags()).map_err(|error| other(&error))?;
    let settings = Settings::from_arg_matches(&matches).map_err(|error| other(&error))?;
    // What a host is called is not the operator's doing here: a name is made of it (see `node_label`).
    let is_hosts = |key: &str| key == "name" && layers.source(key) == Some(&Source::Default);
    let objections = settings.objections(serves_modules).into_iter();
    let found = objections.filter(|objection| !is_hosts(objection.key)).map(|objection| Problem {
        place: match layers.source(objection.key) {
            Some(Source::File { line }) => Place::File {
                path: file.unwrap_or(Path::new("")).to_owned(),
                line: Some(*line),
                key: objection.key.to_owned(),
            },
            Some(Source::Variable(name)) => Place::Variable(name.clone()),
            _ => Place::Flag(objection.key.to_owned()),
        },
        reason: objection.reason,
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() { Ok(settings) } else { Err(Problems::new(found)) }
}

fn warnings(settings: &Settings, around: &Surroundings, command: &Command) -> Vec<String> {
    let mut found = layers::unknown_variables(around, command);
    if settings.upstream.entries().iter().any(|entry| entry.origin == OriginSpec::Direct) {
        found.push(
            "direct in upstream finds nothing: version control is not asked in this version".to_owned(),
        );
    }
    for address in settings.admin_listen.iter().filter(|address| !address.ip().is_loopback()) {
        found.push(format!("admin endpoints on {address} ask for no credentials and others can reach them"));
    }
    found
}
