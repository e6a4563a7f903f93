//! Module paths: what is one, how it is escaped in URLs, and which major version it asks for.
//!
//! Invariant: a [`ModulePath`] has passed the rules of golang.org/x/mod/module `CheckPath` and is short enough that every
//! request made from it fits [`crate::REQUEST_BYTES_MAX`]. It is ASCII, and none of its elements starts with a dot, so
//! joined to a directory it stays inside.

use std::fmt;
use std::sync::Arc;

use crate::element::{ElementError, check_module_element};
use crate::escape::{escape, unescape};

/// Bound of a module path in bytes. The rules have none; the longest paths seen in the public index have about 300.
pub const MODULE_PATH_BYTES_MAX: usize = 760;

const TOOLCHAIN: &str = "golang.org/toolchain";
const GOPKG_IN: &str = "gopkg.in/";
const UNSTABLE: &str = "-unstable";

/// Why a text is not a module path.
///
/// The text itself is left out: it may be a private path, and whoever reports the error has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// Longer than [`MODULE_PATH_BYTES_MAX`].
    #[error("module path of {bytes} bytes is over the limit of {MODULE_PATH_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// It would be read as an option by a command line.
    #[error("module path has a leading dash")]
    LeadingDash,
    /// One element breaks the rules of elements; an empty one also stands for a leading, doubled or trailing slash.
    #[error("module path has a bad element")]
    Element(#[from] ElementError),
    /// The first element is no domain name: it lacks a dot.
    #[error("module path lacks a dot in its first element")]
    NoDomain,
    /// The first element may hold lower-case letters, digits, dots and dashes only.
    #[error("character {0:?} is not allowed in the first element of a module path")]
    DomainCharacter(char),
    /// The path ends in `/v0`, `/v1`, `/v01`, `/v1.2`, or breaks the conventions of gopkg.in.
    #[error("module path has a malformed major version suffix")]
    MajorSuffix,
    /// A raw capital, a stray `!` or a character outside ASCII in the escaped form.
    #[error("malformed escaping of a module path")]
    Escape,
}

/// A valid module path, such as `golang.org/x/text` or `rsc.io/quote/v3`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ModulePath(Arc<str>);

impl ModulePath {
    /// Accepts what golang.org/x/mod/module `CheckPath` accepts, up to [`MODULE_PATH_BYTES_MAX`].
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > MODULE_PATH_BYTES_MAX {
            return Err(PathError::TooLong { bytes: text.len() });
        }
        if text.starts_with('-') {
            return Err(PathError::LeadingDash);
        }
        for element in text.split('/') {
            check_module_element(element)?;
        }
        check_domain(text.split_once('/').map_or(text, |(domain, _)| domain))?;
        split_major(text)?;
        Ok(Self(text.into()))
    }

    /// Reads the escaped form that URLs carry (after percent-decoding).
    pub fn unescape(escaped: &str) -> Result<Self, PathError> {
        // Escaping at most doubles a path, and a refusal must not cost more than the limit.
        if escaped.len() > 2 * MODULE_PATH_BYTES_MAX {
            return Err(PathError::TooLong { bytes: escaped.len() });
        }
        Self::parse(&unescape(escaped).ok_or(PathError::Escape)?)
    }

    /// The path as developers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that URLs and the module cache use: `!` before each former capital.
    pub fn escaped(&self) -> String {
        escape(&self.0)
    }

    /// The suffix that names a major version; `None` stands for v0, v1 and `+incompatible` versions.
    pub fn major_suffix(&self) -> Option<MajorSuffix<'_>> {
        self.split_major().1
    }

    /// The path without its major version suffix, and the suffix.
    pub fn split_major(&self) -> (&str, Option<MajorSuffix<'_>>) {
        split_major(&self.0).unwrap_or((&self.0, None))
    }

    /// The module paths that this one lies within, longest first. A path that lies within a module is a package of it, or a module of
    /// its own.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        let text = self.as_str();
        text.rmatch_indices('/').filter_map(move |(end, _)| Self::parse(text.get(..end)?).ok())
    }

    /// The path of the major version before this one, where that ends in `/vN` as well.
    pub fn major_before(&self) -> Option<Self> {
        let (prefix, suffix) = self.split_major();
        let major = suffix.filter(|suffix| !suffix.is_gopkg_in())?.major();
        let before =
            major.strip_prefix('v')?.parse::<u64>().ok()?.checked_sub(1).filter(|&before| before > 1)?;
        Self::parse(&format!("{prefix}/v{before}")).ok()
    }

    /// Whether there can be no module at this path, since it is a host or an owner on a host where repositories have both in front of
    /// them (cmd/go/internal/vcs, `vcsPaths`). `go get` asks for every prefix of an import path, these as well.
    pub fn is_above_repositories(&self) -> bool {
        let mut elements = self.as_str().split('/');
        let is_known = matches!(elements.next(), Some("github.com" | "bitbucket.org"));
        is_known && elements.nth(1).is_none()
    }

    /// Whether this is `golang.org/toolchain`, whose versions are Go releases and follow rules of their own.
    pub fn is_toolchain(&self) -> bool {
        self.as_str() == TOOLCHAIN
    }
}

impl fmt::Display for ModulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The end of a module path that names its major version: `/v2`, or `.v1` and `.v1-unstable` on gopkg.in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MajorSuffix<'a>(&'a str);

impl<'a> MajorSuffix<'a> {
    /// The suffix with its separator, as it stands in the path.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The major version that versions of the module must have: `v2`.
    pub fn major(self) -> &'a str {
        let major = self.0.strip_prefix(['/', '.']).unwrap_or(self.0);
        major.strip_suffix(UNSTABLE).unwrap_or(major)
    }

    /// Whether it follows the conventions of gopkg.in.
    pub fn is_gopkg_in(self) -> bool {
        self.0.starts_with('.')
    }
}

fn check_domain(domain: &str) -> Result<(), PathError> {
    if !domain.contains('.') {
        return Err(PathError::NoDomain);
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    match domain.chars().find(|&c| !allowed(c)) {
        Some(refused) => Err(PathError::DomainCharacter(refused)),
        None => Ok(()),
    }
}

/// Splits off the major version suffix, or fails where the path only seems to have one (module `SplitPathVersion`).
fn split_major(path: &str) -> Result<(&str, Option<MajorSuffix<'_>>), PathError> {
    if path.starts_with(GOPKG_IN) {
        return split_gopkg_in(path);
    }
    let stem = path.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let (Some(prefix), Some(number)) = (stem.strip_suffix("/v"), path.strip_prefix(stem)) else {
        return Ok((path, None));
    };
    if number.is_empty() {
        return Ok((path, None));
    }
    if number.contains('.') || number.starts_with('0') || number == "1" {
        return Err(PathError::MajorSuffix);
    }
    Ok((prefix, path.strip_prefix(prefix).map(MajorSuffix)))
}

/// On gopkg.in every path ends in `.vN` for any N, or in `.vN-unstable`.
fn split_gopkg_in(path: &str) -> Result<(&str, Option<MajorSuffix<'_>>), PathError> {
    let stable = path.strip_suffix(UNSTABLE).unwrap_or(path);
    let stem = stable.trim_end_matches(|c: char| c.is_ascii_digit());
    let prefix = stem.strip_suffix(".v").ok_or(PathError::MajorSuffix)?;
    let suffix = path.strip_prefix(prefix).ok_or(PathError::MajorSuffix)?;
    // `.v-unstable` passes in Go too; no version fits it.
    if suffix == ".v" || (suffix.starts_with(".v0") && suffix != ".v0") {
        return Err(PathError::MajorSuffix);
    }
    Ok((prefix, Some(MajorSuffix(suffix))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suffix(path: &str) -> Option<String> {
        ModulePath::parse(path).unwrap().major_suffix().map(|suffix| suffix.major().to_owned())
    }

    #[test]
    fn accepts_real_paths() {
        for path in
            ["golang.org/x/text", "github.com/BurntSushi/toml", "a.b/c/v2", "gopkg.in/yaml.v3", "rsc.io"]
        {
            assert_eq!(ModulePath::parse(path).unwrap().as_str(), path);
        }
    }

    #[test]
    fn hosts_and_owners_are_no_repositories() {
        let is_above = |path: &str| ModulePath::parse(path).unwrap().is_above_repositories();
        for path in ["github.com", "github.com/owner", "bitbucket.org", "bitbucket.org/owner"] {
            assert!(is_above(path), "{path}");
        }
        for path in [
            "github.com/owner/repository",
            "github.com/owner/v2",
            "rsc.io",
            "rsc.io/quote",
            "github.com.example/a",
        ] {
            assert!(!is_above(path), "{path}");
        }
    }

    #[test]
    fn each_rule_has_its_error() {
        let check = |text: &str| ModulePath::parse(text).unwrap_err();
        assert_eq!(check("-a.b/c"), PathError::LeadingDash);
        for slashes in ["", "/a.b", "a.b//c", "a.b/c/"] {
            assert_eq!(check(slashes), PathError::Element(ElementError::Empty), "{slashes:?}");
        }
        assert_eq!(check("a.b/../c"), PathError::Element(ElementError::DotsOnly));
        assert_eq!(check("a.b/c\0"), PathError::Element(ElementError::Character('\0')));
        assert_eq!(check("localhost/x"), PathError::NoDomain);
        assert_eq!(check("GitHub.com/x"), PathError::DomainCharacter('G'));
        assert_eq!(check(&format!("a.b/{}", "x".repeat(800))), PathError::TooLong { bytes: 804 });
        for major in
            ["a.b/v0", "a.b/v1", "a.b/v02", "a.b/v1.2", "gopkg.in/yaml", "gopkg.in/a.v", "gopkg.in/a.v01"]
        {
            assert_eq!(check(major), PathError::MajorSuffix, "{major}");
        }
    }

    #[test]
    fn knows_what_it_lies_within() {
        let within = |text: &str| -> Vec<String> {
            let path = ModulePath::parse(text).unwrap();
            path.ancestors().map(|path| path.to_string()).collect()
        };
        assert_eq!(within("a.b/C/d/v2"), ["a.b/C/d", "a.b/C", "a.b"]);
        assert_eq!(within("a.b"), Vec::<String>::new());
        // What could be no module is none.
        assert_eq!(within("gopkg.in/a/yaml.v3"), ["gopkg.in"]);
        let before =
            |text: &str| ModulePath::parse(text).unwrap().major_before().map(|path| path.to_string());
        assert_eq!(before("a.b/c/v4").as_deref(), Some("a.b/c/v3"));
        for none in ["a.b/c", "a.b/c/v2", "gopkg.in/yaml.v3", "a.b/c/v99999999999999999999999"] {
            assert_eq!(before(none), None, "{none}");
        }
    }

    #[test]
    fn escapes_capitals() {
        let path = ModulePath::parse("github.com/Azure/azure-SDK").unwrap();
        assert_eq!(path.escaped(), "github.com/!azure/azure-!s!d!k");
        assert_eq!(ModulePath::unescape(&path.escaped()), Ok(path));
        assert_eq!(ModulePath::unescape("github.com/Azure"), Err(PathError::Escape));
    }

    #[test]
    fn reads_the_major_suffix() {
        assert_eq!(suffix("a.b/c"), None);
        assert_eq!(suffix("a.b/c/v12").as_deref(), Some("v12"));
        assert_eq!(suffix("a.b/cv2"), None);
        assert_eq!(suffix("gopkg.in/yaml.v0").as_deref(), Some("v0"));
        assert_eq!(suffix("gopkg.in/yaml.v2-unstable").as_deref(), Some("v2"));
        let path = ModulePath::parse("a.b/c/v3").unwrap();
        assert_eq!(path.split_major().0, "a.b/c");
        assert_eq!(path.major_suffix().unwrap().as_str(), "/v3");
    }
}
