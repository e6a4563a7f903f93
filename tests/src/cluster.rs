//! A cluster of real processes on loopback: control nodes, data nodes, and the real `goproxyctl`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::log_scan;
use crate::process::{eventually, free_address};
use crate::program::{clean_environment, executable};
use crate::raw_http::Call;

/// Longest run of one goproxyctl command.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);

/// A process of a cluster, its directory and its log. Dropping it kills the process and judges its log.
pub struct Node {
    name: String,
    root: tempfile::TempDir,
    arguments: Vec<String>,
    rpc: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
    child: Option<Child>,
    allowed: Vec<String>,
}

impl Node {
    fn new(role: &str, name: &str) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let (rpc, http, admin) = (free_address(), free_address(), free_address());
        let data = root.path().join("data");
        let mut arguments = vec![
            role.to_owned(),
            format!("--name={name}"),
            format!("--data-dir={}", data.display()),
            format!("--rpc-listen={rpc}"),
            format!("--admin-listen={admin}"),
            "--log-format=json".to_owned(),
        ];
        if role == "data" {
            arguments.push(format!("--listen={http}"));
        }
        Self { name: name.to_owned(), root, arguments, rpc, http, admin, child: None, allowed: Vec::new() }
    }

    /// Starts the process with these arguments besides its own. It runs, but need not be ready yet.
    #[track_caller]
    pub fn start(&mut self, more: &[&str]) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).expect("open log");
        let copy = log.try_clone().expect("copy the log handle");
        let mut command = Command::new(executable());
        clean_environment(&mut command);
        command.args(&self.arguments).args(more).env("HOME", self.root.path());
        command.stdin(Stdio::null()).stdout(Stdio::from(copy)).stderr(Stdio::from(log));
        self.child = Some(command.spawn().expect("start goproxyd"));
    }

    /// Adds a flag for the next start.
    pub fn flag(&mut self, name: &str, value: &str) {
        self.arguments.push(format!("{name}={value}"));
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

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Whether its process was started and not ended since.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Process id of the running process.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running process").id()
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

#[expect(clippy::print_stderr, reason = "the test harness shows it with the failure, and only then")]
fn show(text: &str) {
    eprintln!("{text}");
}

/// What goproxyctl printed and how it ended.
#[derive(Debug)]
pub struct Told {
    /// The arguments, for messages.
    pub arguments: String,
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Told {
    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "goproxyctl {}:\n{}\n{}", self.arguments, self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON, of a command that succeeded.
    #[track_caller]
    pub fn json(self) -> Value {
        let told = self.code(0);
        serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}", told.stdout))
    }
}

/// Control nodes and data nodes.
pub struct Cluster {
    /// The control nodes, the first of which made the cluster.
    pub control: Vec<Node>,
    /// The data nodes.
    pub data: Vec<Node>,
    credentials: tempfile::TempDir,
}

impl Drop for Cluster {
    /// All processes end at once, so that none has time to miss another.
    fn drop(&mut self) {
        for node in self.data.iter_mut().chain(&mut self.control) {
            if let Some(child) = &mut node.child {
                let _ = child.kill();
            }
        }
    }
}

impl Cluster {
    /// One control node, which makes the cluster, ready.
    #[track_caller]
    pub fn bootstrap() -> Self {
        let mut first = Node::new("control", "control-1");
        first.start(&["--bootstrap"]);
        first.wait_ready();
        let credentials = tempfile::tempdir().expect("temporary directory");
        for file in ["ca.pem", "admin.token"] {
            std::fs::copy(first.data_dir().join(file), credentials.path().join(file))
                .expect("copy credentials");
        }
        let cluster = Self { control: vec![first], data: Vec::new(), credentials };
        eventually("the first control node answers", || {
            (cluster.ctl(&["cluster", "status", "-o", "json"]).code == 0).then_some(())
        });
        cluster
    }

    /// A cluster of so many control nodes, all voters.
    #[track_caller]
    pub fn of(members: usize) -> Self {
        let mut cluster = Self::bootstrap();
        for number in 2..=members {
            cluster.add_member(&format!("control-{number}"));
        }
        cluster.wait_voters(members);
        cluster
    }

    /// Adds a control node and waits until it is ready.
    #[track_caller]
    pub fn add_member(&mut self, name: &str) -> &mut Node {
        let added = self.ctl(&["member", "add", name, "-o", "json"]).json();
        let token = added["join_token"].as_str().expect("a token").to_owned();
        let mut node = Node::new("control", name);
        node.start(&[&format!("--join={}", self.servers()), &format!("--join-token={token}")]);
        node.wait_ready();
        self.control.push(node);
        self.control.last_mut().expect("the node just added")
    }

    /// Adds a data node in a zone, in front of `upstream`, and waits until it is ready.
    #[track_caller]
    pub fn add_node(&mut self, name: &str, zone: &str, upstream: &str) -> &mut Node {
        self.add_node_with(name, zone, upstream, |_| {})
    }

    /// The same, with what `prepare` does to it before its first start.
    #[track_caller]
    pub fn add_node_with(
        &mut self,
        name: &str,
        zone: &str,
        upstream: &str,
        prepare: impl FnOnce(&mut Node),
    ) -> &mut Node {
        let added = self.ctl(&["node", "add", name, "--zone", zone, "-o", "json"]).json();
        let token = added["join_token"].as_str().expect("a token").to_owned();
        let mut node = Node::new("data", name);
        node.flag("--upstream", upstream);
        node.flag("--sumdb", "off");
        node.flag("--zone", zone);
        prepare(&mut node);
        node.start(&[&format!("--join={}", self.servers()), &format!("--join-token={token}")]);
        node.wait_ready();
        self.data.push(node);
        self.data.last_mut().expect("the node just added")
    }

    /// Addresses of all control nodes, as `--join` and `--server` take them.
    pub fn servers(&self) -> String {
        let addresses: Vec<_> = self.control.iter().map(|node| node.rpc().to_string()).collect();
        addresses.join(",")
    }

    /// Runs goproxyctl as the admin.
    #[track_caller]
    pub fn ctl(&self, arguments: &[&str]) -> Told {
        self.ctl_at(&self.servers(), arguments)
    }

    /// Runs goproxyctl as the admin, through these control nodes alone.
    #[track_caller]
    pub fn ctl_at(&self, servers: &str, arguments: &[&str]) -> Told {
        self.ctl_with(servers, &self.credentials.path().join("admin.token"), arguments)
    }

    /// Runs goproxyctl with the token in a file.
    #[track_caller]
    pub fn ctl_with(&self, servers: &str, token: &Path, arguments: &[&str]) -> Told {
        let mut command = Command::new(executable().with_file_name("goproxyctl"));
        clean_environment(&mut command);
        command
            .args(arguments)
            .env("GOPROXYCTL_SERVER", servers)
            .env("GOPROXYCTL_CA", self.credentials.path().join("ca.pem"))
            .env("GOPROXYCTL_TOKEN_FILE", token)
            .env("HOME", self.credentials.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        let output: Output = run(command);
        Told {
            arguments: arguments.join(" "),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The cluster's status; `None` while it cannot be had.
    pub fn status(&self) -> Option<Value> {
        let told = self.ctl(&["cluster", "status", "-o", "json"]);
        if told.code == 0 { serde_json::from_str(&told.stdout).ok() } else { None }
    }

    /// Waits until so many members vote and all of them are well.
    #[track_caller]
    pub fn wait_voters(&self, count: usize) {
        eventually(&format!("{count} voters"), || {
            let status = self.status()?;
            let members = status["members"].as_array()?;
            let voters =
                members.iter().filter(|member| member["role"] == "voter" && member["health"] == "ok");
            (voters.count() == count).then_some(())
        });
    }

    /// Waits until a node is in a state.
    #[track_caller]
    pub fn wait_state(&self, name: &str, state: &str) {
        eventually(&format!("node {name} is {state}"), || {
            let status = self.status()?;
            let node = status["nodes"].as_array()?.iter().find(|node| node["name"] == name)?.clone();
            (node["state"] == state).then_some(())
        });
    }

    /// The control node that leads.
    #[track_caller]
    pub fn leader(&self) -> usize {
        eventually("a leader", || {
            let status = self.status()?;
            let leader = status["leader"].as_str()?;
            self.control.iter().position(|node| node.name() == leader)
        })
    }
}

fn run(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run goproxyctl");
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process id");
    let begun = Instant::now();
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if waiting.recv_timeout(COMMAND_TIME_MAX).is_err() {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().expect("wait for goproxyctl");
    let _ = done.send(());
    let _ = watchdog.join();
    assert!(begun.elapsed() < COMMAND_TIME_MAX, "goproxyctl took longer than {COMMAND_TIME_MAX:?}");
    output
}
