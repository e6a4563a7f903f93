//! What `goproxyctl lb render` prints, taken by the real programs: whatever is asked for, for nodes known by IPv4 and IPv6, and between a
//! balancer and nodes that ask each other for certificates.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

use tests::balancer::{Balancer, Program};
use tests::process::free_address;
use tests::tls::Authority;
use tests::{Call, Cluster, Module, Origin};

use super::nodes::cluster_with;

/// Certificates in a folder: an authority, one of its certificates with its key, and both of these in one file.
struct Files {
    ca: String,
    certificate: String,
    key: String,
    both: String,
}

impl Files {
    fn of(authority: &Authority, folder: &Path) -> Self {
        let identity = authority.issue();
        let (certificate, key) = identity.write(folder);
        let both = folder.join("both.pem");
        std::fs::write(&both, format!("{}{}", identity.certificate, identity.key)).unwrap();
        let shown = |path: &Path| path.display().to_string();
        Self {
            ca: shown(&authority.write(folder)),
            certificate: shown(&certificate),
            key: shown(&key),
            both: shown(&both),
        }
    }

    /// How a balancer is told to show the certificate.
    fn told(&self, program: Program) -> Vec<&str> {
        let verified = ["--tls-ca", &self.ca, "--tls-name", "localhost"];
        let own = match program {
            Program::Nginx => vec!["--tls-cert", &self.certificate, "--tls-key", &self.key],
            Program::Haproxy => vec!["--tls-cert", &self.both],
        };
        [verified.to_vec(), own].concat()
    }
}

/// Where balancers may listen: at an address, and at all of them, of IPv6 too where this machine has it.
fn listeners() -> Vec<SocketAddr> {
    let here = free_address();
    let mut listeners = vec![here, SocketAddr::from(([0, 0, 0, 0], here.port()))];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        listeners.push(SocketAddr::from((Ipv6Addr::UNSPECIFIED, here.port())));
    }
    listeners
}

/// Has a program look at each of its configurations.
fn takes_all(program: Program, cluster: &Cluster, files: &Files) {
    for listen in listeners() {
        program.takes(cluster, listen, &[]);
    }
    let listen = free_address();
    let ways = [Vec::new(), vec!["--tls-ca", &files.ca, "--tls-name", "localhost"], files.told(program)];
    for algorithm in ["round-robin", "least-conn", "ip-hash"] {
        for zone in [None, Some("zone-1"), Some("zone-3")] {
            // Refused, see below.
            if program == Program::Nginx && algorithm == "ip-hash" && zone.is_some() {
                continue;
            }
            for way in &ways {
                let zone = zone.map_or_else(Vec::new, |zone| vec!["--zone", zone]);
                let more = [vec!["--algorithm", algorithm], zone, way.clone()].concat();
                program.takes(cluster, listen, &more);
            }
        }
    }
}

#[test]
fn whatever_is_rendered_is_taken_by_the_real_programs() {
    let origin = Origin::start();
    let folder = tempfile::tempdir().unwrap();
    let files = Files::of(&Authority::new(), folder.path());
    let cluster = cluster_with(&origin, 3, |node| {
        // It is not asked for anything.
        if node.name() == "data-3" {
            node.flag("--advertise", "[fd00::3]:8081");
        }
    });
    takes_all(Program::Nginx, &cluster, &files);
    takes_all(Program::Haproxy, &cluster, &files);
    // Whole files too: keepalived is told an address whatever is said, and people that it moves nowhere.
    for listen in [&["--listen", "[::1]:8080"][..], &["--listen", "0.0.0.0:8080"], &[]] {
        let told = cluster.ctl(&[&["lb", "render", "keepalived"][..], listen].concat()).code(0);
        assert!(told.stdout.contains("    virtual_ipaddress {\n        "), "{}", told.stdout);
        assert!(told.stderr.contains("--address"), "{}", told.stderr);
    }
    let refused = |arguments: &[&str], hint: &str| {
        let told = cluster.ctl(&[&["lb", "render"][..], arguments].concat()).code(64);
        assert!(told.stderr.contains(hint), "{}", told.stderr);
    };
    refused(&["nginx", "--algorithm", "ip-hash", "--zone", "zone-1"], "--zone");
    refused(&["envoy", "--listen", "lb.example.com:8080"], "--listen");
    let tls = ["--tls-ca", "/ca.pem", "--tls-name", "localhost", "--tls-cert", "/lb.pem"];
    refused(&[&["envoy"][..], &tls].concat(), "--tls-key");
    refused(&[&["nginx"][..], &tls].concat(), "--tls-key");
    refused(&[&["haproxy"][..], &tls, &["--tls-key", "/lb.key"]].concat(), "--tls-cert");
    refused(&["haproxy", "--tls-cert", "/lb.pem"], "--tls-ca");
    refused(&["nginx", "--tls-key", "/lb.key"], "--tls-cert");
}

/// The nodes answer nobody without a certificate, their balancer's question whether they are well included.
#[test]
fn nodes_that_ask_for_a_certificate_answer_balancers_that_were_given_one() {
    let origin = Origin::start();
    let held = Module::new("example.com/held", "v1.0.0");
    origin.publish(&held);
    let folder = tempfile::tempdir().unwrap();
    let files = Files::of(&Authority::new(), folder.path());
    let cluster = cluster_with(&origin, 2, |node| {
        node.flag("--tls-cert", &files.certificate);
        node.flag("--tls-key", &files.key);
        node.flag("--tls-client-ca", &files.ca);
    });
    for program in [Program::Nginx, Program::Haproxy] {
        let balancer = Balancer::start(program, &cluster, &files.told(program));
        for _ in 0..6 {
            Call::new(balancer.address(), "GET", &held.url_path(".mod")).send().expect(200);
        }
    }
}
