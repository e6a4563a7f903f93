//! Our verdicts on module zips against those of golang.org/x/mod, from `tests/zip-vectors`.
//!
//! Whatever Go refuses must be refused; whatever Go accepts must be accepted with the same hash, but for
//! the classes of deliberate strictness listed here.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "test code: a broken vector ends the test; the rest of an error's variants is meant"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::GzDecoder;
use gomod::dirhash::go_mod_h1;
use gomod::modfile::synthesize;
use gomod::zip::select::{Candidate, FileKind, Omitted, Unfit, select};
use gomod::zip::{EntryDigests, PreHasher, ZipError, go_mod, verify};
use gomod::{ModulePath, ModuleVersion, Version};
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn read<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let path = format!("{}/tests/vectors/{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[derive(Deserialize)]
struct ZipCase {
    class: String,
    module: String,
    version: String,
    zip: String,
    ok: bool,
    #[serde(default)]
    h1: String,
    #[serde(default)]
    error: String,
}

impl ZipCase {
    fn module_version(&self) -> ModuleVersion {
        let module = ModulePath::parse(&self.module).unwrap();
        ModuleVersion::new(module, Version::parse(&self.version).unwrap()).unwrap()
    }
}

/// The reasons for which we refuse zips that Go accepts. Each lets two readers of a zip see two things, or
/// is nothing a module's author can have meant.
fn is_deliberate(error: &ZipError) -> Option<&'static str> {
    match error {
        ZipError::EndNotLast { .. } => Some("bytes after the end record"),
        ZipError::AmbiguousEnd { .. } => Some("two end records"),
        ZipError::Zip64End => Some("zip64 end record that contradicts the plain one"),
        ZipError::MultiVolume => Some("part of several volumes"),
        ZipError::DirectoryBounds { .. } => Some("directory not right before the end record"),
        ZipError::EntryCount { .. } => Some("number of entries wrong"),
        ZipError::DirectoryEntry { .. } => Some("bytes of no entry in the directory"),
        ZipError::LeadingBytes { .. } => Some("bytes before the first entry"),
        ZipError::Gap { .. } => Some("bytes of no entry"),
        ZipError::Overlap { .. } => Some("entries that share bytes"),
        ZipError::LocalHeader { .. } => Some("local header that contradicts the directory"),
        ZipError::Descriptor { .. } => Some("data descriptor that contradicts the directory"),
        ZipError::Irregular { .. } => Some("symbolic link or device"),
        ZipError::Flags { .. } => Some("encryption and the like announced"),
        ZipError::DeflateTail { .. } => Some("bytes after the deflate stream"),
        ZipError::Checksum { .. } => Some("checksum of zero"),
        _ => None,
    }
}

fn prehash(zip: &[u8], chunk: usize) -> EntryDigests {
    let mut hasher = PreHasher::new();
    zip.chunks(chunk).for_each(|chunk| hasher.push(chunk));
    hasher.finish()
}

#[test]
fn verdicts_are_gos() {
    let cases: Vec<ZipCase> = read("zips");
    let (mut accepted, mut refused, mut go_mods) = (0, 0, 0);
    let mut strictness = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        let zip = BASE64.decode(&case.zip).unwrap();
        let mv = case.module_version();
        let outcome = verify(&zip.as_slice(), &mv, &EntryDigests::default());
        let what = format!("case {index}, {}: Go: {:?}, we: {outcome:?}", case.class, case.error);
        match &outcome {
            Ok(summary) => {
                assert!(case.ok, "{what}");
                assert_eq!(summary.h1.to_string(), case.h1, "{what}");
                let taken = go_mod(&zip.as_slice(), &mv).unwrap();
                let expected = summary.go_mod.unwrap_or_else(|| go_mod_h1(&synthesize(&mv.module)));
                assert_eq!(go_mod_h1(&taken), expected, "{what}");
                go_mods += usize::from(summary.go_mod.is_some());
                accepted += 1;
            }
            Err(error) if case.ok => {
                let reason = is_deliberate(error).unwrap_or_else(|| panic!("{what}"));
                assert_ne!(case.class, "valid", "{what}");
                *strictness.entry(reason).or_insert(0) += 1;
            }
            Err(_) => refused += 1,
        }
        let chunks = if zip.len() < 4096 { &[1, 7, 4096][..] } else { &[4096] };
        for &chunk in chunks {
            let with_memo = verify(&zip.as_slice(), &mv, &prehash(&zip, chunk));
            assert_eq!(format!("{with_memo:?}"), format!("{outcome:?}"), "with memo, {what}");
        }
    }
    assert!(accepted >= 1500 && refused >= 3000, "{accepted} accepted, {refused} refused");
    assert!(go_mods >= 100, "{go_mods}");
    // Each kind of strictness is exercised, or it is not known to be one.
    assert_eq!(strictness.len(), 16, "{strictness:#?}");
}

/// Where a class has one reason, it is that reason and not a lucky other one.
#[test]
fn refusals_name_the_reason() {
    let expected = |class: &str| -> Option<fn(&ZipError) -> bool> {
        Some(match class {
            "collision" => |e| {
                use ZipError::{CaseCollision, Duplicate, FileAndDirectory};
                matches!(e, CaseCollision { .. } | Duplicate { .. } | FileAndDirectory { .. })
            },
            "prefix" => |e| matches!(e, ZipError::Prefix { .. } | ZipError::Name { .. }),
            "directory-content" => {
                |e| matches!(e, ZipError::DirectoryContent { .. } | ZipError::LocalHeader { .. })
            }
            "leading" => |e| matches!(e, ZipError::DirectoryBounds { .. } | ZipError::LeadingBytes { .. }),
            "trailing" => |e| matches!(e, ZipError::EndNotLast { .. }),
            "volumes" => |e| matches!(e, ZipError::MultiVolume),
            "gap" => |e| matches!(e, ZipError::Gap { .. }),
            "overlap" => |e| matches!(e, ZipError::Overlap { .. }),
            "crc" | "crc-zero" => |e| matches!(e, ZipError::LocalHeader { .. } | ZipError::Checksum { .. }),
            "local-name" | "local-method" | "local-flags" => |e| matches!(e, ZipError::LocalHeader { .. }),
            "mode" => |e| matches!(e, ZipError::Irregular { .. }),
            "large" => |e| matches!(e, ZipError::FileTooLarge { .. }),
            "tail" => |e| {
                matches!(
                    e,
                    ZipError::DeflateTail { .. } | ZipError::LocalHeader { .. } | ZipError::Size { .. }
                )
            },
            _ => return None,
        })
    };
    let mut seen = BTreeSet::new();
    for case in read::<ZipCase>("zips") {
        let Some(expected) = expected(&case.class) else { continue };
        let zip = BASE64.decode(&case.zip).unwrap();
        if let Err(error) = verify(&zip.as_slice(), &case.module_version(), &EntryDigests::default()) {
            assert!(expected(&error), "{}: {error:?}", case.class);
            seen.insert(case.class);
        }
    }
    assert_eq!(seen.len(), 16, "{seen:?}");
}

#[derive(Deserialize)]
struct SelectCase {
    files: Vec<SelectFile>,
    #[serde(default)]
    go_mod: String,
    #[serde(default)]
    go: String,
    valid: Vec<String>,
    #[serde(default)]
    omitted: BTreeMap<String, String>,
    #[serde(default)]
    invalid: BTreeMap<String, String>,
    #[serde(default)]
    too_big: bool,
}

#[derive(Deserialize)]
struct SelectFile {
    path: String,
    kind: String,
    size: u64,
}

#[test]
fn selections_are_gos() {
    let cases: Vec<SelectCase> = read("select");
    for case in &cases {
        let candidates: Vec<Candidate<'_>> = case.files.iter().map(candidate).collect();
        let version = (!case.go_mod.is_empty() && !case.go.is_empty()).then_some(case.go.as_str());
        let ours = select(&candidates, version);
        let what = format!("go {:?}, {:?}", case.go, case.files.iter().map(|f| &f.path).collect::<Vec<_>>());
        assert_eq!(ours.included, case.valid, "{what}");
        let omitted: BTreeMap<String, String> = ours
            .omitted
            .iter()
            .map(|(path, why)| ((*path).to_owned(), omitted_text(*why).to_owned()))
            .collect();
        assert_eq!(omitted, case.omitted, "{what}");
        let unfit: BTreeSet<&str> = ours.unfit.iter().map(|(path, _)| *path).collect();
        assert_eq!(unfit, case.invalid.keys().map(String::as_str).collect(), "{what}");
        for (path, why) in &ours.unfit {
            assert!(unfit_agrees(*why, &case.invalid[*path]), "{what}: {why:?} {}", case.invalid[*path]);
        }
        assert_eq!(ours.too_large, case.too_big, "{what}");
        assert_eq!(ours.is_valid(), case.invalid.is_empty() && !case.too_big);
    }
    assert!(cases.len() > 2500, "{}", cases.len());
}

fn candidate(file: &SelectFile) -> Candidate<'_> {
    let kind = match file.kind.as_str() {
        "file" => FileKind::Regular,
        "directory" => FileKind::Directory,
        "symlink" => FileKind::Symlink,
        _ => FileKind::Other,
    };
    Candidate { path: &file.path, kind, size: file.size }
}

fn omitted_text(why: Omitted) -> &'static str {
    match why {
        Omitted::Vendored => "file is in vendor directory",
        Omitted::OtherModule => "file is in another module",
        Omitted::HgArchival => "file is inserted by 'hg archive' and is always omitted",
        Omitted::Symlink => "file is a symbolic link",
        Omitted::Irregular => "not a regular file",
    }
}

fn unfit_agrees(why: Unfit, text: &str) -> bool {
    match why {
        Unfit::Name(_) => text.starts_with("malformed file path") || text.starts_with("file path is not"),
        Unfit::GoModCase => text == "go.mod files must have lowercase names",
        Unfit::Collision => {
            text.contains("collision") || text.contains("both a file") || text.contains("multiple")
        }
        Unfit::TooMany => false,
        Unfit::TooLarge => text.contains("too large"),
    }
}
