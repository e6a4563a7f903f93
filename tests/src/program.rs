//! The `goproxyd` program: where it is, and how it is started.

use crate::process::data_dir;
use crate::settings::Settings;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs `goproxyd` with these arguments to its end: for the command line and for failing starts.
#[track_caller]
pub fn run_goproxyd(arguments: &[&str]) -> std::process::Output {
    let home = tempfile::tempdir().expect("temporary directory");
    let mut command = Command::new(executable());
    clean_environment(&mut command);
    command.args(arguments).env("HOME", home.path()).stdin(Stdio::null());
    command.output().expect("run goproxyd")
}

/// A `goproxyd` command line, not started.
pub fn command(
    root: &tempfile::TempDir,
    settings: &Settings,
    address: SocketAddr,
    admin: SocketAddr,
) -> Command {
    let mut command = wrapped(&settings.binary.clone().unwrap_or_else(executable), root, settings);
    clean_environment(&mut command);
    command
        .arg(format!("--listen={address}"))
        .arg(format!("--admin-listen={admin}"))
        .arg("--rpc-listen=127.0.0.1:0")
        .arg(format!("--data-dir={}", data_dir(root).display()))
        .arg("--log-format=json")
        .env("GOPROXYD_LOG_LEVEL", "info")
        .args(&settings.arguments)
        .env("HOME", root.path())
        .envs(settings.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    command
}

/// The program, started by a shell that first narrows its world where the settings ask for that.
fn wrapped(program: &Path, root: &tempfile::TempDir, settings: &Settings) -> Command {
    let mut script = String::new();
    if let Some(limit) = settings.open_files {
        write!(script, "ulimit -n {limit} && ").expect("write to a string");
    }
    if let Some(group) = &settings.group {
        write!(script, "echo $$ > '{}/cgroup.procs' && ", group.display()).expect("write to a string");
    }
    if let Some(bytes) = settings.disk_bytes {
        let directory = data_dir(root);
        std::fs::create_dir_all(&directory).expect("create the mount point");
        let mount = format!("mount -t tmpfs -o size={bytes} tmpfs '{}' && ", directory.display());
        script += &mount;
    }
    if script.is_empty() {
        return Command::new(program);
    }
    let mut command = if settings.disk_bytes.is_some() {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command.args(["-c", &(script + "exec \"$0\" \"$@\"")]).arg(program);
    command
}

pub(crate) fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let foreign = name.to_string_lossy();
        if foreign.starts_with("GOPROXYD_")
            || foreign.starts_with("GOPROXYCTL_")
            || foreign.starts_with("SSL_CERT")
            || foreign.ends_with("_proxy")
        {
            command.env_remove(&name);
        }
    }
}

/// The server as it is shipped, for what is measured: `$GOPROXYD_RELEASE_BIN`, if there is one.
pub fn shipped() -> Option<PathBuf> {
    std::env::var_os("GOPROXYD_RELEASE_BIN").map(PathBuf::from)
}

/// The server under test: `$GOPROXYD_BIN`, else `goproxyd` beside the test's own build.
pub fn executable() -> PathBuf {
    if let Some(path) = std::env::var_os("GOPROXYD_BIN") {
        return PathBuf::from(path);
    }
    let own = std::env::current_exe().expect("own path");
    let path = own.parent().and_then(Path::parent).expect("target directory").join("goproxyd");
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build -p goproxyd`, or name one in GOPROXYD_BIN",
        path.display()
    );
    path
}
