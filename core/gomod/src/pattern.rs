//! Lists of module path patterns in the syntax of GOPRIVATE, shared by policy and by the choice of an origin.
//!
//! Source of the rules: `go help module-private` and golang.org/x/mod/module `MatchPrefixPatterns`.

use std::fmt;
use std::str::FromStr;

use crate::glob::{Glob, GlobError};
use crate::path::ModulePath;

/// Bound of a pattern list in bytes.
pub const PATTERNS_BYTES_MAX: usize = 64 << 10;

/// Why a pattern list is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    /// Longer than [`PATTERNS_BYTES_MAX`].
    #[error("pattern list of {bytes} bytes is over the limit of {PATTERNS_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// One pattern is malformed.
    #[error("malformed pattern {pattern:?}")]
    Malformed {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: GlobError,
    },
    /// White space, most often after a comma: the pattern would never match.
    #[error("white space in pattern {pattern:?}")]
    WhiteSpace {
        /// The pattern.
        pattern: String,
    },
}

/// Patterns each of which matches a module path or a prefix of it that ends before a slash.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct GlobPatterns {
    text: String,
    patterns: Vec<Pattern>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern {
    glob: Glob,
    /// Slashes in the pattern: as many as in the prefix it is matched against.
    slashes: usize,
}

impl GlobPatterns {
    /// Reads a comma-separated list and refuses patterns that can never match.
    ///
    /// For settings: the go command skips a malformed pattern without a word, and then a private module goes out.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        let mut patterns = Vec::new();
        for pattern in elements(text) {
            if pattern.contains(char::is_whitespace) {
                return Err(PatternError::WhiteSpace { pattern: pattern.to_owned() });
            }
            let compiled = compile(pattern)
                .map_err(|source| PatternError::Malformed { pattern: pattern.to_owned(), source })?;
            patterns.push(compiled);
        }
        Ok(Self { text: text.to_owned(), patterns })
    }

    /// Reads a list exactly as the go command does: malformed patterns match nothing.
    pub fn parse_lenient(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        let patterns = elements(text).filter_map(|pattern| compile(pattern).ok()).collect();
        Ok(Self { text: text.to_owned(), patterns })
    }

    /// Whether some pattern matches the module or a prefix of its path.
    pub fn matches(&self, module: &ModulePath) -> bool {
        self.matches_text(module.as_str())
    }

    /// The same of text that need not be a module path, such as what a client asked for: whether it, or what is before
    /// one of its slashes, is matched by some pattern.
    pub fn matches_text(&self, text: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(text))
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

impl FromStr for GlobPatterns {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for GlobPatterns {
    /// Writes the list as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    fn matches(&self, path: &str) -> bool {
        let mut slashes = path.match_indices('/').map(|(at, _)| at);
        // The prefix ends before the slash that follows as many slashes as the pattern has, or with the path.
        let prefix = match slashes.nth(self.slashes) {
            Some(end) => path.get(..end).unwrap_or(path),
            None if path.matches('/').count() == self.slashes => path,
            None => return false,
        };
        self.glob.matches(prefix)
    }
}

fn check_length(text: &str) -> Result<(), PatternError> {
    if text.len() > PATTERNS_BYTES_MAX {
        return Err(PatternError::TooLong { bytes: text.len() });
    }
    Ok(())
}

/// The patterns of a list: the empty ones are skipped, and one trailing slash is dropped.
fn elements(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(|pattern| pattern.strip_suffix('/').unwrap_or(pattern))
        .filter(|pattern| !pattern.is_empty())
}

fn compile(pattern: &str) -> Result<Pattern, GlobError> {
    Ok(Pattern { glob: Glob::compile(pattern)?, slashes: pattern.matches('/').count() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(patterns: &str, path: &str) -> bool {
        GlobPatterns::parse(patterns).unwrap().matches(&ModulePath::parse(path).unwrap())
    }

    #[test]
    fn matches_prefixes_of_whole_elements() {
        assert!(matches("corp.example", "corp.example/team/repo"));
        assert!(matches("*.corp.example,github.com/ours/*", "github.com/ours/repo/v2"));
        assert!(matches("a.b/c/,", "a.b/c"));
        assert!(!matches("corp.example", "corp.example.org/x"));
        assert!(!matches("github.com/ours/*", "github.com/ours"));
        assert!(!matches("", "a.b/c"));
    }

    #[test]
    fn strict_reading_refuses_what_never_matches() {
        let malformed = GlobPatterns::parse("a.b,[x").unwrap_err();
        assert_eq!(malformed, PatternError::Malformed { pattern: "[x".to_owned(), source: GlobError::Class });
        assert_eq!(
            GlobPatterns::parse("a.b, c.d").unwrap_err(),
            PatternError::WhiteSpace { pattern: " c.d".to_owned() }
        );
        let long = "a,".repeat(PATTERNS_BYTES_MAX);
        assert!(matches!(GlobPatterns::parse(&long), Err(PatternError::TooLong { .. })));
    }

    #[test]
    fn lenient_reading_skips_malformed_patterns() {
        let patterns = GlobPatterns::parse_lenient("[x, a.b,c.d").unwrap();
        assert!(!patterns.matches(&ModulePath::parse("a.b/x").unwrap()));
        assert!(patterns.matches(&ModulePath::parse("c.d/x").unwrap()));
    }

    #[test]
    fn writes_what_it_read() {
        assert_eq!(GlobPatterns::parse("a.b/*,c.d/").unwrap().to_string(), "a.b/*,c.d/");
        assert!(GlobPatterns::parse(",/,").unwrap().is_empty());
    }
}
