//! Bang-escaping: every ASCII capital becomes `!` and its lower-case letter, so that names differing only in case stay
//! apart on file systems that fold case (GOPROXY protocol, "Module path encoding").
//!
//! Invariant: `unescape` accepts exactly the outputs of `escape`, so one name has one spelling. Whether the text is a
//! valid path or version is the caller's question.

/// Escapes `text`, which must hold neither `!` nor non-ASCII characters (paths and versions never do).
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.bytes().filter(u8::is_ascii_uppercase).count());
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(c.to_ascii_lowercase());
    }
    escaped
}

/// Undoes [`escape`]; `None` if `escaped` has a raw capital, a stray `!` or a character outside ASCII.
pub(crate) fn unescape(escaped: &str) -> Option<String> {
    let mut text = String::with_capacity(escaped.len());
    let mut chars = escaped.chars();
    while let Some(c) = chars.next() {
        match c {
            '!' => text.push(chars.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase()),
            'A'..='Z' => return None,
            _ if c.is_ascii() => text.push(c),
            _ => return None,
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_escape_never_writes() {
        for bad in ["Abc", "!", "a!", "!!a", "!A", "!1", "é", "!é"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn unescape_inverts_escape(text in "[ -~&&[^!]]{0,40}") {
            prop_assert_eq!(unescape(&escape(&text)), Some(text));
        }

        #[test]
        fn one_spelling(spelling in "[a-zA-Z!.0-9]{0,12}") {
            if let Some(text) = unescape(&spelling) {
                prop_assert_eq!(escape(&text), spelling);
            }
        }
    }
}
