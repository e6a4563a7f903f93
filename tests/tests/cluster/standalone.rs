//! One process with both planes.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tests::failing_sync::FailingSync;
use tests::node::Place;
use tests::process::eventually;
use tests::{Bed, Cluster, Module, Node, Origin, Proxy, Settings};

use super::disks::newest_log;
use super::nodes::{get, metric};

#[test]
fn a_standalone_process_is_a_cluster_of_one() {
    let origin = Origin::start();
    let proxy = Proxy::start(&Settings::new(&origin));
    for file in ["ca.pem", "admin.token"] {
        eventually(file, || proxy.data_dir().join(file).exists().then_some(()));
    }
    eventually("its data node follows", || {
        (proxy.metric("goproxy_cluster_layout_epoch", "")? >= 1.0).then_some(())
    });
    let proxy = proxy.restart();
    eventually("its data node follows again", || {
        (proxy.metric("goproxy_cluster_control_connected", "")? >= 1.0).then_some(())
    });
}

#[test]
fn what_was_taken_down_stays_so_when_the_control_plane_does_not_come_up() {
    let origin = Origin::start();
    let module = Module::new("example.com/bad", "v1.0.0").file("bad.go", "package bad\n");
    origin.publish(&module);
    let mut alone = Node::new("standalone", "alone", &Place::Here);
    alone.flag("--upstream", &origin.url());
    alone.flag("--sumdb", "off");
    alone.start(&[]);
    alone.wait_ready();
    get(&alone, &module.url_path(".zip")).expect(200);
    let mut cluster = Cluster::around(alone);
    cluster.ctl(&["module", "takedown", &module.spec(), "--reason", "it steals keys", "--yes"]).code(0);
    let answer = |cluster: &Cluster| get(&cluster.control[0], &module.url_path(".zip")).status;
    eventually("it is taken down", || (answer(&cluster) == 410).then_some(()));
    cluster.control[0].kill9();
    let log = newest_log(&cluster.control[0].data_dir());
    let file = OpenOptions::new().write(true).open(&log).unwrap();
    file.write_all_at(&[0xff; 64], file.metadata().unwrap().len() / 2).unwrap();
    cluster.control[0].allow("");
    cluster.control[0].start(&[]);
    cluster.control[0].wait_ready();
    assert!(cluster.control[0].log().contains("does not run; modules are served all the same"));
    assert_eq!(answer(&cluster), 410);
    assert_eq!(metric(cluster.control[0].admin(), "goproxy_control_halted"), 1);
}

/// Row 9 of the list of faults, in one process: its control plane ends, and that is told when it happens.
#[test]
fn a_control_plane_whose_log_was_not_synced_ends_and_modules_are_served() {
    let origin = Origin::start();
    let modules = ["v1.0.0", "v1.1.0"].map(|version| Module::new("example.com/one", version));
    for module in &modules {
        origin.publish(module);
    }
    let mut alone = Node::new("standalone", "alone", &Place::Here);
    alone.flag("--upstream", &origin.url());
    alone.flag("--sumdb", "off");
    alone.allow("");
    let failing = FailingSync::prepare(&mut alone, "control/raft/db/");
    alone.start(&[]);
    alone.wait_ready();
    let mut cluster = Cluster::around(alone);
    failing.fail_next();
    let create = ["--timeout", "5s", "token", "create", "ci", "--role", "viewer"];
    eventually("its fsync fails", || {
        cluster.ctl(&create);
        failing.has_failed().then_some(())
    });
    eventually("it is told", || {
        cluster.control[0].log().contains("has ended; modules are served").then_some(())
    });
    assert_eq!(metric(cluster.control[0].admin(), "goproxy_control_halted"), 1);
    let asked = Instant::now();
    cluster.ctl(&create).code(6);
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    for module in &modules {
        assert!(get(&cluster.control[0], &module.url_path(".zip")).expect(200).body == module.zip());
    }
    assert_eq!(cluster.control[0].terminate().code(), Some(0));
    cluster.control[0].start(&[]);
    cluster.control[0].wait_ready();
    let other = ["token", "create", "other", "--role", "viewer"];
    eventually("it is back", || (cluster.ctl(&other).code == 0).then_some(()));
}

/// However far it had come with letting its own data node in.
#[test]
fn a_process_that_dies_in_its_first_moments_is_a_cluster_of_one_after_all() {
    let bed = Bed::new();
    let mut proxy = Proxy::start(&bed.settings().allow_all());
    for round in 0..16 {
        // waits for: a moment in which nothing is to be seen from outside
        std::thread::sleep(Duration::from_millis(round * 6));
        proxy.kill9();
        proxy = proxy.restart();
    }
    eventually("its data node is in its cluster", || {
        (proxy.metric("goproxy_cluster_control_connected", "")? > 0.0).then_some(())
    });
}

/// It was let in and did not hear so; and was broken off again between being forgotten and being let in anew.
#[test]
fn a_process_that_dies_while_it_forgets_its_own_data_node_lets_it_in_after_all() {
    let Some(program) = std::env::var_os("GOPROXYD_FAILPOINTS_BIN") else { return };
    let mut alone = Node::new("standalone", "alone", &Place::Here);
    alone.program(PathBuf::from(program));
    alone.env("FAILPOINTS", "join::before_answer=1*return;invite::before_stage=1*return");
    alone.flag("--upstream", "off");
    alone.flag("--sumdb", "off");
    let refused = "is not in its cluster yet";
    alone.allow(refused);
    alone.start(&[]);
    alone.wait_ready();
    eventually("its data node is in its cluster", || {
        (metric(alone.admin(), "goproxy_cluster_control_connected") == 1).then_some(())
    });
    assert_eq!(alone.log().matches(refused).count(), 2, "{}", alone.log());
}
