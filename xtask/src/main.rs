//! `cargo xtask tidy`: checks of the repository that no other tool does. It only reads.
//! `cargo xtask lock-protos`: adds to `proto/lock.json` what the `.proto` files have that it lacks.

#![forbid(unsafe_code)]

mod tidy;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use tidy::{Tree, findings, protos};

const USAGE: &str = "usage: cargo xtask tidy\n       cargo xtask lock-protos [--break]\n";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let done = match arguments.as_slice() {
        ["tidy"] => tidy_up(root),
        ["lock-protos"] => lock_protos(root, false),
        ["lock-protos", "--break"] => lock_protos(root, true),
        _ => return end(USAGE, ExitCode::from(2)),
    };
    match done {
        Err(error) => end(&format!("error: {error:#}\n"), ExitCode::FAILURE),
        Ok(found) if found.is_empty() => ExitCode::SUCCESS,
        Ok(found) => end(&(found.join("\n") + "\n"), ExitCode::FAILURE),
    }
}

fn tidy_up(root: &Path) -> anyhow::Result<Vec<String>> {
    Ok(findings(&Tree::read(root)?).iter().map(ToString::to_string).collect())
}

fn lock_protos(root: &Path, break_it: bool) -> anyhow::Result<Vec<String>> {
    let text = protos::locked(&Tree::read(root)?, break_it)?;
    std::fs::write(root.join(protos::LOCK), text).context("write the lock")?;
    Ok(Vec::new())
}

fn end(text: &str, code: ExitCode) -> ExitCode {
    let _ = std::io::stderr().write_all(text.as_bytes());
    code
}
