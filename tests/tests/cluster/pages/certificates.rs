//! docs/operations/certificates.md.

use serde_json::Value;
use tests::process::eventually;
use tests::{Cluster, WallClock};

use super::origin;

/// Row 68 of the list of faults, the part about a new authority: nobody is cut off on the way.
#[test]
fn changing_the_authority() {
    let clock = WallClock::right();
    let given = clock.clone();
    let mut cluster = Cluster::prepared(3, move |node| given.give(node));
    cluster.add_node("data-1", "a", &origin().url());
    cluster.wait_state("data-1", "active");
    let first = authorities(&cluster);
    assert_eq!(states(&first), ["active"]);
    cluster.ctl(&["cert", "rotate", "--yes"]).code(0);
    assert_eq!(states(&authorities(&cluster)), ["active", "staged"]);
    let file = cluster.credentials().join("ca.pem");
    let old = std::fs::read(&file).unwrap();
    let both = eventually("ca.pem in the data directory has both", || {
        let text = std::fs::read_to_string(cluster.control[0].data_dir().join("ca.pem")).unwrap();
        (text.matches("BEGIN CERTIFICATE").count() == 2).then_some(text)
    });
    std::fs::write(&file, both).unwrap();
    // A minute later the new one signs; the clock of all control nodes is set on by that.
    clock.step(61);
    let renewed = eventually("the old authority is gone", || {
        let now = authorities(&cluster);
        (states(&now) == ["active"]).then_some(now)
    });
    assert_ne!(renewed[0]["fingerprint"], first[0]["fingerprint"]);
    let certificates = cluster.ctl(&["cert", "status", "-o", "json"]).json();
    for certificate in certificates["certificates"].as_array().unwrap() {
        assert_eq!(certificate["authority"], renewed[0]["fingerprint"], "{certificate}");
    }
    for node in &cluster.control {
        eventually("its ca.pem follows", || {
            let shown = std::fs::read_to_string(node.data_dir().join("ca.pem")).unwrap();
            (shown.trim() == renewed[0]["pem"].as_str().unwrap().trim()).then_some(())
        });
    }
    cluster.wait_voters(3);
    cluster.wait_state("data-1", "active");
    // An operator who was not given the new one knows nobody any more.
    std::fs::write(&file, old).unwrap();
    cluster.ctl(&["cluster", "status"]).code(6);
}

fn authorities(cluster: &Cluster) -> Vec<Value> {
    let told = cluster.ctl(&["cert", "status", "-o", "json"]).json();
    told["authorities"].as_array().unwrap().clone()
}

fn states(authorities: &[Value]) -> Vec<&str> {
    authorities.iter().map(|authority| authority["state"].as_str().unwrap()).collect()
}
