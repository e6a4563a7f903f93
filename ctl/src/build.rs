//! What this binary was built from; the commit comes from the build script.

/// Its version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The git commit.
pub(crate) const COMMIT: &str = env!("BUILD_COMMIT");

/// What `--version` prints after the program's name.
pub(crate) const VERSION_TEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "\ncommit  ", env!("BUILD_COMMIT"));

/// The version of the JSON that `-o json` prints. Grows when a key is renamed, removed, or means something else; new keys
/// do not count.
pub(crate) const SCHEMA: u32 = 1;
