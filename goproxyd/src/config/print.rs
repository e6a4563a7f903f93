//! Settings as TOML: the commented example, and what is in force.

use std::fmt::Write;

use clap::{Arg, Command};

use super::layers::{Layers, Source, keys};
use super::{Loaded, SECRET_KEYS, Surroundings, settings_command};

/// Width of comment lines.
const WIDTH: usize = 100;

const PREFACE: &str = "\
# Settings of goproxyd. Every line that starts with `#` and a key shows a setting's default; take the `#` away to
# change it. An empty text means \"not set\". A flag (--cache-size) wins over an environment variable
# (GOPROXYD_CACHE_SIZE), and that over this file.
";

/// A TOML file with every setting commented out at its default.
pub(crate) fn example(around: &Surroundings) -> String {
    let command = settings_command();
    let mut layers = Layers::defaults(&command, around);
    layers.derive();
    let mut out = PREFACE.to_owned();
    let mut heading = None;
    for (key, argument) in in_file(&command).filter(|(_, argument)| !argument.is_hide_set()) {
        if heading != argument.get_help_heading() {
            heading = argument.get_help_heading();
            let _ = write!(out, "\n# ==== {} ====\n", heading.unwrap_or_default());
        }
        let text = layers.text(key).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
        let _ = write!(out, "\n{}#{key} = {}\n", comment(argument), literal(&text, argument));
    }
    out
}

/// The settings in force, with the source of each.
pub(crate) fn show(loaded: &Loaded) -> String {
    let command = settings_command();
    let mut out = String::new();
    for (key, argument) in in_file(&command) {
        let layers = &loaded.layers;
        let (Some(text), Some(source)) = (layers.text(key), layers.source(key)) else { continue };
        let text = text.to_string_lossy();
        let source = match source {
            Source::Default => "default".to_owned(),
            Source::Derived(other) => format!("follows from {other}"),
            Source::File { line } => format!("file, line {line}"),
            Source::Variable(name) => name.clone(),
            Source::Flag => "flag".to_owned(),
        };
        if SECRET_KEYS.contains(&key) && (key != "upstream" || text.contains('@')) {
            let _ = writeln!(out, "# {key} is set and may hold a secret # {source}");
        } else {
            let _ = writeln!(out, "{key} = {} # {source}", literal(&text, argument));
        }
    }
    out
}

/// Everything that a file may set.
fn in_file(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    keys(command).filter(|(key, _)| *key != "config")
}

/// The help text and, where there are few, the choices.
fn comment(argument: &Arg) -> String {
    let mut words = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let choices: Vec<_> =
        argument.get_possible_values().iter().map(|choice| choice.get_name().to_owned()).collect();
    if !choices.is_empty() && !argument.get_id().as_str().eq("offline") {
        let _ = write!(words, " ({})", choices.join(", "));
    }
    let mut out = String::new();
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(out, "{line}");
    out
}

/// A text as TOML: numbers and truth values bare, the rest in quotes.
fn literal(text: &str, argument: &Arg) -> String {
    let kind = argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    if matches!(kind, "COUNT" | "RATIO" | "BOOL") && !text.is_empty() {
        return text.to_owned();
    }
    toml::Value::from(text).to_string()
}
