//! A process of a cluster: started where and as a test wants it, watched, signalled, killed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::log_scan;
use crate::network::Network;
use crate::process::{eventually, free_address, show};
use crate::program::{clean_environment, executable};
use crate::raw_http::Call;

/// Where a process runs.
pub enum Place<'a> {
    /// On this host, on ports that are free.
    Here,
    /// On a host of its own.
    Host(&'a Network, usize),
    /// On this host, on ports that are free, where the hosts of a network reach it.
    Beside(&'a Network),
}

/// A process of a cluster, its directory and its log. Dropping it kills the process and judges its log.
pub struct Node {
    name: String,
    root: tempfile::TempDir,
    arguments: Vec<String>,
    /// What goes before the program, outermost first.
    wrappers: Vec<Vec<String>>,
    environment: Vec<(String, String)>,
    program: PathBuf,
    disk_bytes: Option<u64>,
    rpc: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
    child: Option<Child>,
    allowed: Vec<String>,
}

impl Node {
    /// A process that was not started yet.
    pub fn new(role: &str, name: &str, place: &Place<'_>) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let (mut wrappers, mut allowed) = (Vec::new(), Vec::new());
        let (rpc, http, admin) = match place {
            Place::Here => (free_address(), free_address(), free_address()),
            Place::Host(network, host) => {
                let words = ["ip", "netns", "exec", &network.namespace(*host)];
                wrappers.push(words.map(str::to_owned).to_vec());
                allowed.push("ask for no credentials and others can reach them".to_owned());
                let at = |port| SocketAddr::new(IpAddr::V4(network.address(*host)), port);
                (at(8083), at(8081), at(8082))
            }
            Place::Beside(network) => {
                let there = |here: SocketAddr| SocketAddr::new(IpAddr::V4(network.here()), here.port());
                (there(free_address()), there(free_address()), free_address())
            }
        };
        let data = root.path().join("data");
        let mut arguments = vec![
            role.to_owned(),
            format!("--name={name}"),
            format!("--data-dir={}", data.display()),
            format!("--rpc-listen={rpc}"),
            format!("--admin-listen={admin}"),
            "--log-format=json".to_owned(),
        ];
        if role != "control" {
            arguments.push(format!("--listen={http}"));
        }
        Self {
            name: name.to_owned(),
            root,
            arguments,
            wrappers,
            environment: Vec::new(),
            program: executable(),
            disk_bytes: None,
            rpc,
            http,
            admin,
            child: None,
            allowed,
        }
    }

    /// Starts the process with these arguments besides its own. It runs, but need not be ready yet.
    #[track_caller]
    pub fn start(&mut self, more: &[&str]) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).expect("open log");
        let copy = log.try_clone().expect("copy the log handle");
        let words: Vec<_> = self.wrappers.iter().flatten().collect();
        let mut command = Command::new(words.first().map_or_else(|| self.program.clone(), PathBuf::from));
        clean_environment(&mut command);
        if !words.is_empty() {
            command.args(&words[1..]).arg(&self.program);
        }
        command.args(&self.arguments).args(more).env("HOME", self.root.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::from(copy)).stderr(Stdio::from(log));
        self.child = Some(command.spawn().expect("start goproxyd"));
    }

    /// Gives it a disk of this size: a tmpfs in a mount namespace of its own, gone with the process.
    pub fn disk(&mut self, bytes: u64) {
        let directory = self.root.path().join("data");
        std::fs::create_dir_all(&directory).expect("create the mount point");
        let mount =
            format!("mount -t tmpfs -o size={bytes} tmpfs '{}' && exec \"$0\" \"$@\"", directory.display());
        self.wrappers.push(["unshare", "-rm", "sh", "-c", &mount].map(str::to_owned).to_vec());
        self.disk_bytes = Some(bytes);
    }

    /// Has it run another build from its next start.
    pub fn program(&mut self, path: PathBuf) {
        self.program = path;
    }

    /// Sets an environment variable for the next start.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Adds a flag for the next start.
    pub fn flag(&mut self, name: &str, value: &str) {
        self.no_flag(name);
        self.arguments.push(format!("{name}={value}"));
    }

    /// Takes a flag away for the next start.
    pub fn no_flag(&mut self, name: &str) {
        self.arguments.retain(|argument| !argument.starts_with(&format!("{name}=")));
    }

    /// Has it listen for gRPC elsewhere from its next start.
    pub fn move_rpc(&mut self) {
        self.rpc = free_address();
        self.flag("--rpc-listen", &self.rpc.to_string());
    }

    /// Allows WARN and ERROR lines that contain this text; any other fails the test.
    pub fn allow(&mut self, text: &str) {
        self.allowed.push(text.to_owned());
    }

    /// Waits until the process is ready.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let admin = self.admin;
        let ready = eventually(&format!("{} is ready", self.name), || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Some(Err(status));
            }
            Call::new(admin, "GET", "/readyz")
                .try_send()
                .is_ok_and(|answer| answer.status == 200)
                .then_some(Ok(()))
        });
        if let Err(status) = ready {
            panic!("{} ended: {status}\n{}", self.name, self.log());
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it takes gRPC calls.
    pub fn rpc(&self) -> SocketAddr {
        self.rpc
    }

    /// Where it serves modules.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it shows metrics and health.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its data directory, as this process sees it.
    pub fn data_dir(&self) -> PathBuf {
        let seen = self.root.path().join("data");
        if self.disk_bytes.is_none() {
            return seen;
        }
        PathBuf::from(format!("/proc/{}/root{}", self.pid(), seen.display()))
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Process id of the running process.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running process").id()
    }

    /// Whether a flag was added.
    pub fn has_flag(&self, name: &str) -> bool {
        self.arguments.iter().any(|argument| argument.split('=').next() == Some(name))
    }

    /// Whether its process was started and not ended since.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// SIGKILL, without waiting for the end.
    pub(crate) fn begin_to_end(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("send a signal");
    }

    /// Whether the process is started and has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// SIGTERM, and waits for the exit status.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running process");
        eventually("goproxyd ends", || child.try_wait().expect("wait for goproxyd"))
    }

    fn log_path(&self) -> PathBuf {
        self.root.path().join("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill9();
        let log = self.log();
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
            show(&format!("--- last lines of the log of {} ---\n{}", self.name, last.join("\n")));
            return;
        }
        let unlisted = log_scan::unlisted(&log, &self.allowed);
        assert!(unlisted.is_empty(), "unlisted lines in the log of {}:\n{}", self.name, unlisted.join("\n"));
    }
}
