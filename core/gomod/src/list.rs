//! Version lists: what `@v/list` answers.
//!
//! Owns reading an origin's list, shaping it, writing ours, and which version of all is the latest. Invariant: a
//! [`VersionList`] is sorted and without repetitions, and holds canonical versions of its module that are no
//! pseudo-versions.

use bytes::Bytes;

use crate::path::ModulePath;
use crate::pseudo;
use crate::version::Version;

/// Bound of a list in bytes.
pub const LIST_BYTES_MAX: usize = 16 << 20;

/// Bound of a list in lines.
pub const LIST_LINES_MAX: usize = 200_000;

/// Why an origin's answer is no list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListError {
    /// Longer than [`LIST_BYTES_MAX`].
    #[error("version list of {bytes} bytes is over the limit of {LIST_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// More than [`LIST_LINES_MAX`] lines.
    #[error("version list has more than {LIST_LINES_MAX} lines")]
    TooManyLines,
    /// A web page. Read as a list it would be empty, and that would say "no tagged versions".
    #[error("version list is a web page")]
    WebPage,
}

/// The tagged versions of a module, in ascending order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct VersionList(Vec<Version>);

impl VersionList {
    /// Shapes `versions` into a list of `module`, leaving out what does not belong there.
    pub fn new(versions: impl IntoIterator<Item = Version>, module: &ModulePath) -> Self {
        let mut versions: Vec<Version> = versions
            .into_iter()
            .filter(|version| !version.is_pseudo() && may_exist(version, module))
            .collect();
        versions.sort_unstable();
        versions.dedup();
        Self(versions)
    }

    /// Reads an origin's answer.
    ///
    /// Lines that do not belong in a list of `module` are left out, not refused: the client would ignore them, or choose
    /// a version it cannot use. A second field on a line, which some origins send as a time, is ignored.
    pub fn parse_upstream(body: &[u8], module: &ModulePath) -> Result<Self, ListError> {
        Ok(Self::new(parse_lines(body)?, module))
    }

    /// The versions in ascending order.
    pub fn versions(&self) -> &[Version] {
        &self.0
    }

    /// The body of an `@v/list` answer: one version a line.
    pub fn render(&self) -> Bytes {
        let mut body = String::with_capacity(self.0.iter().map(|version| version.as_str().len() + 1).sum());
        for version in &self.0 {
            body.push_str(version.as_str());
            body.push('\n');
        }
        body.into()
    }

    /// All versions of two lists of one module.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut versions: Vec<Version> = self.0.iter().chain(&other.0).cloned().collect();
        // Two sorted runs: the stable sort merges them.
        versions.sort();
        versions.dedup();
        Self(versions)
    }

    /// The version to recommend: the highest release, or without one the highest pre-release.
    pub fn latest(&self) -> Option<&Version> {
        self.0.iter().rfind(|version| !version.is_prerelease()).or_else(|| self.0.last())
    }
}

/// The version that golang.org/ref/mod#version-queries calls latest: the highest release, else the highest pre-release, else the
/// pseudo-version of the newest commit.
pub fn latest<'a>(versions: impl IntoIterator<Item = &'a Version>) -> Option<&'a Version> {
    versions.into_iter().max_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)))
}

/// The latest of the versions of `module` in an origin's list, with those that we leave out of ours: a copy of a module cache lists
/// pseudo-versions and has no `@latest`, and the go command chooses among them (cmd/go/internal/modfetch, `latestFromList`).
pub fn latest_upstream(body: &[u8], module: &ModulePath) -> Result<Option<Version>, ListError> {
    let versions = parse_lines(body)?;
    Ok(latest(versions.iter().filter(|version| may_exist(version, module))).cloned())
}

/// Whether `module` may have such a version. One that is `+incompatible` is of a major version above 1 and of a path that names none
/// (cmd/go/internal/modfetch, `coderepo.go`); from any other one in a list the client would take the newer ones for incompatible, too.
fn may_exist(version: &Version, module: &ModulePath) -> bool {
    let may_be_incompatible = || module.major_suffix().is_none() && version.major() >= 2;
    version.fits(module).is_ok() && (!version.is_incompatible() || may_be_incompatible())
}

fn rank(version: &Version) -> (u8, &str) {
    match pseudo::timestamp(version) {
        Some(timestamp) => (0, timestamp),
        None => (1 + u8::from(!version.is_prerelease()), ""),
    }
}

/// The versions that an origin's list names.
fn parse_lines(body: &[u8]) -> Result<Vec<Version>, ListError> {
    if body.len() > LIST_BYTES_MAX {
        return Err(ListError::TooLong { bytes: body.len() });
    }
    if body.trim_ascii_start().starts_with(b"<") {
        return Err(ListError::WebPage);
    }
    let mut lines = body.split(|&b| b == b'\n');
    let versions = lines.by_ref().take(LIST_LINES_MAX).filter_map(parse_line).collect();
    if lines.any(|line| !line.is_empty()) {
        return Err(ListError::TooManyLines);
    }
    Ok(versions)
}

/// Reads the first field of a line; `None` for a line that names no canonical version.
fn parse_line(line: &[u8]) -> Option<Version> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    Version::parse(std::str::from_utf8(fields.next()?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn module(path: &str) -> ModulePath {
        ModulePath::parse(path).unwrap()
    }

    fn read(body: &str, path: &str) -> String {
        let list = VersionList::parse_upstream(body.as_bytes(), &module(path)).unwrap();
        String::from_utf8(list.render().to_vec()).unwrap()
    }

    #[test]
    fn sorts_and_shapes() {
        let body = "v1.10.0\r\nv1.9.0 2020-01-01T00:00:00Z\n\n  v1.9.0\nv1.2\nnonsense\nv1.0.0+meta\nv2.0.0\n\
            v3.0.0+incompatible\nv0.0.0-20200101000000-abcdef123456\n\u{e9}\nv1.0.0-rc.1";
        assert_eq!(read(body, "a.b/c"), "v1.0.0-rc.1\nv1.9.0\nv1.10.0\nv3.0.0+incompatible\n");
        assert_eq!(read(body, "a.b/c/v2"), "v2.0.0\n");
        let impossible = "v1.4.0\nv1.5.0+incompatible\nv1.9.0\nv2.0.0\nv2.1.0+incompatible\nv2.2.0\n";
        assert_eq!(read(impossible, "a.b/c"), "v1.4.0\nv1.9.0\nv2.1.0+incompatible\n");
        assert_eq!(read(impossible, "a.b/c/v2"), "v2.0.0\nv2.2.0\n");
        assert_eq!(read(impossible, "gopkg.in/c.v2"), "v2.0.0\nv2.2.0\n");
        assert_eq!(read("", "a.b/c"), "");
        assert_eq!(
            VersionList::parse_upstream(b"\xff\nv1.0.0", &module("a.b/c")).unwrap().versions().len(),
            1
        );
    }

    #[test]
    fn keeps_toolchains() {
        let body = "v0.0.1-go1.9.2.linux-amd64\nv0.0.1-go1.21.0.linux-amd64\n";
        assert_eq!(read(body, "golang.org/toolchain").lines().count(), 2);
    }

    #[test]
    fn refuses_what_is_no_list() {
        let parse = |body: &[u8]| VersionList::parse_upstream(body, &module("a.b/c"));
        assert_eq!(parse(b"\n <!DOCTYPE html>"), Err(ListError::WebPage));
        assert_eq!(
            parse(&vec![b' '; LIST_BYTES_MAX + 1]),
            Err(ListError::TooLong { bytes: LIST_BYTES_MAX + 1 })
        );
        let mut lines = "v1.0.0\n".repeat(LIST_LINES_MAX);
        assert_eq!(parse(lines.as_bytes()).unwrap().versions().len(), 1);
        lines.push('x');
        assert_eq!(parse(lines.as_bytes()), Err(ListError::TooManyLines));
    }

    #[test]
    fn recommends_releases_first() {
        let latest = |body: &str| {
            let list = VersionList::parse_upstream(body.as_bytes(), &module("a.b/c")).unwrap();
            list.latest().map(ToString::to_string)
        };
        assert_eq!(latest("v1.0.0\nv1.1.0-rc.1\nv0.9.0").as_deref(), Some("v1.0.0"));
        assert_eq!(latest("v0.1.0-a\nv0.1.0-b").as_deref(), Some("v0.1.0-b"));
        assert_eq!(latest(""), None);
    }

    #[test]
    fn the_newest_commit_is_latest_where_nothing_is_tagged() {
        let latest = |body: &str, path: &str| {
            latest_upstream(body.as_bytes(), &module(path)).unwrap().map(|version| version.to_string())
        };
        // The time decides, not the order of versions.
        let commits = "v0.0.0-20200101000000-ffffffffffff\nv0.0.0-20210101000000-000000000000\n\
            v1.0.1-0.20200601000000-aaaaaaaaaaaa\nv2.0.0-20300101000000-aaaaaaaaaaaa\n";
        assert_eq!(latest(commits, "a.b/c").as_deref(), Some("v0.0.0-20210101000000-000000000000"));
        assert_eq!(latest(commits, "a.b/c/v2").as_deref(), Some("v2.0.0-20300101000000-aaaaaaaaaaaa"));
        for (tag, path) in [("v0.0.1-rc.1", "a.b/c"), ("v0.0.1", "a.b/c"), ("v9.0.0+incompatible", "a.b/c")] {
            assert_eq!(latest(&format!("{commits}{tag}\n"), path).as_deref(), Some(tag));
        }
        assert_eq!(latest("v0.0.1\nv0.0.2-rc.1", "a.b/c").as_deref(), Some("v0.0.1"));
        assert_eq!(latest("", "a.b/c"), None);
        assert_eq!(latest_upstream(b"<html>", &module("a.b/c")), Err(ListError::WebPage));
    }

    proptest! {
        #[test]
        fn union_is_reading_both(a in "(v[01]\\.[0-3]\\.[0-9](-rc\\.[0-9])?\n){0,12}", b in "(v[01]\\.[0-3]\\.[0-9]\n){0,12}") {
            let parse = |body: &str| VersionList::parse_upstream(body.as_bytes(), &module("a.b/c")).unwrap();
            let union = parse(&a).union(&parse(&b));
            prop_assert_eq!(&union, &parse(&format!("{a}{b}")));
            prop_assert_eq!(&VersionList::parse_upstream(&union.render(), &module("a.b/c")).unwrap(), &union);
        }
    }
}
