//! The rules of a module zip that its central directory alone decides: names, kinds and declared sizes.
//!
//! Source: golang.org/x/mod/zip, `CheckZip`. Stricter than it: nothing irregular, no encryption, no method
//! but store and deflate (Go finds the last one when it unpacks), and bounds on names and paths.

use super::directory::{Directory, Entry};
use super::error::{NameProblem, ZipError, shown};
use super::limits::{
    GO_MOD_BYTES_MAX, LICENSE_BYTES_MAX, UNPACKED_BYTES_MAX, ZIP_NAME_BYTES_MAX, ZIP_PATHS_MAX,
};
use super::local::{DEFLATE, STORE, UNSUPPORTED_FLAGS};
use super::names::{Misfit, Tree, equal_fold};

/// What the directory says, found to be within the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Entries that are files.
    pub(super) files: u32,
    /// Sum of the files' declared sizes.
    pub(super) unpacked_bytes: u64,
    /// Index of the root's go.mod among the entries.
    pub(super) go_mod: Option<usize>,
}

/// Whether an entry of this name is a directory.
pub(super) fn is_directory(name: &[u8]) -> bool {
    name.ends_with(b"/")
}

/// Checks every entry; `prefix` is `module@version/`.
pub(super) fn check(directory: &Directory, prefix: &str) -> Result<Shape, ZipError> {
    let mut shape = Shape::default();
    let mut tree = Tree::new(ZIP_PATHS_MAX);
    for (index, entry) in directory.entries.iter().enumerate() {
        let name = directory.name(entry);
        let path = path_of(name, prefix)?;
        check_kind(entry, name)?;
        // The entry of the prefix itself: Go passes it over.
        if path.is_empty() {
            continue;
        }
        let file = path.strip_suffix('/').unwrap_or(path);
        let is_directory = file.len() < path.len();
        tree.insert(file, is_directory).map_err(|misfit| misfit_error(misfit, name, prefix))?;
        if is_directory {
            continue;
        }
        if check_file(file, entry, name)? {
            shape.go_mod = Some(index);
        }
        shape.files += 1;
        shape.unpacked_bytes += u64::from(entry.size);
        if shape.unpacked_bytes > UNPACKED_BYTES_MAX {
            return Err(ZipError::UnpackedTooLarge { limit: UNPACKED_BYTES_MAX });
        }
    }
    Ok(shape)
}

/// The path below the module's root.
fn path_of<'a>(name: &'a [u8], prefix: &str) -> Result<&'a str, ZipError> {
    let problem = |problem| ZipError::Name { name: shown(name), problem };
    if name.len() > ZIP_NAME_BYTES_MAX {
        return Err(problem(NameProblem::TooLong));
    }
    let Some(path) = name.strip_prefix(prefix.as_bytes()) else {
        return Err(ZipError::Prefix { name: shown(name), prefix: prefix.to_owned() });
    };
    std::str::from_utf8(path).map_err(|_| problem(NameProblem::Utf8))
}

fn check_kind(entry: &Entry, name: &[u8]) -> Result<(), ZipError> {
    let directory = is_directory(name);
    if entry.flags & UNSUPPORTED_FLAGS != 0 {
        return Err(ZipError::Flags { name: shown(name), flags: entry.flags });
    }
    if entry.is_irregular(directory) {
        return Err(ZipError::Irregular { name: shown(name) });
    }
    if directory && entry.size != 0 {
        return Err(ZipError::DirectoryContent { name: shown(name) });
    }
    if !directory && entry.method != STORE && entry.method != DEFLATE {
        return Err(ZipError::Method { name: shown(name), method: entry.method });
    }
    Ok(())
}

/// Checks the files that Go looks at by name; true for the root's go.mod.
fn check_file(file: &str, entry: &Entry, name: &[u8]) -> Result<bool, ZipError> {
    let base = file.rsplit('/').next().unwrap_or(file);
    if equal_fold(base, "go.mod") {
        if base.len() != file.len() {
            return Err(ZipError::NestedGoMod { name: shown(name) });
        }
        if file != "go.mod" {
            return Err(ZipError::GoModCase { name: shown(name) });
        }
    }
    let limit = match file {
        "go.mod" => GO_MOD_BYTES_MAX,
        "LICENSE" => LICENSE_BYTES_MAX,
        _ => return Ok(false),
    };
    let bytes = u64::from(entry.size);
    if bytes > limit {
        return Err(ZipError::FileTooLarge { name: shown(name), bytes, limit });
    }
    Ok(file == "go.mod")
}

fn misfit_error(misfit: Misfit<'_>, name: &[u8], prefix: &str) -> ZipError {
    match misfit {
        Misfit::Name(problem) => ZipError::Name { name: shown(name), problem },
        Misfit::Case { above, existing, element } => {
            let [first, second] =
                [existing, element].map(|last| shown(format!("{prefix}{above}{last}").as_bytes()));
            ZipError::CaseCollision { first, second }
        }
        Misfit::Duplicate => ZipError::Duplicate { name: shown(name) },
        Misfit::FileAndDirectory => ZipError::FileAndDirectory { name: shown(name) },
        Misfit::Full => ZipError::TooManyPaths { limit: ZIP_PATHS_MAX },
    }
}
