//! YAML of JSON values. Of YAML only what JSON needs: block maps and lists, plain words, and double-quoted strings, which are
//! JSON's own and which every YAML 1.2 reader takes.
//!
//! Why not a library: `serde_yaml` is no longer maintained and what came after it either wraps a translation of the C library
//! or is young; this direction, out of a value that is known to be JSON, is a page of code.

use std::fmt::Write as _;

use super::json::Value;

/// Words that YAML 1.1 or 1.2 would read as something else than a string.
const WORDS: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf"];

/// The YAML document for a JSON text.
pub(crate) fn of_json(text: &str) -> serde_json::Result<String> {
    let value: Value = serde_json::from_str(text)?;
    let mut yaml = String::new();
    block(&mut yaml, &value, 0);
    Ok(yaml)
}

/// A value on lines of its own.
fn block(yaml: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                indent(yaml, depth);
                let _ = write!(yaml, "{}:", word(key));
                below(yaml, value, depth + 1);
            }
        }
        Value::List(list) if !list.is_empty() => {
            for value in list {
                indent(yaml, depth);
                yaml.push('-');
                item(yaml, value, depth + 1);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            indent(yaml, depth);
            let _ = writeln!(yaml, "{}", scalar(value));
        }
    }
}

/// A value after its key.
fn below(yaml: &mut String, value: &Value, depth: usize) {
    if is_block(value) {
        yaml.push('\n');
        block(yaml, value, depth);
    } else {
        let _ = writeln!(yaml, " {}", scalar(value));
    }
}

/// A value after its dash: a map begins on the same line.
fn item(yaml: &mut String, value: &Value, depth: usize) {
    if is_block(value) {
        let mut inner = String::new();
        block(&mut inner, value, depth);
        // The dash takes the place of the first line's indentation.
        yaml.push(' ');
        yaml.push_str(inner.trim_start_matches(' '));
    } else {
        let _ = writeln!(yaml, " {}", scalar(value));
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Map(entries) => !entries.is_empty(),
        Value::List(list) => !list.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => false,
    }
}

fn indent(yaml: &mut String, depth: usize) {
    yaml.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => word(text),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}

/// A string as it is where it cannot be taken for anything else, else quoted as in JSON.
fn word(text: &str) -> String {
    let letters = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@'));
    let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let taken = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if letters && begins && !taken { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_json() {
        let json =
            r#"{"z":1,"a":[{"b":"x","l":{}},{"b":"y","l":{"k":"v"}}],"e":[],"l":[[1,2],["no"]],"t":null}"#;
        let expected = "\
z: 1
a:
  - b: x
    l: {}
  - b: \"y\"
    l:
      k: v
e: []
l:
  - - 1
    - 2
  - - \"no\"
t: null
";
        assert_eq!(of_json(json).unwrap(), expected);
    }

    #[test]
    fn what_could_be_something_else_is_quoted() {
        for (text, expected) in [
            ("data-1", "data-1"),
            ("0123", "\"0123\""),
            ("1e5", "\"1e5\""),
            ("", "\"\""),
            ("Null", "\"Null\""),
            ("a: b", "\"a: b\""),
            ("- x", "\"- x\""),
            ("a#b", "\"a#b\""),
            ("line\nbreak", "\"line\\nbreak\""),
            ("2026-01-01T00:00:00Z", "\"2026-01-01T00:00:00Z\""),
            ("127.0.0.1:80", "\"127.0.0.1:80\""),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
