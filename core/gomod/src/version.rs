//! Versions of modules, and the pair of a module path and a version that belong together.
//!
//! Invariant: a [`Version`] is a canonical semantic version: three numbers, an optional pre-release, and no build part but
//! `+incompatible`. Its order is total and agrees with `Eq`: semver precedence first, then the bytes, as the go command
//! sorts lists.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::escape::{escape, unescape};
use crate::path::ModulePath;
use crate::semver::{self, Parts};

/// Bound of a version in bytes: the longest file name that common file systems take.
pub const VERSION_BYTES_MAX: usize = 255;

const INCOMPATIBLE: &str = "+incompatible";

/// Why a text is not a version, or not one of this module.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VersionError {
    /// Longer than [`VERSION_BYTES_MAX`].
    #[error("version of {bytes} bytes is over the limit of {VERSION_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// Not a semantic version with a leading `v`.
    #[error("not a semantic version")]
    NotSemver,
    /// A semantic version in another spelling: short (`v1.2`) or with a build part.
    #[error("version is not canonical, should be {canonical}")]
    NotCanonical {
        /// The spelling to use instead.
        canonical: String,
    },
    /// A raw capital, a stray `!` or a character outside ASCII in the escaped form.
    #[error("malformed escaping of a version")]
    Escape,
    /// The major version is not the one that the module path asks for.
    #[error("version should be {expected}, not {found}, for this module path")]
    MajorMismatch {
        /// What the path asks for: `v2`, or `v0 or v1`.
        expected: String,
        /// What the version has.
        found: String,
    },
}

/// A canonical module version such as `v1.2.3`, `v0.0.0-20200101000000-abcdef123456` or `v2.0.0+incompatible`.
/// Cheap to clone.
#[derive(Clone)]
pub struct Version {
    text: Arc<str>,
    ends: Ends,
}

/// Where the parts end in the text, so that comparing needs no parsing. [`VERSION_BYTES_MAX`] fits a `u8`.
#[derive(Clone, Copy)]
struct Ends {
    major: u8,
    minor: u8,
    patch: u8,
    prerelease: u8,
}

impl Version {
    /// Accepts exactly the canonical versions (module `CanonicalVersion(v) == v`), up to [`VERSION_BYTES_MAX`].
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        if text.len() > VERSION_BYTES_MAX {
            return Err(VersionError::TooLong { bytes: text.len() });
        }
        let parts = semver::parse(text).ok_or(VersionError::NotSemver)?;
        let canonical = canonical(parts);
        if canonical != text {
            return Err(VersionError::NotCanonical { canonical });
        }
        let major = 1 + parts.major.len();
        let minor = major + 1 + parts.minor.len();
        let patch = minor + 1 + parts.patch.len();
        let prerelease = patch + parts.prerelease.len();
        let ends =
            Ends { major: major as u8, minor: minor as u8, patch: patch as u8, prerelease: prerelease as u8 };
        Ok(Self { text: text.into(), ends })
    }

    /// Reads the escaped form that URLs carry (after percent-decoding).
    pub fn unescape(escaped: &str) -> Result<Self, VersionError> {
        if escaped.len() > 2 * VERSION_BYTES_MAX {
            return Err(VersionError::TooLong { bytes: escaped.len() });
        }
        Self::parse(&unescape(escaped).ok_or(VersionError::Escape)?)
    }

    /// The version as developers write it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form that URLs and the module cache use: `!` before each former capital.
    pub fn escaped(&self) -> String {
        escape(&self.text)
    }

    /// The major version; `u64::MAX` stands for any larger one.
    pub fn major(&self) -> u64 {
        self.parts().major.parse().unwrap_or(u64::MAX)
    }

    /// Whether it names an untagged commit by time and hash (module `IsPseudoVersion`).
    pub fn is_pseudo(&self) -> bool {
        crate::pseudo::split(self).is_some()
    }

    /// Whether it has a pre-release part; pseudo-versions and toolchains do.
    pub fn is_prerelease(&self) -> bool {
        !self.parts().prerelease.is_empty()
    }

    /// Whether it is of a major version above 1 without a go.mod that says so.
    pub fn is_incompatible(&self) -> bool {
        !self.parts().build.is_empty()
    }

    /// Checks the major version against the suffix of the module path (module `Check`).
    pub fn fits(&self, module: &ModulePath) -> Result<(), VersionError> {
        let found = self.text.get(..usize::from(self.ends.major)).unwrap_or_default();
        let expected = match module.major_suffix() {
            None if matches!(found, "v0" | "v1") || self.is_incompatible() => return Ok(()),
            None => "v0 or v1",
            Some(suffix) if suffix.major() == found => return Ok(()),
            // The go command once made such pseudo-versions for gopkg.in paths, the only ones that may ask for v1, and
            // go.mod files still name them.
            Some(suffix) if suffix.major() == "v1" && self.text.starts_with("v0.0.0-") => return Ok(()),
            Some(suffix) => suffix.major(),
        };
        Err(VersionError::MajorMismatch { expected: expected.to_owned(), found: found.to_owned() })
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        let part = |from: usize, to: u8| self.text.get(from..usize::from(to)).unwrap_or_default();
        let Ends { major, minor, patch, prerelease } = self.ends;
        Parts {
            major: part(1, major),
            minor: part(usize::from(major) + 1, minor),
            patch: part(usize::from(minor) + 1, patch),
            prerelease: part(usize::from(patch), prerelease),
            build: self.text.get(usize::from(prerelease)..).unwrap_or_default(),
        }
    }
}

/// The canonical spelling: three numbers, and no build part but `+incompatible` (module `CanonicalVersion`).
fn canonical(parts: Parts<'_>) -> String {
    let Parts { major, minor, patch, prerelease, build } = parts;
    let build = if build == INCOMPATIBLE { build } else { "" };
    format!("v{major}.{minor}.{patch}{prerelease}{build}")
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        semver::compare(self.parts(), other.parts()).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Version").field(&self.text).finish()
    }
}

/// A version of a module. Orders by path, then by version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ModuleVersion {
    /// The module.
    pub module: ModulePath,
    /// A version that [fits](Version::fits) the module.
    pub version: Version,
}

impl ModuleVersion {
    /// Joins the two if they belong together.
    pub fn new(module: ModulePath, version: Version) -> Result<Self, VersionError> {
        version.fits(&module)?;
        Ok(Self { module, version })
    }
}

impl fmt::Display for ModuleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.module, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn fits(path: &str, text: &str) -> bool {
        ModuleVersion::new(ModulePath::parse(path).unwrap(), version(text)).is_ok()
    }

    #[test]
    fn accepts_canonical_versions_only() {
        for good in ["v0.0.0", "v1.2.3-RC.1", "v2.0.0+incompatible", "v0.0.1-go1.22.0.linux-amd64"] {
            assert_eq!(version(good).as_str(), good);
        }
        let not_canonical =
            |canonical: &str| Err(VersionError::NotCanonical { canonical: canonical.to_owned() });
        assert_eq!(Version::parse("v1"), not_canonical("v1.0.0"));
        assert_eq!(Version::parse("v1.2.3-a+meta"), not_canonical("v1.2.3-a"));
        assert_eq!(Version::parse("latest"), Err(VersionError::NotSemver));
        let long = format!("v1.0.0-{}", "a".repeat(249));
        assert_eq!(Version::parse(&long), Err(VersionError::TooLong { bytes: 256 }));
        assert_eq!(version(long.strip_suffix('a').unwrap()).as_str().len(), VERSION_BYTES_MAX);
    }

    #[test]
    fn remembers_its_parts() {
        let parsed = version("v12.3.45-rc.1+incompatible");
        assert_eq!(parsed.parts(), semver::parse(parsed.as_str()).unwrap());
        assert!(parsed.is_prerelease() && parsed.is_incompatible() && !parsed.is_pseudo());
        assert_eq!(parsed.major(), 12);
        assert_eq!(version("v99999999999999999999.0.0").major(), u64::MAX);
    }

    #[test]
    fn order_agrees_with_equality() {
        let (plain, incompatible) = (version("v2.0.0"), version("v2.0.0+incompatible"));
        assert_ne!(plain, incompatible);
        assert!(plain < incompatible && incompatible < version("v2.0.1-0"));
    }

    #[test]
    fn versions_fit_their_paths() {
        assert!(fits("a.b/c", "v0.1.0") && fits("a.b/c", "v1.0.0") && fits("a.b/c", "v5.0.0+incompatible"));
        assert!(fits("a.b/c/v2", "v2.1.0") && !fits("a.b/c/v2", "v1.0.0") && !fits("a.b/c", "v2.0.0"));
        assert!(fits("gopkg.in/x.v1", "v1.0.0") && fits("gopkg.in/x.v2-unstable", "v2.0.0"));
        assert!(fits("gopkg.in/check.v1", "v0.0.0-20161208181325-20d25e280405"));
        assert!(!fits("gopkg.in/check.v2", "v0.0.0-20161208181325-20d25e280405"));
        assert!(fits("golang.org/toolchain", "v0.0.1-go1.22.0.linux-amd64"));
    }

    #[test]
    fn escapes_capitals() {
        assert_eq!(version("v1.0.0-RC1").escaped(), "v1.0.0-!r!c1");
        assert_eq!(Version::unescape("v1.0.0-!r!c1"), Ok(version("v1.0.0-RC1")));
        assert_eq!(Version::unescape("v1.0.0-RC1"), Err(VersionError::Escape));
    }
}
