//! What a process is called in a cluster and where others reach it, by its settings.
//!
//! Invariant: a data node whose cluster is on other machines is not known by an address of loopback, where nobody would find it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::Context;
use cluster::{Address, Datacenter, NodeName};
use dataplane::control::NodeIdentity;
use tokio::net::TcpListener;
use tracing::warn;

use crate::build::BUILD;
use crate::roles::ServeError;
use crate::settings::{Settings, node_label};

/// How long the names of control nodes may take to be looked up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The name of this process in a cluster: `--name`, of a host name its first label, in lower case. One that was given is known to
/// be such a name.
pub(super) fn name(settings: &Settings) -> Result<NodeName, ServeError> {
    NodeName::parse(&node_label(&settings.name))
        .with_context(|| format!("--name {:?} cannot be a name in a cluster", settings.name))
        .map_err(ServeError::Settings)
}

/// The region.
pub(super) fn datacenter(settings: &Settings) -> Result<Datacenter, ServeError> {
    Datacenter::parse(&settings.datacenter)
        .with_context(|| format!("--datacenter {:?}", settings.datacenter))
        .map_err(ServeError::Settings)
}

/// What this process runs.
pub(super) fn version() -> String {
    format!("{} ({})", BUILD.version, BUILD.commit)
}

/// Where a listener is reached: as the setting says, else at its address. Where that is every address, at the first of `here` that the
/// listener takes, else by the name of this process, which is the host's unless somebody says otherwise.
pub(super) fn reached_at(
    said: Option<&Address>,
    listener: &TcpListener,
    here: &[IpAddr],
    settings: &Settings,
) -> Result<Address, ServeError> {
    if let Some(said) = said {
        return Ok(said.clone());
    }
    let local = listener.local_addr().context("read a listener's address").map_err(ServeError::Failed)?;
    address(local, here, &settings.name)
        .with_context(|| {
            format!("{local} is no address that others could use: set --rpc-advertise and --advertise")
        })
        .map_err(ServeError::Settings)
}

fn address(local: SocketAddr, here: &[IpAddr], name: &str) -> anyhow::Result<Address> {
    if !local.ip().is_unspecified() {
        return Ok(Address::parse(&local.to_string())?);
    }
    // One for every address of IPv6 takes those of IPv4 as well.
    let here = here.iter().find(|ip| local.is_ipv6() || ip.is_ipv4());
    let text = match here {
        Some(ip) => SocketAddr::new(*ip, local.port()).to_string(),
        None => format!("{name}:{}", local.port()),
    };
    Ok(Address::parse(&text)?)
}

/// The addresses of this machine towards its control nodes, if a data node needs them: where it listens on every address, and nobody
/// said at which others reach it.
pub(super) async fn here(settings: &Settings, control_nodes: &[Address]) -> Vec<IpAddr> {
    let everywhere = is_everywhere(&settings.listen, settings.advertise.as_ref())
        || is_everywhere(&settings.rpc_listen, settings.rpc_advertise.as_ref());
    if !everywhere || control_nodes.iter().all(Address::is_loopback) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let looking = async {
        for control_node in control_nodes {
            // One whose name is not known may be one of several.
            if let Ok(sockets) = tokio::net::lookup_host(control_node.as_str()).await {
                found.extend(sockets.filter_map(towards));
            }
        }
    };
    // What was found until then counts.
    let _ = tokio::time::timeout(LOOKUP_TIMEOUT, looking).await;
    if found.is_empty() {
        warn!(
            name = %settings.name,
            "no address of this machine leads to a control node now, so other nodes are told its name; if they do not reach \
             it by that, set --advertise and --rpc-advertise, or start it again when there is a network"
        );
    }
    found
}

fn is_everywhere(listen: &[SocketAddr], said: Option<&Address>) -> bool {
    said.is_none() && listen.first().is_some_and(|address| address.ip().is_unspecified())
}

/// The address that this machine would send from, by the kernel's routes: a socket of UDP that is connected has sent nothing.
fn towards(other: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if other.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(other).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

/// Refuses to be a data node that nobody else reaches: one that is told to join control nodes elsewhere, and would be known by an address
/// of loopback.
pub(super) fn check_reached(identity: &NodeIdentity, control_nodes: &[Address]) -> Result<(), ServeError> {
    let Some(elsewhere) = control_nodes.iter().find(|server| !server.is_loopback()) else { return Ok(()) };
    let told = [("--listen", &identity.http), ("--rpc-listen", &identity.rpc)];
    let wrong = told.into_iter().find(|(_, address)| address.is_loopback());
    let Some((flag, address)) = wrong else { return Ok(()) };
    let text = format!(
        "no other machine reaches this node at {address} ({flag}), and control node {elsewhere} is on one: set --listen and \
         --rpc-listen to addresses that others reach, such as 0.0.0.0:8081 and 0.0.0.0:8083, which are every address, or say \
         with --advertise and --rpc-advertise where they reach it"
    );
    Err(ServeError::Settings(anyhow::anyhow!(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_reached_where_the_control_nodes_are_seen_from_else_by_name() {
        let here: [IpAddr; 2] = ["fd00::5", "10.0.0.5"].map(|ip| ip.parse().unwrap());
        let reached = |local: &str, here: &[IpAddr]| {
            address(local.parse().unwrap(), here, "host-1").unwrap().to_string()
        };
        assert_eq!(reached("10.0.0.1:8083", &here), "10.0.0.1:8083");
        assert_eq!(reached("[::1]:8083", &here), "[::1]:8083");
        assert_eq!(reached("[::]:8083", &here), "[fd00::5]:8083");
        assert_eq!(reached("0.0.0.0:8083", &here), "10.0.0.5:8083");
        assert_eq!(reached("0.0.0.0:8083", &here[..1]), "host-1:8083");
        assert_eq!(reached("[::]:8083", &[]), "host-1:8083");
        assert!(address("0.0.0.0:1".parse().unwrap(), &[], "a b").is_err());
    }

    #[test]
    fn who_is_on_this_machine_tells_no_address_that_others_reach() {
        for here in ["127.0.0.1:9", "[::1]:9"] {
            assert_eq!(towards(here.parse().unwrap()), None);
        }
    }

    #[test]
    fn a_node_of_other_machines_is_not_known_by_loopback() {
        let check = |http: &str, rpc: &str, control_nodes: &[&str]| {
            let [http, rpc] = [http, rpc].map(|text| Address::parse(text).unwrap());
            let identity = NodeIdentity {
                name: NodeName::parse("data-1").unwrap(),
                datacenter: Datacenter::parse("default").unwrap(),
                rpc,
                http,
                version: String::new(),
            };
            let control_nodes: Vec<_> =
                control_nodes.iter().map(|text| Address::parse(text).unwrap()).collect();
            match check_reached(&identity, &control_nodes) {
                Ok(()) => String::new(),
                Err(ServeError::Settings(error)) => error.to_string(),
                Err(other) => panic!("{other}"),
            }
        };
        let (elsewhere, here) = ("10.0.0.1:8083", "127.0.0.1:8083");
        assert_eq!(check("127.0.0.1:8081", here, &[here, "localhost:1", "[::1]:1"]), "");
        assert_eq!(check("127.0.0.1:8081", here, &[]), "");
        assert_eq!(check("10.0.0.5:8081", "data-1:8083", &[here, elsewhere]), "");
        for (http, rpc, flag) in [
            ("127.0.0.1:8081", "10.0.0.5:8083", "at 127.0.0.1:8081 (--listen), "),
            ("10.0.0.5:8081", "[::1]:8083", "at [::1]:8083 (--rpc-listen), "),
            ("localhost:8081", here, "at localhost:8081 (--listen), "),
        ] {
            let said = check(http, rpc, &[here, elsewhere]);
            assert!(said.contains(flag) && said.contains(elsewhere), "{said}");
        }
        assert!(check("10.0.0.5:8081", here, &["control-1:8083"]).contains("control node control-1:8083 is"));
    }
}
