//! Tells the program what it is built from: git commit, RocksDB and compiler versions.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=GOPROXYD_BUILD_COMMIT");
    println!("cargo::rustc-env=BUILD_COMMIT={}", commit());
    println!("cargo::rustc-env=BUILD_ROCKSDB={}", rocksdb());
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = output(Command::new(rustc).arg("--version"));
    println!("cargo::rustc-env=BUILD_RUSTC={}", version.as_deref().unwrap_or("rustc unknown"));
}

/// The commit: from the environment for packagers, else from git, else `unknown` as in a source archive.
fn commit() -> String {
    if let Ok(commit) = env::var("GOPROXYD_BUILD_COMMIT") {
        return commit;
    }
    // A commit moves the branch that HEAD names, or HEAD itself; both are recorded in HEAD's log.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = output(Command::new("git").args(["rev-parse", "--git-path", name]))
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    output(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// RocksDB's own version is the build metadata of its bindings' version, as in `0.19.0+11.8.1`.
fn rocksdb() -> String {
    let lock = "../Cargo.lock";
    println!("cargo::rerun-if-changed={lock}");
    let text = fs::read_to_string(lock).unwrap_or_default();
    let version = text
        .split("[[package]]")
        .find(|package| package.contains("name = \"librocksdb-sys\""))
        .and_then(|package| package.split("version = \"").nth(1)?.split('"').next())
        .unwrap_or("unknown");
    version.split_once('+').map_or(version, |(_, rocksdb)| rocksdb).to_owned()
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
