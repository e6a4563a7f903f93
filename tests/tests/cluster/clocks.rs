//! Clocks that are wrong or run long, and certificates that end.

use std::time::{Duration, Instant};
use tests::bed::shapes;
use tests::process::eventually;
use tests::wall_clock::{DAY_S, HOUR_S};
use tests::{Call, Cluster, GoClient, Module, Origin, WallClock};

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

/// Row 21 of the list of faults: the clock of one control node runs a tenth too fast, or too slow, whether it leads or follows. No
/// election comes of it, and who leads when it dies is as soon replaced.
#[test]
fn a_clock_that_drifts_elects_nobody_and_loses_no_election() {
    for percent in [110, 90] {
        let clock = WallClock::at_rate(percent);
        let (given, first) = (clock.clone(), std::cell::Cell::new(true));
        let mut cluster = Cluster::prepared(3, move |node| {
            if first.replace(false) {
                given.give(node);
            }
        });
        for node in &mut cluster.control {
            node.allow("raft: ");
        }
        for leader in ["control-1", "control-2"] {
            if cluster.status().unwrap()["leader"] != leader {
                cluster.ctl(&["cluster", "transfer-leader", leader]).code(0);
                eventually("it leads", || (cluster.status()?["leader"] == leader).then_some(()));
            }
            let term = cluster.status().unwrap()["term"].clone();
            let begun = Instant::now();
            let mut written = 0;
            while begun.elapsed() < Duration::from_secs(4) {
                written += 1;
                cluster.ctl(&["token", "create", &format!("{leader}-{written}"), "--role", "viewer"]).code(0);
            }
            let status = cluster.status().unwrap();
            assert_eq!((&status["term"], &status["leader"]), (&term, &leader.into()), "at {percent} %");
        }
        // The one with the wrong clock is among those who choose the next.
        cluster.control[1].kill9();
        let killed = Instant::now();
        eventually("another leads", || cluster.quick_leader());
        assert!(killed.elapsed() < Duration::from_secs(5), "{:?} at {percent} %", killed.elapsed());
        cluster.ctl(&["token", "create", "after", "--role", "viewer"]).code(0);
    }
}

/// Row 26 and 27 of the list of faults, for as long as anybody sleeps: by the clocks of the nodes, the control plane is away for a day,
/// and each node is restarted meanwhile. All that was read is read, and what is new is fetched, once.
#[test]
fn a_day_without_a_control_plane_is_a_day_like_any_other() {
    let origin = Origin::start();
    let publish = |name: &str| {
        let module = Module::new(&format!("example.com/{name}"), "v1.0.0").filler(300_000);
        origin.publish(&module);
        origin.set_latest(&module);
        module
    };
    let clock = WallClock::right();
    let given = clock.clone();
    let mut cluster = Cluster::prepared(1, move |node| given.give(node));
    cluster.give_ctl(&clock);
    for (name, zone) in [("data-1", "a"), ("data-2", "b"), ("data-3", "c")] {
        let given = clock.clone();
        let node = cluster.add_node_with(name, zone, &origin.url(), move |node| given.give(node));
        node.allow("control");
    }
    for name in ["data-1", "data-2", "data-3"] {
        cluster.wait_state(name, "active");
    }
    cluster.settled();
    let mut known = vec![publish("known")];
    let read = |cluster: &Cluster, module: &Module| {
        for node in &cluster.data {
            for path in shapes(module) {
                let answer = Call::new(node.http(), "GET", &path).send().expect(200);
                assert!(!path.ends_with(".zip") || answer.body == module.zip(), "{path} of {}", node.name());
            }
        }
    };
    read(&cluster, &known[0]);
    cluster.control[0].kill9();
    for hour in 1..=24 {
        clock.step(hour * HOUR_S);
        if hour % 8 == 0 {
            let node = &mut cluster.data[usize::try_from(hour / 8 - 1).unwrap()];
            node.kill9();
            node.start(&[]);
            node.wait_ready();
        }
        if hour % 6 == 0 {
            known.push(publish(&format!("of-hour-{hour}")));
        }
        for module in &known {
            read(&cluster, module);
        }
    }
    for module in &known {
        let path = module.url_path(".zip");
        assert_eq!(origin.count(&path), 1, "{path}");
    }
    cluster.control[0].start(&[]);
    for name in ["data-1", "data-2", "data-3"] {
        cluster.wait_state(name, "active");
    }
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
