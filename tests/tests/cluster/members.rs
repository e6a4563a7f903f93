//! Control nodes come, lead, die and go.

use std::path::{Path, PathBuf};

use tests::Cluster;
use tests::process::eventually;

#[test]
fn three_control_nodes_form_a_cluster_and_outlive_the_leader() {
    let mut cluster = Cluster::of(3);
    let status = cluster.status().unwrap();
    assert_eq!(status["cluster_id"].as_str().unwrap().len(), 32);
    assert_eq!(status["members"].as_array().unwrap().len(), 3);
    let leader = cluster.leader();
    let before = cluster.control[leader].name().to_owned();
    cluster.control[leader].kill9();
    // Two of three go on, and anybody of them takes a change.
    for (number, node) in cluster.control.iter().enumerate().filter(|(number, _)| *number != leader) {
        let servers = node.rpc().to_string();
        eventually("a survivor takes a change", || {
            let name = format!("token-{number}");
            let told =
                cluster.ctl_at(&servers, &["token", "create", &name, "--role", "viewer", "-o", "json"]);
            (told.code == 0).then_some(())
        });
    }
    assert_ne!(cluster.control[cluster.leader()].name(), before);
    // The one that died comes back as what it was.
    cluster.control[leader].start(&[]);
    cluster.wait_voters(3);
}

#[test]
fn a_majority_lost_is_told_and_reads_go_on() {
    let mut cluster = Cluster::of(3);
    let servers = cluster.control[0].rpc().to_string();
    cluster.control[1].kill9();
    cluster.control[2].kill9();
    let told = eventually("no change is taken", || {
        let told =
            cluster.ctl_at(&servers, &["--timeout", "3s", "token", "create", "late", "--role", "viewer"]);
        (told.code != 0).then_some(told)
    });
    assert_eq!(told.code, 5, "{}\n{}", told.stdout, told.stderr);
    // What is known is still shown, with what is wrong.
    let told = cluster.ctl_at(&servers, &["cluster", "status", "-o", "json"]).json();
    let alarms = told["alarms"].as_array().unwrap();
    assert!(alarms.iter().any(|alarm| alarm["code"] == "no-quorum"), "{alarms:?}");
    assert_eq!(told["members"].as_array().unwrap().len(), 3);
    cluster.control[1].start(&[]);
    cluster.control[2].start(&[]);
    cluster.wait_voters(3);
    cluster.ctl(&["token", "create", "again", "--role", "viewer"]).code(0);
}

#[test]
fn leadership_is_handed_over_on_demand() {
    let cluster = Cluster::of(3);
    let leader = cluster.leader();
    let next = cluster.control[(leader + 1) % 3].name().to_owned();
    cluster.ctl(&["cluster", "transfer-leader", &next]).code(0);
    assert_eq!(cluster.control[cluster.leader()].name(), next);
}

/// Row 14. Its disk gets slow while it leads; its writes take less than the others wait before they elect somebody else.
#[test]
fn a_leader_whose_disk_is_slow_lets_another_lead() {
    let Some(program) = std::env::var_os("GOPROXYD_FAILPOINTS_BIN").map(PathBuf::from) else { return };
    let mut cluster = Cluster::of(3);
    let slow = (cluster.leader() + 1) % 3;
    let name = cluster.control[slow].name().to_owned();
    restart(&mut cluster, slow, &program, "raft::disk::sync=40*off->sleep(250)");
    for expected in ["the disk is slow", "handed leadership over"] {
        cluster.control[slow].allow(expected);
    }
    cluster.ctl(&["cluster", "transfer-leader", &name]).code(0);
    let mut tokens = 0;
    let mut write = |cluster: &Cluster| {
        tokens += 1;
        // Whoever asks while leadership is handed over may have to ask again.
        let told = cluster.ctl(&["token", "create", &format!("token-{tokens}"), "--role", "viewer"]);
        assert!([0, 5].contains(&told.code), "{}", told.stderr);
    };
    eventually("it hands over", || {
        write(&cluster);
        cluster.control[slow].log().contains("handed leadership over").then_some(())
    });
    assert_ne!(cluster.leader(), slow);
    eventually("operators hear of it", || has_slow_disk(&cluster, &name).then_some(()));
    restart(&mut cluster, slow, &program, "");
    eventually("it is over", || (!has_slow_disk(&cluster, &name)).then_some(()));
    // Nobody else was taken for slow, and who was may lead again.
    cluster.ctl(&["cluster", "transfer-leader", &name]).code(0);
    assert_eq!(cluster.leader(), slow);
}

/// Ends a control node and starts it again, with this trouble or none.
fn restart(cluster: &mut Cluster, at: usize, program: &Path, trouble: &str) {
    let node = &mut cluster.control[at];
    node.terminate();
    node.program(program.to_owned());
    node.env("FAILPOINTS", trouble);
    node.start(&[]);
    cluster.wait_voters(3);
}

/// Whether there is an alarm about the disk of a member.
fn has_slow_disk(cluster: &Cluster, name: &str) -> bool {
    let status = cluster.ctl(&["cluster", "status", "-o", "json"]).json();
    let alarms = status["alarms"].as_array().expect("alarms");
    alarms.iter().any(|alarm| alarm["code"] == "disk-slow" && alarm["message"].to_string().contains(name))
}

#[test]
fn a_member_is_removed_and_does_not_come_back() {
    let mut cluster = Cluster::of(3);
    let leader = cluster.leader();
    let gone = (leader + 1) % 3;
    let name = cluster.control[gone].name().to_owned();
    cluster.ctl(&["member", "remove", &name, "--yes"]).code(0);
    cluster.control[gone].kill9();
    cluster.control[gone].allow("");
    cluster.wait_voters(2);
    cluster.control[gone].start(&[]);
    let members = cluster.ctl(&["member", "list", "-o", "json"]).json().to_string();
    assert!(!members.contains(&name), "{members}");
}

#[test]
fn a_member_that_lost_its_log_is_refused() {
    let mut cluster = Cluster::of(3);
    let leader = cluster.leader();
    let victim = (leader + 1) % 3;
    cluster.control[victim].kill9();
    std::fs::remove_dir_all(cluster.control[victim].data_dir().join("control/raft")).unwrap();
    cluster.control[victim].allow("");
    cluster.control[victim].start(&[]);
    let status = cluster.control[victim].wait();
    assert_eq!(status.code(), Some(3), "{}", cluster.control[victim].log());
}
