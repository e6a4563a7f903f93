//! A data node whose disk is in trouble: the others make up for it, and it serves on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tests::process::eventually;
use tests::{Cluster, Module, Origin};

use super::nodes::{cluster, get, owners, strangers};

/// One that can be told to have trouble.
fn program() -> Option<PathBuf> {
    std::env::var_os("GOPROXYD_FAILPOINTS_BIN").map(PathBuf::from)
}

fn modules(origin: &Origin, name: &str, count: usize) -> Vec<Module> {
    (0..count)
        .map(|number| {
            let module = Module::new(&format!("example.com/{name}{number}"), "v1.0.0").filler(20_000);
            origin.publish(&module);
            module
        })
        .collect()
}

/// A node serves all files of a module as the origin has them.
#[track_caller]
fn serves(cluster: &Cluster, node: usize, module: &Module) {
    let node = &cluster.data[node];
    assert_eq!(get(node, &module.url_path(".mod")).expect(200).body, module.go_mod());
    assert_eq!(get(node, &module.url_path(".zip")).expect(200).body, module.zip());
    get(node, &module.url_path(".info")).expect(200);
}

/// Starts a node again, with this trouble or none.
fn start_again(cluster: &mut Cluster, node: usize, program: &Path, trouble: &str) {
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    let node = &mut cluster.data[node];
    node.program(program.to_owned());
    node.env("FAILPOINTS", trouble);
    node.start(&[]);
    node.wait_ready();
}

#[test]
fn a_node_with_a_slow_disk_is_asked_around() {
    const SLOW: Duration = Duration::from_millis(500);
    let Some(program) = program() else { return };
    let origin = Origin::start();
    let mut cluster = cluster(&origin, 4);
    let modules = modules(&origin, "slow", 80);
    for module in &modules {
        serves(&cluster, owners(&cluster, module)[0], module);
    }
    cluster.ctl(&["cache", "repair"]).code(0);
    let (its, others): (Vec<_>, Vec<_>) = modules.iter().partition(|module| owners(&cluster, module)[0] == 0);
    // What is asked first of a node is slow in a debug build; and who asks a second node has asked often before.
    for module in &others {
        for node in strangers(&cluster, module).into_iter().filter(|node| *node != 0) {
            get(&cluster.data[node], &module.url_path(".mod")).expect(200);
        }
    }
    cluster.data[0].terminate();
    let slow = format!(
        "store::rocks::read=sleep({0});store::rocks::read_at_hand=return;store::pulse=sleep({0})",
        SLOW.as_millis()
    );
    cluster.data[0].allow("the disk is slow");
    start_again(&mut cluster, 0, &program, &slow);
    let mut times: Vec<_> = its
        .iter()
        .map(|module| {
            let asked = strangers(&cluster, module)[0];
            let begun = Instant::now();
            get(&cluster.data[asked], &module.url_path(".mod")).expect(200);
            begun.elapsed()
        })
        .collect();
    times.sort();
    assert!(times.len() >= 5, "{}", times.len());
    // One to each of the others may be what shows that it is slow.
    assert!(times[times.len() - 4] < SLOW, "{times:?}");
    // It is slow indeed, for who asks it by itself.
    let begun = Instant::now();
    get(&cluster.data[0], &its[its.len() - 1].url_path(".zip")).expect(200);
    assert!(begun.elapsed() >= SLOW, "{:?}", begun.elapsed());
    eventually("operators hear of it", || raised(&cluster, "disk-slow").then_some(()));
}

/// Whether there is an alarm about the first node.
fn raised(cluster: &Cluster, code: &str) -> bool {
    let status = cluster.ctl(&["cluster", "status", "-o", "json"]).json();
    let alarms = status["alarms"].as_array().expect("alarms");
    alarms.iter().any(|alarm| alarm["code"] == code && alarm["message"].to_string().contains("data-1"))
}

#[test]
fn what_a_node_whose_disk_takes_no_writes_should_fetch_is_fetched_and_stored_by_others() {
    let Some(program) = program() else { return };
    let origin = Origin::start();
    let mut cluster = cluster(&origin, 3);
    let held = modules(&origin, "held", 6);
    for module in &held {
        serves(&cluster, 0, module);
    }
    cluster.data[0].terminate();
    // Read-only: EROFS.
    cluster.data[0].allow("takes no writes");
    start_again(&mut cluster, 0, &program, "store::rocks::write=return(30);store::heal::try_disk=return");
    let fresh = modules(&origin, "fresh", 12);
    // By asking each of them: also by the first, of what it owns.
    for (number, module) in fresh.iter().enumerate() {
        serves(&cluster, number % 3, module);
    }
    for module in held.iter().chain(&fresh) {
        serves(&cluster, 0, module);
        for suffix in [".info", ".mod", ".zip"] {
            assert!(origin.count(&module.url_path(suffix)) <= 1, "{}", module.spec());
        }
    }
    get(&cluster.data[0], "/readyz").expect(200);
    eventually("operators hear of it", || raised(&cluster, "disk-unwritable").then_some(()));
    let copies = |cluster: &Cluster, module: &Module| {
        let holds = |node: &usize| {
            get(&cluster.data[*node], &format!("/cached-only{}", module.url_path(".zip"))).status == 200
        };
        [1, 2].iter().any(holds)
    };
    assert!(owners(&cluster, &fresh[0]).len() == 3);
    eventually("the others have all that is new", || {
        fresh.iter().all(|module| copies(&cluster, module)).then_some(())
    });
    cluster.data[0].kill9();
    origin.down();
    for node in &mut cluster.data {
        node.allow("origin");
    }
    for module in &fresh {
        serves(&cluster, 1, module);
        serves(&cluster, 2, module);
    }
    start_again(&mut cluster, 0, &program, "");
    for module in held.iter().chain(&fresh) {
        serves(&cluster, 0, module);
    }
    eventually("it is over", || (!raised(&cluster, "disk-unwritable")).then_some(()));
}

#[test]
fn what_was_lost_with_a_failing_disk_comes_from_the_others() {
    let Some(program) = program() else { return };
    let origin = Origin::start();
    let mut cluster = cluster(&origin, 3);
    cluster.data[0].terminate();
    cluster.data[0].allow("takes no writes");
    cluster.data[0].allow("failed to");
    // One write fails (EIO), somewhere in the middle.
    start_again(&mut cluster, 0, &program, "store::rocks::write=25*off->1*return(5)->off");
    let modules = modules(&origin, "failing", 20);
    for module in &modules {
        serves(&cluster, 0, module);
    }
    cluster.data[0].kill9();
    start_again(&mut cluster, 0, &program, "");
    origin.down();
    for node in &mut cluster.data {
        node.allow("origin");
    }
    for module in &modules {
        for node in 0..3 {
            serves(&cluster, node, module);
        }
    }
}
