//! Files that the `policy` verbs read: documents, which go to the server as TOML, and cases to decide.
//!
//! A document in JSON becomes TOML here, since that is what the server takes and keeps; what it means only the server judges.

use std::path::{Path, PathBuf};

use proto::Named as _;
use proto::control::v1::{AccessCase, AccessEffect, AccessTest};
use proto::limits::MESSAGE_BYTES_MAX;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::files;

/// What fits in one call with room for the rest of it.
const FILE_BYTES_MAX: u64 = MESSAGE_BYTES_MAX as u64 / 2;

/// A document as it is sent.
pub(super) struct Text {
    /// The file it is from.
    pub(super) path: PathBuf,
    /// Its name in the cluster.
    pub(super) name: String,
    /// TOML.
    pub(super) content: String,
}

/// Reads a document. Without a name it has its file's, without the ending.
pub(super) fn document(path: &Path, name: Option<String>) -> Result<Text, Failure> {
    let text = files::read_argument(path, FILE_BYTES_MAX)?;
    let stem =
        || path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "-").map(str::to_owned);
    let name = name.or_else(stem).ok_or_else(|| {
        Failure::usage("a document from standard input has no name", "give it one with --name")
    })?;
    let content = if is_json(path, &text) { to_toml(path, &text)? } else { text };
    Ok(Text { path: path.to_owned(), name, content })
}

/// By its ending, else by its first character: a document is a table, and no TOML table begins with a brace.
fn is_json(path: &Path, text: &str) -> bool {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => true,
        Some("toml") => false,
        Some(_) | None => text.trim_start().starts_with('{'),
    }
}

fn to_toml(path: &Path, text: &str) -> Result<String, Failure> {
    let wrong = |problem: String| Failure::usage(format!("{}: {problem}", path.display()), "");
    let mut value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    drop_nulls(&mut value);
    toml::to_string_pretty(&value).map_err(|error| wrong(format!("does not become TOML: {error}")))
}

/// TOML has no null; a key without a value is a key that is not there.
fn drop_nulls(value: &mut serde_json::Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
    } else if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(drop_nulls);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    test: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    principal: String,
    verb: String,
    module: String,
    #[serde(default)]
    version: String,
    expect: Option<String>,
}

/// Reads cases to decide.
pub(super) fn cases(path: &Path) -> Result<Vec<AccessTest>, Failure> {
    let text = files::read_argument(path, FILE_BYTES_MAX)?;
    let cases: Cases = read(path, &text)?;
    let tests = cases.test.into_iter().enumerate().map(|(at, case)| {
        let expected = match &case.expect {
            None => AccessEffect::Unspecified,
            Some(name) => AccessEffect::from_short_name(name)
                .filter(|effect| *effect != AccessEffect::Unspecified)
                .ok_or_else(|| {
                    let problem = format!("{}: test {}: `{name}` is not an effect", path.display(), at + 1);
                    Failure::usage(problem, "write `allow` or `deny`")
                })?,
        };
        let case = AccessCase {
            principal: case.principal,
            verb: case.verb,
            module: case.module,
            version: case.version,
        };
        Ok(AccessTest { case: Some(case), expected_effect: expected.into() })
    });
    tests.collect()
}

fn read<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Failure> {
    let wrong = |problem: &str| {
        let problem = format!("{}: {}", path.display(), problem.trim_end());
        Failure::usage(problem, "`goproxyctl policy test --help` has an example")
    };
    if is_json(path, text) {
        return serde_json::from_str(text).map_err(|error| wrong(&error.to_string()));
    }
    toml::from_str(text).map_err(|error| wrong(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn toml_goes_as_it_is_and_json_becomes_toml() {
        let (_folder, path) = file("teams.toml", "# kept\nrules = []\n");
        let text = document(&path, None).unwrap();
        assert_eq!((text.name.as_str(), text.content.as_str()), ("teams", "# kept\nrules = []\n"));
        let (_folder, path) = file("x.json", r#"{"rules":[{"effect":"deny","reason":null}]}"#);
        let text = document(&path, Some("y".to_owned())).unwrap();
        assert_eq!((text.name.as_str(), text.content.as_str()), ("y", "[[rules]]\neffect = \"deny\"\n"));
        let (_folder, path) = file("x.json", "{");
        assert!(matches!(document(&path, None), Err(Failure::Usage { .. })));
    }

    #[test]
    fn cases_are_read_from_both_forms() {
        let toml = "[[test]]\nprincipal = \"anonymous\"\nverb = \"read\"\nmodule = \"m.example\"\nexpect = \"deny\"\n";
        let json =
            r#"{"test":[{"principal":"anonymous","verb":"read","module":"m.example","expect":"deny"}]}"#;
        let (_a, toml) = file("a.toml", toml);
        let (_b, json) = file("b", json);
        let read = cases(&toml).unwrap();
        assert_eq!(read, cases(&json).unwrap());
        assert_eq!(read[0].expected_effect(), AccessEffect::Deny);
        for wrong in [
            "",
            "[[test]]\nmodul = \"x\"",
            "[[test]]\nprincipal=\"a\"\nverb=\"b\"\nmodule=\"c\"\nexpect=\"maybe\"",
        ] {
            let (_folder, path) = file("wrong.toml", wrong);
            assert!(matches!(cases(&path), Err(Failure::Usage { .. })), "{wrong}");
        }
    }
}
