//! A module is fetched once for all nodes, and served by whichever is asked, whoever of them is gone.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tests::bed::shapes;
use tests::fault_proxy::{FaultProxy, Spoil};
use tests::process::eventually;
use tests::{Bed, Call, Cluster, Fault, Gate, Module, Origin};

use super::nodes::{cluster, cluster_with, get, metric, owners, settled, strangers};

#[test]
fn a_cold_file_is_fetched_once_whichever_nodes_are_asked() {
    let origin = Origin::start();
    let modules: Vec<_> = (0..6)
        .map(|number| {
            let module = Module::new(&format!("example.com/m{number}"), "v1.0.0");
            if number % 2 == 0 { module.filler(700_000) } else { module }
        })
        .collect();
    for module in &modules {
        origin.publish(module);
        origin.set_latest(module);
    }
    let cluster = cluster(&origin, 4);
    std::thread::scope(|scope| {
        for (node, module) in
            cluster.data.iter().flat_map(|node| modules.iter().map(move |module| (node, module)))
        {
            scope.spawn(move || {
                for path in shapes(module) {
                    let answer = get(node, &path).expect(200);
                    if path.ends_with(".zip") {
                        assert!(answer.body == module.zip(), "{path} of {}", node.name());
                    }
                }
            });
        }
    });
    for path in modules.iter().flat_map(shapes) {
        assert_eq!(origin.count(&path), 1, "{path}");
    }
    // By now every node has a copy of its own.
    for module in &modules {
        for node in &cluster.data {
            let answer = get(node, &module.url_path(".zip")).expect(200);
            assert_eq!(answer.expect_header("x-cache"), "hit");
        }
    }
}

/// Who looks for a copy while its slot moves, or while it cannot reach who should fetch it, asks whoever is fetching it.
#[test]
fn what_an_origin_is_about_to_send_is_waited_for_by_who_looks_for_a_copy() {
    let origin = Origin::start();
    let cluster = cluster(&origin, 4);
    for extension in [".info", ".mod", ".zip"] {
        let module = Module::new(&format!("example.com/coming{}", &extension[1..]), "v1.0.0");
        origin.publish(&module);
        let path = module.url_path(extension);
        origin.fault(&path, [Fault::Delay(Duration::from_secs(1))]);
        let (owner, stranger) = (owners(&cluster, &module)[0], strangers(&cluster, &module)[0]);
        std::thread::scope(|scope| {
            let fetched = scope.spawn(|| get(&cluster.data[owner], &path));
            eventually("the origin is asked", || (origin.count(&path) == 1).then_some(()));
            let only = get(&cluster.data[stranger], &format!("/cached-only{path}"));
            assert_eq!(only.status, 200, "{path}: {}", only.text());
            assert!(only.body == fetched.join().unwrap().expect(200).body, "{path}");
        });
        assert_eq!(origin.count(&path), 1, "{path}");
    }
}

/// The node that a slot moves to is asked before the one that it moves from has what it was asked for.
#[test]
fn a_file_on_its_way_is_fetched_once_though_its_slot_moves() {
    let origin = Origin::start();
    let cluster = cluster(&origin, 4);
    let module = Module::new("example.com/moving", "v1.0.0");
    origin.publish(&module);
    let path = module.url_path(".mod");
    origin.fault(&path, [Fault::Delay(Duration::from_millis(1800))]);
    let owner = owners(&cluster, &module)[0];
    std::thread::scope(|scope| {
        let fetched = scope.spawn(|| get(&cluster.data[owner], &path));
        eventually("the origin is asked", || (origin.count(&path) == 1).then_some(()));
        cluster.ctl(&["node", "drain", cluster.data[owner].name()]).code(0);
        let next = eventually("its slot moves", || {
            let next = owners(&cluster, &module)[0];
            (next != owner).then_some(next)
        });
        let answer = get(&cluster.data[next], &path).expect(200);
        assert!(answer.body == fetched.join().unwrap().expect(200).body);
    });
    assert_eq!(origin.count(&path), 1);
}

#[test]
fn a_stranger_says_where_content_came_from_and_asks_the_origin_for_nothing() {
    let origin = Origin::start();
    let module = Module::new("example.com/known", "v1.0.0").filler(700_000);
    origin.publish(&module);
    origin.set_latest(&module);
    let cluster = cluster(&origin, 4);
    let (owner, stranger) = (owners(&cluster, &module)[0], strangers(&cluster, &module)[0]);
    for path in shapes(&module) {
        get(&cluster.data[owner], &path).expect(200);
    }
    let before = origin.seen().len();
    for path in shapes(&module) {
        let answer = get(&cluster.data[stranger], &path).expect(200);
        assert_eq!(answer.expect_header("x-cache"), "peer", "{path}");
        assert!(answer.body == get(&cluster.data[owner], &path).body, "{path}");
    }
    let missing = get(&cluster.data[stranger], "/example.com/known/@v/v9.0.0.info");
    assert_eq!(missing.status, 404, "{}", missing.text());
    let only = get(&cluster.data[stranger], "/cached-only/example.com/known/@v/v8.0.0.info");
    assert_eq!(only.status, 404, "{}", only.text());
    let after: Vec<_> = origin.seen().into_iter().skip(before).map(|seen| seen.path).collect();
    assert!(after.iter().all(|path| path.contains("v9.0.0")), "{after:?}");
}

#[test]
fn what_any_node_holds_is_served_while_the_origin_is_gone() {
    let origin = Origin::start();
    let module = Module::new("example.com/held", "v1.0.0").filler(700_000);
    origin.publish(&module);
    origin.set_latest(&module);
    let mut cluster = cluster(&origin, 4);
    let (owner, stranger) = (owners(&cluster, &module)[0], strangers(&cluster, &module)[0]);
    for path in shapes(&module) {
        get(&cluster.data[owner], &path).expect(200);
    }
    origin.down();
    for node in &mut cluster.data {
        node.allow("origin");
    }
    for path in shapes(&module) {
        get(&cluster.data[stranger], &path).expect(200);
    }
    let prefixed = get(
        &cluster.data[strangers(&cluster, &module)[0]],
        &format!("/cached-only{}", module.url_path(".mod")),
    );
    assert_eq!(prefixed.status, 200);
}

#[test]
fn another_node_takes_over_when_the_owner_ends() {
    let origin = Origin::start();
    let module = Module::new("example.com/orphan", "v1.0.0").filler(700_000);
    origin.publish(&module);
    origin.set_latest(&module);
    let mut cluster = cluster(&origin, 4);
    let owners = owners(&cluster, &module);
    cluster.data[owners[0]].kill9();
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    let alive: Vec<_> = (0..cluster.data.len()).filter(|number| *number != owners[0]).collect();
    for number in &alive {
        for path in shapes(&module) {
            get(&cluster.data[*number], &path).expect(200);
        }
    }
    for path in shapes(&module) {
        assert_eq!(origin.count(&path), 1, "{path}");
    }
    // It comes back and is asked again.
    cluster.data[owners[0]].start(&[]);
    cluster.data[owners[0]].wait_ready();
    let stranger = strangers(&cluster, &module)[0];
    let mut number = 0;
    eventually("the owner is asked again", || {
        // What is held already is asked of nobody.
        number += 1;
        let late = Module::new(&module.path, &format!("v1.{number}.0"));
        origin.publish(&late);
        get(&cluster.data[stranger], &late.url_path(".info")).expect(200);
        (metric(cluster.data[stranger].admin(), "goproxy_peer_left_alone") == 0).then_some(())
    });
}

#[test]
fn whoever_comes_back_is_asked_by_everybody_at_once() {
    let origin = Origin::start();
    let module = Module::new("example.com/back", "v1.0.0");
    origin.publish(&module);
    let mut cluster = cluster(&origin, 4);
    let owner = owners(&cluster, &module)[0];
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    let mut number = 0;
    let mut new = || {
        number += 1;
        let new = Module::new(&module.path, &format!("v1.{number}.0"));
        origin.publish(&new);
        new
    };
    let everybody_asks = |cluster: &Cluster, module: &Module| {
        let path = module.url_path(".info");
        std::thread::scope(|scope| {
            for node in &cluster.data {
                scope.spawn(|| get(node, &path).expect(200));
            }
        });
        assert_eq!(origin.count(&path), 1, "{path}");
    };
    // Left alone by all the others for longer and longer.
    cluster.data[owner].kill9();
    for node in (0..cluster.data.len()).filter(|number| *number != owner) {
        eventually("found out again and again that it is gone", || {
            get(&cluster.data[node], &new().url_path(".info")).expect(200);
            let unreachable = r#"goproxy_peer_requests_total{outcome="unreachable"}"#;
            (metric(cluster.data[node].admin(), unreachable) >= 3).then_some(())
        });
    }
    cluster.data[owner].start(&[]);
    cluster.data[owner].wait_ready();
    for node in &cluster.data {
        assert_eq!(metric(node.admin(), "goproxy_peer_left_alone"), 0, "{}", node.name());
    }
    everybody_asks(&cluster, &new());
    // Taken for dead by the cluster, as after half a minute of silence.
    cluster.data[owner].kill9();
    cluster.ctl(&["failover", "node", cluster.data[owner].name(), "--yes", "--force"]).code(0);
    cluster.wait_state(cluster.data[owner].name(), "down");
    cluster.data[owner].start(&[]);
    cluster.data[owner].wait_ready();
    everybody_asks(&cluster, &new());
}

#[test]
fn an_owner_with_much_to_do_is_helped_by_another_replica() {
    let origin = Origin::start();
    let versions: Vec<_> = (0..60)
        .map(|number| {
            let module = Module::new("example.com/wanted", &format!("v1.{number}.0")).filler(400_000);
            origin.publish(&module);
            module
        })
        .collect();
    let cluster = cluster(&origin, 4);
    let (owners, stranger) = (owners(&cluster, &versions[0]), strangers(&cluster, &versions[0])[0]);
    for module in &versions {
        get(&cluster.data[owners[0]], &module.url_path(".zip")).expect(200);
    }
    for module in &versions {
        let path = format!("/cached-only{}", module.url_path(".zip"));
        eventually("the other replica has a copy", || {
            (get(&cluster.data[owners[1]], &path).status == 200).then_some(())
        });
    }
    std::thread::scope(|scope| {
        for module in &versions {
            let node = &cluster.data[stranger];
            scope.spawn(move || {
                let answer = get(node, &module.url_path(".zip")).expect(200);
                assert!(answer.body == module.zip(), "{}", module.version);
            });
        }
    });
    let told = Call::new(cluster.data[stranger].admin(), "GET", "/metrics").send().text();
    let shared = told
        .lines()
        .find_map(|line| line.strip_prefix("goproxy_peer_requests_total{outcome=\"shared\"} "))
        .and_then(|count| count.parse::<u64>().ok());
    assert!(shared.is_some_and(|shared| (1..=40).contains(&shared)), "{shared:?} of 60 were shared");
    for module in &versions {
        assert_eq!(origin.count(&module.url_path(".zip")), 1, "{}", module.version);
    }
}

#[test]
fn a_slow_node_is_spared_what_others_can_answer() {
    let origin = Origin::start();
    let mut cluster = Cluster::bootstrap();
    let mut slow = None;
    for number in 1..=4 {
        let (name, zone) = (format!("data-{number}"), format!("zone-{number}"));
        cluster.add_node_with(&name, &zone, &origin.url(), |node| {
            if number == 2 {
                let proxy = FaultProxy::start(node.rpc());
                node.flag("--rpc-advertise", &proxy.address().to_string());
                slow = Some(proxy);
            }
        });
        cluster.wait_state(&name, "active");
    }
    settled(&cluster);
    let all: Vec<_> = (0..160)
        .map(|number| Module::new(&format!("example.com/slow{number}"), "v1.0.0"))
        .filter(|module| {
            let owners = owners(&cluster, module);
            owners[0] == 1 && !owners.contains(&3)
        })
        .take(15)
        .collect();
    for module in &all {
        origin.publish(module);
        get(&cluster.data[1], &module.url_path(".mod")).expect(200);
    }
    eventually("replicas have copies", || {
        let has = |module: &Module| {
            let replica = &cluster.data[owners(&cluster, module)[1]];
            let answer = get(replica, &format!("/cached-only{}", module.url_path(".mod")));
            answer.status == 200 && answer.expect_header("x-cache") == "hit"
        };
        all.iter().all(has).then_some(())
    });
    slow.as_ref().unwrap().spoil(Spoil::Delay(Duration::from_millis(500)));
    // Connections that there are know nothing of it.
    cluster.data[1].terminate();
    cluster.data[3].allow("cannot be reached");
    cluster.data[1].start(&[]);
    cluster.data[1].wait_ready();
    let times: Vec<_> = all
        .iter()
        .map(|module| {
            let begun = Instant::now();
            get(&cluster.data[3], &module.url_path(".mod")).expect(200);
            begun.elapsed()
        })
        .collect();
    let long = times.iter().filter(|time| **time > Duration::from_millis(250)).count();
    assert!(all.len() > 5 && long <= 2, "{long} of {} waited for the slow node: {times:?}", all.len());
}

#[test]
fn a_zip_goes_on_when_its_lender_ends_in_the_middle() {
    let origin = Origin::start();
    let module = Module::new("example.com/broken", "v1.0.0").filler(3_000_000);
    origin.publish(&module);
    origin.set_latest(&module);
    let mut cluster = cluster(&origin, 4);
    let (owner, stranger) = (owners(&cluster, &module)[0], strangers(&cluster, &module)[0]);
    let path = module.url_path(".zip");
    let gate = Gate::new();
    origin.fault(&path, [Fault::Hold { after: 1_500_000, gate: gate.clone() }]);
    for (number, node) in cluster.data.iter_mut().enumerate() {
        if number != owner {
            node.allow("cannot be reached");
        }
    }
    let address = cluster.data[stranger].http();
    let asking = std::thread::spawn({
        let path = path.clone();
        move || Call::new(address, "GET", &path).send()
    });
    gate.wait_for(1);
    eventually("bytes have come to the stranger", || {
        (metric(cluster.data[stranger].admin(), "goproxy_peer_bytes_total") > 1_000_000).then_some(())
    });
    cluster.data[owner].kill9();
    gate.open();
    let answer = asking.join().expect("an answer").expect(200);
    assert!(answer.body == module.zip(), "{} bytes", answer.body.len());
    assert_eq!(origin.count(&path), 2, "the one that was cut off, and another");
}

#[test]
fn a_zip_that_is_refused_is_not_fetched_again_and_again() {
    let bed = Bed::new();
    let module = Module::new("example.com/forged", "v1.0.0").filler(1_500_000);
    bed.origin.publish(&module);
    let path = module.url_path(".zip");
    bed.origin.fault_times(&path, 50, [Fault::FlipBit(700_000)]);
    let cluster = cluster_with(&bed.origin, 4, |node| {
        node.flag("--sumdb", &bed.sumdb.key());
        node.allow("refused");
    });
    let stranger = strangers(&cluster, &module)[0];
    for _ in 0..2 {
        let answer = get(&cluster.data[stranger], &path);
        tests::bed::assert_not_served(&answer);
    }
    assert!(bed.origin.count(&path) <= 4, "fetched {} times for two requests", bed.origin.count(&path));
}

/// Whoever hears of it from the node that asked does not ask for the same by itself.
#[test]
fn an_origin_that_asks_for_patience_is_asked_by_one_node() {
    let origin = Origin::start();
    let module = Module::new("example.com/patience", "v1.0.0");
    origin.publish(&module);
    let mut cluster = cluster(&origin, 4);
    for node in &mut cluster.data {
        node.allow("circuit breaker");
    }
    let (path, stranger) = (module.url_path(".mod"), strangers(&cluster, &module)[0]);
    origin.fault(&path, [Fault::too_many_requests(30)]);
    let answer = get(&cluster.data[stranger], &path).expect(503);
    answer.expect_header("retry-after");
    assert_eq!(origin.count(&path), 1);
}

/// The go command asks for every prefix of an import path, and so does every build at once.
#[test]
fn a_private_path_that_is_none_is_looked_for_once_for_all_who_ask() {
    const CLIENTS: u64 = 20;
    let proxies = Mutex::new(Vec::new());
    let origin = Origin::start();
    let cluster = cluster_with(&origin, 3, |node| {
        node.flag("--private", "corp.example/*");
        // Those who look may be slow to come.
        node.allow("cannot be reached");
        let proxy = FaultProxy::start(node.rpc());
        node.flag("--rpc-advertise", &proxy.address().to_string());
        proxies.lock().unwrap().push(proxy);
    });
    let others = &proxies.into_inner().unwrap()[1..];
    let node = &cluster.data[0];
    let asked = || -> u64 {
        let count =
            |outcome| metric(node.admin(), &format!("goproxy_peer_requests_total{{outcome=\"{outcome}\"}}"));
        ["answered", "refused", "unreachable"].map(count).iter().sum()
    };
    let before = asked();
    let freeze = |frozen| others.iter().for_each(|proxy| proxy.freeze(frozen));
    freeze(true);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| get(node, "/corp.example/a/b/c/d/@v/list").expect(503));
        }
        eventually("all have asked", || {
            (metric(node.admin(), "goproxy_http_in_flight") == CLIENTS).then_some(())
        });
        freeze(false);
    });
    // Of the path and the three above it, each of the two others. Who comes while somebody asks waits for the next time.
    let asked = asked() - before;
    assert!(asked > 0 && asked <= 2 * 4 * 2, "{asked}");
}

#[test]
fn a_large_go_mod_is_served_by_every_node() {
    let origin = Origin::start();
    let text = format!("module example.com/wordy\n\n// {}\n", "x".repeat(6 << 20));
    let module = Module::new("example.com/wordy", "v1.0.0").go_mod_text(&text);
    origin.publish(&module);
    let cluster = cluster(&origin, 3);
    for node in &cluster.data {
        let answer = get(node, &module.url_path(".mod")).expect(200);
        assert!(answer.body == module.go_mod());
    }
    assert_eq!(origin.count(&module.url_path(".mod")), 1);
}
