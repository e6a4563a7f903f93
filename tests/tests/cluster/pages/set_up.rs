//! docs/operations/set-up.md.

use tests::node::Place;
use tests::process::eventually;
use tests::{Cluster, GoClient, Node};

use super::{origin, slots};

#[test]
fn data_nodes_that_wait_for_a_layout() {
    let origin = origin();
    let mut cluster = Cluster::bootstrap();
    let added = cluster.ctl(&["node", "add", "data-1", "--zone", "a", "--no-apply", "-o", "json"]).json();
    cluster.join_node("data-1", "a", &origin.url(), added["join_token"].as_str().unwrap());
    let plan = eventually("the node is in the plan", || {
        let told = cluster.ctl(&["layout", "plan", "-o", "json"]);
        (told.code == 2).then(|| serde_json::from_str::<serde_json::Value>(&told.stdout).unwrap())
    });
    assert_eq!(slots(&cluster, "data-1"), 0, "it was not asked for yet");
    cluster.ctl(&["layout", "apply", "--expect-epoch", &plan["epoch"].to_string()]).code(0);
    cluster.wait_state("data-1", "active");
    assert_eq!(slots(&cluster, "data-1"), 4096);
}

#[test]
fn growing_a_standalone_server_into_a_cluster() {
    let origin = origin();
    let mut alone = Node::new("standalone", "alone", &Place::Here);
    alone.flag("--upstream", &origin.url());
    alone.flag("--sumdb", "off");
    alone.start(&[]);
    alone.wait_ready();
    let url = format!("http://{}", alone.http());
    GoClient::new(&url, "off").run(&["get", "example.com/one@v1.0.0"]).success();
    assert!(alone.terminate().success());
    // Started where others reach it.
    alone.move_rpc();
    alone.start(&[]);
    alone.wait_ready();
    let mut cluster = Cluster::around(alone);
    cluster.add_member("control-2");
    cluster.add_member("control-3");
    cluster.wait_voters(3);
    cluster.add_node("data-1", "b", &origin.url());
    cluster.wait_state("data-1", "active");
    assert_eq!(cluster.ctl(&["node", "list", "-o", "json"]).json()["nodes"].as_array().unwrap().len(), 2);
    // Its cache is still there.
    origin.down();
    GoClient::new(&url, "off").run(&["get", "example.com/one@v1.0.0"]).success();
}
