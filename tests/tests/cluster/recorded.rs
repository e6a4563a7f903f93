//! Whatever operators change, or have looked through, is on record with the reason that they give.

use serde_json::Value;
use tests::{Module, Origin};

use super::nodes::{cluster, get, settled};

#[test]
fn each_deed_of_an_operator_is_on_record() {
    let origin = Origin::start();
    let module = Module::new("example.com/recorded", "v1.0.0");
    origin.publish(&module);
    let cluster = cluster(&origin, 3);
    get(&cluster.data[0], &module.url_path(".zip")).expect(200);
    let spec = module.spec();
    let deeds: [&[&str]; 16] = [
        &["module", "warm", &spec],
        &["module", "pin", &spec],
        &["module", "unpin", &spec],
        &["module", "quarantine", &spec],
        &["module", "quarantine", &spec, "--lift"],
        &["module", "verify", &spec],
        &["module", "purge", &spec, "--yes"],
        &["module", "takedown", &spec, "--yes"],
        &["module", "takedown", &spec, "--lift", "--yes"],
        &["cache", "scrub"],
        &["cache", "repair"],
        &["cache", "gc"],
        &["node", "cordon", "data-2"],
        &["node", "uncordon", "data-2"],
        &["layout", "pause"],
        &["layout", "resume"],
    ];
    for (number, deed) in deeds.into_iter().enumerate() {
        let reason = format!("reason {number}.");
        cluster.ctl(&[deed, &["--reason", &reason]].concat()).code(0);
        let audit = cluster.ctl(&["cluster", "audit", "--limit", "0", "-o", "json"]).json();
        let records = audit["records"].as_array().expect("records");
        let found: Vec<&Value> = records.iter().filter(|record| record["reason"] == reason).collect();
        assert!(!found.is_empty(), "{deed:?} is not on record");
        assert!(found.iter().all(|record| record["caller"] != Value::Null), "{found:?}");
    }
    settled(&cluster);
}
