//! Tells the program which git commit it is built from.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=GOPROXYD_BUILD_COMMIT");
    println!("cargo::rustc-env=BUILD_COMMIT={}", commit());
}

/// The commit: from the environment for packagers, else from git, else `unknown` as in a source archive.
fn commit() -> String {
    if let Ok(commit) = env::var("GOPROXYD_BUILD_COMMIT") {
        return commit;
    }
    // A commit moves the branch that HEAD names, or HEAD itself; both are recorded in HEAD's log.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
