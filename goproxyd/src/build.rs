//! What this binary was built from; the values come from the build script.

use common::build_info::BuildInfo;

/// This binary's versions.
pub(crate) const BUILD: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    commit: env!("BUILD_COMMIT"),
    rocksdb: env!("BUILD_ROCKSDB"),
    rustc: env!("BUILD_RUSTC"),
};

/// What `--version` prints after the program's name.
pub(crate) const VERSION_TEXT: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit  ",
    env!("BUILD_COMMIT"),
    "\nRocksDB ",
    env!("BUILD_ROCKSDB"),
    "\n",
    env!("BUILD_RUSTC"),
);
