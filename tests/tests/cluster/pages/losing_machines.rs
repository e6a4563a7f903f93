//! docs/operations/losing-machines.md.

use tests::Cluster;
use tests::process::eventually;

use super::{origin, settled, slots, with_nodes};

#[test]
fn a_data_node() {
    let mut cluster = with_nodes(&origin(), &["data-1", "data-2", "data-3", "data-4"]);
    cluster.ctl(&["failover", "node", "data-4", "--yes"]).code(3);
    cluster.data[3].kill9();
    eventually("data-4 is suspected", || {
        let node = cluster.ctl(&["node", "show", "data-4", "-o", "json"]).json();
        (node["health"] == "suspect").then_some(())
    });
    cluster.ctl(&["failover", "node", "data-4", "--yes", "--wait"]).code(0);
    cluster.wait_state("data-4", "down");
    assert_eq!(slots(&cluster, "data-4"), 0, "it has been waited for");
    settled(&cluster);
    let alarms = cluster.status().unwrap()["alarms"].to_string();
    assert!(alarms.contains("node-down"), "{alarms}");
    cluster.data[3].start(&[]);
    cluster.data[3].wait_ready();
    cluster.wait_state("data-4", "active");
}

#[test]
fn a_control_node_whose_disk_is_lost() {
    let mut cluster = Cluster::of(3);
    let lost = (cluster.leader() + 1) % 3;
    let name = cluster.control[lost].name().to_owned();
    cluster.control[lost].kill9();
    cluster.ctl(&["member", "remove", &name, "--yes"]).code(0);
    cluster.control.remove(lost);
    cluster.add_member("control-4");
    cluster.wait_voters(3);
}
