//! The committed vectors are what the real golang.org/x/mod says, and other seeds find no disagreement either.
//!
//! Needs Go and a GOPROXY that serves golang.org/x/mod, hence the feature `online`.

#[path = "support/expectations.rs"]
mod expectations;

use std::path::Path;
use std::process::Command;

use expectations::{TOPICS, unpack};

const SEEDS: [&str; 3] = ["2", "3", "4"];

fn generate(arguments: &[&str], folder: &Path) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/gomod-vectors");
    let status = Command::new("go")
        .args(["run", ".", "-dir"])
        .arg(folder)
        .args(arguments)
        .current_dir(program)
        .status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "go run: {status:?}");
}

#[test]
fn committed_vectors_are_current() {
    let folder = tempfile::tempdir().unwrap();
    generate(&[], folder.path());
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    for topic in TOPICS {
        let file = format!("{}.jsonl.gz", topic.name);
        assert!(unpack(&committed.join(&file)) == unpack(&folder.path().join(&file)), "{file} has changed");
    }
}

#[test]
fn other_seeds_agree() {
    for seed in SEEDS {
        let folder = tempfile::tempdir().unwrap();
        generate(&["-seed", seed, "-count", "20000"], folder.path());
        for topic in TOPICS {
            topic.check(folder.path());
        }
    }
}
