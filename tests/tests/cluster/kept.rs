//! What was published stays: also when a disk spoils it, while operators look at it, and what they said of it holds without a control plane.

use tests::module::noise;
use tests::process::eventually;
use tests::{Cluster, Module, Origin};

use super::nodes::{cluster_with, get, settled};
use super::upkeep::flip;

const PRIVATE: &str = "corp.example/*";

fn cluster(origin: &Origin, nodes: usize) -> Cluster {
    cluster_with(origin, nodes, |node| node.flag("--private", PRIVATE))
}

/// A module with bytes of its own, so that it can be found on a disk.
fn module(name: &str, bytes: usize) -> Module {
    Module::new(&format!("corp.example/{name}"), "v1.0.0").file("noise", noise(bytes, name.len() as u64))
}

fn publish(cluster: &Cluster, module: &Module) {
    let folder = tempfile::tempdir().unwrap();
    let zip = folder.path().join("module.zip");
    std::fs::write(&zip, module.zip()).unwrap();
    cluster.ctl(&["module", "publish", &module.spec(), zip.to_str().unwrap()]).code(0);
}

fn copies(cluster: &Cluster, module: &Module) -> usize {
    let shown = cluster.ctl(&["module", "show", &module.spec(), "-o", "json"]).json();
    let copies = shown["versions"][0]["copies"].as_array().cloned().unwrap_or_default();
    copies.iter().filter(|copy| copy["zip_size"].as_u64() > Some(0)).count()
}

#[test]
fn what_was_published_and_is_damaged_on_a_disk_gets_another_nodes_copy_in_its_place() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin, 3);
    // The damage of a large one is met when its head is out, that of a small one before.
    let (large, small, unasked) =
        (module("large", 900_000), module("small", 24_000), module("unasked", 800_000));
    let all = [&large, &small, &unasked];
    for module in all {
        publish(&cluster, module);
    }
    eventually("all nodes have them", || {
        all.iter().all(|module| copies(&cluster, module) == 3).then_some(())
    });
    assert!(cluster.data[0].terminate().success());
    for module in all {
        assert!(flip(&cluster.data[0].data_dir(), module), "{} is on the disk", module.path);
    }
    for text in ["does not verify", "damaged"] {
        cluster.data[0].allow(text);
    }
    cluster.data[0].start(&[]);
    cluster.data[0].wait_ready();
    let node = &cluster.data[0];
    assert!(get(node, &small.url_path(".zip")).expect(200).body == small.zip());
    let begun = get(node, &large.url_path(".zip"));
    assert!(!begun.complete || begun.body == large.zip(), "wrong bytes");
    eventually("it is whole again", || {
        let answer = get(node, &large.url_path(".zip"));
        (answer.status == 200 && answer.complete).then(|| assert!(answer.body == large.zip()))
    });
    let scrubbed = cluster.ctl(&["cache", "scrub", "data-1", "-o", "json"]).json();
    let told = &scrubbed["nodes"][0];
    assert_eq!((&told["bad_count"], &told["healed_count"]), (&1.into(), &1.into()), "{scrubbed}");
    let again = cluster.ctl(&["cache", "scrub", "data-1", "-o", "json"]).json();
    assert_eq!(again["nodes"][0]["bad_count"], 0, "{again}");
    assert!(get(node, &unasked.url_path(".zip")).expect(200).body == unasked.zip());
    assert!(all.iter().all(|module| copies(&cluster, module) == 3));
}

#[test]
fn what_is_damaged_and_nowhere_else_is_refused_and_stays() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin, 1);
    let only = module("only", 24_000);
    publish(&cluster, &only);
    assert!(cluster.data[0].terminate().success());
    assert!(flip(&cluster.data[0].data_dir(), &only));
    for text in ["does not verify", "damaged"] {
        cluster.data[0].allow(text);
    }
    cluster.data[0].start(&[]);
    cluster.data[0].wait_ready();
    for _ in 0..2 {
        let answer = get(&cluster.data[0], &only.url_path(".zip")).expect(503);
        assert!(answer.text().contains("damaged"), "{}", answer.text());
    }
    let scrubbed = cluster.ctl(&["cache", "scrub", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&scrubbed.stdout).unwrap();
    assert_eq!((&told["nodes"][0]["bad_count"], &told["nodes"][0]["healed_count"]), (&1.into(), &0.into()));
    // Somebody may yet save what is good of it.
    assert_eq!(copies(&cluster, &only), 1);
}

/// A node whose own copy is bad further on begins to send it: that is no reason to let go of another bad one.
#[test]
fn what_is_damaged_at_every_node_stays_at_every_node() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin, 2);
    let large = module("twice", 900_000);
    publish(&cluster, &large);
    eventually("both nodes have it", || (copies(&cluster, &large) == 2).then_some(()));
    for node in &mut cluster.data {
        for text in ["does not verify", "damaged", "cannot be reached"] {
            node.allow(text);
        }
        assert!(node.terminate().success());
        assert!(flip(&node.data_dir(), &large));
        node.start(&[]);
        node.wait_ready();
    }
    let scrubbed = cluster.ctl(&["cache", "scrub", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&scrubbed.stdout).unwrap();
    for node in told["nodes"].as_array().unwrap() {
        assert_eq!((&node["bad_count"], &node["healed_count"]), (&1.into(), &0.into()), "{told}");
    }
    assert_eq!(copies(&cluster, &large), 2);
}

#[test]
fn what_is_in_quarantine_moves_with_its_slot() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin, 1);
    let odd = module("odd", 300_000);
    publish(&cluster, &odd);
    cluster.ctl(&["module", "quarantine", &odd.spec(), "--reason", "looked at"]).code(0);
    cluster.add_node_with("data-2", "zone-2", &origin.url(), |node| node.flag("--private", PRIVATE));
    cluster.wait_state("data-2", "active");
    settled(&cluster);
    for node in &cluster.data {
        assert_eq!(get(node, &odd.url_path(".zip")).status, 403);
    }
    // What moved has moved: the first one is not needed any more.
    cluster.data[1].allow("cannot be reached");
    cluster.data[0].kill9();
    cluster.ctl(&["module", "quarantine", &odd.spec(), "--lift"]).code(0);
    eventually("the other one serves it", || {
        let answer = get(&cluster.data[1], &odd.url_path(".zip"));
        (answer.status == 200).then(|| assert!(answer.body == odd.zip()))
    });
}
