//! What the golang.org/x/mod that comes with the installed Go says: of inputs that no committed vector has, and of those that the vectors have.
//!
//! The programs that write the vectors are built against the copy inside Go's own sources, so that nothing is fetched.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "test code: what cannot be prepared ends the test"
)]

#[path = "support/expectations.rs"]
mod expectations;

use std::path::{Path, PathBuf};
use std::process::Command;

use expectations::{TOPICS, unpack};

/// The Go whose golang.org/x/mod wrote the committed vectors; another one may have other rules.
const WRITTEN_BY: &str = "go1.26";

struct Go {
    folder: tempfile::TempDir,
}

impl Go {
    /// A folder with Go's copy of golang.org/x/mod as a module; `None` where Go came without its sources.
    fn prepare() -> Option<Self> {
        let root = Command::new("go").args(["env", "GOROOT"]).output().expect("go is installed");
        let root = PathBuf::from(String::from_utf8(root.stdout).unwrap().trim());
        let sources = root.join("src/cmd/vendor/golang.org/x/mod");
        let folder = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-r").arg(&sources).arg(folder.path().join("mod")).status();
        if !copied.is_ok_and(|status| status.success()) {
            return None;
        }
        std::fs::write(folder.path().join("mod/go.mod"), "module golang.org/x/mod\n\ngo 1.24\n").unwrap();
        Some(Self { folder })
    }

    fn version() -> String {
        let version = Command::new("go").args(["env", "GOVERSION"]).output().expect("go is installed");
        String::from_utf8(version.stdout).unwrap()
    }

    /// What `tests/NAME` writes.
    fn run(&self, name: &str, arguments: &[&str]) -> Vec<u8> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(name);
        let copy = self.folder.path().join(name);
        std::fs::create_dir_all(&copy).unwrap();
        for file in std::fs::read_dir(program).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "go") {
                std::fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
            }
        }
        let module = format!(
            "module {name}\n\ngo 1.24\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ../mod\n"
        );
        std::fs::write(copy.join("go.mod"), module).unwrap();
        let output = Command::new("go")
            .args(["run", "."])
            .args(arguments)
            .current_dir(&copy)
            .envs([("GOPROXY", "off"), ("GOFLAGS", "-mod=mod"), ("GOWORK", "off"), ("GOTOOLCHAIN", "local")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

#[test]
fn another_seed_agrees() {
    let Some(go) = Go::prepare() else { return };
    let folder = tempfile::tempdir().unwrap();
    go.run("gomod-vectors", &["-dir", folder.path().to_str().unwrap(), "-seed", "5", "-count", "4000"]);
    for topic in TOPICS {
        topic.check(folder.path());
    }
}

#[test]
fn committed_vectors_are_what_it_says() {
    if !Go::version().starts_with(WRITTEN_BY) {
        return;
    }
    let Some(go) = Go::prepare() else { return };
    let folder = tempfile::tempdir().unwrap();
    go.run("gomod-vectors", &["-dir", folder.path().to_str().unwrap()]);
    let others = [
        ("sumdb", "sumdb-vectors", &[][..]),
        ("zips", "zip-vectors", &["zips"][..]),
        ("select", "zip-vectors", &["select"][..]),
    ];
    for (file, program, arguments) in others {
        std::fs::write(folder.path().join(format!("{file}.jsonl.gz")), go.run(program, arguments)).unwrap();
    }
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    for name in TOPICS.iter().map(|topic| topic.name).chain(others.map(|(file, ..)| file)) {
        let file = format!("{name}.jsonl.gz");
        assert!(unpack(&committed.join(&file)) == unpack(&folder.path().join(&file)), "{file} has changed");
    }
}
