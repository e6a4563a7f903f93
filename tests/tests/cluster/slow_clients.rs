//! Clients that take next to nothing, or leave, of nodes that have what they want from other nodes.

use std::time::Duration;

use tests::process::{eventually, within};
use tests::usage::status_kib;
use tests::{Call, Cluster, Fault, Gate, Module, Origin};

use super::nodes::{cluster_with, get, metric, owners, strangers};

/// What a node may use for caches; all that waits for slow clients together is many times that.
const MEMORY: &str = "64MiB";
const ZIP_BYTES: usize = 24 << 20;
const ZIPS: usize = 10;
/// For each zip.
const CLIENTS: usize = 4;
const RESIDENT_MAX_MIB: u64 = 300;
/// Until a node has found out that a client has left.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// A cluster with modules that the same node holds nothing of.
fn strange(origin: &Origin, stem: &str, count: usize, bytes: usize) -> (Cluster, usize, Vec<Module>) {
    let cluster = cluster_with(origin, 4, |node| node.flag("--memory", MEMORY));
    let new = |number| Module::new(&format!("example.com/{stem}{number}"), "v1.0.0");
    let is_strange = |module: &Module| strangers(&cluster, module).contains(&0);
    let modules: Vec<_> =
        (0..1_000).map(new).filter(is_strange).take(count).map(|one| one.filler(bytes)).collect();
    assert_eq!(modules.len(), count);
    for module in &modules {
        origin.publish(module);
    }
    (cluster, 0, modules)
}

fn peaks(cluster: &Cluster) -> Vec<u64> {
    cluster.data.iter().map(|node| status_kib(node.pid(), "VmHWM:") / 1024).collect()
}

#[test]
fn slow_clients_make_no_node_hold_what_they_do_not_take() {
    let origin = Origin::start();
    let (cluster, stranger, modules) = strange(&origin, "slow", ZIPS, ZIP_BYTES);
    let node = &cluster.data[stranger];
    let call = |module: &Module| Call::new(node.http(), "GET", &module.url_path(".zip"));
    let mut slow = Vec::new();
    for module in modules.iter().flat_map(|module| [module; CLIENTS]) {
        let mut connection = call(module).open().expect("connect");
        assert_eq!(connection.read_head("GET").expect("a head").status, 200);
        slow.push((module, connection));
    }
    // While they stand still others get on.
    for module in &modules {
        assert!(get(node, &module.url_path(".zip")).expect(200).body == module.zip(), "{}", module.path);
    }
    let peaks = peaks(&cluster);
    println!("peaks of {peaks:?} MiB, {} MiB asked for", (slow.len() * ZIP_BYTES) >> 20);
    assert!(peaks.iter().all(|peak| *peak < RESIDENT_MAX_MIB), "{peaks:?}");
    // They are slow and honest: what they get is right.
    let (module, mut patient) = slow.swap_remove(0);
    let (body, whole) = patient.read_known(module.zip().len() as u64);
    assert!(whole && body == module.zip());
    for module in &modules {
        assert_eq!(origin.count(&module.url_path(".zip")), 1, "{}", module.path);
    }
}

/// Nobody goes on working for clients that have left: neither the node that they asked, nor the one that fetches for it.
#[test]
fn what_clients_that_left_had_asked_for_is_over_at_all_nodes() {
    let origin = Origin::start();
    let (cluster, stranger, modules) = strange(&origin, "left", 20, 1_000);
    let gate = Gate::new();
    for module in &modules {
        origin.fault(&module.url_path(".info"), [Fault::Hold { after: 0, gate: gate.clone() }]);
    }
    let node = &cluster.data[stranger];
    let call = |module: &Module| Call::new(node.http(), "GET", &module.url_path(".info"));
    let waiting: Vec<_> = modules.iter().map(|module| call(module).open().expect("connect")).collect();
    let in_flight = || metric(node.admin(), "goproxy_http_in_flight");
    eventually("all are waited for", || (in_flight() == modules.len() as u64).then_some(()));
    drop(waiting);
    within(NOTICED_WITHIN, "nothing is waited for", || (in_flight() == 0).then_some(()));
    // What was begun at the origin is finished, and is there for the next ones.
    gate.open();
    for module in &modules {
        let owner = owners(&cluster, module)[0];
        let path = format!("/cached-only{}", module.url_path(".info"));
        eventually("its owner has it", || (get(&cluster.data[owner], &path).status == 200).then_some(()));
        get(node, &module.url_path(".info")).expect(200);
        assert_eq!(origin.count(&module.url_path(".info")), 1, "{}", module.path);
    }
}
