//! The command that a process joins with, to be copied to its machine.
//!
//! By itself a process listens on loopback alone. Where control nodes are reached from other machines a new one has to be as well, of either
//! kind: its command has it listen on every address. Which one of them a data node tells the others is found out where it runs; a control
//! node tells them its name.

use cluster::{Address, NodeName};

/// Where clients expect a data node, and where other processes expect either kind: the ports of `--listen` and `--rpc-listen` unless
/// somebody says otherwise.
const HTTP_PORT: u16 = 8081;
const RPC_PORT: u16 = 8083;

/// That of a data node.
pub(super) fn node(name: &NodeName, servers: &[Address], token: &str) -> String {
    let command = format!("goproxyd data --name {name} --join {} --join-token {token}", list(servers));
    match every(servers) {
        Some(every) => format!("{command} --listen {every}:{HTTP_PORT} --rpc-listen {every}:{RPC_PORT}"),
        None => command,
    }
}

/// That of a control node.
pub(super) fn member(name: &NodeName, servers: &[Address], token: &str) -> String {
    let command = format!("goproxyd control --name {name} --join {} --join-token {token}", list(servers));
    match every(servers) {
        Some(every) => format!("{command} --rpc-listen {every}:{RPC_PORT}"),
        None => command,
    }
}

/// The host that stands for every address; none where all is on one machine: several on it need ports of their own, which nobody here knows.
fn every(servers: &[Address]) -> Option<&'static str> {
    let mut elsewhere = servers.iter().filter(|server| !server.is_loopback()).peekable();
    elsewhere.peek()?;
    // Not every machine has IPv6.
    Some(if elsewhere.all(Address::is_ipv6) { "" } else { "0.0.0.0" })
}

fn list(servers: &[Address]) -> String {
    servers.iter().map(Address::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(servers: &[&str]) -> Vec<Address> {
        servers.iter().map(|server| Address::parse(server).unwrap()).collect()
    }

    fn of_node(servers: &[&str]) -> String {
        node(&NodeName::parse("data-1").unwrap(), &addresses(servers), "TOKEN")
    }

    fn of_member(servers: &[&str]) -> String {
        member(&NodeName::parse("control-2").unwrap(), &addresses(servers), "TOKEN")
    }

    #[test]
    fn a_node_on_another_machine_listens_where_others_reach_it() {
        let everywhere = "--listen 0.0.0.0:8081 --rpc-listen 0.0.0.0:8083";
        for servers in [&["10.0.0.1:8083", "10.0.0.2:1"][..], &["control-1:8083"], &["[fd00::1]:1", "a:2"]] {
            let expected = format!(
                "goproxyd data --name data-1 --join {} --join-token TOKEN {everywhere}",
                servers.join(",")
            );
            assert_eq!(of_node(servers), expected);
        }
        let command = of_node(&["[fd00::1]:8083"]);
        assert!(command.ends_with(" --listen :8081 --rpc-listen :8083"), "{command}");
        // It may move to any of them.
        let command = of_node(&["127.0.0.1:8083", "10.0.0.2:8083"]);
        assert!(command.ends_with(everywhere), "{command}");
    }

    #[test]
    fn a_member_on_another_machine_listens_where_the_others_reach_it() {
        assert_eq!(
            of_member(&["10.0.0.1:8083", "10.0.0.2:1"]),
            "goproxyd control --name control-2 --join 10.0.0.1:8083,10.0.0.2:1 --join-token TOKEN --rpc-listen 0.0.0.0:8083"
        );
        let command = of_member(&["[fd00::1]:8083"]);
        assert!(command.ends_with(" --join-token TOKEN --rpc-listen :8083"), "{command}");
        let command = of_member(&["127.0.0.1:8101", "localhost:8103"]);
        assert!(command.ends_with(" --join-token TOKEN"), "{command}");
    }

    #[test]
    fn on_one_machine_the_ports_are_the_operators() {
        assert_eq!(
            of_node(&["127.0.0.1:8101", "[::1]:8102", "localhost:8103"]),
            "goproxyd data --name data-1 --join 127.0.0.1:8101,[::1]:8102,localhost:8103 --join-token TOKEN"
        );
    }
}
