//! Owns what of an origin's error text is shown to people.
//!
//! Pure. Invariant: at most [`DETAIL_BYTES_MAX`] bytes, one line, no control characters.

/// Longest text of an origin that is passed on, in bytes.
pub const DETAIL_BYTES_MAX: usize = 300;

/// Whether a body of this content type is text that people may be shown: the go command's own rule
/// (`cmd/go/internal/web`): `text/plain` in UTF-8 or ASCII, or with no charset said.
pub fn is_plain_text(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return false };
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/plain")) {
        return false;
    }
    parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
        let value = value.trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || value.eq_ignore_ascii_case("utf-8")
            || value.eq_ignore_ascii_case("us-ascii")
    })
}

/// The first line of `body` that says something, made harmless.
pub fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let Some(line) = text.lines().map(str::trim).find(|line| !line.is_empty()) else {
        return String::new();
    };
    let mut kept = String::new();
    for char in line.chars() {
        let char = if is_harmful(char) { ' ' } else { char };
        if kept.len() + char.len_utf8() > DETAIL_BYTES_MAX {
            break;
        }
        kept.push(char);
    }
    kept.trim().to_owned()
}

/// Control characters, and those that turn the direction of text on a terminal.
fn is_harmful(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_plain_text_is_shown() {
        assert!(is_plain_text(Some("text/plain")));
        assert!(is_plain_text(Some("Text/Plain; charset=\"UTF-8\"; format=flowed")));
        assert!(!is_plain_text(Some("text/plain; charset=latin1")));
        assert!(!is_plain_text(Some("text/html; charset=utf-8")));
        assert!(!is_plain_text(None));
    }

    #[test]
    fn the_first_line_that_says_something() {
        assert_eq!(first_line(b"\n \r\nnot found: no such\tversion\r\nmore"), "not found: no such version");
        assert_eq!(first_line(b"\x1b[31mred\x07"), "[31mred");
        assert_eq!(first_line("a\u{202e}b".as_bytes()), "a b");
        assert_eq!(first_line(b""), "");
    }

    proptest! {
        #[test]
        fn always_one_short_harmless_line(body in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let line = first_line(&body);
            prop_assert!(line.len() <= DETAIL_BYTES_MAX);
            prop_assert!(!line.chars().any(is_harmful));
        }
    }
}
