//! Which files of a repository belong into its module zip.
//!
//! Owns the choice, as a function of paths, kinds and sizes; does not read the repository or write the zip.
//! Invariant: the included files make a zip that [`super::verify`] accepts, and they are those that the go
//! command would choose, or else the hashes would differ.
//!
//! Source: golang.org/x/mod/zip, `CheckFiles` and `isVendoredPackage`; cmd/go, `codeRepo.Zip`.

use std::collections::HashSet;

use thiserror::Error;

use super::error::NameProblem;
use super::limits::{GO_MOD_BYTES_MAX, LICENSE_BYTES_MAX, UNPACKED_BYTES_MAX, ZIP_PATHS_MAX};
use super::names::{Misfit, Tree, equal_fold};

/// A file that version control inserts when it exports, and Go drops whatever the system.
const HG_ARCHIVAL: &str = ".hg_archival.txt";

/// What a path in the repository is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory; lists of a tree need not hold any.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe, a git submodule.
    Other,
}

/// A path in the repository, relative to the module's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Slash-separated, without a slash at either end.
    pub path: &'a str,
    /// What it is.
    pub kind: FileKind,
    /// Size in bytes.
    pub size: u64,
}

/// Why a file is left out; such a file does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omitted {
    /// In a vendored package.
    Vendored,
    /// In a directory with a go.mod of its own.
    OtherModule,
    /// The file that Mercurial inserts.
    HgArchival,
    /// A symbolic link.
    Symlink,
    /// Neither regular nor a link.
    Irregular,
}

/// Why no zip can be made as long as the file is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// A path that not every platform can store.
    #[error("{0}")]
    Name(NameProblem),
    /// `GO.MOD` and the like in the root.
    #[error("go.mod must be lower-case")]
    GoModCase,
    /// A name that is there already, perhaps in other case or as a directory.
    #[error("name collides with another file's")]
    Collision,
    /// More files and directories than can be remembered.
    #[error("too many files")]
    TooMany,
    /// go.mod or LICENSE over 16 MiB.
    #[error("file is too large")]
    TooLarge,
}

/// The choice: each candidate is in exactly one list, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection<'a> {
    /// What goes into the zip.
    pub included: Vec<&'a str>,
    /// What is left out.
    pub omitted: Vec<(&'a str, Omitted)>,
    /// What makes a zip impossible.
    pub unfit: Vec<(&'a str, Unfit)>,
    /// Whether the sizes add up to more than a zip may hold.
    pub too_large: bool,
}

impl Selection<'_> {
    /// Whether a zip can be made.
    pub fn is_valid(&self) -> bool {
        self.unfit.is_empty() && !self.too_large
    }
}

/// Chooses the files of a module whose go.mod has the given go version (`1.24`, `1.24rc1`), if any. The
/// version decides about vendored packages: hashes of older modules must stay what they were.
pub fn select<'a>(candidates: &[Candidate<'a>], go_version: Option<&str>) -> Selection<'a> {
    let rule = VendorRule::of(go_version);
    let modules = nested_modules(candidates);
    let mut tree = Tree::new(ZIP_PATHS_MAX);
    let mut selection = Selection::default();
    let mut bytes_left = UNPACKED_BYTES_MAX;
    for candidate in candidates {
        let path = candidate.path;
        match classify(candidate, rule, &modules, &mut tree) {
            Verdict::Omit(why) => selection.omitted.push((path, why)),
            Verdict::Unfit(why) => selection.unfit.push((path, why)),
            Verdict::Include => {
                match bytes_left.checked_sub(candidate.size) {
                    Some(left) => bytes_left = left,
                    None => selection.too_large = true,
                }
                if is_too_large(candidate) {
                    selection.unfit.push((path, Unfit::TooLarge));
                } else {
                    selection.included.push(path);
                }
            }
        }
    }
    selection
}

/// Whether the LICENSE of the repository's root is to be added: a module in a sub-directory without one of
/// its own gets it. Source: cmd/go, `codeRepo.Zip`.
pub fn wants_root_license(candidates: &[Candidate<'_>], in_subdirectory: bool) -> bool {
    in_subdirectory && !candidates.iter().any(|candidate| candidate.path == "LICENSE")
}

enum Verdict {
    Include,
    Omit(Omitted),
    Unfit(Unfit),
}

fn classify<'a>(
    candidate: &Candidate<'a>,
    rule: VendorRule,
    modules: &HashSet<&str>,
    tree: &mut Tree<'a>,
) -> Verdict {
    let path = candidate.path;
    // Before all others: a path that means another file must not be judged by its spelling.
    if let Some(problem) = unclean(path) {
        return Verdict::Unfit(Unfit::Name(problem));
    }
    if rule.is_vendored(path) {
        return Verdict::Omit(Omitted::Vendored);
    }
    if directories(path).any(|directory| modules.contains(directory)) {
        return Verdict::Omit(Omitted::OtherModule);
    }
    if path == HG_ARCHIVAL {
        return Verdict::Omit(Omitted::HgArchival);
    }
    if let Err(problem) = super::check_file_path(path) {
        return Verdict::Unfit(Unfit::Name(problem));
    }
    if path.to_lowercase() == "go.mod" && path != "go.mod" {
        return Verdict::Unfit(Unfit::GoModCase);
    }
    if let Err(misfit) = tree.insert(path, candidate.kind == FileKind::Directory) {
        return Verdict::Unfit(match misfit {
            Misfit::Name(problem) => Unfit::Name(problem),
            Misfit::Case { .. } | Misfit::Duplicate | Misfit::FileAndDirectory => Unfit::Collision,
            Misfit::Full => Unfit::TooMany,
        });
    }
    match candidate.kind {
        FileKind::Regular => Verdict::Include,
        FileKind::Symlink => Verdict::Omit(Omitted::Symlink),
        FileKind::Directory | FileKind::Other => Verdict::Omit(Omitted::Irregular),
    }
}

/// Go's `path.Clean(p) != p` and absolute paths.
fn unclean(path: &str) -> Option<NameProblem> {
    use crate::ElementError::{DotsOnly, Empty};
    // A path of dots that goes up from the start is clean; the file rules refuse it later.
    let mut named = false;
    for element in path.split('/') {
        match element {
            "" if path.is_empty() => return Some(NameProblem::Empty),
            "" => return Some(NameProblem::Element(Empty)),
            "." if path != "." => return Some(NameProblem::Element(DotsOnly)),
            ".." if named => return Some(NameProblem::Element(DotsOnly)),
            _ => named |= element != "..",
        }
    }
    None
}

fn is_too_large(candidate: &Candidate<'_>) -> bool {
    match candidate.path {
        "go.mod" => candidate.size > GO_MOD_BYTES_MAX,
        "LICENSE" => candidate.size > LICENSE_BYTES_MAX,
        _ => false,
    }
}

/// The directories, with the slash at their end, that are modules of their own.
fn nested_modules<'a>(candidates: &[Candidate<'a>]) -> HashSet<&'a str> {
    let regular = candidates.iter().filter(|candidate| candidate.kind == FileKind::Regular);
    let splits = regular.filter_map(|candidate| {
        let base = candidate.path.rsplit('/').next()?;
        candidate.path.strip_suffix(base).filter(|_| equal_fold(base, "go.mod"))
    });
    splits.filter(|directory| !directory.is_empty()).collect()
}

/// The directories above a path, each with the slash at its end.
fn directories(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, slash)| path.get(..at + slash.len()))
}

/// How packages in `vendor` are recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VendorRule {
    /// Up to Go 1.23, with a mistake that hashes depend on (golang.org/issue/37397).
    Old,
    /// From Go 1.24 on.
    New,
}

impl VendorRule {
    fn of(go_version: Option<&str>) -> Self {
        match go_version.and_then(language_version) {
            Some(language) if language >= (1, 24) => Self::New,
            _ => Self::Old,
        }
    }

    /// Whether the path is in a package whose import path has an element `vendor` that is not the last.
    fn is_vendored(self, path: &str) -> bool {
        if self == Self::New && path == "vendor/modules.txt" {
            return true;
        }
        let vendor = "/vendor/";
        let package = match (path.strip_prefix("vendor/"), path.find(vendor)) {
            (Some(rest), _) => Some(rest),
            (None, None) => None,
            (None, Some(at)) if self == Self::New => path.get(at + vendor.len()..),
            // The old mistake: as many bytes are skipped as if it stood at the start.
            (None, Some(_)) => path.as_bytes().get(vendor.len()..).map(|rest| {
                // Only the search for a slash matters, so a cut through a character does no harm.
                if rest.contains(&b'/') { "/" } else { "" }
            }),
        };
        package.is_some_and(|rest| rest.contains('/'))
    }
}

/// Major and minor version of a go line as it stands in go.mod; `None` for none that Go understands.
/// Source: x/mod/modfile, `GoVersionRE`, and its lenient form for modules of others.
fn language_version(text: &str) -> Option<(u64, u64)> {
    let (major, rest) = text.strip_prefix('v').unwrap_or(text).split_once('.')?;
    let minor_bytes = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (minor, tail) = rest.split_at_checked(minor_bytes)?;
    let canonical = |digits: &str| digits == "0" || !digits.starts_with('0');
    let digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(major) || !digits(minor) || !canonical(minor) || major.starts_with('0') {
        return None;
    }
    // The lenient form, which alone allows the `v`, wants something after the number.
    if tail.is_empty() && text.starts_with('v') {
        return None;
    }
    Some((major.parse().unwrap_or(u64::MAX), minor.parse().unwrap_or(u64::MAX)))
}
