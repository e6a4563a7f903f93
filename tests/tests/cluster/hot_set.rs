//! What everybody uses stays, whatever else passes through.

use tests::process::eventually;
use tests::{Module, Origin};

use super::nodes::{cluster_with, get, metric};

/// Zips that a node holds.
const CACHE: &str = "64MiB";
/// What is hot, and what is asked for once: several times what all nodes hold.
const HOT: usize = 12;
const HOT_BYTES: usize = 300_000;
const COLD: usize = 150;
const COLD_BYTES: usize = 2_000_000;

/// Row 53, across nodes.
#[test]
fn a_scan_of_cold_modules_leaves_what_is_hot() {
    let origin = Origin::start();
    let cluster = cluster_with(&origin, 3, |node| node.flag("--cache-size", CACHE));
    let modules = |name: &str, count: usize, bytes: usize| -> Vec<Module> {
        let module = |number| Module::new(&format!("example.com/{name}{number}"), "v1.0.0").filler(bytes);
        let modules: Vec<_> = (0..count).map(module).collect();
        for module in &modules {
            origin.publish(module);
        }
        modules
    };
    let (hot, cold) = (modules("hot", HOT, HOT_BYTES), modules("cold", COLD, COLD_BYTES));
    let everybody_builds = |turn: usize| {
        for (number, module) in hot.iter().enumerate() {
            let node = &cluster.data[(number + turn) % cluster.data.len()];
            assert_eq!(get(node, &module.url_path(".zip")).expect(200).body, module.zip());
        }
    };
    (0..9).for_each(everybody_builds);
    for (turn, module) in cold.iter().enumerate() {
        get(&cluster.data[1], &module.url_path(".zip")).expect(200);
        if turn % 5 == 0 {
            everybody_builds(turn / 5);
        }
    }
    eventually("zips have been evicted everywhere", || {
        let evicts =
            |node: &tests::Node| metric(node.admin(), "goproxy_store_evicted_total{why=\"capacity\"}") > 0;
        cluster.data.iter().all(evicts).then_some(())
    });
    (0..3).for_each(everybody_builds);
    for module in &hot {
        assert_eq!(origin.count(&module.url_path(".zip")), 1, "{} went", module.spec());
    }
}
