//! Data nodes join, serve, follow the layout, and serve on without the control plane.

use tests::cluster::metric;
use tests::process::eventually;
use tests::{Cluster, GoClient, Module, Origin};

fn origin() -> Origin {
    let origin = Origin::start();
    origin.publish(&Module::new("example.com/one", "v1.0.0").file("one.go", "package one\n"));
    origin
}

#[test]
fn a_node_joins_serves_and_is_placed() {
    let origin = origin();
    let mut cluster = Cluster::bootstrap();
    cluster.add_node("data-1", "a", &origin.url());
    cluster.wait_state("data-1", "active");
    let located = cluster.ctl(&["layout", "locate", "example.com/one", "-o", "json"]).json();
    assert_eq!(located["owners"], serde_json::json!(["data-1"]));
    let client = GoClient::new(&format!("http://{}", cluster.data[0].http()), "off");
    client.run(&["get", "example.com/one@v1.0.0"]).success();
    let status = cluster.status().unwrap();
    assert_eq!(status["nodes"][0]["zone"], "a");
    assert_eq!(status["nodes"][0]["listen"], cluster.data[0].http().to_string());
}

#[test]
fn three_nodes_in_two_zones_share_the_slots_and_one_drains() {
    let origin = origin();
    let mut cluster = Cluster::bootstrap();
    for (name, zone) in [("data-1", "a"), ("data-2", "b"), ("data-3", "a"), ("data-4", "b")] {
        cluster.add_node(name, zone, &origin.url());
    }
    for name in ["data-1", "data-2", "data-3", "data-4"] {
        cluster.wait_state(name, "active");
    }
    stable(&cluster);
    cluster.ctl(&["node", "drain", "data-3"]).code(0);
    eventually("data-3 holds nothing", || {
        let node = cluster.ctl(&["node", "show", "data-3", "-o", "json"]).json();
        (node["slot_count"] == 0).then_some(())
    });
    stable(&cluster);
    cluster.data[2].allow("was removed from its cluster");
    cluster.ctl(&["node", "remove", "data-3", "--yes"]).code(0);
    let names = cluster.ctl(&["node", "list", "-o", "json"]).json().to_string();
    assert!(!names.contains("data-3"), "{names}");
}

fn stable(cluster: &Cluster) {
    eventually("the layout is stable", || (cluster.status()?["layout"]["state"] == "stable").then_some(()));
}

#[test]
fn everything_is_served_while_the_control_plane_is_gone_also_after_a_restart() {
    let origin = origin();
    let mut cluster = Cluster::bootstrap();
    cluster.add_node("data-1", "a", &origin.url());
    cluster.wait_state("data-1", "active");
    cluster.control[0].kill9();
    let url = format!("http://{}", cluster.data[0].http());
    GoClient::new(&url, "off").run(&["get", "example.com/one@v1.0.0"]).success();
    cluster.data[0].kill9();
    cluster.data[0].start(&[]);
    cluster.data[0].wait_ready();
    GoClient::new(&url, "off").run(&["get", "example.com/one@v1.0.0"]).success();
    // For how long it goes by what it knows is told.
    let age = |cluster: &Cluster| metric(cluster.data[0].admin(), "goproxy_cluster_view_age_seconds");
    eventually("what it goes by grows old", || (age(&cluster) >= 2).then_some(()));
    // The cluster is as it was when the control plane comes back.
    cluster.control[0].start(&[]);
    cluster.wait_state("data-1", "active");
    eventually("it is followed again", || (age(&cluster) == 0).then_some(()));
}

#[test]
fn a_node_at_anothers_address_is_told_so_once_and_taken_in_at_its_own() {
    let origin = origin();
    let mut cluster = Cluster::bootstrap();
    let taken = cluster.add_node("data-1", "a", &origin.url()).http();
    cluster.wait_state("data-1", "active");
    cluster.add_node_with("data-2", "b", &origin.url(), |node| {
        node.flag("--advertise", &taken.to_string());
        node.flag("--log-level", "info,dataplane=debug");
        node.allow("does not take this node at its addresses");
    });
    let node = &mut cluster.data[1];
    let log = eventually("it is refused several times", || {
        let log = node.log();
        (log.matches("a heartbeat was not taken").count() >= 3).then_some(log)
    });
    let told: Vec<_> = log.lines().filter(|line| line.contains("does not take this node")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&format!("node data-1 has address {taken} already")), "{}", told[0]);
    node.kill9();
    node.flag("--advertise", &node.http().to_string());
    node.start(&[]);
    cluster.wait_state("data-2", "active");
}

#[test]
fn a_node_that_has_joined_is_not_added_again() {
    let origin = origin();
    let mut cluster = Cluster::bootstrap();
    cluster.add_node("data-1", "a", &origin.url());
    cluster.wait_state("data-1", "active");
    let told = cluster.ctl(&["node", "add", "data-1"]).code(3);
    assert!(told.stdout.is_empty(), "a token was printed: {}", told.stdout);
}
