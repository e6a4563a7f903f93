//! The grammar and the order of Go's semantic versions, over plain text.
//!
//! Owns what golang.org/x/mod/semver owns; which of these texts are *module versions* is [`crate::version`]'s question.
//! Invariant: [`Parts`] come only from [`parse`], so each field has the shape its comment says.

use std::cmp::Ordering;

/// A semantic version taken apart. `v1` and `v1.2` stand for `v1.0.0` and `v1.2.0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parts<'a> {
    /// Digits without a leading zero, of any length.
    pub(crate) major: &'a str,
    /// As `major`.
    pub(crate) minor: &'a str,
    /// As `major`.
    pub(crate) patch: &'a str,
    /// Empty, or `-` and dot-separated identifiers.
    pub(crate) prerelease: &'a str,
    /// Empty, or `+` and dot-separated identifiers.
    pub(crate) build: &'a str,
}

/// Takes `text` apart; `None` if it is not a semantic version with a leading `v`.
pub(crate) fn parse(text: &str) -> Option<Parts<'_>> {
    let mut parts = Parts { major: "0", minor: "0", patch: "0", prerelease: "", build: "" };
    let mut rest;
    (parts.major, rest) = take_number(text.strip_prefix('v')?)?;
    if rest.is_empty() {
        return Some(parts);
    }
    (parts.minor, rest) = take_number(rest.strip_prefix('.')?)?;
    if rest.is_empty() {
        return Some(parts);
    }
    (parts.patch, rest) = take_number(rest.strip_prefix('.')?)?;
    (parts.prerelease, parts.build) = rest.find('+').map_or((rest, ""), |at| rest.split_at(at));
    if !parts.prerelease.is_empty() {
        let mut identifiers = parts.prerelease.strip_prefix('-')?.split('.');
        if !identifiers.all(|identifier| is_identifier(identifier) && !has_leading_zero(identifier)) {
            return None;
        }
    }
    if !parts.build.is_empty() && !parts.build.strip_prefix('+')?.split('.').all(is_identifier) {
        return None;
    }
    Some(parts)
}

/// Precedence: numbers by value, then a release over its pre-releases, then identifiers; the build part is ignored.
pub(crate) fn compare(a: Parts<'_>, b: Parts<'_>) -> Ordering {
    compare_numbers(a.major, b.major)
        .then_with(|| compare_numbers(a.minor, b.minor))
        .then_with(|| compare_numbers(a.patch, b.patch))
        .then_with(|| compare_prereleases(a.prerelease, b.prerelease))
}

/// Compares decimal numbers without leading zeros and without a bound on their size.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn compare_prereleases(a: &str, b: &str) -> Ordering {
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        // A list that is a prefix of another sorts first, as iterators compare.
        (Some(a), Some(b)) => a.split('.').map(Identifier::new).cmp(b.split('.').map(Identifier::new)),
    }
}

/// Numeric identifiers come before the others and compare by value; the others compare as bytes.
#[derive(PartialEq, Eq)]
enum Identifier<'a> {
    Number(&'a str),
    Text(&'a str),
}

impl<'a> Identifier<'a> {
    fn new(text: &'a str) -> Self {
        if text.bytes().all(|b| b.is_ascii_digit()) { Self::Number(text) } else { Self::Text(text) }
    }
}

impl Ord for Identifier<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => compare_numbers(a, b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
        }
    }
}

impl PartialOrd for Identifier<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Splits the digits off the front; `None` if there are none or they have a leading zero.
fn take_number(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    (!digits.is_empty() && !has_leading_zero(digits)).then_some((digits, rest))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Whether `text` is a number written with a needless zero in front.
fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_versions_apart() {
        let parts = parse("v1.20.3-rc.1+meta.5").unwrap();
        assert_eq!((parts.major, parts.minor, parts.patch), ("1", "20", "3"));
        assert_eq!((parts.prerelease, parts.build), ("-rc.1", "+meta.5"));
        assert_eq!(parse("v1").unwrap().patch, "0");
    }

    #[test]
    fn refuses_what_is_not_semver() {
        for bad in
            ["", "v", "1.2.3", "v1.", "v01.2.3", "v1.2.3.4", "v1.2.3-", "v1.2.3-01", "v1.2.3-a..b", "v1.2-x"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for bad in ["v1.2.3+", "v1.2.3+a+b", "v1.2.3-é", "v1.2.3 ", "V1.2.3", "v1.2.3-a_b"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn orders_as_the_specification_lists() {
        let ascending = [
            "v1.0.0-alpha",
            "v1.0.0-alpha.1",
            "v1.0.0-alpha.beta",
            "v1.0.0-beta",
            "v1.0.0-beta.2",
            "v1.0.0-beta.11",
            "v1.0.0-rc.1",
            "v1.0.0",
            "v1.0.1",
            "v1.2.0",
            "v1.10.0",
            "v18446744073709551616.0.0",
        ];
        for pair in ascending.windows(2) {
            let (low, high) = (parse(pair[0]).unwrap(), parse(pair[1]).unwrap());
            assert_eq!(compare(low, high), Ordering::Less, "{pair:?}");
            assert_eq!(compare(high, low), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare(parse("v1").unwrap(), parse("v1.0.0+x").unwrap()), Ordering::Equal);
    }
}
