//! A disk whose fsync fails once, below whatever database writes to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Node;

/// What is preloaded, and the sign on which it fails.
pub struct FailingSync {
    folder: tempfile::TempDir,
}

impl FailingSync {
    /// Has the next start of `node` fail one fsync of a file whose path has `at` in it, when it is told to.
    pub fn prepare(node: &mut Node, at: &str) -> Self {
        let failing = Self { folder: tempfile::tempdir().expect("temporary directory") };
        let library = failing.folder.path().join("failing_sync.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/failing_sync.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        assert!(compiled.expect("run cc").success());
        node.env("LD_PRELOAD", library.to_str().expect("a path of ours"));
        node.env("SYNC_FAILS_AT", at);
        node.env("SYNC_FAILS_WHEN", failing.sign().to_str().expect("a path of ours"));
        failing
    }

    /// The next such fsync fails.
    pub fn fail_next(&self) {
        std::fs::write(self.sign(), "").expect("give the sign");
    }

    /// Whether it has failed.
    pub fn has_failed(&self) -> bool {
        !self.sign().exists()
    }

    fn sign(&self) -> PathBuf {
        self.folder.path().join("fail")
    }
}
