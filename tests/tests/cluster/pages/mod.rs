//! The pages of docs/operations, done as they read. What they say of machines is done with processes.

mod certificates;
mod growing_and_shrinking;
mod losing_machines;
mod policy;
mod set_up;

use tests::process::eventually;
use tests::{Cluster, Module, Origin};

fn origin() -> Origin {
    let origin = Origin::start();
    origin.publish(&Module::new("example.com/one", "v1.0.0").file("one.go", "package one\n"));
    origin
}

/// A control node and these data nodes, each in a zone of its own, among which all slots are shared.
fn with_nodes(origin: &Origin, names: &[&str]) -> Cluster {
    let mut cluster = Cluster::bootstrap();
    for name in names {
        cluster.add_node(name, name, &origin.url());
    }
    for name in names {
        cluster.wait_state(name, "active");
    }
    settled(&cluster);
    cluster
}

/// What `goproxyctl layout status --watch` waits for.
fn settled(cluster: &Cluster) {
    eventually("the layout is settled", || {
        let status = cluster.status()?;
        (status["layout"]["state"] == "stable").then_some(())
    });
}

fn slots(cluster: &Cluster, name: &str) -> u64 {
    let node = cluster.ctl(&["node", "show", name, "-o", "json"]).json();
    node["slot_count"].as_u64().unwrap()
}
