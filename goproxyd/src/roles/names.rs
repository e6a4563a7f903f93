//! What a process is called in a cluster and where others reach it, by its settings.
//!
//! Invariant: a data node that is told to join a control node on another machine, as far as can be looked up when it starts, is not known
//! by an address of loopback, where nobody would find it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::Context;
use cluster::{Address, Datacenter, NodeName};
use dataplane::control::NodeIdentity;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
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
    let text = match taken(local, here) {
        Some(ip) => SocketAddr::new(ip, local.port()).to_string(),
        None => format!("{name}:{}", local.port()),
    };
    Ok(Address::parse(&text)?)
}

/// The first address that a listener on every one of them takes: one of IPv6 takes those of IPv4 as well.
fn taken(everywhere: SocketAddr, here: &[IpAddr]) -> Option<IpAddr> {
    here.iter().copied().find(|ip| everywhere.is_ipv6() || ip.is_ipv4())
}

/// The addresses of this machine towards its control nodes, if a data node needs them: where it listens on every address, and nobody
/// said at which others reach it. The first that will do is enough.
pub(super) async fn here(settings: &Settings, control_nodes: &[Address]) -> Vec<IpAddr> {
    let listeners =
        [(&settings.listen, &settings.advertise), (&settings.rpc_listen, &settings.rpc_advertise)];
    let unsaid = listeners.into_iter().filter(|(_, said)| said.is_none());
    let everywhere = unsaid.filter_map(|(listen, _)| listen.first().filter(|at| at.ip().is_unspecified()));
    let everywhere: Vec<SocketAddr> = everywhere.copied().collect();
    if everywhere.is_empty() || control_nodes.iter().all(Address::is_loopback) {
        return Vec::new();
    }
    let mut found: Vec<IpAddr> = Vec::new();
    look_up(control_nodes, |_, sockets| {
        let from = sockets.iter().filter_map(|socket| towards(*socket));
        found.extend(from.filter(|ip| !ip.is_loopback() && !ip.is_unspecified()));
        everywhere.iter().all(|listener| taken(*listener, &found).is_some())
    })
    .await;
    if found.is_empty() {
        warn!(
            name = %settings.name,
            "no address of this machine leads to a control node now, so other nodes are told its name; if they do not reach \
             it by that, set --advertise and --rpc-advertise, or start it again when there is a network"
        );
    }
    found
}

/// Tells `is_enough` of each control node's sockets until it says so. Those that are known by addresses come first, since nobody has to
/// answer for them; names are looked up together, so that one that is not answered costs the others nothing.
async fn look_up(control_nodes: &[Address], mut is_enough: impl FnMut(&Address, &[SocketAddr]) -> bool) {
    let mut looking = JoinSet::new();
    for control_node in control_nodes {
        match control_node.as_str().parse::<SocketAddr>() {
            Ok(socket) if is_enough(control_node, &[socket]) => return,
            Ok(_) => {}
            Err(_) => {
                let name = control_node.clone();
                looking.spawn(async move {
                    let answer = tokio::net::lookup_host(name.as_str()).await;
                    let sockets: Vec<SocketAddr> = answer.map(Iterator::collect).unwrap_or_default();
                    (name, sockets)
                });
            }
        }
    }
    let hearing = async {
        while let Some(answer) = looking.join_next().await {
            // One whose name is not known may be one of several.
            let Ok((name, sockets)) = answer else { continue };
            if !sockets.is_empty() && is_enough(&name, &sockets) {
                return;
            }
        }
    };
    // What was found until then counts.
    let _ = tokio::time::timeout(LOOKUP_TIMEOUT, hearing).await;
}

/// The address that this machine would send from, by the kernel's routes: a socket of UDP that is connected has sent nothing.
fn towards(other: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if other.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(other).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether a socket is on this machine: nobody can bind an address of another one. By the routes it would not always be seen, since what is
/// sent to a second address in the network of a first one comes from the first.
fn is_here(socket: SocketAddr) -> bool {
    let ip = socket.ip().to_canonical();
    // The same with port 0; a link-local address keeps its interface.
    let mut free = socket;
    free.set_ip(ip);
    free.set_port(0);
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind(free).is_ok()
}

/// Whether a control node with these sockets is on another machine: none of them is here, and there is a way to one. An address of a
/// family that is switched off says nothing.
fn is_elsewhere(sockets: &[SocketAddr]) -> bool {
    !sockets.iter().any(|socket| is_here(*socket)) && sockets.iter().any(|socket| towards(*socket).is_some())
}

/// Refuses to be a data node that nobody else reaches: one that is told to join (`asked`) control nodes elsewhere, and would be known by an
/// address of loopback. A name that is not known now is no reason: it may be this machine's. Nor is one of `control_nodes` that the node only
/// heard of when it joined, which may be no more: that is a warning.
pub(super) async fn check_reached(
    identity: &NodeIdentity,
    control_nodes: &[Address],
    asked: &[Address],
) -> Result<(), ServeError> {
    let told = [("--listen", &identity.http), ("--rpc-listen", &identity.rpc)];
    let wrong = told.into_iter().find(|(_, address)| address.is_loopback());
    let Some((flag, address)) = wrong else { return Ok(()) };
    let mut elsewhere = None;
    let mut is_asked = false;
    look_up(control_nodes, |control_node, sockets| {
        if is_elsewhere(sockets) {
            is_asked = asked.contains(control_node);
            elsewhere = Some(control_node.clone());
        }
        is_asked
    })
    .await;
    let Some(elsewhere) = elsewhere else { return Ok(()) };
    let text = format!(
        "no other machine reaches this node at {address} ({flag}), and control node {elsewhere} is on one: set --listen and \
         --rpc-listen to addresses that others reach, such as 0.0.0.0:8081 and 0.0.0.0:8083, which are every address, or say \
         with --advertise and --rpc-advertise where they reach it"
    );
    if is_asked {
        return Err(ServeError::Settings(anyhow::anyhow!(text)));
    }
    warn!("{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::args::{self, Action};
    use crate::config::Surroundings;

    /// An address for documents, which no machine has (RFC 5737).
    const ELSEWHERE: &str = "192.0.2.1:8083";

    fn settings(flags: &[&str]) -> Settings {
        let arguments = ["goproxyd", "data"].iter().chain(flags).map(OsString::from);
        match args::parse(arguments, &Surroundings::of_tests()) {
            Action::Serve { loaded, .. } => loaded.settings,
            Action::Fork { .. } | Action::Recover { .. } => panic!("another command"),
            Action::Print(text) | Action::Refuse(text) => panic!("{text}"),
        }
    }

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| Address::parse(text).unwrap()).collect()
    }

    /// A name that nobody knows, and nobody has to be asked for: a label of it is too long.
    fn unknown() -> String {
        format!("{}:8083", "a".repeat(64))
    }

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

    #[tokio::test]
    async fn this_machine_is_seen_from_elsewhere_and_not_from_itself() {
        let everywhere = settings(&["--listen=0.0.0.0:8081"]);
        // By a name and an address that are this machine's, which is not seen at once.
        assert!(here(&everywhere, &addresses(&["127.1:8083", "0.0.0.0:8083"])).await.is_empty());
        let Some(own) = towards(ELSEWHERE.parse().unwrap()) else { return };
        let unknown = unknown();
        let control_nodes = addresses(&[&unknown, ELSEWHERE]);
        assert_eq!(here(&everywhere, &control_nodes).await, [own]);
        let said = ["--listen=0.0.0.0:8081", "--advertise=a.example:8081"];
        assert!(here(&settings(&said), &control_nodes).await.is_empty());
    }

    #[test]
    fn a_machine_knows_its_own_addresses_from_others() {
        let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
        for here in ["127.0.0.1:9", "127.0.0.7:9", "[::1]:9", "[::ffff:127.0.0.1]:9", "0.0.0.0:9"] {
            assert!(is_here(socket(here)), "{here}");
        }
        assert!(!is_here(socket(ELSEWHERE)));
        // Where there is a way out, its near end is this machine.
        let way = towards(socket(ELSEWHERE));
        if let Some(own) = way {
            assert!(is_here(SocketAddr::new(own, 9)), "{own}");
        }
        // A name is judged by all that it stands for, and by nothing to which there is no way.
        assert_eq!(is_elsewhere(&[socket(ELSEWHERE)]), way.is_some());
        assert!(!is_elsewhere(&[socket(ELSEWHERE), socket("127.0.0.1:9")]));
        assert!(!is_elsewhere(&[]));
        let of_documents = socket("[2001:db8::1]:9");
        assert_eq!(is_elsewhere(&[of_documents]), towards(of_documents).is_some());
    }

    async fn heard(control_nodes: &[&str], enough: usize) -> Vec<String> {
        let mut heard = Vec::new();
        let control_nodes = addresses(control_nodes);
        look_up(&control_nodes, |control_node, sockets| {
            assert!(sockets.iter().all(|socket| socket.ip().is_loopback()), "{sockets:?}");
            heard.push(control_node.to_string());
            heard.len() == enough
        })
        .await;
        heard
    }

    #[tokio::test]
    async fn what_needs_no_answer_is_heard_of_first_and_a_name_that_is_not_known_holds_nobody_up() {
        let unknown = unknown();
        let all = [unknown.as_str(), "localhost:2", "127.0.0.1:3", "[::1]:4"];
        assert_eq!(heard(&all, 1).await, ["127.0.0.1:3"]);
        let told = heard(&all, usize::MAX).await;
        let (first, names) = told.split_at(2);
        assert_eq!(first, ["127.0.0.1:3", "[::1]:4"]);
        assert_eq!(names, ["localhost:2"]);
        assert!(heard(&[], 1).await.is_empty());
    }

    async fn check(http: &str, rpc: &str, control_nodes: &[&str]) -> String {
        check_joined(http, rpc, control_nodes, control_nodes).await
    }

    async fn check_joined(http: &str, rpc: &str, control_nodes: &[&str], asked: &[&str]) -> String {
        let [http, rpc] = [http, rpc].map(|text| Address::parse(text).unwrap());
        let identity = NodeIdentity {
            name: NodeName::parse("data-1").unwrap(),
            datacenter: Datacenter::parse("default").unwrap(),
            rpc,
            http,
            version: String::new(),
        };
        match check_reached(&identity, &addresses(control_nodes), &addresses(asked)).await {
            Ok(()) => String::new(),
            Err(ServeError::Settings(error)) => error.to_string(),
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_node_of_other_machines_is_not_known_by_loopback() {
        let (here, unknown) = ("127.0.0.1:8083", unknown());
        assert_eq!(check("127.0.0.1:8081", here, &[here, "localhost:1", "[::1]:1"]).await, "");
        assert_eq!(check("127.0.0.1:8081", here, &[]).await, "");
        assert_eq!(check("127.0.0.1:8081", here, &[&unknown]).await, "");
        assert_eq!(check("10.0.0.5:8081", "data-1:8083", &[here, ELSEWHERE]).await, "");
        // It is not known to be elsewhere where there is no way to it.
        let Some(own) = towards(ELSEWHERE.parse().unwrap()) else { return };
        for (http, rpc, flag) in [
            ("127.0.0.1:8081", "10.0.0.5:8083", "at 127.0.0.1:8081 (--listen), "),
            ("10.0.0.5:8081", "[::1]:8083", "at [::1]:8083 (--rpc-listen), "),
            ("localhost:8081", here, "at localhost:8081 (--listen), "),
        ] {
            let said = check(http, rpc, &[here, ELSEWHERE]).await;
            assert!(said.contains(flag) && said.contains(ELSEWHERE), "{said}");
        }
        // One that it only heard of may be no more, and hides none that it is told to join.
        let heard_of = "192.0.2.2:8083";
        assert_eq!(check_joined("127.0.0.1:8081", here, &[here, ELSEWHERE], &[]).await, "");
        assert_eq!(check_joined("127.0.0.1:8081", here, &[here, heard_of], &[here]).await, "");
        let said = check_joined("127.0.0.1:8081", here, &[heard_of, ELSEWHERE], &[ELSEWHERE]).await;
        assert!(said.contains(ELSEWHERE), "{said}");
        // All on one machine, by an address of its own.
        let own = SocketAddr::new(own, 8083).to_string();
        assert_eq!(check("127.0.0.1:8081", here, &[&own]).await, "");
    }
}
