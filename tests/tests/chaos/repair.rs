//! A node that stays dead: the cluster does by itself what an operator would have done. Takes as long as a cluster waits before it believes
//! that: under `SOAK` only.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::chance::is_soak;
use tests::process::within;
use tests::{Call, Module, Origin};

use crate::{alone, shipped_data_nodes};

const MODULES: usize = 60;
const ZIP_BYTES: usize = 40_000;
/// The node that dies, and its number.
const DEAD: (&str, usize) = ("data-2", 1);
/// Two minutes until it is taken for dead, and what it takes to move its slots.
const PATIENCE: Duration = Duration::from_mins(5);

#[test]
fn what_a_dead_node_held_is_elsewhere_before_long_without_anybodys_doing() {
    if !is_soak() {
        return;
    }
    let _turn = alone();
    let origin = Origin::start();
    let mut cluster = shipped_data_nodes(4, &origin);
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    let modules: Vec<Module> = (0..MODULES)
        .map(|number| {
            let module = Module::new(&format!("example.com/m{number}"), "v1.0.0").filler(ZIP_BYTES);
            origin.publish(&module);
            module
        })
        .collect();
    for module in &modules {
        Call::new(cluster.data[0].http(), "GET", &module.url_path(".zip")).send().expect(200);
    }
    cluster.ctl(&["cache", "repair"]).code(0);
    let asked = origin.total();
    cluster.data[DEAD.1].kill9();
    let killed = Instant::now();
    within(PATIENCE, "others hold what it held", || {
        let node = cluster.ctl(&["node", "show", DEAD.0, "-o", "json"]).json();
        let status = cluster.ctl(&["layout", "status", "-o", "json"]).json();
        (node["state"] == "down" && node["slot_count"] == 0 && status["state"] == "stable").then_some(())
    });
    println!("a dead node's slots were elsewhere after {:.0} s", killed.elapsed().as_secs_f64());
    for module in &modules {
        let located = cluster.ctl(&["layout", "locate", &module.path, "-o", "json"]).json();
        let owners = located["owners"].as_array().unwrap().clone();
        assert_eq!(owners.len(), 3, "{}", module.path);
        // None of them is asked for it before: what it does not hold it would borrow.
        let shown = cluster.ctl(&["module", "show", &module.spec(), "-o", "json"]).json();
        let copies = shown["versions"][0]["copies"].as_array().cloned().unwrap_or_default();
        for owner in owners {
            let holds = |copy: &Value| copy["node"] == owner && copy["zip_size"].as_u64() > Some(0);
            assert!(copies.iter().any(holds), "{owner} lacks {}: {shown}", module.path);
            let node = cluster.data.iter().find(|node| owner == *node.name()).expect("a node of the cluster");
            let path = format!("/cached-only{}", module.url_path(".zip"));
            let zip = Call::new(node.http(), "GET", &path).send().expect(200);
            assert!(zip.body == module.zip(), "{}: {}", node.name(), module.path);
        }
    }
    assert_eq!(origin.total(), asked, "the origin was asked for what others had");
}
