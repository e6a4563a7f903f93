//! `cargo xtask tidy`: checks of the repository that no other tool does. It only reads.

#![forbid(unsafe_code)]

mod tidy;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use tidy::{Tree, findings};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments != ["tidy"] {
        return end("usage: cargo xtask tidy\n", ExitCode::from(2));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    match Tree::read(root) {
        Err(error) => end(&format!("error: {error:#}\n"), ExitCode::FAILURE),
        Ok(tree) => {
            let found = findings(&tree);
            let text: Vec<_> = found.iter().map(ToString::to_string).collect();
            if text.is_empty() {
                ExitCode::SUCCESS
            } else {
                end(&(text.join("\n") + "\n"), ExitCode::FAILURE)
            }
        }
    }
}

fn end(text: &str, code: ExitCode) -> ExitCode {
    let _ = std::io::stderr().write_all(text.as_bytes());
    code
}
