//! `lb`: configurations of load balancers from the nodes there are.

use std::net::IpAddr;

use proto::control::v1::{Node, NodeState};
use serde::Serialize;

use super::{Context, Outcome, all_nodes};
use crate::args::lb::{Floating, Program, Render, Verb};
use crate::balancer::{self, Algorithm, Balancer, Certificate, FloatingAddress, Server, Tls};
use crate::failure::Failure;
use crate::output::Answer;
use crate::output::page::Page;

/// The kernel's routes.
const ROUTES: &str = "/proc/net/route";

/// What keepalived is told to move where nobody says an address: a whole configuration all the same, and harmless.
const NOWHERE: &str = "127.0.0.1/32";

/// What becomes of host names in each program that is particular about them.
const NAMES_IN_NGINX: &str = "nginx does not start while one of these names cannot be looked up";
const NAMES_IN_HAPROXY: &str =
    "HAProxy takes a node for down, until it is reloaded, whose name cannot be looked up when it starts";

#[derive(Serialize)]
struct Rendered {
    program: &'static str,
    config: String,
}

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    let Verb::Render(program) = verb;
    check(&program)?;
    let (program, config, note) = match program {
        Program::Nginx(render) => {
            let balancer = balancer_of(context, render).await?;
            ("nginx", balancer::nginx(&balancer), of_names(&balancer, NAMES_IN_NGINX))
        }
        Program::Haproxy(render) => {
            let balancer = balancer_of(context, render).await?;
            ("haproxy", balancer::haproxy(&balancer), of_names(&balancer, NAMES_IN_HAPROXY))
        }
        Program::Envoy(render) => ("envoy", balancer::envoy(&balancer_of(context, render).await?), None),
        Program::Keepalived(floating) => {
            let floating = floating_of(floating);
            ("keepalived", balancer::keepalived(&floating), of_one_that_stays(&floating))
        }
    };
    let page = Page::new().verbatim(config.clone());
    Ok(Some(Answer::new(Rendered { program, config }, page).notes(note)))
}

/// Refuses what the program has no words for.
fn check(program: &Program) -> Result<(), Failure> {
    match program {
        Program::Nginx(render) if render.zone.is_some() && render.algorithm == Algorithm::IpHash => {
            Err(Failure::usage(
                "nginx cannot prefer a zone when it chooses by the client's address",
                "leave out --zone, choose another --algorithm, or use haproxy",
            ))
        }
        Program::Nginx(render) if render.tls_ca.is_some() && render.tls_name.is_none() => {
            Err(Failure::usage(
                "nginx verifies one name for all nodes",
                "give a name that stands in the certificate of every node with --tls-name",
            ))
        }
        Program::Envoy(render) if balancer::envoy_listens_at(&render.listen).is_none() => {
            Err(Failure::usage(
                format!("Envoy listens at addresses and looks no name up, so not at {}", render.listen),
                "give an IP address with --listen, such as 0.0.0.0:8080 for all that there are",
            ))
        }
        Program::Nginx(render) | Program::Envoy(render) => key_is_said(render),
        Program::Haproxy(render) => key_is_where_haproxy_looks(render),
        Program::Keepalived(_) => Ok(()),
    }
}

fn key_is_said(render: &Render) -> Result<(), Failure> {
    if render.tls_cert.is_some() && render.tls_key.is_none() {
        return Err(Failure::usage(
            "a certificate is shown by whoever has its key",
            "give the key with --tls-key FILE; a file that has both can be given as both",
        ));
    }
    Ok(())
}

/// HAProxy can be told of one file alone. A key that it would not find is refused rather than left out.
fn key_is_where_haproxy_looks(render: &Render) -> Result<(), Failure> {
    let (Some(certificate), Some(key)) = (&render.tls_cert, &render.tls_key) else { return Ok(()) };
    if key == certificate || key.strip_suffix(".key") == Some(certificate.as_str()) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("HAProxy looks for the key in {certificate} and in {certificate}.key, not in {key}"),
        "put certificate and key into one file, and give that with --tls-cert alone",
    ))
}

/// What is to be known of nodes that are known by host names; nothing where all are known by addresses.
fn of_names(balancer: &Balancer, what: &str) -> Option<String> {
    let names: Vec<_> = balancer.host_names().into_iter().collect();
    let how =
        "a node started with --advertise ADDRESS:PORT, or with an address in --listen, is known by that";
    (!names.is_empty()).then(|| format!("{what}: {}; {how}", names.join(", ")))
}

fn floating_of(floating: Floating) -> FloatingAddress {
    let Floating { listen, address, interface, priority } = floating;
    let address = address.or_else(|| alone(&listen)).unwrap_or_else(|| NOWHERE.to_owned());
    let interface = interface.or_else(|| usual_interface(&std::fs::read_to_string(ROUTES).ok()?));
    let interface = interface.unwrap_or_else(|| "eth0".to_owned());
    FloatingAddress { address, interface, priority, listen }
}

/// The address of a listener as a network of its own; none where it is every address, or a name.
fn alone(listen: &str) -> Option<String> {
    let host = listen.rsplit_once(':')?.0.trim_matches(['[', ']']);
    let address: IpAddr = host.parse().ok()?;
    let length = if address.is_ipv4() { 32 } else { 128 };
    (!address.is_unspecified()).then(|| format!("{address}/{length}"))
}

/// What is to be known of an address that every machine has; nothing of others.
fn of_one_that_stays(floating: &FloatingAddress) -> Option<String> {
    let address = &floating.address;
    let ip: IpAddr = address.split('/').next()?.parse().ok()?;
    (ip.is_loopback() || ip.is_unspecified()).then(|| {
        format!("{address} moves nowhere, since every machine has it; give the one that developers use with --address ADDRESS/LENGTH")
    })
}

/// The interface of the default route, in the kernel's table of them: its second column is 0 there.
fn usual_interface(routes: &str) -> Option<String> {
    let mut columns = routes.lines().skip(1).map(str::split_whitespace);
    columns.find_map(|mut columns| {
        let (interface, destination) = (columns.next()?, columns.next()?);
        (destination == "00000000").then(|| interface.to_owned())
    })
}

async fn balancer_of(context: &Context, render: Render) -> Result<Balancer, Failure> {
    let servers: Vec<_> = all_nodes(context).await?.into_iter().filter(gets_requests).map(server).collect();
    if servers.is_empty() {
        return Err(Failure::Nothing {
            message: "there is no data node to send requests to".to_owned(),
            hint: "add one with `goproxyctl node add NAME`".to_owned(),
        });
    }
    let Render { listen, algorithm, zone, tls_ca, tls_name, tls_cert, tls_key } = render;
    let own = tls_cert.map(|file| Certificate { key: tls_key.unwrap_or_else(|| file.clone()), file });
    let tls = tls_ca.map(|ca| Tls { ca, name: tls_name, own });
    if tls.as_ref().is_some_and(|tls| !tls.names_all(&servers)) {
        return Err(Failure::usage(
            "nodes are known by their addresses, and a balancer verifies names",
            "give a name that stands in the certificate of every node with --tls-name",
        ));
    }
    Ok(Balancer { listen, algorithm, servers, zone, tls })
}

/// Nodes that serve or will again: a balancer finds out by itself which of them do just now.
fn gets_requests(node: &Node) -> bool {
    let state = matches!(
        node.state(),
        NodeState::Joining | NodeState::Active | NodeState::Cordoned | NodeState::Down
    );
    state && !node.listen.is_empty()
}

fn server(node: Node) -> Server {
    Server { name: node.name, address: node.listen, zone: node.zone, weight: node.weight }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_said_and_addresses_are_not() {
        let mut balancer = Balancer {
            listen: "127.0.0.1:8080".to_owned(),
            algorithm: Algorithm::RoundRobin,
            servers: Vec::new(),
            zone: None,
            tls: None,
        };
        let mut known_by = |addresses: &[&str]| {
            let server = |address: &&str| Server {
                name: "data".to_owned(),
                address: (*address).to_owned(),
                zone: "a".to_owned(),
                weight: 100,
            };
            balancer.servers = addresses.iter().map(server).collect();
            of_names(&balancer, NAMES_IN_NGINX)
        };
        assert_eq!(known_by(&["10.0.0.1:8081", "[fd00::1]:8081"]), None);
        let said = known_by(&["host-2:8081", "10.0.0.1:8081", "host-1.example.com:8081", "host-2:8082"]);
        let said = said.expect("there are names");
        assert!(said.contains("cannot be looked up: host-1.example.com, host-2; a node started"), "{said}");
    }

    #[test]
    fn the_address_that_moves_is_the_listeners() {
        assert_eq!(alone("10.0.0.7:8080").as_deref(), Some("10.0.0.7/32"));
        assert_eq!(alone("[fd00::1]:80").as_deref(), Some("fd00::1/128"));
        assert_eq!(alone("127.0.0.1:8080").as_deref(), Some("127.0.0.1/32"));
        assert_eq!(alone("0.0.0.0:80"), None);
        assert_eq!(alone("*:80"), None);
        assert_eq!(alone("lb.example.com:80"), None);
    }

    /// Scripts rely on a whole configuration whatever `--listen` says.
    #[test]
    fn an_address_that_every_machine_has_is_rendered_and_said_to_move_nowhere() {
        let floating = |listen: &str, address: Option<&str>| {
            floating_of(Floating {
                listen: listen.to_owned(),
                address: address.map(str::to_owned),
                interface: Some("eth0".to_owned()),
                priority: 100,
            })
        };
        for (listen, address, rendered) in [
            ("127.0.0.1:8080", None, "127.0.0.1/32"),
            ("[::1]:8080", None, "::1/128"),
            ("0.0.0.0:8080", None, NOWHERE),
            ("lb.example.com:8080", None, NOWHERE),
            ("0.0.0.0:8080", Some("127.0.0.1/8"), "127.0.0.1/8"),
        ] {
            let floating = floating(listen, address);
            assert_eq!(floating.address, rendered, "{listen}");
            let said = of_one_that_stays(&floating).unwrap_or_default();
            assert!(said.starts_with(&format!("{rendered} moves nowhere")), "{listen}: {said}");
        }
        assert_eq!(of_one_that_stays(&floating("10.0.0.7:8080", None)), None);
        assert_eq!(of_one_that_stays(&floating("0.0.0.0:8080", Some("fd00::100/64"))), None);
    }

    fn render() -> Render {
        Render {
            listen: "0.0.0.0:8080".to_owned(),
            algorithm: Algorithm::RoundRobin,
            zone: None,
            tls_ca: Some("/ca.pem".to_owned()),
            tls_name: Some("nodes.example.com".to_owned()),
            tls_cert: None,
            tls_key: None,
        }
    }

    #[test]
    fn envoy_listens_at_addresses_and_at_no_name() {
        let listening = |listen: &str| {
            let program = Program::Envoy(Render { listen: listen.to_owned(), ..render() });
            check(&program).map_err(|failure| (failure.exit(), failure.hint().unwrap_or_default()))
        };
        for fine in ["*:8080", "0.0.0.0:8080", "[::]:8080", "10.0.0.7:8080"] {
            assert_eq!(listening(fine), Ok(()), "{fine}");
        }
        for wrong in ["lb.example.com:8080", "localhost:8080"] {
            let (exit, hint) = listening(wrong).expect_err(wrong);
            assert_eq!(exit, crate::exit::Exit::Usage);
            assert!(hint.contains("--listen"), "{hint}");
        }
        let program = Program::Nginx(Render { listen: "lb.example.com:8080".to_owned(), ..render() });
        assert!(check(&program).is_ok());
    }

    #[test]
    fn each_program_is_told_of_the_key_as_it_takes_it() {
        let with = |certificate: &str, key: Option<&str>| Render {
            tls_cert: Some(certificate.to_owned()),
            tls_key: key.map(str::to_owned),
            ..render()
        };
        for program in [Program::Nginx, Program::Envoy] {
            assert!(check(&program(with("/lb.pem", None))).is_err());
            assert!(check(&program(with("/lb.pem", Some("/lb.key")))).is_ok());
        }
        for key in [None, Some("/lb.pem"), Some("/lb.pem.key")] {
            assert!(check(&Program::Haproxy(with("/lb.pem", key))).is_ok(), "{key:?}");
        }
        let refused = check(&Program::Haproxy(with("/lb.pem", Some("/lb.key")))).expect_err("another file");
        assert!(refused.to_string().contains("/lb.pem.key, not in /lb.key"), "{refused}");
    }

    #[test]
    fn the_interface_is_that_of_the_default_route() {
        let head = "Iface\tDestination\tGateway\n";
        let lan = "ens5\t0000A8C0\t00000000\n";
        let usual = "wlan0\t00000000\t0100A8C0\n";
        assert_eq!(usual_interface(&format!("{head}{lan}{usual}")).as_deref(), Some("wlan0"));
        assert_eq!(usual_interface(&format!("{head}{lan}")), None);
        assert_eq!(usual_interface(""), None);
    }
}
