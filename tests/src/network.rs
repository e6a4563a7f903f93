//! Hosts of their own for some processes: network namespaces at a bridge, between which the network can be cut.
//!
//! This process reaches all hosts, whatever is cut between them. Needs root.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Hosts at a bridge; gone when this is dropped.
#[derive(Debug)]
pub struct Network {
    number: u32,
    hosts: usize,
}

impl Network {
    /// So many hosts; `None` where none can be made.
    pub fn of(hosts: usize) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Test processes run side by side; the next number of one is far from those of others.
        let number = (std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed) * 7_919) % (64 * 250);
        let network = Self { number, hosts };
        network.make().then_some(network)
    }

    /// The address of a host.
    pub fn address(&self, host: usize) -> Ipv4Addr {
        self.subnet(u8::try_from(host + 1).expect("few hosts"))
    }

    /// Its namespace, as `ip netns` names it.
    pub fn namespace(&self, host: usize) -> String {
        format!("gp{}h{host}", self.number)
    }

    /// Drops what `from` sends to `to`. Connections stay open, so that each side has to find out.
    pub fn cut_way(&self, from: usize, to: usize) {
        let to = format!("{}/32", self.address(to));
        assert!(ip(&["-n", &self.namespace(from), "route", "replace", "blackhole", &to]), "cut the network");
    }

    /// Where this process is on the network.
    pub fn here(&self) -> Ipv4Addr {
        self.subnet(254)
    }

    /// An address that no host has of its own, with the length of the network.
    pub fn floating(&self) -> (Ipv4Addr, String) {
        let address = self.subnet(200);
        (address, format!("{address}/24"))
    }

    /// Whether a host has an address now.
    pub fn has(&self, host: usize, address: Ipv4Addr) -> bool {
        let shown = Command::new("ip")
            .args(["-n", &self.namespace(host), "-4", "address", "show", "dev", "eth0"])
            .output();
        let wanted = format!("inet {address}/");
        shown.is_ok_and(|shown| String::from_utf8_lossy(&shown.stdout).contains(&wanted))
    }

    /// Pulls a host's plug, or puts it in again.
    pub fn plug(&self, host: usize, plugged: bool) {
        let plug = format!("{}p", self.namespace(host));
        assert!(ip(&["link", "set", &plug, if plugged { "up" } else { "down" }]), "pull a plug");
    }

    /// Sets something of a host's kernel, as `NAME=VALUE`.
    pub fn sysctl(&self, host: usize, setting: &str) {
        assert!(ip(&["netns", "exec", &self.namespace(host), "sysctl", "-q", "-w", setting]), "{setting}");
    }

    /// Cuts two hosts off from each other.
    pub fn cut(&self, one: usize, other: usize) {
        self.cut_way(one, other);
        self.cut_way(other, one);
    }

    /// Cuts a host off from all others.
    pub fn isolate(&self, host: usize) {
        for other in (0..self.hosts).filter(|other| *other != host) {
            self.cut(host, other);
        }
    }

    /// Nothing is cut any more.
    pub fn heal(&self) {
        for host in 0..self.hosts {
            // There may be nothing to flush.
            ip(&["-n", &self.namespace(host), "route", "flush", "type", "blackhole"]);
        }
    }

    fn subnet(&self, last: u8) -> Ipv4Addr {
        let (second, third) = (64 + self.number / 250, self.number % 250);
        Ipv4Addr::new(10, second.to_le_bytes()[0], third.to_le_bytes()[0], last)
    }

    fn bridge(&self) -> String {
        format!("gp{}", self.number)
    }

    fn make(&self) -> bool {
        let bridge = self.bridge();
        let here = format!("{}/24", self.here());
        ip(&["link", "add", &bridge, "type", "bridge"])
            && ip(&["address", "add", &here, "dev", &bridge])
            && ip(&["link", "set", &bridge, "up"])
            && (0..self.hosts).all(|host| self.make_host(host))
    }

    fn make_host(&self, host: usize) -> bool {
        let (bridge, namespace) = (self.bridge(), self.namespace(host));
        let (plug, address) = (format!("{namespace}p"), format!("{}/24", self.address(host)));
        ip(&["netns", "add", &namespace])
            && ip(&["link", "add", &plug, "type", "veth", "peer", "name", "eth0", "netns", &namespace])
            && ip(&["link", "set", &plug, "master", &bridge, "up"])
            && ip(&["-n", &namespace, "address", "add", &address, "dev", "eth0"])
            && ip(&["-n", &namespace, "link", "set", "eth0", "up"])
            && ip(&["-n", &namespace, "link", "set", "lo", "up"])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in 0..self.hosts {
            ip(&["netns", "delete", &self.namespace(host)]);
        }
        ip(&["link", "delete", &self.bridge()]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
