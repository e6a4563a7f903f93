//! Clusters of data nodes, and looking at them.

use std::sync::Mutex;

use tests::fault_proxy::FaultProxy;
use tests::{Call, Cluster, Module, Origin, Response};

/// A cluster of data nodes named `data-1` and so on, each in a zone of its own.
pub(super) fn cluster(origin: &Origin, nodes: usize) -> Cluster {
    cluster_with(origin, nodes, |_| {})
}

/// The same, with what `prepare` does to each node before its first start.
pub(super) fn cluster_with(origin: &Origin, nodes: usize, prepare: impl Fn(&mut tests::Node)) -> Cluster {
    with_nodes(Cluster::bootstrap(), origin, nodes, prepare)
}

/// A control plane, and data nodes that have joined it.
pub(super) fn with_nodes(
    mut cluster: Cluster,
    origin: &Origin,
    nodes: usize,
    prepare: impl Fn(&mut tests::Node),
) -> Cluster {
    for number in 1..=nodes {
        let (name, zone) = (format!("data-{number}"), format!("zone-{number}"));
        cluster.add_node_with(&name, &zone, &origin.url(), |node| prepare(node));
    }
    for number in 1..=nodes {
        cluster.wait_state(&format!("data-{number}"), "active");
    }
    settled(&cluster);
    cluster
}

/// The same, each node reached by the others through a proxy of its own, which spoils nothing yet.
pub(super) fn cluster_behind_proxies(origin: &Origin, nodes: usize) -> (Cluster, Vec<FaultProxy>) {
    let proxies = Mutex::new(Vec::new());
    let cluster = cluster_with(origin, nodes, |node| {
        let proxy = FaultProxy::start(node.rpc());
        node.flag("--rpc-advertise", &proxy.address().to_string());
        proxies.lock().unwrap().push(proxy);
    });
    (cluster, proxies.into_inner().unwrap())
}

pub(super) use tests::cluster::metric;

/// Asks a node for a path.
pub(super) fn get(node: &tests::Node, path: &str) -> Response {
    Call::new(node.http(), "GET", path).send()
}

/// The numbers of the nodes that hold a module, its owner first.
pub(super) fn owners(cluster: &Cluster, module: &Module) -> Vec<usize> {
    let located = cluster.ctl(&["layout", "locate", &module.path, "-o", "json"]).json();
    let names = located["owners"].as_array().unwrap().clone();
    let number = |name: &serde_json::Value| {
        cluster.data.iter().position(|node| *name == *node.name()).expect("a node of the cluster")
    };
    names.iter().map(number).collect()
}

/// The numbers of the nodes that do not hold a module.
pub(super) fn strangers(cluster: &Cluster, module: &Module) -> Vec<usize> {
    let owners = owners(cluster, module);
    (0..cluster.data.len()).filter(|number| !owners.contains(number)).collect()
}

/// The numbers of the nodes that have a whole copy of a version. Nobody is asked for it, since what a node is asked for it would borrow.
pub(super) fn holders(cluster: &Cluster, module: &Module) -> Vec<usize> {
    let shown = cluster.ctl(&["module", "show", &module.spec(), "-o", "json"]).json();
    let copies = shown["versions"][0]["copies"].as_array().cloned().unwrap_or_default();
    let is_whole = |copy: &&serde_json::Value| {
        copy["zip_size"].as_u64() > Some(0) && copy["info"] == true && copy["go_mod"] == true
    };
    let number = |copy: &serde_json::Value| {
        cluster.data.iter().position(|node| copy["node"] == *node.name()).expect("a node of the cluster")
    };
    copies.iter().filter(is_whole).map(number).collect()
}

/// Waits until no slot moves and every node knows it.
pub(super) fn settled(cluster: &Cluster) {
    cluster.settled();
}
