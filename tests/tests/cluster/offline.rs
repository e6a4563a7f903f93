//! A cluster whose nodes fetch nothing: what is listed is what some node of it can serve.

use tests::go_client::GoClient;
use tests::{Cluster, Module, Origin};

use super::nodes::{cluster_with, get, holders, owners};

fn module(version: &str) -> Module {
    Module::new("example.com/lib", version).file("lib.go", "package lib\n")
}

fn cluster(origin: &Origin) -> Cluster {
    cluster_with(origin, 4, |node| node.allow("cannot be reached"))
}

/// All of a version is at its owner.
fn hold(cluster: &Cluster, module: &Module) {
    let owner = &cluster.data[owners(cluster, module)[0]];
    for suffix in [".info", ".mod", ".zip"] {
        get(owner, &module.url_path(suffix)).expect(200);
    }
}

#[test]
fn where_nothing_is_fetched_a_list_names_what_some_node_can_serve() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin);
    let [first, second, newest] = ["v1.0.0", "v1.1.0", "v1.2.0"].map(module);
    for module in [&first, &second, &newest] {
        origin.publish(module);
    }
    let (list, latest) = ("/example.com/lib/@v/list", "/example.com/lib/@latest");
    for node in &cluster.data {
        assert_eq!(get(node, list).expect(200).text(), "v1.0.0\nv1.1.0\nv1.2.0\n");
        assert!(get(node, latest).expect(200).text().contains("v1.2.0"));
    }
    hold(&cluster, &first);
    hold(&cluster, &second);
    assert!(holders(&cluster, &second).len() < 4, "some have to ask others");
    for node in &mut cluster.data {
        node.terminate();
        node.start(&["--offline"]);
    }
    for node in &mut cluster.data {
        node.wait_ready();
    }
    for node in &cluster.data {
        assert_eq!(get(node, list).expect(200).text(), "v1.0.0\nv1.1.0\n", "{}", node.name());
        let named = get(node, latest).expect(200).text();
        assert!(named.contains("v1.1.0"), "{}: {named}", node.name());
        let go = GoClient::new(&format!("http://{}", node.http()), "off");
        go.download(&["example.com/lib@latest"]).success();
    }
}

/// Nobody ever asked for a list.
#[test]
fn a_list_follows_from_what_all_nodes_hold() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin);
    let [first, second] = ["v1.0.0", "v1.1.0"].map(module);
    for module in [&first, &second] {
        origin.publish(module);
        hold(&cluster, module);
    }
    for node in &mut cluster.data {
        node.terminate();
        node.start(&["--offline"]);
    }
    for node in &mut cluster.data {
        node.wait_ready();
    }
    for node in &cluster.data {
        let listed = get(node, "/example.com/lib/@v/list").expect(200).text();
        assert_eq!(listed, "v1.0.0\nv1.1.0\n", "{}", node.name());
        let named = get(node, "/example.com/lib/@latest").expect(200).text();
        assert!(named.contains("v1.1.0"), "{}: {named}", node.name());
    }
}
