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
    has_a_share(&cluster, "data-4");
    settled(&cluster);
    // By force it loses everything though it answers, and gets nothing back before somebody says so.
    cluster.ctl(&["failover", "node", "data-4", "--yes"]).code(3);
    cluster.ctl(&["failover", "node", "data-4", "--force", "--yes", "--wait"]).code(0);
    cluster.wait_state("data-4", "cordoned");
    assert_eq!(slots(&cluster, "data-4"), 0);
    cluster.ctl(&["node", "uncordon", "data-4"]).code(0);
    has_a_share(&cluster, "data-4");
}

#[test]
fn a_data_node_that_does_not_come_back() {
    let origin = origin();
    let mut cluster = with_nodes(&origin, &["data-1", "data-2", "data-3"]);
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    let replace = |new: &'static str| ["node", "replace", "data-3", "--with", new, "-o", "json"];
    let token =
        |cluster: &Cluster, new| cluster.ctl(&replace(new)).json()["join_token"].as_str().unwrap().to_owned();
    // Asked for while there is something to take over, which others have by the time that it comes.
    let first = token(&cluster, "data-4");
    cluster.data[2].kill9();
    eventually("data-3 is taken for dead", || {
        (cluster.ctl(&["failover", "node", "data-3", "--yes", "--wait"]).code == 0).then_some(())
    });
    settled(&cluster);
    cluster.join_node("data-4", "data-3", &origin.url(), &first);
    let waited = [&replace("data-4")[..], &["--wait"]].concat();
    eventually("data-4 takes over", || (cluster.ctl(&waited).code == 0).then_some(()));
    assert!(slots(&cluster, "data-4") > 0, "it has been waited for");
    // Asked for afterwards: it gets its share by itself.
    let second = token(&cluster, "data-5");
    cluster.join_node("data-5", "data-3", &origin.url(), &second);
    has_a_share(&cluster, "data-5");
    cluster.ctl(&replace("data-5")).code(0);
    // Should it come back after all, it gets nothing.
    cluster.data[2].start(&[]);
    cluster.data[2].wait_ready();
    cluster.wait_state("data-3", "draining");
    settled(&cluster);
    assert_eq!(slots(&cluster, "data-3"), 0);
    cluster.data[2].allow("was removed from its cluster");
    cluster.ctl(&["node", "remove", "data-3", "--yes"]).code(0);
}

fn has_a_share(cluster: &Cluster, name: &str) {
    eventually(&format!("{name} has its share"), || (slots(cluster, name) > 0).then_some(()));
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
