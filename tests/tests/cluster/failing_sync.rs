//! Row 9 of the list of faults: the disk fails to put on stable storage what was written, once. What was said to be stored is stored.

use tests::failing_sync::FailingSync;
use tests::process::eventually;
use tests::{Cluster, Module, Origin};

use super::nodes::{cluster_with, get};

fn token(cluster: &Cluster, name: &str) -> i32 {
    cluster.ctl(&["--timeout", "5s", "token", "create", name, "--role", "viewer"]).code
}

/// The system may have forgotten what it could not write and says at the next fsync that all is well, so a member that
/// went on would promise what it does not have.
#[test]
fn a_control_node_whose_log_was_not_synced_ends_and_goes_on_when_it_is_started_again() {
    let mut cluster = Cluster::of(3);
    let victim = cluster.leader();
    for node in &mut cluster.control {
        node.allow("");
    }
    cluster.control[victim].terminate();
    let failing = FailingSync::prepare(&mut cluster.control[victim], "control/raft/db/");
    cluster.control[victim].start(&[]);
    cluster.control[victim].wait_ready();
    cluster.wait_voters(3);
    failing.fail_next();
    let mut written = Vec::new();
    eventually("its fsync fails, and the others go on", || {
        let name = format!("token-{}", written.len());
        let is_written = token(&cluster, &name) == 0;
        if is_written {
            written.push(name);
        }
        (failing.has_failed() && is_written).then_some(())
    });
    let status = cluster.control[victim].wait();
    assert_eq!(status.code(), Some(1), "{}", cluster.control[victim].log());
    assert!(cluster.control[victim].log().contains("what is on disk is unknown"));
    cluster.control[victim].start(&[]);
    cluster.wait_voters(3);
    let known = cluster.ctl(&["token", "list", "-o", "json"]).json().to_string();
    assert!(written.iter().all(|name| known.contains(name.as_str())), "{written:?} of {known}");
}

#[test]
fn what_a_data_node_failed_to_sync_is_not_said_to_be_published_there() {
    let origin = Origin::start();
    let mut cluster = cluster_with(&origin, 3, |node| {
        node.flag("--private", "corp.example/*");
        node.allow("cannot be reached");
    });
    let victim = &mut cluster.data[0];
    victim.terminate();
    victim.allow("takes no writes");
    victim.allow("failed to");
    victim.allow("published");
    let failing = FailingSync::prepare(victim, "/data/db/");
    victim.start(&[]);
    victim.wait_ready();
    let folder = tempfile::tempdir().unwrap();
    let mut published = Vec::new();
    for number in 0..6 {
        let module = Module::new("corp.example/lib", &format!("v1.{number}.0")).filler(300_000);
        let zip = folder.path().join("module.zip");
        std::fs::write(&zip, module.zip()).unwrap();
        if number == 2 {
            failing.fail_next();
        }
        let publish = ["module", "publish", &module.spec(), zip.to_str().unwrap(), "-o", "json"];
        let had_failed = failing.has_failed();
        // Two of three are most of them.
        let told = eventually("it is published", || {
            let told = cluster.ctl(&publish);
            (told.code == 0).then(|| told.json())
        });
        if !had_failed && failing.has_failed() {
            assert!(!told["nodes"].to_string().contains("data-1"), "{told}");
            assert!(told["missing_nodes"].to_string().contains("data-1"), "{told}");
        }
        published.push(module);
    }
    assert!(failing.has_failed() && cluster.data[0].log().contains("takes no writes"));
    cluster.data[0].kill9();
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    cluster.data[0].start(&[]);
    cluster.data[0].wait_ready();
    for module in &published {
        for node in &cluster.data {
            let zip = eventually("it is served", || {
                let answer = get(node, &module.url_path(".zip"));
                (answer.status == 200).then_some(answer)
            });
            assert!(zip.body == module.zip(), "{}: {}", node.name(), module.spec());
        }
    }
}
