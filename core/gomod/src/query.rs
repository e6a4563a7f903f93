//! What `.info` may be asked for: a version, or anything else that an origin can resolve to one.
//!
//! Owns the names that may travel in `@v/NAME.info`. Ranges and prefixes (`<v1.5`, `v1`) are the go command's affair: it
//! resolves them from the list, but a branch may be called `v1`, so such a name is passed on like any other.

use std::fmt;
use std::sync::Arc;

use crate::element::{ElementError, check_file_element, is_ascii_file_char};
use crate::escape::{escape, unescape};
use crate::path::ModulePath;
use crate::version::{VERSION_BYTES_MAX, Version};

/// Query words with a meaning of their own; they are never looked up as names.
const RESERVED: [&str; 3] = ["latest", "upgrade", "patch"];

/// Why a text cannot be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// Longer than [`VERSION_BYTES_MAX`].
    #[error("version query of {bytes} bytes is over the limit of {VERSION_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// `latest`, `upgrade` or `patch`: the first has its own URL, the others are resolved by the client.
    #[error("version query {word:?} is not served under @v")]
    Reserved {
        /// The word met.
        word: &'static str,
    },
    /// It would be read as an option by a version control command.
    #[error("version query has a leading dash")]
    LeadingDash,
    /// Not a valid file name, so no version query either (module `EscapeVersion`).
    #[error("malformed version query")]
    Name(#[from] ElementError),
    /// A raw capital, a stray `!` or a character outside ASCII in the escaped form.
    #[error("malformed escaping of a version query")]
    Escape,
}

/// What a `.info` request asks for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Query {
    /// A canonical version that fits the module: the answer must be this version, and it never changes.
    Version(Version),
    /// Any other name: the answer names some version, and may change.
    Revision(Revision),
}

impl Query {
    /// Sorts `text` into the two kinds.
    ///
    /// A canonical version that does not fit the module is a revision, not an error: the go command asks a module
    /// without a major suffix for `v2.0.0` and expects to hear of `v2.0.0+incompatible`.
    pub fn parse(text: &str, module: &ModulePath) -> Result<Self, QueryError> {
        match Version::parse(text) {
            Ok(version) if version.fits(module).is_ok() => Ok(Self::Version(version)),
            _ => Ok(Self::Revision(Revision::parse(text)?)),
        }
    }

    /// Reads the escaped form that URLs carry (after percent-decoding).
    pub fn unescape(escaped: &str, module: &ModulePath) -> Result<Self, QueryError> {
        if escaped.len() > 2 * VERSION_BYTES_MAX {
            return Err(QueryError::TooLong { bytes: escaped.len() });
        }
        Self::parse(&unescape(escaped).ok_or(QueryError::Escape)?, module)
    }

    /// The text as developers write it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Version(version) => version.as_str(),
            Self::Revision(revision) => revision.as_str(),
        }
    }

    /// The form that URLs use.
    pub fn escaped(&self) -> String {
        escape(self.as_str())
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a branch, tag or commit. Never empty, ASCII, without slash, control character or leading dash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Revision(Arc<str>);

impl Revision {
    /// Accepts what module `EscapeVersion` accepts, but for a leading dash and the reserved words.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > VERSION_BYTES_MAX {
            return Err(QueryError::TooLong { bytes: text.len() });
        }
        if let Some(&word) = RESERVED.iter().find(|&&word| word == text) {
            return Err(QueryError::Reserved { word });
        }
        if text.starts_with('-') {
            return Err(QueryError::LeadingDash);
        }
        check_file_element(text, |c| is_ascii_file_char(c) && c != '!')?;
        Ok(Self(text.into()))
    }

    /// The name as developers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str, text: &str) -> Result<Query, QueryError> {
        Query::parse(text, &ModulePath::parse(path).unwrap())
    }

    #[test]
    fn a_version_must_fit_to_be_one() {
        assert!(matches!(parse("a.b/c", "v1.2.3"), Ok(Query::Version(_))));
        assert!(matches!(parse("a.b/c", "v2.0.0+incompatible"), Ok(Query::Version(_))));
        for revision in ["v2.0.0", "v1", "v1.2.3+meta", "main", "HEAD", "0123abcd", ".hidden", "a b"] {
            assert!(matches!(parse("a.b/c", revision), Ok(Query::Revision(_))), "{revision}");
        }
    }

    #[test]
    fn refuses_names_that_cannot_travel() {
        let check = |text: &str| Revision::parse(text).unwrap_err();
        assert_eq!(check("latest"), QueryError::Reserved { word: "latest" });
        assert_eq!(check("--upload-pack=x"), QueryError::LeadingDash);
        assert_eq!(check(&"a".repeat(256)), QueryError::TooLong { bytes: 256 });
        for bad in ["", "..", "a/b", "a\nb", "é", "a!b", "nul", "x.", "<v1"] {
            assert!(matches!(check(bad), QueryError::Name(_)), "{bad:?}");
        }
    }

    #[test]
    fn escapes_capitals() {
        let module = ModulePath::parse("a.b/c").unwrap();
        let query = Query::parse("Feature-X", &module).unwrap();
        assert_eq!(query.escaped(), "!feature-!x");
        assert_eq!(Query::unescape("!feature-!x", &module), Ok(query));
        assert_eq!(Query::unescape("Feature", &module), Err(QueryError::Escape));
    }
}
