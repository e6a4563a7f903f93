//! Who did not hear what came of a change asks again under its key, when the cluster is as that change has left it.

use serde_json::Value;
use tests::{Cluster, Origin};

/// Has goproxyctl make a change twice under one key, and gives both answers.
fn twice(cluster: &Cluster, arguments: &[&str]) -> [Value; 2] {
    let key = format!("key-of-{}", arguments[..2].join("-"));
    let arguments = [arguments, &["--idempotency-key", &key, "-o", "json"]].concat();
    [(); 2].map(|()| cluster.ctl(&arguments).json())
}

#[test]
fn what_was_named_by_a_name_is_found_again_when_it_is_gone() {
    let cluster = Cluster::bootstrap();
    let add = ["member", "add", "control-2"];
    let create = ["token", "create", "ci", "--role", "viewer"];
    cluster.ctl(&add).code(0);
    let [first, again] = twice(&cluster, &["member", "remove", "control-2", "--yes"]);
    assert_eq!(first, again);
    cluster.ctl(&create).code(0);
    let [first, again] = twice(&cluster, &["token", "revoke", "ci", "--yes"]);
    assert_eq!(first, again);
    // Under another key it is another request.
    for gone in [&["member", "remove", "control-2", "--yes"][..], &["token", "revoke", "ci", "--yes"]] {
        assert_ne!(cluster.ctl(gone).code, 0, "{gone:?}");
    }
    // Whoever has the name by then keeps it.
    cluster.ctl(&add).code(0);
    cluster.ctl(&create).code(0);
    twice(&cluster, &["member", "remove", "control-2", "--yes"]);
    twice(&cluster, &["token", "revoke", "ci", "--yes"]);
    for (kind, name) in [("member", "control-2"), ("token", "ci")] {
        let listed = cluster.ctl(&[kind, "list", "-o", "json"]).json().to_string();
        assert!(listed.contains(&format!("\"{name}\"")), "{listed}");
    }
}

#[test]
fn a_revert_and_the_end_of_a_drain_are_done_once() {
    let origin = Origin::start();
    let mut cluster = Cluster::bootstrap();
    for name in ["data-1", "data-2", "data-3", "data-4"] {
        cluster.add_node(name, "a", &origin.url());
        cluster.wait_state(name, "active");
    }
    cluster.settled();
    let next = cluster.status().unwrap()["layout"]["epoch"].as_u64().unwrap() + 1;
    let [first, again] = twice(&cluster, &["layout", "revert", "--expect-epoch", &next.to_string()]);
    assert_eq!(first["job_id"], again["job_id"]);
    assert_eq!((&first["plan"]["epoch"], &again["plan"]["epoch"]), (&next.into(), &next.into()));
    cluster.settled();
    assert_eq!(cluster.status().unwrap()["layout"]["epoch"], next);
    cluster.wait_state("data-4", "cordoned");
    cluster.ctl(&["node", "uncordon", "data-4"]).code(0);
    // Nothing is given away before somebody says so.
    cluster.ctl(&["layout", "pause"]).code(0);
    let job = cluster.ctl(&["node", "drain", "data-1", "-o", "json"]).json()["job_id"].clone();
    let [first, again] = twice(&cluster, &["cluster", "jobs", "cancel", job.as_str().unwrap()]);
    assert_eq!((&first["state"], &again["state"]), (&"cancelled".into(), &"cancelled".into()));
    cluster.wait_state("data-1", "active");
}
