//! One element of a slash-separated path: the rules that module paths, file names and version queries share.
//!
//! Owns the checks that look at a single element; where elements begin and end, and the rules about the whole, belong to
//! the caller. Invariant: an element that passes is safe as a file name on every system the go command runs on.
//! Source of the rules: golang.org/x/mod/module, `CheckPath`, `CheckImportPath` and `CheckFilePath`.

/// File names that Windows reserves, whatever their extension and case.
const WINDOWS_NAMES: [&str; 22] = [
    "CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
    "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
];

/// Why one path element is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ElementError {
    /// Nothing between two slashes, or an empty name.
    #[error("empty element")]
    Empty,
    /// `.`, `..` and longer runs of dots.
    #[error("element of dots only")]
    DotsOnly,
    /// A module path element starts with a dot.
    #[error("leading dot in element")]
    LeadingDot,
    /// Windows drops trailing dots, so two names would become one.
    #[error("trailing dot in element")]
    TrailingDot,
    /// A character outside the allowed set.
    #[error("character {0:?} is not allowed")]
    Character(char),
    /// The part before the first dot is a device on Windows.
    #[error("element is a reserved name on Windows")]
    WindowsName,
    /// The part before the first dot looks like a Windows 8.3 name (`LONGNA~1`).
    #[error("element ends in a tilde and digits")]
    ShortName,
}

/// Checks an element of a module path.
pub(crate) fn check_module_element(element: &str) -> Result<(), ElementError> {
    if element.starts_with('.') && !is_dots_only(element) {
        return Err(ElementError::LeadingDot);
    }
    check_file_element(element, is_module_char)?;
    if is_short_name(stem(element)) {
        return Err(ElementError::ShortName);
    }
    Ok(())
}

/// Checks a file name, or anything that becomes one, whose characters must satisfy `allowed`.
pub(crate) fn check_file_element(element: &str, allowed: impl Fn(char) -> bool) -> Result<(), ElementError> {
    if element.is_empty() {
        return Err(ElementError::Empty);
    }
    if is_dots_only(element) {
        return Err(ElementError::DotsOnly);
    }
    if element.ends_with('.') {
        return Err(ElementError::TrailingDot);
    }
    if let Some(refused) = element.chars().find(|&c| !allowed(c)) {
        return Err(ElementError::Character(refused));
    }
    let stem = stem(element);
    if WINDOWS_NAMES.iter().any(|name| name.eq_ignore_ascii_case(stem)) {
        return Err(ElementError::WindowsName);
    }
    Ok(())
}

/// The ASCII characters of file names: no shell specials, no separators of any system.
pub(crate) fn is_ascii_file_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&()+,-.=@[]^_{}~ ".contains(c)
}

/// The characters of a module path element.
fn is_module_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

fn is_dots_only(element: &str) -> bool {
    !element.is_empty() && element.bytes().all(|b| b == b'.')
}

/// The part before the first dot: the only one that Windows looks at for reserved names.
fn stem(element: &str) -> &str {
    element.split_once('.').map_or(element, |(stem, _)| stem)
}

fn is_short_name(stem: &str) -> bool {
    stem.rsplit_once('~')
        .is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_error() {
        let check = check_module_element;
        assert_eq!(check(""), Err(ElementError::Empty));
        assert_eq!(check(".."), Err(ElementError::DotsOnly));
        assert_eq!(check(".git"), Err(ElementError::LeadingDot));
        assert_eq!(check("a."), Err(ElementError::TrailingDot));
        assert_eq!(check("a+b"), Err(ElementError::Character('+')));
        assert_eq!(check("cOn.txt"), Err(ElementError::WindowsName));
        assert_eq!(check("abc~12.x"), Err(ElementError::ShortName));
    }

    #[test]
    fn near_misses_pass() {
        for element in ["a..b", "com10", "con-x", "a~", "a~1b", "a.con", "x.y~1"] {
            assert_eq!(check_module_element(element), Ok(()), "{element}");
        }
    }

    #[test]
    fn file_names_may_start_with_a_dot_and_look_short() {
        assert_eq!(check_file_element(".git", is_ascii_file_char), Ok(()));
        assert_eq!(check_file_element("abc~1", is_ascii_file_char), Ok(()));
        assert_eq!(check_file_element("a*", is_ascii_file_char), Err(ElementError::Character('*')));
    }
}
