//! Two machines with a balancer each, and an address that keepalived moves between them: the real programs, run with what
//! `goproxyctl lb render` prints, in network namespaces.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::balancer::{Program, path};
use crate::cluster::Cluster;
use crate::network::Network;
use crate::process::{eventually, show};
use crate::raw_http::Call;

/// Where the balancers listen.
const PORT: u16 = 8080;

/// See the head of this file. Dropping it ends all programs.
pub struct Floating {
    address: Ipv4Addr,
    machines: Vec<Machine>,
    _root: tempfile::TempDir,
}

struct Machine {
    balancer: Child,
    keepalived: Child,
    log: PathBuf,
}

impl Floating {
    /// A balancer and keepalived on each of two hosts, nginx on one and HAProxy on the other; the address is at one of them.
    #[track_caller]
    pub fn start(cluster: &Cluster, network: &Network) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let (address, with_length) = network.floating();
        let machines = [Program::Haproxy, Program::Nginx]
            .into_iter()
            .enumerate()
            .map(|(host, program)| {
                let folder = root.path().join(host.to_string());
                std::fs::create_dir(&folder).expect("create a directory");
                machine(cluster, network, (host, program), &with_length, &folder)
            })
            .collect();
        let floating = Self { address, machines, _root: root };
        eventually("somebody has the address, and answers there", || {
            floating.holder(network)?;
            let answer = Call::new(floating.address(), "GET", "/readyz").try_send().ok()?;
            (answer.status == 200).then_some(())
        });
        floating
    }

    /// Where developers find a balancer.
    pub fn address(&self) -> SocketAddr {
        (self.address, PORT).into()
    }

    /// The host that has the address, if exactly one has it.
    pub fn holder(&self, network: &Network) -> Option<usize> {
        let holders: Vec<_> = (0..2).filter(|host| network.has(*host, self.address)).collect();
        if let [holder] = holders[..] { Some(holder) } else { None }
    }

    /// Ends keepalived on a host in good order, as for maintenance: the address goes elsewhere.
    pub fn give_away(&mut self, host: usize) {
        signal(&self.machines[host].keepalived, Signal::TERM);
        let _ = self.machines[host].keepalived.wait();
    }
}

impl Drop for Floating {
    fn drop(&mut self) {
        for machine in &mut self.machines {
            for child in [&mut machine.keepalived, &mut machine.balancer] {
                if let Ok(None) = child.try_wait() {
                    signal(child, Signal::TERM);
                    let _ = child.wait();
                }
            }
            if std::thread::panicking() {
                show(&std::fs::read_to_string(&machine.log).unwrap_or_default());
            }
        }
    }
}

fn machine(
    cluster: &Cluster,
    network: &Network,
    (host, program): (usize, Program),
    address: &str,
    folder: &Path,
) -> Machine {
    let listen = format!("0.0.0.0:{PORT}");
    let priority = (150 - 50 * host).to_string();
    let render = |arguments: &[&str], name: &str| {
        let file = folder.join(name);
        let arguments = [&["lb", "render"], arguments, &["--listen", &listen]].concat();
        let rendered = cluster.ctl(&arguments).code(0);
        std::fs::write(&file, rendered.stdout).expect("write a configuration");
        file.display().to_string()
    };
    let balancing = PathBuf::from(render(&[program.name()], "balancer.conf"));
    let floating = ["keepalived", "--address", address, "--priority", &priority, "--interface", "eth0"];
    let keepalived = render(&floating, "keepalived.conf");
    let check = ["keepalived", "-t", "--log-console", "-f", &keepalived];
    let checked = Command::new("ip")
        .args(["netns", "exec", &network.namespace(host)])
        .args(check)
        .env("PATH", path())
        .output()
        .expect("run ip");
    // Version 2.2.7 ends its check by a signal to itself; what is wrong it says with the line.
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(!said.contains("Line "), "{said}");
    let file = |name: &str| folder.join(name).display().to_string();
    let (pid, vrrp, checkers) = (file("pid"), file("vrrp.pid"), file("checkers.pid"));
    let log = folder.join("keepalived.log");
    let inside = |words: &[&str], says: Stdio| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &network.namespace(host)]).args(words).env("PATH", path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(says);
        command.spawn().expect("start a program on a host")
    };
    let arguments = program.arguments(&balancing);
    let words: Vec<&str> =
        std::iter::once(program.name()).chain(arguments.iter().map(String::as_str)).collect();
    let balancer = inside(&words, Stdio::null());
    let files = ["-f", &keepalived, "-p", &pid, "-r", &vrrp, "-c", &checkers];
    let words = [&["keepalived", "--dont-fork", "--log-console"][..], &files].concat();
    let keepalived = inside(&words, std::fs::File::create(&log).expect("create a file").into());
    Machine { balancer, keepalived, log }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process id");
    let _ = kill_process(pid, signal);
}
