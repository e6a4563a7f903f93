//! A cluster of real processes on loopback: control nodes, data nodes, and the real `goproxyctl`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::network::Network;
use crate::node::{Node, Place};
use crate::operator::Operator;
use crate::process::eventually;
use crate::program::{clean_environment, executable};
use crate::raw_http::Call;
use crate::wall_clock::WallClock;

/// Longest run of one goproxyctl command.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);

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
    prepare: Box<dyn Fn(&mut Node)>,
    /// What goproxyctl has in its environment besides.
    environment: Vec<(&'static str, String)>,
    /// Its hosts, where control nodes have hosts of their own. Goes last, when nobody is there any more.
    pub network: Option<Network>,
}

impl Drop for Cluster {
    /// All processes end at once, so that none has time to miss another.
    fn drop(&mut self) {
        for node in self.data.iter_mut().chain(&mut self.control) {
            node.begin_to_end();
        }
    }
}

impl Cluster {
    /// One control node, which makes the cluster, ready.
    #[track_caller]
    pub fn bootstrap() -> Self {
        Self::begin(None, Box::new(|_| {}))
    }

    /// A cluster of so many control nodes, all voters.
    #[track_caller]
    pub fn of(members: usize) -> Self {
        Self::bootstrap().grown_to(members)
    }

    /// The same, each control node started as `prepare` says.
    #[track_caller]
    pub fn prepared(members: usize, prepare: impl Fn(&mut Node) + 'static) -> Self {
        Self::begin(None, Box::new(prepare)).grown_to(members)
    }

    /// The same, each control node on its own host of a network, and data nodes beside them on this one.
    #[track_caller]
    pub fn on(network: Network, members: usize) -> Self {
        Self::begin(Some(network), Box::new(|_| {})).grown_to(members)
    }

    /// The cluster of one that a process has made, which is ready.
    #[track_caller]
    pub fn around(first: Node) -> Self {
        Self::made_by(first, None, Box::new(|_| {}))
    }

    #[track_caller]
    fn begin(network: Option<Network>, prepare: Box<dyn Fn(&mut Node)>) -> Self {
        let place = network.as_ref().map_or(Place::Here, |network| Place::Host(network, 0));
        let mut first = Node::new("control", "control-1", &place);
        prepare(&mut first);
        first.start(&["--bootstrap"]);
        first.wait_ready();
        Self::made_by(first, network, prepare)
    }

    #[track_caller]
    fn made_by(first: Node, network: Option<Network>, prepare: Box<dyn Fn(&mut Node)>) -> Self {
        let credentials = tempfile::tempdir().expect("temporary directory");
        for file in ["ca.pem", "admin.token"] {
            std::fs::copy(first.data_dir().join(file), credentials.path().join(file))
                .expect("copy credentials");
        }
        let (control, data, environment) = (vec![first], Vec::new(), Vec::new());
        let cluster = Self { control, data, credentials, prepare, environment, network };
        eventually("the first control node answers", || {
            (cluster.ctl(&["cluster", "status", "-o", "json"]).code == 0).then_some(())
        });
        cluster
    }

    #[track_caller]
    fn grown_to(mut self, members: usize) -> Self {
        for number in 2..=members {
            self.add_member(&format!("control-{number}"));
        }
        self.wait_voters(members);
        self
    }

    /// Adds a control node and waits until it is ready.
    #[track_caller]
    pub fn add_member(&mut self, name: &str) -> &mut Node {
        let added = self.ctl(&["member", "add", name, "-o", "json"]).json();
        let token = added["join_token"].as_str().expect("a token").to_owned();
        let place =
            self.network.as_ref().map_or(Place::Here, |network| Place::Host(network, self.control.len()));
        let mut node = Node::new("control", name, &place);
        (self.prepare)(&mut node);
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
        self.join_node_with(name, zone, upstream, &token, prepare)
    }

    /// Adds a data node on a host of its own, where a control node is not, and waits until it is ready.
    #[track_caller]
    pub fn add_node_on(&mut self, host: usize, name: &str, zone: &str, upstream: &str) -> &mut Node {
        let added = self.ctl(&["node", "add", name, "--zone", zone, "-o", "json"]).json();
        let token = added["join_token"].as_str().expect("a token").to_owned();
        let network = self.network.as_ref().expect("hosts");
        let node = Node::new("data", name, &Place::Host(network, host));
        self.join(node, zone, upstream, &token, |_| {})
    }

    /// Starts a data node that was invited already, and waits until it is ready.
    #[track_caller]
    pub fn join_node(&mut self, name: &str, zone: &str, upstream: &str, token: &str) -> &mut Node {
        self.join_node_with(name, zone, upstream, token, |_| {})
    }

    #[track_caller]
    fn join_node_with(
        &mut self,
        name: &str,
        zone: &str,
        upstream: &str,
        token: &str,
        prepare: impl FnOnce(&mut Node),
    ) -> &mut Node {
        let place = self.network.as_ref().map_or(Place::Here, Place::Beside);
        let node = Node::new("data", name, &place);
        self.join(node, zone, upstream, token, prepare)
    }

    #[track_caller]
    fn join(
        &mut self,
        mut node: Node,
        zone: &str,
        upstream: &str,
        token: &str,
        prepare: impl FnOnce(&mut Node),
    ) -> &mut Node {
        node.flag("--upstream", upstream);
        node.flag("--zone", zone);
        prepare(&mut node);
        if !node.has_flag("--sumdb") {
            node.flag("--sumdb", "off");
        }
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

    /// Has goproxyctl go by this clock.
    pub fn give_ctl(&mut self, clock: &WallClock) {
        self.environment = clock.environment().to_vec();
    }

    /// Where the files are that operators have: `ca.pem` and `admin.token`.
    pub fn credentials(&self) -> &Path {
        self.credentials.path()
    }

    /// The admin, calling control nodes directly, each call within `timeout`. Needs a runtime.
    pub fn operator(&self, timeout: Duration) -> Operator {
        let file = |name| std::fs::read_to_string(self.credentials.path().join(name)).expect("credentials");
        let servers: Vec<SocketAddr> = self.control.iter().map(Node::rpc).collect();
        Operator::new(&file("ca.pem"), &file("admin.token"), &servers, timeout)
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
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
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

    /// Waits until no slot moves and every node that runs knows it.
    #[track_caller]
    pub fn settled(&self) {
        eventually("the layout is stable", || (self.status()?["layout"]["state"] == "stable").then_some(()));
        let epoch = self.status().expect("a status")["layout"]["epoch"].as_u64().expect("an epoch");
        eventually("every node knows the layout", || {
            let knows = |node: &Node| metric(node.admin(), "goproxy_cluster_layout_epoch") >= epoch;
            self.data.iter().filter(|node| node.is_running()).all(knows).then_some(())
        });
    }

    /// The control node that says that it leads, by its metrics alone: quick, also while nobody can be sure.
    pub fn quick_leader(&self) -> Option<usize> {
        (0..self.control.len()).find(|number| self.leads(*number))
    }

    /// Whether this control node says that it leads, by its metrics alone.
    pub fn leads(&self, number: usize) -> bool {
        let told = Call::new(self.control[number].admin(), "GET", "/metrics").try_send();
        told.is_ok_and(|told| told.text().lines().any(|line| line == "goproxy_control_leads 1"))
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

/// The value of a metric without labels; 0 if there is none.
pub fn metric(admin: SocketAddr, name: &str) -> u64 {
    let text = Call::new(admin, "GET", "/metrics").send().text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.unwrap_or_default()
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
