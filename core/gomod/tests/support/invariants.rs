//! What holds for every input of the crate's readers. Used by the corpus replay and by the fuzz targets.
//!
//! A function returns if the invariants hold and panics if they do not. Most inputs are refused; that is fine.

#![expect(clippy::unwrap_used, reason = "test code: what was read once must be readable again")]

#[path = "archive_invariants.rs"]
mod archive_invariants;

use std::cmp::Ordering;

use bytes::Bytes;
use gomod::quote::auto_quote;
use gomod::{
    Base, GlobPatterns, Info, ModulePath, PseudoVersion, Query, REQUEST_BYTES_MAX, Request, Version,
    VersionList, module_line, synthesize,
};

/// The name of a target and its check.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target with its name, which is also the name of its folder in `fuzz/corpus`.
pub(crate) const TARGETS: &[Target] = &[
    ("request", request),
    ("path", path),
    ("version", version),
    ("info", info),
    ("list", list),
    ("pattern", pattern),
    ("modfile", modfile),
    archive_invariants::ZIP,
    archive_invariants::NOTE,
    archive_invariants::TILE,
    archive_invariants::LOOKUP,
];

/// A request has one spelling, and that spelling is safe as a file name under a directory.
fn request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(request) = Request::parse(text) else { return };
    assert_eq!(request.to_string(), text);
    assert!(text.len() <= REQUEST_BYTES_MAX && text.is_ascii());
    assert!(!text.contains(|c: char| c.is_ascii_control() || c.is_ascii_uppercase() || c == '\\'));
    assert!(text.split('/').all(|element| !element.is_empty() && element != "." && element != ".."));
    assert_eq!(ModulePath::parse(request.module().as_str()).as_ref(), Ok(request.module()));
    if let Request::Mod(file) | Request::Zip(file) = &request {
        assert_eq!(file.version.fits(&file.module), Ok(()));
    }
}

/// A path survives escaping, and only one escaped text leads to it.
fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(path) = ModulePath::parse(text) {
        assert_eq!(path.as_str(), text);
        assert_eq!(ModulePath::unescape(&path.escaped()).as_ref(), Ok(&path));
        assert!(Request::parse(&format!("{}/@v/list", path.escaped())).is_ok());
        let (prefix, suffix) = path.split_major();
        assert_eq!(format!("{prefix}{}", suffix.map_or("", |suffix| suffix.as_str())), text);
    }
    if let Ok(path) = ModulePath::unescape(text) {
        assert_eq!(path.escaped(), text);
    }
}

/// Versions, one a line: each survives escaping and being taken apart, and their order is total.
fn version(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let versions: Vec<Version> = text.lines().take(8).filter_map(|line| Version::parse(line).ok()).collect();
    for version in &versions {
        assert_eq!(Version::unescape(&version.escaped()).as_ref(), Ok(version));
        assert!(!version.is_pseudo() || version.is_prerelease());
        if let Ok(pseudo) = PseudoVersion::parse(version) {
            rebuild(version, &pseudo);
        }
    }
    for a in &versions {
        for b in &versions {
            assert_eq!(a.cmp(b), b.cmp(a).reverse());
            assert_eq!(a.cmp(b) == Ordering::Equal, a.as_str() == b.as_str());
            for c in &versions {
                assert!(!(a <= b && b <= c) || a <= c, "{a} {b} {c}");
            }
        }
    }
}

/// A pseudo-version is more than its base, and building it from its parts gives it back.
fn rebuild(version: &Version, pseudo: &PseudoVersion) {
    let base = match &pseudo.base {
        Some(tag) => {
            assert!(tag < version);
            Base::Tag(tag)
        }
        None if version.major() < u64::MAX => Base::Major(version.major()),
        None => return,
    };
    assert_eq!(PseudoVersion::build(base, pseudo.time, &pseudo.revision).as_ref(), Ok(version));
}

/// Metadata keeps its bytes, and reading them again says the same.
fn info(data: &[u8]) {
    let Ok(info) = Info::parse(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(info.raw(), data);
    assert_eq!(Info::parse(info.raw().clone()).unwrap(), info);
    let module = ModulePath::parse("a.b/c").unwrap();
    if let Ok(query @ Query::Version(_)) = Query::parse(info.version().as_str(), &module) {
        assert!(info.check_answers(&module, &query).is_ok());
    }
}

/// A list is sorted, unique, fits its module, and reads back as written.
fn list(data: &[u8]) {
    for path in ["a.b/c", "a.b/c/v2", "gopkg.in/c.v1", "golang.org/toolchain"] {
        let module = ModulePath::parse(path).unwrap();
        let Ok(list) = VersionList::parse_upstream(data, &module) else { continue };
        assert!(list.versions().is_sorted_by(|a, b| a < b));
        assert!(list.versions().iter().all(|version| !version.is_pseudo() && version.fits(&module).is_ok()));
        assert_eq!(VersionList::parse_upstream(&list.render(), &module).as_ref(), Ok(&list));
        assert_eq!(list.union(&list), list);
        assert_eq!(list.latest().is_none(), list.versions().is_empty());
    }
}

/// Patterns on the first line, a path on the second: both readings agree, and a list matches what its elements match.
fn pattern(data: &[u8]) {
    let Some((globs, path)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else {
        return;
    };
    let Ok(module) = ModulePath::parse(path) else { return };
    let Ok(lenient) = GlobPatterns::parse_lenient(globs) else { return };
    let matched = lenient.matches(&module);
    if let Ok(strict) = GlobPatterns::parse(globs) {
        assert_eq!(strict.matches(&module), matched);
        assert_eq!(GlobPatterns::parse(&strict.to_string()).as_ref(), Ok(&strict));
    }
    let alone = |glob: &str| GlobPatterns::parse_lenient(glob).unwrap().matches(&module);
    assert_eq!(globs.split(',').any(alone), matched);
    assert!(alone(path), "a path matches itself: it has no special characters");
}

/// A module path that was read can be written so that it reads the same.
fn modfile(data: &[u8]) {
    let Ok(line) = module_line(data) else { return };
    // Go's rule leaves a lone bracket bare, though after a keyword it opens a block.
    if line.path == "(" {
        return;
    }
    let written = format!("module {}\n", auto_quote(&line.path));
    assert_eq!(module_line(written.as_bytes()).unwrap().path, line.path);
    if let Ok(module) = ModulePath::parse(&line.path) {
        assert_eq!(synthesize(&module), written);
    }
}
