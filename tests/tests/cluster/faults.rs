//! What nodes survive: connections that are open on one side only, everything ending at once, a death while another one comes, more
//! requests than there is room for.

use std::time::{Duration, Instant};

use tests::fault_proxy::Spoil;
use tests::process::eventually;
use tests::{Call, Cluster, Fault, Gate, Module, Origin, Response};

use super::nodes::{
    cluster, cluster_behind_proxies, cluster_with, get, holders, metric, owners, settled, strangers,
    with_nodes,
};

fn modules(origin: &Origin, stem: &str, count: usize, bytes: usize) -> Vec<Module> {
    (0..count)
        .map(|number| {
            let module = Module::new(&format!("example.com/{stem}{number}"), "v1.0.0").filler(bytes);
            origin.publish(&module);
            module
        })
        .collect()
}

fn allow_loss(cluster: &mut Cluster) {
    for node in &mut cluster.data {
        node.allow("cannot be reached");
        node.allow("no control node");
    }
}

/// Whoever asks a node may have left before there is a connection to it, since another one has answered.
#[test]
fn a_connection_that_was_left_half_made_is_not_held_against_a_node() {
    let origin = Origin::start();
    let (cluster, proxies) = cluster_behind_proxies(&origin, 4);
    let all = modules(&origin, "left", 300, 1_000);
    let mut its = all.iter().filter(|module| {
        let owners = owners(&cluster, module);
        owners[0] == 1 && !owners.contains(&3)
    });
    let (held, cold) = (its.next().expect("one of many"), its.next().expect("another"));
    let (path, new) = (held.url_path(".zip"), cold.url_path(".zip"));
    get(&cluster.data[1], &path).expect(200);
    let replicas = owners(&cluster, held);
    // Also the last one: a copy that is on its way when connections end would be held against the node.
    eventually("its replicas have copies", || {
        let has = |&replica: &usize| {
            let answer = get(&cluster.data[replica], &format!("/cached-only{path}"));
            answer.status == 200 && answer.expect_header("x-cache") == "hit"
        };
        replicas[1..].iter().all(has).then_some(())
    });
    proxies[1].freeze(true);
    assert_eq!(get(&cluster.data[3], &path).expect(200).expect_header("x-cache"), "peer");
    proxies[1].cut();
    proxies[1].freeze(false);
    assert_eq!(get(&cluster.data[3], &new).expect(200).expect_header("x-cache"), "peer");
    let told = Call::new(cluster.data[3].admin(), "GET", "/metrics").send().text();
    let unreachable = told.lines().find(|line| line.contains("outcome=\"unreachable\"}"));
    assert!(unreachable.is_none_or(|line| line.ends_with(" 0")), "{unreachable:?}");
    assert_eq!(origin.count(&new), 1);
}

/// Row 29: nothing passes between two nodes any more, and the connection stays open.
#[test]
fn a_connection_that_is_open_on_one_side_only_holds_nobody_up() {
    let origin = Origin::start();
    let (mut cluster, proxies) = cluster_behind_proxies(&origin, 4);
    allow_loss(&mut cluster);
    let modules = modules(&origin, "half", 6, 300_000);
    // Connections are there and have been used.
    for node in &cluster.data {
        get(node, &modules[0].url_path(".zip")).expect(200);
    }
    let module = modules[1..].iter().find(|module| owners(&cluster, module)[0] == 0).unwrap_or(&modules[1]);
    let (owner, stranger) = (owners(&cluster, module)[0], strangers(&cluster, module)[0]);
    proxies[owner].freeze(true);
    for suffix in [".info", ".mod", ".zip"] {
        let begun = Instant::now();
        let answer = get(&cluster.data[stranger], &module.url_path(suffix)).expect(200);
        assert!(suffix != ".zip" || answer.body == module.zip());
        assert!(begun.elapsed() < Duration::from_secs(5), "{suffix} took {:?}", begun.elapsed());
    }
    proxies[owner].freeze(false);
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

/// Row 33: all of them end at once, and come back without an origin.
#[test]
fn when_everything_ended_at_once_each_serves_what_it_has_as_soon_as_it_is_up() {
    let origin = Origin::start();
    let modules = modules(&origin, "outage", 6, 50_000);
    let mut cluster = with_nodes(Cluster::of(3), &origin, 3, |_| {});
    allow_loss(&mut cluster);
    for (module, node) in
        modules.iter().flat_map(|module| cluster.data.iter().map(move |node| (module, node)))
    {
        for suffix in [".info", ".mod", ".zip"] {
            get(node, &module.url_path(suffix)).expect(200);
        }
    }
    origin.down();
    for node in cluster.data.iter_mut().chain(&mut cluster.control) {
        node.kill9();
    }
    for number in 0..3 {
        cluster.data[number].start(&[]);
        cluster.data[number].wait_ready();
        for module in &modules {
            let answer = get(&cluster.data[number], &module.url_path(".zip")).expect(200);
            assert!(answer.body == module.zip());
        }
    }
    for node in &mut cluster.control {
        node.start(&[]);
    }
    cluster.wait_voters(3);
    for number in 1..=3 {
        cluster.wait_state(&format!("data-{number}"), "active");
    }
    settled(&cluster);
}

/// Row 35: a node comes while another one dies.
#[test]
fn a_node_comes_while_another_one_dies_and_nothing_is_lost() {
    let origin = Origin::start();
    let modules = modules(&origin, "crossed", 24, 50_000);
    let mut cluster = cluster(&origin, 3);
    for module in &modules {
        let owner = owners(&cluster, module)[0];
        for suffix in [".info", ".mod", ".zip"] {
            get(&cluster.data[owner], &module.url_path(suffix)).expect(200);
        }
    }
    let holds = |cluster: &Cluster, node: usize, module: &Module| {
        let path = format!("/cached-only{}", module.url_path(".zip"));
        let answer = get(&cluster.data[node], &path);
        answer.status == 200 && answer.expect_header("x-cache") == "hit"
    };
    eventually("each has its copies", || {
        let all =
            |module: &Module| owners(&cluster, module).into_iter().all(|node| holds(&cluster, node, module));
        modules.iter().all(all).then_some(())
    });
    allow_loss(&mut cluster);
    cluster.data[1].kill9();
    cluster.add_node("data-4", "zone-2", &origin.url());
    allow_loss(&mut cluster);
    cluster.ctl(&["failover", "node", "data-2", "--force", "--yes"]).code(0);
    cluster.wait_state("data-4", "active");
    settled(&cluster);
    for module in &modules {
        eventually("two of the living have a copy", || {
            let living = holders(&cluster, module).into_iter().filter(|node| *node != 1);
            (living.count() >= 2).then_some(())
        });
    }
    origin.down();
    for (module, node) in modules.iter().flat_map(|module| [0, 2, 3].map(|node| (module, node))) {
        cluster.data[node].allow("origin");
        let answer = get(&cluster.data[node], &module.url_path(".zip")).expect(200);
        assert!(answer.body == module.zip(), "{} of data-{}", module.path, node + 1);
    }
}

/// Row 36: whoever holds something that others are not known to hold is not removed.
#[test]
fn a_node_that_holds_slots_is_not_removed_and_it_is_said_what_it_holds() {
    let origin = Origin::start();
    let cluster = cluster_with(&origin, 2, |node| node.flag("--private", "corp.example/*"));
    let module = Module::new("corp.example/only", "v1.0.0").file("only.go", "package only\n");
    let folder = tempfile::tempdir().unwrap();
    let zip = folder.path().join("only.zip");
    std::fs::write(&zip, module.zip()).unwrap();
    cluster.ctl(&["module", "publish", &module.spec(), zip.to_str().unwrap()]).code(0);
    let told = cluster.ctl(&["node", "remove", "data-1", "--yes"]).code(3);
    assert!(told.stderr.contains("data-1") && told.stderr.contains("slots"), "{}", told.stderr);
    assert!(!told.stderr.contains("corp.example"), "{}", told.stderr);
    // What the other one had is nowhere else any more.
    cluster.ctl(&["failover", "node", "data-2", "--force", "--yes"]).code(0);
    let told = cluster.ctl(&["node", "remove", "data-1", "--yes"]).code(3);
    assert!(told.stderr.contains("corp.example/only@v1.0.0"), "{}", told.stderr);
}

/// Row 75: ten times what there is room for, then as before.
#[test]
fn a_burst_is_shed_early_and_is_over_when_it_is_over() {
    let origin = Origin::start();
    let cluster = cluster_with(&origin, 2, |node| node.flag("--max-requests-in-flight", "16"));
    let modules = modules(&origin, "burst", 40, 10);
    let gate = Gate::new();
    for module in &modules {
        origin.fault(&module.url_path(".info"), [Fault::Hold { after: 0, gate: gate.clone() }]);
    }
    let nodes = &cluster.data;
    let ask = |number: usize| -> Response {
        let node = &nodes[number % 2];
        Call::new(node.http(), "GET", &modules[number % modules.len()].url_path(".info")).send()
    };
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..160).map(|number| scope.spawn(move || ask(number))).collect();
        let refused = |asking: &[std::thread::ScopedJoinHandle<'_, Response>]| {
            asking.iter().filter(|one| one.is_finished()).count()
        };
        // Those for whom there is no room hear it at once, while the others wait for the origin.
        eventually("most are refused", || (refused(&asking) >= 160 - 2 * 16 - 2 * 16).then_some(()));
        gate.open();
        asking
            .into_iter()
            .map(|one| {
                let answer = one.join().unwrap();
                assert!(answer.status != 503 || answer.header("retry-after").is_some());
                answer.status
            })
            .collect()
    });
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
    let over = Instant::now();
    for module in &modules {
        for node in &cluster.data {
            get(node, &module.url_path(".info")).expect(200);
        }
    }
    assert!(over.elapsed() < Duration::from_secs(10), "{:?}", over.elapsed());
    let said = ["answered", "refused", "unreachable", "second"];
    let series = said.map(|outcome| format!("goproxy_peer_requests_total{{outcome=\"{outcome}\"}}"));
    let count = |node: &tests::Node| series.iter().map(|name| metric(node.admin(), name)).sum::<u64>();
    let asked: u64 = cluster.data.iter().map(count).sum();
    // One for each request to a node that is not the owner, and a tenth more.
    assert!(asked <= (160 + 80) * 11 / 10, "{asked} requests between the nodes");
    for module in &modules {
        assert!(origin.count(&module.url_path(".info")) <= 2, "{}", module.path);
    }
}

/// Row 75: while origins fail, nodes do not have each other try everything a second time.
#[test]
fn one_request_in_ten_is_fetched_a_second_time_while_origins_fail() {
    let origin = Origin::start();
    let cluster = cluster_with(&origin, 4, |node| node.allow("origin"));
    let elsewhere = |module: &Module| !owners(&cluster, module).contains(&0);
    let modules: Vec<_> = modules(&origin, "failing", 200, 10).into_iter().filter(elsewhere).collect();
    assert!(modules.len() > 30, "{} of 200 are other nodes'", modules.len());
    let again = || metric(cluster.data[0].admin(), "goproxy_peer_requests_total{outcome=\"again\"}");
    origin.down();
    for module in &modules {
        assert!(get(&cluster.data[0], &module.url_path(".info")).status >= 500, "{}", module.path);
    }
    // So many are there at first.
    let tried = 20 + modules.len() as u64 / 10 + 1;
    assert!((20..=tried).contains(&again()), "{} of {}", again(), modules.len());
    origin.up();
    for module in &modules {
        eventually("it is had", || {
            (get(&cluster.data[0], &module.url_path(".info")).status == 200).then_some(())
        });
    }
}

/// Rows 51 and 76: everything is cold, everybody asks every node for everything.
#[test]
fn with_all_caches_cold_everybody_asking_costs_an_origin_one_request_a_file() {
    let origin = Origin::start();
    let mut all = modules(&origin, "cold", 30, 20_000);
    all.extend(modules(&origin, "coldest", 2, 8_000_000));
    let cluster = cluster(&origin, 3);
    std::thread::scope(|scope| {
        for number in 0..90 {
            let (nodes, all) = (&cluster.data, &all);
            scope.spawn(move || {
                for turn in 0..all.len() {
                    let module = &all[(number * 7 + turn) % all.len()];
                    let node = &nodes[(number + turn) % 3];
                    for suffix in [".info", ".mod", ".zip"] {
                        let answer = get(node, &module.url_path(suffix)).expect(200);
                        assert!(suffix != ".zip" || answer.body == module.zip());
                    }
                }
            });
        }
    });
    for path in all.iter().flat_map(|module| [".info", ".mod", ".zip"].map(|suffix| module.url_path(suffix)))
    {
        assert_eq!(origin.count(&path), 1, "{path}");
    }
    for node in &cluster.data {
        let peak = tests::usage::status_kib(node.pid(), "VmHWM:") / 1024;
        assert!(peak < 400, "{} had {peak} MiB", node.name());
    }
}

/// Changes the number of replicas ten times.
fn ten_layouts(cluster: &Cluster, after_each: impl Fn(&Cluster)) {
    for wanted in ["2", "3"].into_iter().cycle().take(10) {
        let told = cluster.ctl(&["layout", "plan", "--replication-factor", wanted, "-o", "json"]).code(2);
        let plan: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
        let epoch = plan["epoch"].to_string();
        let apply = ["layout", "apply", "--expect-epoch", &epoch, "--replication-factor", wanted];
        cluster.ctl(&apply).code(0);
        after_each(cluster);
    }
}

/// Row 28: a node comes back that slept through ten layouts.
#[test]
fn a_node_that_missed_ten_layouts_fetches_nothing_that_others_have() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin, 4);
    allow_loss(&mut cluster);
    assert!(cluster.data[3].terminate().success());
    cluster.ctl(&["failover", "node", "data-4", "--force", "--yes"]).code(0);
    settled(&cluster);
    ten_layouts(&cluster, settled);
    let modules = modules(&origin, "slept", 8, 50_000);
    let files = |module: &Module| [".info", ".mod", ".zip"].map(|suffix| module.url_path(suffix));
    for path in modules.iter().flat_map(files) {
        get(&cluster.data[0], &path).expect(200);
    }
    cluster.data[3].start(&[]);
    cluster.data[3].wait_ready();
    for module in &modules {
        for path in files(module) {
            let answer = get(&cluster.data[3], &path).expect(200);
            assert!(!path.ends_with(".zip") || answer.body == module.zip());
            assert_eq!(origin.count(&path), 1, "{path}");
        }
    }
    // It was taken for dead by force, so that it gets nothing before somebody says so.
    cluster.wait_state("data-4", "cordoned");
    cluster.ctl(&["node", "uncordon", "data-4"]).code(0);
    eventually("it has its share again", || {
        let node = cluster.ctl(&["node", "show", "data-4", "-o", "json"]).json();
        (node["slot_count"].as_u64()? > 0).then_some(())
    });
    settled(&cluster);
}

/// Row 28 where nobody took it out: it owns slots by the layout that it knows, which is ten layouts old.
#[test]
fn a_node_that_slept_through_ten_layouts_answers_as_an_owner_of_today() {
    let origin = Origin::start();
    let mut cluster = cluster(&origin, 4);
    allow_loss(&mut cluster);
    cluster.data[3].kill9();
    ten_layouts(&cluster, |_| {});
    let modules = modules(&origin, "away", 16, 50_000);
    let files = |module: &Module| [".info", ".mod", ".zip"].map(|suffix| module.url_path(suffix));
    for path in modules.iter().flat_map(files) {
        get(&cluster.data[0], &path).expect(200);
    }
    assert!(modules.iter().any(|module| owners(&cluster, module)[0] == 3), "it owns none of them");
    // Whatever it fetched itself would be an error.
    origin.down();
    cluster.data[3].start(&[]);
    cluster.data[3].wait_ready();
    for module in &modules {
        for path in files(module) {
            let answer = get(&cluster.data[3], &path).expect(200);
            assert!(!path.ends_with(".zip") || answer.body == module.zip());
            assert_eq!(origin.count(&path), 1, "{path}");
        }
    }
    settled(&cluster);
}

/// What replicas missed while nobody could reach anybody, they have within a minute after that has ended.
#[test]
fn replicas_are_alike_within_a_minute_after_a_partition() {
    let origin = Origin::start();
    let (mut cluster, proxies) = cluster_behind_proxies(&origin, 3);
    allow_loss(&mut cluster);
    for proxy in &proxies {
        proxy.freeze(true);
    }
    let modules = modules(&origin, "apart", 24, 100_000);
    // Each node fetches what it is asked for itself.
    std::thread::scope(|scope| {
        for (number, module) in modules.iter().enumerate() {
            let node = &cluster.data[number % 3];
            scope.spawn(move || {
                for suffix in [".info", ".mod", ".zip"] {
                    get(node, &module.url_path(suffix)).expect(200);
                }
            });
        }
    });
    // Copies of what can be fetched again are at the owner and at one more node, which may be who fetched it.
    let owner_of: Vec<usize> = modules.iter().map(|module| owners(&cluster, module)[0]).collect();
    let lack = || {
        let lacks = |(module, owner): &(&Module, &usize)| {
            let holders = holders(&cluster, module);
            holders.len() < 2 || !holders.contains(owner)
        };
        modules.iter().zip(&owner_of).filter(lacks).count()
    };
    assert!(lack() > modules.len() / 2, "nothing was missed");
    let healed = Instant::now();
    for proxy in &proxies {
        proxy.freeze(false);
    }
    while lack() > 0 {
        assert!(healed.elapsed() < Duration::from_mins(1), "{} lack a copy", lack());
        // waits for: copies that are on their way
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whoever watches a drain hears of its end when nothing is read from the node any more, not when the next layout is there.
#[test]
fn a_drain_that_was_watched_leaves_nothing_behind() {
    let origin = Origin::start();
    let modules = modules(&origin, "left", 24, 200_000);
    // So slowly that the move can be seen.
    let mut cluster = cluster_with(&origin, 3, |node| node.flag("--handoff-rate", "1MiB"));
    for module in &modules {
        for path in [".info", ".mod", ".zip"].map(|suffix| module.url_path(suffix)) {
            get(&cluster.data[1], &path).expect(200);
        }
    }
    allow_loss(&mut cluster);
    cluster.ctl(&["node", "drain", "data-2"]).code(0);
    cluster.ctl(&["node", "show", "data-2", "--watch"]).code(0);
    assert_eq!(cluster.status().expect("a status")["layout"]["state"], "stable");
    cluster.data[1].kill9();
    origin.down();
    for (module, node) in modules.iter().flat_map(|module| [0, 2].map(|node| (module, node))) {
        cluster.data[node].allow("origin");
        let answer = get(&cluster.data[node], &module.url_path(".zip")).expect(200);
        assert!(answer.body == module.zip(), "{} of data-{}", module.path, node + 1);
    }
}

/// One node that does not answer costs the others nothing.
#[test]
fn a_purge_is_done_where_nodes_answer_though_one_does_not() {
    let origin = Origin::start();
    let modules = modules(&origin, "purged", 1, 30_000);
    let (mut cluster, proxies) = cluster_behind_proxies(&origin, 3);
    allow_loss(&mut cluster);
    for node in &cluster.data {
        get(node, &modules[0].url_path(".zip")).expect(200);
    }
    proxies[2].freeze(true);
    let told = cluster.ctl(&["module", "purge", &modules[0].path, "--yes", "-o", "json"]).code(7);
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    for result in told["results"].as_array().unwrap() {
        assert_eq!(result["problem"] != "", result["node"] == "data-3", "{told}");
        assert!(result["node"] == "data-3" || result["version_count"] == 1, "{told}");
    }
    proxies[2].freeze(false);
}

/// What is on its way between two nodes when it is purged comes to nobody.
#[test]
fn a_purge_reaches_copies_that_are_on_their_way() {
    let origin = Origin::start();
    let (mut cluster, proxies) = cluster_behind_proxies(&origin, 3);
    allow_loss(&mut cluster);
    let module = &modules(&origin, "hurried", 1, 6_000_000)[0];
    let path = module.url_path(".zip");
    let owner = owners(&cluster, module)[0];
    let replicas: Vec<_> =
        (0..3).filter(|number| *number != owner).map(|number| &cluster.data[number]).collect();
    // A quarter of a minute for each copy.
    proxies[owner].spoil(Spoil::Drip(16_000, Duration::from_millis(40)));
    proxies[owner].cut();
    get(&cluster.data[owner], &path).expect(200);
    // To one of them at least: two copies are enough of what can be fetched again.
    let taking = eventually("a copy is on its way", || {
        let is_taking =
            |replica: &&&tests::Node| metric(replica.admin(), "goproxy_peer_bytes_total") > 500_000;
        let taking: Vec<_> = replicas.iter().filter(is_taking).collect();
        (!taking.is_empty()).then_some(taking)
    });
    cluster.ctl(&["module", "purge", &module.path, "--yes"]).code(0);
    for replica in &taking {
        eventually("the copy has come and is gone", || {
            replica.log().contains("removed a copy that was on its way").then_some(())
        });
    }
    for node in &cluster.data {
        get(node, &format!("/cached-only{path}")).expect(404);
    }
    assert_eq!(get(replicas[0], &path).expect(200).body, module.zip());
    assert_eq!(origin.count(&path), 2, "it was fetched anew");
}
