//! The configuration file: flat TOML, one key for each setting, read with its lines.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::{Arg, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::{Layers, Source, keys, nearest, refusal};
use super::problem::{Place, Problem};

/// No file with some forty settings comes near this many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Kinds of value that a TOML array may be given for; its items are joined by commas.
const LIST_KINDS: [&str; 2] = ["ADDRS", "GLOBS"];

/// Permission bit that lets every user read a file.
const OTHERS_READ: u32 = 0o004;

/// Puts the file's settings over the layers and returns everything that is wrong with it.
pub(super) fn read(path: &Path, command: &Command, layers: &mut Layers) -> Vec<Problem> {
    let whole = |reason: String| Problem {
        place: Place::File { path: path.to_owned(), line: None, key: String::new() },
        reason,
    };
    let (text, mode) = match contents(path) {
        Ok(contents) => contents,
        Err(error) => return vec![whole(format!("read file: {error}"))],
    };
    let mut file = Reader { path, text: &text, command, layers, problems: Vec::new() };
    file.table();
    let mut problems = file.problems;
    if mode & OTHERS_READ != 0 && holds_secret(layers) {
        problems.push(whole(format!(
            "holds a password or token and is readable by everybody (mode {mode:04o}), run: chmod o= {}",
            path.display()
        )));
    }
    problems
}

fn contents(path: &Path) -> io::Result<(String, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    let mut text = String::new();
    let length = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok((text, mode))
}

fn holds_secret(layers: &Layers) -> bool {
    let from_file = |key: &str| matches!(layers.source(key), Some(Source::File { .. }));
    let credentials = |key: &str| layers.text(key).is_some_and(|text| text.to_string_lossy().contains('@'));
    from_file("join-token") || (from_file("upstream") && credentials("upstream"))
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    command: &'a Command,
    layers: &'a mut Layers,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let line = error.span().map(|span| self.line(span.start));
            self.object(line, "", error.message().to_owned());
        }
        if !self.problems.is_empty() {
            return; // what could be recovered would only bring problems that are none
        }
        let mut entries: Vec<_> = table.into_inner().into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let line = self.line(key.span().start);
            self.entry(line, key.get_ref(), &value);
        }
    }

    fn entry(&mut self, line: usize, key: &str, value: &Spanned<DeValue<'_>>) {
        let known = keys(self.command).find(|(name, _)| *name == key);
        let Some((_, argument)) = known.filter(|_| key != "config") else {
            let reason = self.unknown(key, value.get_ref());
            return self.object(Some(line), key, reason);
        };
        let text = match text_of(value.get_ref(), argument) {
            Ok(text) if text.is_empty() => return, // as in the environment: not set
            Ok(text) => OsString::from(text),
            Err(reason) => return self.object(Some(line), key, reason),
        };
        match refusal(key, argument, &text) {
            None => self.layers.set(key, text, Source::File { line }),
            Some(reason) => self.object(Some(line), key, reason),
        }
    }

    fn unknown(&self, key: &str, value: &DeValue<'_>) -> String {
        if key == "config" {
            return "a file cannot name another file".to_owned();
        }
        match (value, nearest(key, self.command)) {
            (DeValue::Table(_), _) => {
                "settings are not grouped in tables, all are on the top level".to_owned()
            }
            (_, Some(nearest)) => format!("unknown setting, did you mean {nearest}?"),
            (_, None) => "unknown setting, `goproxyd config example` lists all".to_owned(),
        }
    }

    fn object(&mut self, line: Option<usize>, key: &str, reason: String) {
        let place = Place::File { path: self.path.to_owned(), line, key: key.to_owned() };
        self.problems.push(Problem { place, reason });
    }

    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// A TOML value as the text that the flag would be given.
fn text_of(value: &DeValue<'_>, argument: &Arg) -> Result<String, String> {
    let kind = argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Array(items) if LIST_KINDS.contains(&kind) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.map(|texts| texts.join(",")).ok_or_else(|| "a list holds texts in quotes only".to_owned())
        }
        DeValue::Array(_) => Err("takes one value, not a list".to_owned()),
        DeValue::Integer(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            Err("takes a text in quotes, a decimal number, true or false".to_owned())
        }
    }
}
