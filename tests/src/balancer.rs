//! Real load balancers, run with what `goproxyctl lb render` prints.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Cluster;
use crate::process::{eventually, free_address};
use crate::raw_http::Call;

/// Which program balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// nginx
    Nginx,
    /// HAProxy
    Haproxy,
}

impl Program {
    /// Fails the test unless the program takes what is rendered. Nothing is started.
    #[track_caller]
    pub fn takes(self, cluster: &Cluster, listen: SocketAddr, more: &[&str]) {
        let root = tempfile::tempdir().expect("temporary directory");
        let file = root.path().join("config");
        write(self, cluster, listen, more, &file);
        check(self, &file, command(self));
    }

    /// What it is run with, to go by a configuration and stay in the foreground. More than one may run on one machine.
    pub(crate) fn arguments(self, file: &Path) -> Vec<String> {
        let path = file.display().to_string();
        match self {
            Self::Nginx => {
                leave_out_pid(file);
                let own = format!("daemon off; pid {};", file.with_extension("pid").display());
                vec!["-c".to_owned(), path, "-g".to_owned(), own]
            }
            Self::Haproxy => vec!["-W".to_owned(), "-f".to_owned(), path],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }
}

/// A running balancer. Dropping it ends it.
pub struct Balancer {
    program: Program,
    address: SocketAddr,
    root: tempfile::TempDir,
    child: Child,
}

impl Balancer {
    /// A balancer in front of the nodes there are now, ready.
    #[track_caller]
    pub fn start(program: Program, cluster: &Cluster, more: &[&str]) -> Self {
        Self::run(program, cluster, free_address(), more, || command(program))
    }

    /// The same on a host of the cluster's network, whose kernel is told what `docs/load-balancers.md` says.
    #[track_caller]
    pub fn start_on(host: usize, program: Program, cluster: &Cluster) -> Self {
        let network = cluster.network.as_ref().expect("hosts");
        for setting in ["retries2=5", "keepalive_time=5", "keepalive_intvl=1", "keepalive_probes=3"] {
            network.sysctl(host, &format!("net.ipv4.tcp_{setting}"));
        }
        let inside = || {
            let mut inside = Command::new("ip");
            inside.args(["netns", "exec", &network.namespace(host), program.name()]).env("PATH", path());
            inside
        };
        Self::run(program, cluster, (network.address(host), 8080).into(), &[], inside)
    }

    #[track_caller]
    fn run(
        program: Program,
        cluster: &Cluster,
        address: SocketAddr,
        more: &[&str],
        command: impl Fn() -> Command,
    ) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let file = root.path().join("config");
        write(program, cluster, address, more, &file);
        check(program, &file, command());
        let child = command()
            .args(program.arguments(&file))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the balancer");
        let balancer = Self { program, address, root, child };
        eventually("the balancer answers", || {
            let answer = Call::new(address, "GET", "/readyz").try_send();
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        });
        balancer
    }

    /// Takes up the nodes there are now, without an interruption.
    #[track_caller]
    pub fn reload(&self, cluster: &Cluster, more: &[&str]) {
        let file = self.root.path().join("config");
        write(self.program, cluster, self.address, more, &file);
        leave_out_pid(&file);
        self.signal(match self.program {
            Program::Nginx => Signal::HUP,
            Program::Haproxy => Signal::USR2,
        });
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("send a signal");
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let _ = self.child.wait();
    }
}

fn write(program: Program, cluster: &Cluster, address: SocketAddr, more: &[&str], file: &Path) {
    let listen = address.to_string();
    let mut arguments = vec!["lb", "render", program.name(), "--listen", &listen];
    arguments.extend_from_slice(more);
    let rendered = cluster.ctl(&arguments).code(0);
    std::fs::write(file, rendered.stdout).expect("write the configuration");
}

/// A second one on one machine needs a file of its own for its process id.
fn leave_out_pid(file: &Path) {
    let text = std::fs::read_to_string(file).expect("read the configuration");
    let text: String =
        text.lines().filter(|line| !line.starts_with("pid ")).flat_map(|line| [line, "\n"]).collect();
    std::fs::write(file, text).expect("write the configuration");
}

/// Fails the test unless a program takes a configuration.
#[track_caller]
fn check(program: Program, file: &Path, mut command: Command) {
    let path = file.display().to_string();
    let words = match program {
        Program::Nginx => ["-t", "-c", path.as_str()],
        Program::Haproxy => ["-c", "-f", path.as_str()],
    };
    let checked = command.args(words).output().expect("start the balancer: is it installed?");
    let said = String::from_utf8_lossy(&checked.stderr);
    let text = std::fs::read_to_string(file).unwrap_or_default();
    assert!(checked.status.success(), "{} refuses what was rendered: {said}\n{text}", program.name());
}

fn command(program: Program) -> Command {
    let mut command = Command::new(program.name());
    command.env("PATH", path());
    command
}

pub(crate) fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
