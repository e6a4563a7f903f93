//! Configurations of load balancers, written from the nodes there are. Pure: what a balancer is told is a value.
//!
//! They all balance the same way. A node that does not answer `/readyz`, or fails to answer requests, gets no more of them until it
//! does. A request that got no answer goes to another node: all requests are GET or HEAD, which may be repeated. Once an answer has begun it is
//! not repeated, by any of them. Answers are passed on as they come, never gathered on the balancer's disk.

mod envoy;
mod haproxy;
mod keepalived;
mod nginx;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// How a node is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Algorithm {
    /// One after the other
    RoundRobin,
    /// The one with the fewest connections
    LeastConn,
    /// By the client's address, so that a client stays with a node
    IpHash,
}

/// A node to send requests to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its name.
    pub(crate) name: String,
    /// Where it serves modules, `HOST:PORT`.
    pub(crate) address: String,
    /// What it fails together with.
    pub(crate) zone: String,
    /// Its share, in proportion to the others'.
    pub(crate) weight: u32,
}

/// What a balancer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Balancer {
    /// Where it listens, `HOST:PORT`.
    pub(crate) listen: String,
    /// How it chooses.
    pub(crate) algorithm: Algorithm,
    /// The nodes, by name.
    pub(crate) servers: Vec<Server>,
    /// The zone whose nodes are preferred; the others get requests when none of these is left.
    pub(crate) zone: Option<String>,
    /// How it talks TLS to the nodes; plain HTTP without.
    pub(crate) tls: Option<Tls>,
}

/// How a balancer talks TLS to the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// File with the authorities that are trusted.
    pub(crate) ca: String,
    /// A name that stands in every node's certificate; without one, each has the name by which it is reached.
    pub(crate) name: Option<String>,
    /// What nodes are shown that ask for a certificate.
    pub(crate) own: Option<Certificate>,
}

/// A balancer's own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The file that it is in.
    pub(crate) file: String,
    /// The file that its key is in; it may be the same. HAProxy looks for the key by itself.
    pub(crate) key: String,
}

impl Tls {
    /// What is to stand in a node's certificate.
    fn name_of<'a>(&'a self, server: &'a Server) -> &'a str {
        self.name.as_deref().unwrap_or_else(|| split(&server.address).0)
    }

    /// Whether a program that verifies names alone, no addresses, knows what is to stand in each certificate.
    pub(crate) fn names_all(&self, servers: &[Server]) -> bool {
        servers.iter().all(|server| self.name_of(server).parse::<IpAddr>().is_err())
    }
}

/// The address that moves between two balancers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FloatingAddress {
    /// The address with the length of its network.
    pub(crate) address: String,
    /// The network interface that has it.
    pub(crate) interface: String,
    /// Higher ones have it first.
    pub(crate) priority: u8,
    /// Where the balancer listens, `HOST:PORT`; the address moves when it does not any more.
    pub(crate) listen: String,
}

pub(crate) use envoy::{listens_at as envoy_listens_at, render as envoy};
pub(crate) use haproxy::render as haproxy;
pub(crate) use keepalived::render as keepalived;
pub(crate) use nginx::render as nginx;

/// Requests that a balancer has under way at most.
const CONNECTIONS_MAX: u32 = 4096;

/// Nodes that a request is sent to at most, one after the other: never fewer than the first number, so that what comes together does
/// not use them up, nor more than the second, which bounds how long a request is under way.
const ATTEMPTS: (usize, usize) = (4, 16);

impl Balancer {
    /// The host names by which nodes are known; those that are known by addresses have none.
    pub(crate) fn host_names(&self) -> BTreeSet<&str> {
        let hosts = self.servers.iter().map(|server| split(&server.address).0);
        hosts.filter(|host| host.parse::<IpAddr>().is_err()).collect()
    }

    /// Nodes that a request is sent to, one after the other, while none answers: those of a zone may all be gone at once.
    fn attempts(&self) -> usize {
        let largest = self.zones().values().map(Vec::len).max().unwrap_or_default();
        (largest + 1).clamp(ATTEMPTS.0, ATTEMPTS.1)
    }

    fn zones(&self) -> BTreeMap<&str, Vec<&Server>> {
        let mut zones: BTreeMap<&str, Vec<&Server>> = BTreeMap::new();
        for server in &self.servers {
            zones.entry(&server.zone).or_default().push(server);
        }
        zones
    }

    /// The nodes, of each zone one in turn, so that neighbours do not fail together.
    fn servers_in_turns(&self) -> Vec<&Server> {
        let zones = self.zones();
        let rounds = zones.values().map(Vec::len).max().unwrap_or_default();
        (0..rounds)
            .flat_map(|round| zones.values().filter_map(move |zone| zone.get(round).copied()))
            .collect()
    }

    /// Whether a node gets requests only while none of the preferred zone is left.
    fn is_backup(&self, server: &Server) -> bool {
        let is_elsewhere = self.zone.as_ref().is_some_and(|zone| *zone != server.zone);
        // Where none is preferred, none is second best.
        is_elsewhere && self.servers.iter().any(|server| Some(&server.zone) == self.zone.as_ref())
    }

    /// Weights from 1 to 256, which every balancer takes, in the nodes' proportions.
    fn weight(&self, server: &Server) -> u32 {
        let largest = self.servers.iter().map(|server| server.weight).max().unwrap_or(1).max(1);
        let same = self.servers.iter().all(|server| server.weight == largest);
        let scaled = u64::from(server.weight) * 100 / u64::from(largest);
        if same { 1 } else { u32::try_from(scaled).unwrap_or(100).max(1) }
    }
}

/// Host and port of an address.
fn split(address: &str) -> (&str, &str) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "80"));
    (host.trim_matches(['[', ']']), port)
}

/// Whether a host is every IPv6 address of a machine. Each program takes IPv4 there too, so that all do the same, but has to be told.
fn is_every_ipv6(host: &str) -> bool {
    host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_unspecified())
}

/// A host as it stands in front of a port.
fn bracketed(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

/// The first lines of each file.
fn heading(what: &str, how: &str) -> String {
    format!("# {what} in front of a goproxyd cluster, made by `goproxyctl lb render`.\n# {how}\n")
}
