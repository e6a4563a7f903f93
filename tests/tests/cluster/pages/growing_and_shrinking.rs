//! docs/operations/growing-and-shrinking.md.

use tests::Cluster;
use tests::process::eventually;

use super::{origin, settled, slots, with_nodes};

#[test]
fn looking_before_anything_moves() {
    let cluster = with_nodes(&origin(), &["data-1", "data-2", "data-3", "data-4"]);
    cluster.ctl(&["layout", "plan"]).code(0);
    cluster.ctl(&["node", "label", "data-1", "--weight", "30"]).code(0);
    let told = cluster.ctl(&["layout", "plan", "-o", "json"]).code(2);
    let plan: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let apply = ["layout", "apply", "--expect-epoch", &plan["epoch"].to_string()];
    let waited = [&apply[..], &["--wait", "-o", "json"]].concat();
    let job = cluster.ctl(&waited).json();
    assert_eq!((&job["kind"], &job["state"]), (&"layout".into(), &"succeeded".into()), "{job}");
    let status = cluster.ctl(&["layout", "status", "-o", "json"]).json();
    assert_eq!(status["state"], "stable", "it has been waited for");
    assert!(slots(&cluster, "data-1") < slots(&cluster, "data-2"));
    // Row 34 of the list of faults: the second to apply what was planned from the same layout is refused.
    let second = cluster.ctl(&apply).code(3);
    assert!(second.stderr.contains("layout plan"), "{}", second.stderr);
}

#[test]
fn a_node_for_a_while() {
    let origin = origin();
    let mut cluster = with_nodes(&origin, &["data-1", "data-2", "data-3", "data-4"]);
    let before = slots(&cluster, "data-2");
    cluster.ctl(&["node", "cordon", "data-2"]).code(0);
    cluster.wait_state("data-2", "cordoned");
    cluster.add_node("data-5", "data-1", &origin.url());
    cluster.wait_state("data-5", "active");
    settled(&cluster);
    let during = slots(&cluster, "data-2");
    assert!(during > 0 && during <= before, "{before} slots before, {during} while cordoned");
    cluster.ctl(&["node", "uncordon", "data-2"]).code(0);
    cluster.wait_state("data-2", "active");
    // A node that was drained has its share again by itself.
    cluster.ctl(&["node", "drain", "data-2", "--wait"]).code(0);
    assert_eq!(slots(&cluster, "data-2"), 0);
    cluster.ctl(&["node", "uncordon", "data-2"]).code(0);
    eventually("data-2 has its share again", || (slots(&cluster, "data-2") > 0).then_some(()));
    settled(&cluster);
    // It ends a drain as well, and whoever ends the drain's job ends it in the same way.
    cluster.ctl(&["node", "drain", "data-2"]).code(0);
    cluster.ctl(&["node", "uncordon", "data-2"]).code(0);
    cluster.wait_state("data-2", "active");
    let job = cluster.ctl(&["node", "drain", "data-2", "-o", "json"]).json()["job_id"].clone();
    let cancelled = cluster.ctl(&["cluster", "jobs", "cancel", job.as_str().unwrap(), "-o", "json"]).json();
    assert_eq!((&cancelled["subject"], &cancelled["state"]), (&"node data-2".into(), &"cancelled".into()));
    cluster.wait_state("data-2", "active");
}

#[test]
fn a_node_less() {
    let mut cluster = with_nodes(&origin(), &["data-1", "data-2"]);
    cluster.ctl(&["node", "remove", "data-2", "--yes"]).code(3);
    cluster.ctl(&["node", "drain", "data-2", "--wait"]).code(0);
    cluster.data[1].allow("was removed from its cluster");
    cluster.ctl(&["node", "remove", "data-2", "--yes"]).code(0);
    // The last one has nobody to give anything to.
    let refused = cluster.ctl(&["node", "drain", "data-1"]).code(3);
    assert!(refused.stderr.contains("goproxyctl node add"), "{}", refused.stderr);
}

#[test]
fn a_node_in_the_place_of_another() {
    let origin = origin();
    let mut cluster = with_nodes(&origin, &["data-1", "data-2", "data-3", "data-4"]);
    let held = slots(&cluster, "data-1");
    let replace = ["node", "replace", "data-1", "--with", "data-5", "-o", "json"];
    let token = cluster.ctl(&replace).json()["join_token"].as_str().unwrap().to_owned();
    cluster.join_node("data-5", "data-1", &origin.url(), &token);
    let waited = [&replace[..], &["--wait"]].concat();
    eventually("data-5 takes over", || (cluster.ctl(&waited).code == 0).then_some(()));
    assert_eq!(slots(&cluster, "data-1"), 0, "it has been waited for");
    assert_eq!(slots(&cluster, "data-5"), held);
    cluster.data[0].allow("was removed from its cluster");
    cluster.ctl(&["node", "remove", "data-1", "--yes"]).code(0);
}

#[test]
fn a_control_node_less() {
    let cluster = Cluster::of(3);
    let leader = cluster.control[cluster.leader()].name().to_owned();
    cluster.ctl(&["member", "remove", &leader, "--yes"]).code(3);
    cluster.ctl(&["cluster", "transfer-leader"]).code(0);
    eventually("another one leads", || (cluster.status()?["leader"] != leader).then_some(()));
    cluster.ctl(&["member", "remove", &leader, "--yes"]).code(0);
    let members = cluster.ctl(&["member", "list", "-o", "json"]).json().to_string();
    assert!(!members.contains(&leader), "{members}");
}
