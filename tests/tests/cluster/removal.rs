//! A data node that cannot be drained is removed by force.

use tests::process::eventually;
use tests::{Call, Cluster, GoClient, Module, Origin};

#[test]
fn a_node_removed_by_force_is_listened_to_no_more_and_gone_once_others_have_its_slots() {
    let origin = Origin::start();
    origin.publish(&Module::new("example.com/one", "v1.0.0").file("one.go", "package one\n"));
    let mut cluster = Cluster::bootstrap();
    for name in ["data-1", "data-2"] {
        cluster.add_node(name, "a", &origin.url());
        cluster.wait_state(name, "active");
    }
    // It holds slots, and nobody said that they may be taken from it.
    cluster.ctl(&["node", "remove", "data-2", "--yes"]).code(3);
    let told = cluster.ctl(&["node", "remove", "data-2", "--force"]).code(64);
    assert!(told.stderr.contains("--yes"), "{}", told.stderr);
    cluster.data[1].allow("was removed from its cluster");
    let removed = ["node", "remove", "data-2", "--force", "--yes", "--reason", "not trusted", "-o", "json"];
    let node = cluster.ctl(&removed).json()["node"].clone();
    assert!(["removing", "removed"].contains(&node["state"].as_str().unwrap()), "{node}");
    let connected = |node: &tests::Node| {
        let text = Call::new(node.admin(), "GET", "/metrics").try_send().ok()?.text();
        text.lines()
            .find_map(|line| line.strip_prefix("goproxy_cluster_control_connected ")?.parse::<f64>().ok())
    };
    eventually("its certificate is not accepted", || (connected(&cluster.data[1])? == 0.0).then_some(()));
    // Balancers leave it, as long as it runs.
    for address in [cluster.data[1].http(), cluster.data[1].admin()] {
        let told = eventually("it is not ready", || {
            let told = Call::new(address, "GET", "/readyz").try_send().ok()?;
            (told.status == 503).then(|| told.text())
        });
        assert!(told.contains("removed from its cluster"), "{told}");
    }
    assert!(cluster.data[1].log().contains("was removed from its cluster"));
    eventually("it is gone", || {
        let names = cluster.ctl(&["node", "list", "-o", "json"]);
        (names.code == 0 && !names.stdout.contains("data-2")).then_some(())
    });
    let located = cluster.ctl(&["layout", "locate", "example.com/one", "-o", "json"]).json();
    assert_eq!(located["owners"], serde_json::json!(["data-1"]));
    let audit = cluster.ctl(&["cluster", "audit", "--limit", "0", "-o", "json"]).json();
    let mut entries = audit["records"].as_array().unwrap().iter();
    assert!(
        entries.any(|entry| entry["reason"] == "not trusted" && entry.to_string().contains("remove-node"))
    );
    let client = GoClient::new(&format!("http://{}", cluster.data[0].http()), "off");
    client.run(&["get", "example.com/one@v1.0.0"]).success();
    // The last one keeps what it has.
    let told = cluster.ctl(&["node", "remove", "data-1", "--force", "--yes"]).code(3);
    assert!(told.stderr.contains("data-1"), "{}", told.stderr);
}
