//! What this program was built from, for `--version`, `/version` and the first log line.
//!
//! The values are filled in by the binary (its build script knows the commit); this crate only carries them,
//! so that a new commit rebuilds the binary alone.

use std::fmt;

/// Versions of the program and of what it was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The program's own version, such as `0.1.0`.
    pub version: &'static str,
    /// The git commit, shortened, or `unknown` when it was built outside a repository.
    pub commit: &'static str,
    /// The version of the RocksDB library linked in.
    pub rocksdb: &'static str,
    /// The compiler's own version line.
    pub rustc: &'static str,
}

impl fmt::Display for BuildInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, commit, rocksdb, rustc } = self;
        write!(f, "{version} (commit {commit}, RocksDB {rocksdb}, {rustc})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_shown() {
        let info = BuildInfo { version: "1.2.3", commit: "abc", rocksdb: "11.8.1", rustc: "rustc 1.95.0" };
        assert_eq!(info.to_string(), "1.2.3 (commit abc, RocksDB 11.8.1, rustc 1.95.0)");
    }
}
