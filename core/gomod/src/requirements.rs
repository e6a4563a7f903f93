//! What a go.mod file requires, and whether the go command looks at what that requires in its turn.

use crate::modfile::{self, ModFileError};
use crate::path::ModulePath;
use crate::quote::unquote_token;
use crate::version::{ModuleVersion, Version, VersionError};

/// The first Go version whose modules list all that they need, so that their module graph is pruned (go.dev/ref/mod, "Module graph
/// pruning").
const PRUNED_SINCE: (u32, u32) = (1, 17);

/// The `require` directives of a go.mod file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirements {
    /// Whether whoever loads the module graph also loads the go.mod files of all that is required, and so on: so it is of modules for a
    /// Go before 1.17, or for none that is named.
    pub is_unpruned: bool,
    /// What is required, in the order of the file. Left out is what has no valid path or no version that fits it.
    pub modules: Vec<ModuleVersion>,
}

impl Requirements {
    /// Reads a go.mod file as [`modfile::module_line`] does.
    pub fn read(data: &[u8]) -> Result<Self, ModFileError> {
        let mut modules = Vec::new();
        let line = modfile::read(data, |path, version| modules.extend(required(path, version)))?;
        Ok(Self { is_unpruned: !line.go_version.is_some_and(|version| is_pruned(&version)), modules })
    }
}

fn required(path: &str, version: &str) -> Option<ModuleVersion> {
    let module = ModulePath::parse(&unquote_token(path)?).ok()?;
    let version = match Version::parse(&unquote_token(version)?) {
        // Read as its canonical spelling (modfile, `parseVersion`).
        Err(VersionError::NotCanonical { canonical }) => Version::parse(&canonical),
        read => read,
    };
    ModuleVersion::new(module, version.ok()?).ok()
}

/// Whether the module graph of a module for this Go version is pruned. A pre-release of 1.17 is before it, as `1.17` was the release
/// (internal/gover, `Parse`).
fn is_pruned(version: &str) -> bool {
    let is_first_pre_release = || {
        version.strip_prefix("1.17").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    language(version) >= Some(PRUNED_SINCE) && !is_first_pre_release()
}

/// The first two numbers of a Go version.
fn language(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.split_once('.')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    Some((major.parse().ok()?, rest.get(..digits)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read_from_lines_and_blocks() {
        let text = "module a.b/c\nrequire a.b/d v1.0.0 // indirect\nrequire (\n\t\"a.b/e/v2\" v2.1.0\n\n\ta.b/f v0.0.0-20200101000000-abcdef123456 // x\n)\n\
                    exclude a.b/g v1.0.0\nreplace (\n\ta.b/h v1.0.0 => a.b/i v1.0.0\n)\nrequire a.b/j/v2 v1.0.0\nrequire a.b/k v1.0.0+meta\nrequire A..b v1.0.0\n";
        let read = Requirements::read(text.as_bytes()).unwrap();
        let modules: Vec<_> = read.modules.iter().map(ToString::to_string).collect();
        assert_eq!(
            modules,
            ["a.b/d@v1.0.0", "a.b/e/v2@v2.1.0", "a.b/f@v0.0.0-20200101000000-abcdef123456", "a.b/k@v1.0.0"]
        );
        assert_eq!(Requirements::read(b"require a.b/c v1.0.0\n"), Err(ModFileError::NoModule));
    }

    #[test]
    fn graphs_are_pruned_since_go_1_17() {
        for (go, is_unpruned) in [
            ("", true),
            ("go 1\n", true),
            ("go 1.9\n", true),
            ("go 1.16\n", true),
            ("go 1.16.5\n", true),
            ("go 1.17\n", false),
            ("go 1.17beta1\n", true),
            ("go 1.17rc2\n", true),
            ("go 1.17.1\n", false),
            ("go 1.18rc1\n", false),
            ("go 1.100\n", false),
            ("go 2.0\n", false),
            ("go 99999999999.1\n", true),
        ] {
            let text = format!("module a.b/c\n{go}");
            assert_eq!(Requirements::read(text.as_bytes()).unwrap().is_unpruned, is_unpruned, "{go}");
        }
    }
}
