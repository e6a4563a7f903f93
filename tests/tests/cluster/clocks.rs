//! Wall clocks that are wrong, and certificates that end.

use tests::process::eventually;
use tests::wall_clock::DAY_S;
use tests::{Cluster, GoClient, Module, Origin, WallClock};

/// Row 19 of the list of faults: the wall clock of the leader is a day off, then right again. Nobody is elected for it, writes go
/// on, and somebody is told.
#[test]
fn a_wall_clock_that_is_a_day_off_changes_no_leader_and_is_told() {
    let clock = WallClock::right();
    let (given, first) = (clock.clone(), std::cell::Cell::new(true));
    let cluster = Cluster::prepared(3, move |node| {
        if first.replace(false) {
            given.give(node);
        }
    });
    if cluster.leader() != 0 {
        cluster.ctl(&["cluster", "transfer-leader", "control-1"]).code(0);
    }
    let term = cluster.status().unwrap()["term"].clone();
    for (name, days) in [("behind", -1), ("ahead", 1)] {
        clock.step(days * DAY_S);
        cluster.ctl(&["token", "create", name, "--role", "viewer"]).code(0);
        eventually("the alarm is raised", || has_alarm(&cluster).then_some(()));
        clock.step(0);
        eventually("the alarm is cleared", || (!has_alarm(&cluster)).then_some(()));
    }
    cluster.ctl(&["token", "create", "right", "--role", "viewer"]).code(0);
    let status = cluster.status().unwrap();
    assert_eq!((&status["term"], &status["leader"]), (&term, &"control-1".into()));
}

fn has_alarm(cluster: &Cluster) -> bool {
    cluster.status().is_some_and(|status| status["alarms"].to_string().contains("clock-skew"))
}

/// Row 68 of the list of faults, the part about an end: a data node was off for longer than its certificate is good. It serves, and
/// the control plane lets it do nothing and says why.
#[test]
fn a_node_whose_certificate_has_ended_serves_and_is_refused() {
    let origin = Origin::start();
    origin.publish(&Module::new("example.com/one", "v1.0.0").file("one.go", "package one\n"));
    let clock = WallClock::right();
    let given = clock.clone();
    let mut cluster = Cluster::prepared(1, move |node| given.give(node));
    cluster.give_ctl(&clock);
    let node = cluster.add_node("data-1", "a", &origin.url());
    node.allow("certificate");
    clock.give(node);
    cluster.wait_state("data-1", "active");
    cluster.data[0].kill9();
    // Control nodes renew on the way; they look every few seconds.
    let before = certificate_of(&cluster, "member control-1");
    clock.step(25 * DAY_S);
    eventually("the control node renews", || {
        (certificate_of(&cluster, "member control-1") != before).then_some(())
    });
    clock.step(31 * DAY_S);
    eventually("the alarm is raised", || {
        let alarms = cluster.status()?["alarms"].to_string();
        (alarms.contains("certificate-expires") && alarms.contains("data-1")).then_some(())
    });
    cluster.data[0].start(&[]);
    let url = format!("http://{}", cluster.data[0].http());
    eventually("it serves", || {
        let told = tests::Call::new(cluster.data[0].http(), "GET", "/example.com/one/@v/list").try_send();
        told.is_ok_and(|told| told.status == 200).then_some(())
    });
    GoClient::new(&url, "off").run(&["get", "example.com/one@v1.0.0"]).success();
    let connected = tests::Call::new(cluster.data[0].admin(), "GET", "/metrics").send().text();
    assert!(connected.contains("goproxy_cluster_control_connected 0"), "{connected}");
}

fn certificate_of(cluster: &Cluster, subject: &str) -> String {
    let told = cluster.ctl(&["cert", "status", "-o", "json"]).json();
    let all = told["certificates"].as_array().unwrap();
    all.iter().find(|one| one["subject"] == subject).unwrap()["serial"].to_string()
}
