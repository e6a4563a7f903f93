//! docs/operations/set-up.md.

use tests::node::Place;
use tests::process::eventually;
use tests::{Cluster, GoClient, Network, Node};

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

/// The command that is printed, word for word, on machines of their own.
#[test]
fn data_nodes_on_other_machines_are_reached_there() {
    // Without root there are no namespaces to be machines.
    let Some(network) = Network::of(3) else { return };
    let mut cluster = Cluster::on(network, 1);
    for (host, name) in [(1, "data-1"), (2, "data-2")] {
        let added = cluster.ctl(&["node", "add", name, "--zone", name, "-o", "json"]).json();
        let words: Vec<_> = added["command"].as_str().unwrap().split(' ').collect();
        assert_eq!(words[..2], ["goproxyd", "data"]);
        let mut node = Node::new("data", name, &Place::Host(cluster.network.as_ref().unwrap(), host));
        node.flag("--upstream", "off");
        node.flag("--sumdb", "off");
        for [flag, value] in words[2..].as_chunks::<2>().0 {
            node.flag(flag, value);
        }
        node.start(&[]);
        node.wait_ready();
        cluster.data.push(node);
        cluster.wait_state(name, "active");
    }
    let status = cluster.status().unwrap();
    for (number, node) in cluster.data.iter().enumerate() {
        assert_eq!(status["nodes"][number]["listen"], node.http().to_string());
        assert_eq!(status["nodes"][number]["rpc_address"], node.rpc().to_string());
    }
    // Where that is follows from what it was told when it joined.
    let shown = |cluster: &Cluster| cluster.ctl(&["node", "show", "data-2", "-o", "json"]).json();
    let before = shown(&cluster)["generation"].as_u64();
    let node = &mut cluster.data[1];
    node.kill9();
    node.no_flag("--join");
    node.no_flag("--join-token");
    node.start(&[]);
    node.wait_ready();
    let after = eventually("it was announced again", || {
        Some(shown(&cluster)).filter(|node| node["generation"].as_u64() > before)
    });
    assert_eq!(after["listen"], cluster.data[1].http().to_string());
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
