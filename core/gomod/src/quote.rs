//! Quoted strings in go.mod files.
//!
//! Source of the rules: golang.org/x/mod/modfile `MustQuote`, `AutoQuote`, and Go's string literals.

use std::borrow::Cow;
use std::fmt::Write;
use std::str::{Chars, Utf8Chunk};

/// Returns `text` as it stands in a go.mod file: quoted if the syntax asks for it (modfile `AutoQuote`).
///
/// Outside ASCII, Go decides by its table of printable characters; here all but letters and digits count as unprintable,
/// so some text is quoted that Go leaves bare. It reads back the same, and module paths are ASCII.
pub fn auto_quote(text: &str) -> Cow<'_, str> {
    if must_quote(text) { Cow::Owned(quote(text)) } else { Cow::Borrowed(text) }
}

/// Reads a token of a go.mod file as a string; `None` if it is malformed.
pub(crate) fn unquote_token(token: &str) -> Option<Cow<'_, str>> {
    match token.strip_prefix('"') {
        Some(quoted) => unquote(quoted.strip_suffix('"')?).map(Cow::Owned),
        // The syntax keeps bare quotation marks for later use.
        None if token.contains(['"', '\'', '`']) => None,
        None => Some(Cow::Borrowed(token)),
    }
}

fn must_quote(text: &str) -> bool {
    let bad = |c: char| match c {
        ' ' | '"' | '\'' | '`' => true,
        '(' | ')' | '[' | ']' | '{' | '}' | ',' => text.len() > 1,
        _ => !is_printable(c),
    };
    text.is_empty() || text.chars().any(bad) || text.contains("//") || text.contains("/*")
}

fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || (!c.is_ascii() && c.is_alphanumeric())
}

fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            _ if is_printable(c) => quoted.push(c),
            _ => push_escaped(&mut quoted, u32::from(c)),
        }
    }
    quoted.push('"');
    quoted
}

fn push_escaped(quoted: &mut String, code: u32) {
    // Writing to a string cannot fail.
    let _ = match code {
        0..0x80 => write!(quoted, "\\x{code:02x}"),
        0x80..0x1_0000 => write!(quoted, "\\u{code:04x}"),
        _ => write!(quoted, "\\U{code:08x}"),
    };
}

/// Undoes the escapes of a Go string literal, given without its quotation marks. `\x` and octal escapes are bytes; each that makes no UTF-8
/// is told as U+FFFD, as Go does where it shows such a string (encoding/json). It is in no valid path or version.
fn unquote(quoted: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\n' => return None,
            '\\' => unescape(&mut rest, &mut bytes)?,
            _ => push_char(&mut bytes, c),
        }
    }
    let told = |chunk: Utf8Chunk<'_>| {
        let odd = std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len());
        chunk.valid().chars().chain(odd).collect::<String>()
    };
    Some(bytes.utf8_chunks().map(told).collect())
}

/// Reads the escape after a backslash.
fn unescape(rest: &mut Chars<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let simple = match rest.next()? {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        c @ ('\\' | '"') => c,
        'u' => char::from_u32(number(rest, 4, 16, 0)?)?,
        'U' => char::from_u32(number(rest, 8, 16, 0)?)?,
        'x' => {
            bytes.push(number(rest, 2, 16, 0)? as u8);
            return Some(());
        }
        c => {
            let octal = number(rest, 2, 8, c.to_digit(8)?)?;
            bytes.push(u8::try_from(octal).ok()?);
            return Some(());
        }
    };
    push_char(bytes, simple);
    Some(())
}

/// Reads exactly `count` digits (at most eight) that continue the number `start`.
fn number(rest: &mut Chars<'_>, count: usize, radix: u32, start: u32) -> Option<u32> {
    let mut value = start;
    for _ in 0..count {
        value = value.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?)?;
    }
    Some(value)
}

fn push_char(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_only_where_needed() {
        for bare in ["a.b/c", "a~b", "(", "a+b", "a*b", "é", "a\\b"] {
            assert_eq!(auto_quote(bare), bare);
        }
        for (text, quoted) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("a(b", r#""a(b""#),
            ("a//b", r#""a//b""#),
            ("'", r#""'""#),
            ("\"\\\n\x01\u{80}", r#""\"\\\n\x01\u0080""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(auto_quote(text), quoted);
        }
    }

    #[test]
    fn reads_escapes() {
        assert_eq!(unquote_token(r#""a\x62\143\u0064\U00000065\t""#).unwrap(), "abcde\t");
        // As Go's encoding/json writes the same string.
        assert_eq!(
            unquote_token(r#""a\xff\xe2\x82b\xe2\x82\xac""#).unwrap(),
            "a\u{fffd}\u{fffd}\u{fffd}b\u{20ac}"
        );
        for bad in [r#""\q""#, r#""\x6""#, r#""\400""#, r#""\ud800""#, r#""\'""#, "\"", "'a'", "`a`", "a\"b"]
        {
            assert_eq!(unquote_token(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn quoting_loses_nothing(text in any::<String>()) {
            let token = auto_quote(&text);
            prop_assert_eq!(unquote_token(&token).unwrap(), text.as_str());
        }
    }
}
