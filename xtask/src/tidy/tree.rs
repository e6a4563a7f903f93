//! Reading the repository: every text file that git has or would take.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// A text file of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root, with slashes.
    pub(super) path: String,
    pub(super) text: String,
}

/// The repository's text files.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) files: Vec<File>,
}

impl Tree {
    /// Reads the work tree under `root`; what is not UTF-8 is left out.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let listing = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("run git ls-files")?;
        ensure!(
            listing.status.success(),
            "git ls-files: {}",
            String::from_utf8_lossy(&listing.stderr).trim()
        );
        let listing = String::from_utf8(listing.stdout).context("read file names")?;
        let mut paths: Vec<_> = listing.split('\0').filter(|path| !path.is_empty()).collect();
        paths.sort_unstable();
        paths.dedup();
        let text = |path: &&str| std::fs::read_to_string(root.join(path)).ok();
        let files =
            paths.iter().filter_map(|path| Some(File { path: (*path).to_owned(), text: text(path)? }));
        Ok(Self { files: files.collect() })
    }

    pub(super) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_and_binary_files_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let git = Command::new("git").arg("init").arg("--quiet").current_dir(dir.path()).status();
        assert!(git.unwrap().success());
        for (name, bytes) in
            [("a.rs", b"//! a".as_slice()), (".gitignore", b"b.rs"), ("b.rs", b""), ("c", b"\xff")]
        {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let tree = Tree::read(dir.path()).unwrap();
        let paths: Vec<_> = tree.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".gitignore", "a.rs"]);
    }
}
