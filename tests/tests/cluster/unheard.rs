//! Policies that bound for how long a data node answers that hears nothing of its control plane (row 26 of the list of faults).

use std::time::Duration;

use tests::cluster::metric;
use tests::process::{eventually, within};
use tests::wall_clock::HOUR_S;
use tests::{Cluster, GoClient, Module, Origin, Response, WallClock};

use super::nodes::get;

/// One is refused after a minute, one after half a day, and one never.
const POLICY: &str = r#"
[[stale]]
modules = "example.com/soon"
after = "1m"
reason = "who may have it changes often"

[[stale]]
modules = "example.com/later/*"
after = "12h"
"#;

fn modules() -> [Module; 3] {
    ["example.com/soon", "example.com/later/x", "example.com/ever"]
        .map(|path| Module::new(path, "v1.0.0").file("a.go", "package a\n"))
}

/// What the node says of a module's list and files; all of it is one status.
fn status(cluster: &Cluster, module: &Module) -> u16 {
    let node = &cluster.data[0];
    let answers: Vec<Response> =
        [".zip", ".mod", ".info"].map(|file| get(node, &module.url_path(file))).into();
    let list = get(node, &module.url_path(".info").replace("v1.0.0.info", "list"));
    let statuses: Vec<u16> = answers.iter().chain([&list]).map(|answer| answer.status).collect();
    // One may be asked for before the time, and the next one after it.
    if statuses.iter().all(|status| *status == statuses[0]) { statuses[0] } else { 0 }
}

fn restart(cluster: &mut Cluster) {
    cluster.data[0].kill9();
    cluster.data[0].start(&[]);
    cluster.data[0].wait_ready();
}

#[test]
fn a_node_that_hears_nothing_refuses_by_and_by_what_policies_say() {
    let origin = Origin::start();
    let all = modules();
    for module in &all {
        origin.publish(module);
    }
    let [soon, later, ever] = &all;
    let clock = WallClock::right();
    let mut cluster = Cluster::bootstrap();
    let given = clock.clone();
    cluster.add_node_with("data-1", "a", &origin.url(), |node| given.give(node));
    cluster.wait_state("data-1", "active");
    cluster.settled();
    let file = cluster.credentials().join("cut-off.toml");
    std::fs::write(&file, POLICY).unwrap();
    cluster.ctl(&["policy", "apply", file.to_str().unwrap(), "--yes"]).code(0);
    let shown = cluster.ctl(&["policy", "show", "cut-off"]).stdout;
    assert!(shown.contains("after = \"12h\""), "{shown}");
    let statuses = |cluster: &Cluster| [soon, later, ever].map(|module| status(cluster, module));
    assert_eq!(statuses(&cluster), [200; 3]);
    let url = format!("http://{}", cluster.data[0].http());
    let goes = |module: &Module| GoClient::new(&url, "off").run(&["mod", "download", &module.spec()]);
    goes(soon).success();

    cluster.control[0].kill9();
    assert_eq!(statuses(&cluster), [200; 3]);
    within(Duration::from_secs(90), "one is refused", || {
        (statuses(&cluster) == [503, 200, 200]).then_some(())
    });
    goes(soon).failure("example.com/soon: this node has heard nothing of its control plane for 1m").failure(
        "policy cut-off has it answered for 1m after the last word only: who may have it changes often",
    );
    let index = get(&cluster.data[0], "/index").text();
    assert!(!index.contains(&soon.path) && index.contains(&later.path), "{index}");

    // Nor does a start make it younger.
    clock.step(11 * HOUR_S);
    restart(&mut cluster);
    assert_eq!(statuses(&cluster), [503, 200, 200]);
    clock.step(13 * HOUR_S);
    restart(&mut cluster);
    assert_eq!(statuses(&cluster), [503, 503, 200]);
    let age = metric(cluster.data[0].admin(), "goproxy_cluster_view_age_seconds");
    assert!((13 * HOUR_S..14 * HOUR_S).contains(&age.cast_signed()), "{age}");
    goes(ever).success();

    clock.step(0);
    cluster.control[0].start(&[]);
    eventually("all is answered again", || (statuses(&cluster) == [200; 3]).then_some(()));
}
