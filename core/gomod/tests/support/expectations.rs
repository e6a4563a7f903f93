//! What each topic of `tests/gomod-vectors` means for the crate.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code: a broken vector file or expectation ends the test"
)]

use std::cmp::Ordering;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use flate2::read::GzDecoder;
use gomod::quote::auto_quote;
use gomod::{
    Base, GlobPatterns, Info, InfoError, ModulePath, ModuleVersion, PseudoVersion, QueryError, Requirements,
    Revision, Version, VersionError, module_line,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::UtcDateTime;

/// A file of cases and the check of one of its lines; the check returns whether the case was a positive one.
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    check: fn(&str) -> bool,
}

pub(crate) const TOPICS: [Topic; 12] = [
    Topic { name: "paths", check: |line| path(&read(line)) },
    Topic { name: "escaped_paths", check: |line| escaped_path(&read(line)) },
    Topic { name: "versions", check: |line| version(&read(line)) },
    Topic { name: "escaped_versions", check: |line| escaped_version(&read(line)) },
    Topic { name: "orders", check: |line| order(&read(line)) },
    Topic { name: "checks", check: |line| check(&read(line)) },
    Topic { name: "pseudo_parts", check: |line| pseudo_parts(&read(line)) },
    Topic { name: "pseudo_builds", check: |line| pseudo_build(&read(line)) },
    Topic { name: "patterns", check: |line| pattern(&read(line)) },
    Topic { name: "quotes", check: |line| quote(&read(line)) },
    Topic { name: "modfiles", check: |line| modfile(&read(line)) },
    Topic { name: "infos", check: |line| info(&read(line)) },
];

impl Topic {
    /// Checks every case of the topic's file in `folder`, and that there are many of both outcomes.
    pub(crate) fn check(&self, folder: &Path) {
        let text = unpack(&folder.join(format!("{}.jsonl.gz", self.name)));
        let outcomes: Vec<bool> = text.lines().map(self.check).collect();
        let positive = outcomes.iter().filter(|&&positive| positive).count();
        let (total, least) = (outcomes.len(), outcomes.len() / 4);
        assert!(total >= 1900, "{}: only {total} cases", self.name);
        // Building a pseudo-version has no negative outcome.
        let balanced = self.name == "pseudo_builds" || (least..=total - least).contains(&positive);
        assert!(balanced, "{}: {positive} of {total} cases are positive", self.name);
    }
}

/// Reads a packed file of cases.
pub(crate) fn unpack(file: &Path) -> String {
    let mut text = String::new();
    let opened = File::open(file).unwrap_or_else(|error| panic!("open {}: {error}", file.display()));
    GzDecoder::new(opened).read_to_string(&mut text).unwrap();
    text
}

fn read<T: DeserializeOwned>(line: &str) -> T {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("read {line}: {error}"))
}

/// `assert_eq!` with the input in the message.
macro_rules! agree {
    ($input:expr, $ours:expr, $theirs:expr $(,)?) => {
        assert_eq!($ours, $theirs, "input {:?}: ours left, theirs right", $input)
    };
}

#[derive(Deserialize)]
struct PathCase {
    r#in: String,
    ok: bool,
    #[serde(default)]
    escaped: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    major: String,
}

fn path(case: &PathCase) -> bool {
    let ours = ModulePath::parse(&case.r#in);
    agree!(&case.r#in, ours.is_ok(), case.ok);
    if let Ok(path) = ours {
        agree!(&case.r#in, path.escaped(), case.escaped.clone());
        agree!(&case.r#in, &ModulePath::unescape(&case.escaped).unwrap(), &path);
        let (prefix, suffix) = path.split_major();
        agree!(
            &case.r#in,
            (prefix, suffix.map_or("", |suffix| suffix.as_str())),
            (case.prefix.as_str(), case.major.as_str())
        );
    }
    case.ok
}

#[derive(Deserialize)]
struct EscapedCase {
    r#in: String,
    ok: bool,
    #[serde(default)]
    out: String,
}

fn escaped_path(case: &EscapedCase) -> bool {
    let ours = ModulePath::unescape(&case.r#in);
    agree!(&case.r#in, ours.as_ref().ok().map(ModulePath::as_str), case.ok.then_some(case.out.as_str()));
    case.ok
}

/// A revision is what may be unescaped, but for names that are reserved or look like an option.
fn escaped_version(case: &EscapedCase) -> bool {
    let module = ModulePath::parse("a.b/c").unwrap();
    let ours = gomod::Query::unescape(&case.r#in, &module);
    match &ours {
        Err(QueryError::LeadingDash) => assert!(!case.ok || case.out.starts_with('-'), "{:?}", case.r#in),
        Err(QueryError::Reserved { word }) => agree!(&case.r#in, *word, &case.out),
        _ => agree!(
            &case.r#in,
            ours.as_ref().ok().map(gomod::Query::as_str),
            case.ok.then_some(case.out.as_str()),
        ),
    }
    if let Ok(query) = ours {
        agree!(&case.r#in, query.escaped(), case.r#in.clone());
    }
    case.ok
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct VersionCase {
    r#in: String,
    valid: bool,
    canonical: String,
    major: String,
    prerelease: String,
    pseudo: bool,
    escaped: String,
}

fn version(case: &VersionCase) -> bool {
    match Version::parse(&case.r#in) {
        Ok(version) => {
            agree!(&case.r#in, version.as_str(), &case.canonical);
            agree!(&case.r#in, version.is_pseudo(), case.pseudo);
            agree!(&case.r#in, version.is_prerelease(), !case.prerelease.is_empty());
            agree!(&case.r#in, version.escaped(), case.escaped.clone());
            agree!(&case.r#in, &Version::unescape(&case.escaped).unwrap(), &version);
            let major = case.major.strip_prefix('v').unwrap().parse().unwrap_or(u64::MAX);
            agree!(&case.r#in, version.major(), major);
            true
        }
        Err(VersionError::NotCanonical { canonical }) => {
            assert!(case.valid && canonical != case.r#in, "{:?}", case.r#in);
            agree!(&case.r#in, canonical, case.canonical.clone());
            false
        }
        Err(error) => {
            agree!(&case.r#in, &error, &VersionError::NotSemver);
            assert!(!case.valid, "{:?}", case.r#in);
            // What cannot be a version may still be asked for, and then by the same escaping.
            if let Ok(revision) = Revision::parse(&case.r#in) {
                assert!(!case.escaped.is_empty(), "{revision}");
            }
            false
        }
    }
}

#[derive(Deserialize)]
struct OrderCase {
    a: String,
    b: String,
    order: i8,
}

fn order(case: &OrderCase) -> bool {
    let (a, b) = (Version::parse(&case.a).unwrap(), Version::parse(&case.b).unwrap());
    // Go breaks ties by the text, too.
    let theirs = case.order.cmp(&0).then_with(|| case.a.cmp(&case.b));
    agree!(&(&case.a, &case.b), a.cmp(&b), theirs);
    agree!(&(&case.b, &case.a), b.cmp(&a), theirs.reverse());
    theirs == Ordering::Less
}

#[derive(Deserialize)]
struct CheckCase {
    path: String,
    version: String,
    ok: bool,
}

fn check(case: &CheckCase) -> bool {
    let input = (&case.path, &case.version);
    let ours = match (ModulePath::parse(&case.path), Version::parse(&case.version)) {
        (Ok(module), Ok(version)) => ModuleVersion::new(module, version).is_ok(),
        // Go checks the major version of versions that are not canonical, too; here they are none.
        (Ok(_), Err(VersionError::NotCanonical { .. })) => return case.ok,
        _ => false,
    };
    agree!(&input, ours, case.ok);
    case.ok
}

#[derive(Deserialize)]
struct PseudoPartCase {
    r#in: String,
    time: Option<i64>,
    base: Option<String>,
    rev: Option<String>,
}

fn pseudo_parts(case: &PseudoPartCase) -> bool {
    let version = Version::parse(&case.r#in).unwrap();
    agree!(&case.r#in, version.is_pseudo(), case.rev.is_some());
    let theirs = match (&case.base, case.time, &case.rev) {
        (Some(base), Some(time), Some(revision)) => Some((base.as_str(), time, revision.as_str())),
        _ => None,
    };
    let ours = PseudoVersion::parse(&version).ok();
    let parts = ours.as_ref().map(|pseudo| {
        let base = pseudo.base.as_ref().map_or("", Version::as_str);
        (base, pseudo.time.unix_timestamp(), pseudo.revision.as_str())
    });
    agree!(&case.r#in, parts, theirs);
    theirs.is_some()
}

#[derive(Deserialize)]
struct PseudoBuildCase {
    major: u64,
    older: String,
    time: i64,
    rev: String,
    built: String,
}

fn pseudo_build(case: &PseudoBuildCase) -> bool {
    let tag = Version::parse(&case.older).ok();
    let base = tag.as_ref().map_or(Base::Major(case.major), Base::Tag);
    let time = UtcDateTime::from_unix_timestamp(case.time).unwrap();
    let ours = PseudoVersion::build(base, time, &case.rev).unwrap();
    agree!(&(&case.older, case.time), ours.as_str(), &case.built);
    true
}

#[derive(Deserialize)]
struct PatternCase {
    globs: String,
    path: String,
    matched: bool,
}

fn pattern(case: &PatternCase) -> bool {
    let module = ModulePath::parse(&case.path).unwrap();
    let input = (&case.globs, &case.path);
    agree!(&input, GlobPatterns::parse_lenient(&case.globs).unwrap().matches(&module), case.matched);
    if let Ok(strict) = GlobPatterns::parse(&case.globs) {
        agree!(&input, strict.matches(&module), case.matched);
    }
    case.matched
}

#[derive(Deserialize)]
struct QuoteCase {
    r#in: String,
    out: String,
}

fn quote(case: &QuoteCase) -> bool {
    if case.r#in.is_ascii() {
        agree!(&case.r#in, auto_quote(&case.r#in).as_ref(), &case.out);
    }
    case.r#in != case.out
}

#[derive(Deserialize)]
struct ModfileCase {
    r#in: String,
    ok: bool,
    #[serde(default)]
    path: String,
    #[serde(default)]
    go: String,
    /// What it requires, of modules with valid paths, as `path@version`.
    #[serde(default)]
    require: Vec<String>,
}

/// The light reading knows fewer directives, so it may accept more, but never something else.
fn modfile(case: &ModfileCase) -> bool {
    let ours = module_line(case.r#in.as_bytes());
    if case.ok {
        let line = ours.unwrap_or_else(|error| panic!("{:?}: {error}", case.r#in));
        let go_version = line.go_version.unwrap_or_default();
        agree!(&case.r#in, (line.path, go_version), (case.path.clone(), case.go.clone()));
        let ours = Requirements::read(case.r#in.as_bytes()).map(|read| read.modules).unwrap_or_default();
        let ours: Vec<_> = ours.iter().map(ToString::to_string).collect();
        agree!(&case.r#in, ours, case.require.clone());
    }
    case.ok
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct InfoCase {
    r#in: String,
    ok: bool,
    version: String,
    time_ok: bool,
}

fn info(case: &InfoCase) -> bool {
    let raw = Bytes::copy_from_slice(case.r#in.as_bytes());
    match Info::parse(raw.clone()) {
        Ok(info) => {
            assert!(case.ok, "{:?}", case.r#in);
            agree!(&case.r#in, info.version().as_str(), &case.version);
            agree!(&case.r#in, info.time().is_some(), case.time_ok);
            agree!(&case.r#in, info.raw(), &raw);
        }
        Err(InfoError::NoVersion) => agree!(&case.r#in, (case.ok, case.version.as_str()), (true, "")),
        Err(InfoError::Version(error)) => {
            agree!(&case.r#in, Some(error), Version::parse(&case.version).err());
        }
        Err(InfoError::Json(_)) => agree!(&case.r#in, false, case.ok),
        Err(error) => panic!("{:?}: {error}", case.r#in),
    }
    case.ok
}
