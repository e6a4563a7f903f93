//! The layers that settings come from, and which text of which layer is in force.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::builder::PossibleValue;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use common::error_chain::ErrorChain;

use super::problem::{Place, Problem};
use super::{SECRET_KEYS, Surroundings};

/// Comes before a setting's name in the environment.
const PREFIX: &str = "GOPROXYD_";

/// Names alike enough to be a typing error, on a scale from 0 to 1.
const ALIKE: f64 = 0.5;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Default,
    /// Follows from another setting.
    Derived(&'static str),
    File {
        line: usize,
    },
    Variable(String),
    Flag,
}

/// The text in force for each setting, by key.
#[derive(Clone, Debug)]
pub(super) struct Layers(BTreeMap<String, (OsString, Source)>);

impl Layers {
    /// The lowest layer.
    pub(super) fn defaults(command: &Command, around: &Surroundings) -> Self {
        let fixed = keys(command).filter_map(|(key, argument)| {
            Some((key.to_owned(), argument.get_default_values().first()?.to_os_string()))
        });
        let machine = around.defaults().into_iter().map(|(key, text)| (key.to_owned(), text));
        Self(fixed.chain(machine).map(|(key, text)| (key, (text, Source::Default))).collect())
    }

    /// Puts a text of a higher layer over what there is.
    pub(super) fn set(&mut self, key: &str, text: OsString, source: Source) {
        self.0.insert(key.to_owned(), (text, source));
    }

    /// Fills in the settings that follow from others unless they were given.
    pub(super) fn derive(&mut self) {
        let private = self.text("private").unwrap_or_default().to_owned();
        self.0.entry("no-sumdb".to_owned()).or_insert((private, Source::Derived("private")));
        let hsts = if self.0.contains_key("tls-cert") { "365d" } else { "0s" };
        self.0.entry("hsts-max-age".to_owned()).or_insert((hsts.into(), Source::Derived("tls-cert")));
    }

    pub(super) fn text(&self, key: &str) -> Option<&OsStr> {
        self.0.get(key).map(|(text, _)| text.as_os_str())
    }

    pub(super) fn source(&self, key: &str) -> Option<&Source> {
        self.0.get(key).map(|(_, source)| source)
    }

    /// Everything in force as `--key=text`.
    pub(super) fn as_flags(&self) -> Vec<OsString> {
        let flag = |key: &String, text: &OsString| {
            let mut flag = OsString::from(format!("--{key}="));
            flag.push(text);
            flag
        };
        self.0.iter().map(|(key, (text, _))| flag(key, text)).collect()
    }
}

/// The name that a setting has in the environment.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('-', "_"))
}

/// Every setting's key and definition, in the order of definition.
pub(super) fn keys(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    command.get_arguments().filter_map(|argument| Some((argument.get_long()?, argument)))
}

/// The key that was probably meant.
pub(super) fn nearest<'a>(wrong: &str, command: &'a Command) -> Option<&'a str> {
    let wrong = wrong.to_lowercase().replace('_', "-");
    let likeness = keys(command).map(|(key, _)| (strsim::normalized_damerau_levenshtein(&wrong, key), key));
    likeness
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

pub(super) fn read_flags(matches: &ArgMatches, command: &Command, layers: &mut Layers) {
    for (key, argument) in keys(command) {
        let id = argument.get_id().as_str();
        let given = matches.value_source(id) == Some(ValueSource::CommandLine);
        let text = matches.get_raw(id).and_then(Iterator::last);
        if let Some(text) = text.filter(|_| given) {
            layers.set(key, text.to_owned(), Source::Flag);
        }
    }
}

pub(super) fn read_environment(
    around: &Surroundings,
    command: &Command,
    layers: &mut Layers,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, argument) in keys(command) {
        let name = variable(key);
        let Some(text) = around.variables.get(&name) else { continue };
        match refusal(key, argument, text) {
            None => layers.set(key, text.clone(), Source::Variable(name)),
            Some(reason) => problems.push(Problem { place: Place::Variable(name), reason }),
        }
    }
    problems
}

/// Variables that look like settings and are none. No error, since a container platform may set some by itself
/// (Kubernetes does for a service of this name).
pub(super) fn unknown_variables(around: &Surroundings, command: &Command) -> Vec<String> {
    let known: Vec<_> = keys(command).map(|(key, _)| variable(key)).collect();
    let unknown = around.variables.keys().filter(|name| name.starts_with(PREFIX) && !known.contains(name));
    let warning = |name: &String| {
        let hint = nearest(name.trim_start_matches(PREFIX), command).map(variable);
        let hint = hint.map_or_else(String::new, |hint| format!(", did you mean {hint}?"));
        format!("environment variable {name} is no setting{hint}")
    };
    unknown.map(warning).collect()
}

/// Why the setting's own value parser refuses a text, if it does.
pub(super) fn refusal(key: &str, argument: &Arg, text: &OsStr) -> Option<String> {
    let mut flag = OsString::from(format!("--{key}="));
    flag.push(text);
    let command = Command::new("value").no_binary_name(true).arg(argument.clone().required(false));
    let error = command.try_get_matches_from([flag]).err()?;
    let reason = match (error.kind(), std::error::Error::source(&error)) {
        (_, Some(cause)) => ErrorChain::new(cause).to_string(),
        (ErrorKind::InvalidValue, None) => format!("use one of: {}", choices(&error, argument)),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    Some(if SECRET_KEYS.contains(&key) { reason } else { format!("{:?}: {reason}", text.to_string_lossy()) })
}

fn choices(error: &clap::Error, argument: &Arg) -> String {
    let names = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(names)) => names.clone(),
        _ => argument.get_possible_values().iter().map(PossibleValue::get_name).map(str::to_owned).collect(),
    };
    names.join(", ")
}
