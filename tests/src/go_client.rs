//! The real `go` command with an environment of its own: no user configuration, no shared module cache.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest run of one go command, unless told.
const RUN_TIME_MAX: Duration = Duration::from_mins(3);

/// How often a running command is looked at.
const POLL: Duration = Duration::from_millis(5);

/// What a developer sets who asks a second time when a connection breaks off. The go command remembers failures by the text of the proxy's
/// address, so the second one is written with a slash.
pub fn twice(url: &str) -> String {
    format!("{url}|{url}/")
}

/// What a go command printed and whether it succeeded.
#[derive(Debug)]
pub struct Output {
    /// The arguments, for messages.
    pub arguments: String,
    /// Whether it exited 0.
    pub ok: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.ok, "go {}:\n{}\n{}", self.arguments, self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the command failed and said this on standard output or error.
    #[track_caller]
    pub fn failure(self, said: &str) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        assert!(!self.ok, "go {} succeeded:\n{all}", self.arguments);
        assert!(all.contains(said), "go {} did not say {said:?}:\n{all}", self.arguments);
        self
    }
}

/// One user of the go command: a home, a module cache, and a working directory with a module.
pub struct GoClient {
    root: tempfile::TempDir,
    environment: Vec<(String, String)>,
    patience: Duration,
}

impl GoClient {
    /// A client with an empty module cache that asks `proxy` (GOPROXY) and checks against `sumdb` (GOSUMDB).
    pub fn new(proxy: &str, sumdb: &str) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        for name in ["home", "work", "modcache"] {
            std::fs::create_dir(root.path().join(name)).expect("create directory");
        }
        let client = Self { root, environment: environment(proxy, sumdb), patience: RUN_TIME_MAX };
        client.write("go.mod", "module example.com/main\n\ngo 1.21\n");
        client
    }

    /// The same settings with an empty module cache and a new working directory.
    pub fn fresh(&self) -> Self {
        let mut other = Self::new("off", "off");
        other.environment.clone_from(&self.environment);
        other
    }

    /// Sets an environment variable for all commands to come.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(have, _)| have != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Sets an environment variable, as a builder.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// Lets each command run so long.
    #[must_use]
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The module cache.
    pub fn module_cache(&self) -> PathBuf {
        self.root.path().join("modcache")
    }

    /// The working directory.
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// Writes a file of the working directory.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.work().join(name), text).expect("write file");
    }

    /// Reads a file of the working directory; empty when it is not there.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.work().join(name)).unwrap_or_default()
    }

    /// Makes the working directory a program that imports these packages.
    pub fn program(&self, requires: &[(&str, &str)], imports: &[&str]) {
        let mut go_mod = "module example.com/main\n\ngo 1.21\n".to_owned();
        for (path, version) in requires {
            go_mod = go_mod + "\nrequire " + path + " " + version + "\n";
        }
        self.write("go.mod", &go_mod);
        let mut source = "package main\n\n".to_owned();
        for (number, path) in imports.iter().enumerate() {
            writeln!(source, "import p{number} \"{path}\"").expect("write to a string");
        }
        source += "\nfunc main() {\n";
        for number in 0..imports.len() {
            writeln!(source, "\tprintln(p{number}.Version)").expect("write to a string");
        }
        self.write("main.go", &(source + "}\n"));
    }

    /// `go mod download` of these modules (`path@version`).
    pub fn download(&self, modules: &[&str]) -> Output {
        let mut arguments = vec!["mod", "download", "-json"];
        arguments.extend_from_slice(modules);
        self.run(&arguments)
    }

    /// `go build` of the working directory.
    pub fn build(&self) -> Output {
        self.run(&["build", "-o", "program", "."])
    }

    /// Runs the built program and returns what it printed.
    #[track_caller]
    pub fn run_program(&self) -> String {
        let output = Command::new(self.work().join("program")).output().expect("run the program");
        assert!(output.status.success(), "the program failed");
        // The println built-in writes to standard error.
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs a go command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let log = |name: &str| self.root.path().join(name);
        let open = |path: &Path| std::fs::File::create(path).expect("create log");
        let mut child = self
            .command(arguments)
            .stdout(Stdio::from(open(&log("stdout"))))
            .stderr(Stdio::from(open(&log("stderr"))))
            .spawn()
            .expect("start the go command: is it on PATH?");
        let deadline = Instant::now() + self.patience;
        let ok = loop {
            if let Some(status) = child.try_wait().expect("wait for go") {
                break status.success();
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
            std::thread::sleep(POLL);
        };
        let text =
            |name: &str| String::from_utf8_lossy(&std::fs::read(log(name)).expect("read log")).into_owned();
        Output { arguments: arguments.join(" "), ok, stdout: text("stdout"), stderr: text("stderr") }
    }

    /// A go command with this client's environment, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("go");
        command.args(arguments).current_dir(self.work()).stdin(Stdio::null()).env_clear();
        let root = self.root.path();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", root.join("home"));
        command.env("GOPATH", root.join("home"));
        command.env("GOMODCACHE", root.join("modcache"));
        command.env("GOCACHE", build_cache());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

fn environment(proxy: &str, sumdb: &str) -> Vec<(String, String)> {
    let fixed = [
        ("GOPROXY", proxy),
        ("GOSUMDB", sumdb),
        ("GOENV", "off"),
        ("GOFLAGS", "-mod=mod -modcacherw"),
        ("GOTOOLCHAIN", "local"),
        ("GOPRIVATE", ""),
        ("GONOPROXY", ""),
        ("GONOSUMDB", ""),
        ("GOVCS", "*:off"),
        ("CGO_ENABLED", "0"),
        ("GOWORK", "off"),
        ("GOTELEMETRY", "off"),
    ];
    fixed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Compiled packages, shared by all clients: it holds no modules, and the standard library takes long.
fn build_cache() -> PathBuf {
    let executable = std::env::current_exe().expect("own path");
    let target = executable.parent().and_then(Path::parent).and_then(Path::parent).expect("target directory");
    target.join("tmp/go-build")
}
