//! Copies are where the layout wants them: of what was fetched, and of what slots that moved hold.

use std::time::Duration;

use serde_json::Value;
use tests::process::eventually;
use tests::{Cluster, Module, Origin};

use super::nodes::{cluster, get, holders, metric, owners, settled};

/// Modules with a zip of this size, and one version each.
fn modules(origin: &Origin, count: usize, bytes: usize) -> Vec<Module> {
    (0..count)
        .map(|number| {
            let module = Module::new(&format!("example.com/copied{number}"), "v1.0.0").filler(bytes);
            origin.publish(&module);
            module
        })
        .collect()
}

/// The paths of what never changes.
fn files(module: &Module) -> [String; 3] {
    [".info", ".mod", ".zip"].map(|suffix| module.url_path(suffix))
}

fn fetch(cluster: &Cluster, modules: &[Module]) {
    for module in modules {
        for path in files(module) {
            get(&cluster.data[owners(cluster, module)[0]], &path).expect(200);
        }
    }
}

/// Whether a node has all of a module by itself.
fn holds(cluster: &Cluster, node: usize, module: &Module) -> bool {
    let before = metric(cluster.data[node].admin(), "goproxy_peer_bytes_total");
    let all = files(module).iter().all(|path| {
        let answer = get(&cluster.data[node], &format!("/cached-only{path}"));
        answer.status == 200 && answer.expect_header("x-cache") == "hit"
    });
    all && metric(cluster.data[node].admin(), "goproxy_peer_bytes_total") == before
}

fn take_down(cluster: &mut Cluster, origin: &Origin, nodes: &[usize]) {
    origin.down();
    for number in nodes {
        cluster.data[*number].kill9();
    }
    for node in &mut cluster.data {
        node.allow("cannot be reached");
        node.allow("origin");
    }
}

#[test]
fn what_was_fetched_is_served_when_the_origin_and_who_fetched_it_are_gone() {
    let origin = Origin::start();
    let modules = modules(&origin, 4, 300_000);
    let mut cluster = cluster(&origin, 3);
    fetch(&cluster, &modules);
    let module = &modules[0];
    let owners = owners(&cluster, module);
    eventually("the replica has a copy", || holds(&cluster, owners[1], module).then_some(()));
    take_down(&mut cluster, &origin, &owners[..1]);
    let alive = (0..3).filter(|number| *number != owners[0]);
    for node in alive {
        for path in files(module) {
            let answer = get(&cluster.data[node], &path).expect(200);
            assert!(!path.ends_with(".zip") || answer.body == module.zip());
        }
    }
}

/// Others are told of what was stored half a second later; a node that ends before that does not leave with it.
#[test]
fn what_a_node_stored_as_it_was_told_to_end_is_fetched_once() {
    let origin = Origin::start();
    let modules = modules(&origin, 6, 1_000);
    let mut cluster = cluster(&origin, 2);
    for module in &modules {
        for path in files(module) {
            get(&cluster.data[0], &path).expect(200);
        }
    }
    assert!(cluster.data[0].terminate().success());
    cluster.data[1].allow("cannot be reached");
    for path in modules.iter().flat_map(files) {
        get(&cluster.data[1], &path).expect(200);
        assert_eq!(origin.count(&path), 1, "{path}");
    }
}

#[test]
fn a_node_that_comes_gets_what_its_slots_hold_and_no_more() {
    let origin = Origin::start();
    let modules = modules(&origin, 40, 100_000);
    let mut cluster = cluster(&origin, 3);
    fetch(&cluster, &modules);
    for module in &modules {
        eventually("two copies", || (holders(&cluster, module).len() >= 2).then_some(()));
    }
    let received = |cluster: &Cluster| -> u64 {
        cluster.data.iter().map(|node| metric(node.admin(), "goproxy_peer_bytes_total")).sum()
    };
    let before = received(&cluster);
    cluster.add_node("data-4", "zone-4", &origin.url());
    cluster.wait_state("data-4", "active");
    settled(&cluster);
    let came: Vec<_> = modules.iter().filter(|module| owners(&cluster, module).contains(&3)).collect();
    assert!(!came.is_empty());
    let bytes: u64 = came.iter().map(|module| module.zip().len() as u64).sum();
    // Also what the others took from one another.
    let moved = received(&cluster) - before;
    assert!(moved as f64 <= bytes as f64 * 1.05, "{moved} bytes moved, {bytes} are enough");
    let before = origin.total();
    for module in came {
        assert!(holds(&cluster, 3, module), "{}", module.path);
    }
    assert_eq!(origin.total(), before, "nothing was fetched again");
}

#[test]
fn a_node_that_drains_hands_over_what_it_has() {
    let origin = Origin::start();
    let modules = modules(&origin, 12, 100_000);
    let mut cluster = cluster(&origin, 3);
    fetch(&cluster, &modules);
    cluster.ctl(&["node", "drain", "data-2"]).code(0);
    eventually("data-2 holds nothing", || {
        let node = cluster.ctl(&["node", "show", "data-2", "-o", "json"]).json();
        (node["slot_count"] == 0).then_some(())
    });
    settled(&cluster);
    take_down(&mut cluster, &origin, &[1]);
    for module in &modules {
        for path in files(module) {
            get(&cluster.data[0], &path).expect(200);
            get(&cluster.data[2], &path).expect(200);
        }
    }
}

/// The class `retained`: what is pinned is at every replica, whether it was fetched before or comes later.
#[test]
fn what_is_pinned_is_at_every_replica() {
    let origin = Origin::start();
    let modules = modules(&origin, 8, 200_000);
    let mut cluster = cluster(&origin, 3);
    let copies = |cluster: &Cluster, module: &Module| {
        let shown = cluster.ctl(&["module", "show", &module.path, "-o", "json"]).json();
        let copies = shown["versions"][0]["copies"].as_array().cloned().unwrap_or_default();
        copies.into_iter().filter(|copy| copy["zip_size"].as_u64() > Some(0)).collect::<Vec<_>>()
    };
    let later = &modules[0];
    cluster.ctl(&["module", "pin", &later.path]).code(0);
    fetch(&cluster, &modules);
    eventually("three copies of what was pinned before it came", || {
        (copies(&cluster, later).len() == 3).then_some(())
    });
    for module in &modules {
        eventually("two copies", || (copies(&cluster, module).len() >= 2).then_some(()));
    }
    // What came while a node did not know yet that the layout has settled may be at all of them.
    let cached: Vec<&Module> = modules.iter().filter(|module| copies(&cluster, module).len() == 2).collect();
    let [before, other, ..] = cached[..] else { panic!("what can be fetched again is at all replicas") };
    cluster.ctl(&["module", "pin", &format!("{}@v1.0.0", before.path)]).code(0);
    eventually("three copies of what was pinned later", || {
        (copies(&cluster, before).len() == 3).then_some(())
    });
    let class = |module: &Module| copies(&cluster, module)[0]["class"].clone();
    assert_eq!([class(before), class(later), class(other)], ["retained", "retained", "cache"]);
    assert_eq!(copies(&cluster, other).len(), 2, "nobody has pinned it");
    // Whichever two are lost, the third has it.
    let origins = origin.total();
    for lost in 0..2 {
        cluster.data[lost].kill9();
    }
    cluster.data[2].allow("cannot be reached");
    for module in [before, later] {
        assert_eq!(get(&cluster.data[2], &module.url_path(".zip")).expect(200).body, module.zip());
    }
    assert_eq!(origin.total(), origins, "nothing was fetched again");
}

/// A move tells how far it is, stands still while it is paused, and goes on.
#[test]
fn a_move_can_be_paused() {
    let origin = Origin::start();
    let modules = modules(&origin, 24, 1_000_000);
    let mut cluster = cluster(&origin, 3);
    fetch(&cluster, &modules);
    let status = |cluster: &Cluster| cluster.ctl(&["layout", "status", "-o", "json"]).json();
    let left = |status: &Value| status["bytes_left"].as_u64().unwrap();
    cluster.add_node_with("data-4", "zone-4", &origin.url(), |node| node.flag("--handoff-rate", "2MiB"));
    let moving = eventually("a part has come, and the rest has a time", || {
        let now = status(&cluster);
        // The others say with their next heartbeat that nothing comes to them.
        (left(&now) > 0
            && left(&now) < now["bytes_total"].as_u64()?
            && now["left_duration"].is_number()
            && now["nodes_behind"] == serde_json::json!(["data-4"]))
        .then_some(now)
    });
    assert_eq!(moving["state"], "moving");
    assert!(moving["slots_left"].as_u64().unwrap() > 0, "{moving}");
    cluster.ctl(&["layout", "pause"]).code(0);
    let stands = eventually("it stands still", || {
        let before = status(&cluster);
        // waits for: what comes within two heartbeats
        std::thread::sleep(Duration::from_secs(2));
        (left(&status(&cluster)) == left(&before)).then_some(before)
    });
    assert_eq!((&stands["state"], &stands["paused"]), (&"moving".into(), &true.into()), "{stands}");
    assert!(left(&stands) > 0, "it has ended before it was paused: {stands}");
    let jobs = cluster.ctl(&["cluster", "jobs", "list", "--state", "paused", "-o", "json"]).json();
    assert_eq!(jobs["jobs"][0]["kind"], "layout", "{jobs}");
    let next = stands["epoch"].as_u64().unwrap() + 1;
    let refused = cluster.ctl(&["layout", "apply", "--expect-epoch", &next.to_string()]).code(3);
    assert!(refused.stderr.contains("layout resume"), "{}", refused.stderr);
    cluster.ctl(&["layout", "resume"]).code(0);
    settled(&cluster);
    let origins = origin.total();
    for module in modules.iter().filter(|module| owners(&cluster, module).contains(&3)) {
        assert!(holds(&cluster, 3, module), "{}", module.path);
    }
    assert_eq!(origin.total(), origins, "nothing was fetched again");
}

#[test]
fn the_number_of_replicas_is_changed_by_a_layout() {
    let origin = Origin::start();
    let modules = modules(&origin, 3, 1000);
    let cluster = cluster(&origin, 3);
    let before = owners(&cluster, &modules[0]).len();
    let wanted = if before == 2 { "3" } else { "2" };
    let told = cluster.ctl(&["layout", "plan", "--replication-factor", wanted, "-o", "json"]).code(2);
    let plan: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let epoch = plan["epoch"].to_string();
    cluster.ctl(&["layout", "apply", "--expect-epoch", "1", "--replication-factor", wanted]).code(3);
    let apply = ["layout", "apply", "--expect-epoch", &epoch, "--replication-factor", wanted];
    // What is refused leaves nothing behind.
    cluster.ctl(&["layout", "pause"]).code(0);
    cluster.ctl(&apply).code(3);
    cluster.ctl(&[&apply[..], &["--dry-run"]].concat()).code(3);
    cluster.ctl(&["layout", "resume"]).code(0);
    cluster.ctl(&["layout", "plan"]).code(0);
    cluster.ctl(&apply).code(0);
    settled(&cluster);
    assert_eq!(owners(&cluster, &modules[0]).len().to_string(), wanted);
    for module in &modules {
        for node in &cluster.data {
            get(node, &module.url_path(".zip")).expect(200);
        }
    }
    let next = plan["epoch"].as_u64().unwrap() + 1;
    cluster.ctl(&["layout", "revert", "--expect-epoch", &next.to_string()]).code(0);
    settled(&cluster);
    assert_eq!(owners(&cluster, &modules[0]).len(), before);
    cluster.ctl(&["layout", "plan"]).code(0);
}

#[test]
fn who_comes_back_lists_only_the_slots_that_differ() {
    const SLOTS: u64 = 4096;
    let origin = Origin::start();
    let modules = modules(&origin, 25, 1000);
    let (last, first) = modules.split_last().unwrap();
    let mut cluster = cluster(&origin, 3);
    fetch(&cluster, first);
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    // What both others have counted of slots that were alike, and listed.
    let counted = |cluster: &Cluster| {
        ["alike", "listed"].map(|outcome| -> u64 {
            let name = format!("goproxy_peer_slots_compared_total{{outcome=\"{outcome}\"}}");
            cluster.data[..2].iter().map(|node| metric(node.admin(), &name)).sum()
        })
    };
    let come_back = |cluster: &mut Cluster, meanwhile: &dyn Fn(&Cluster)| {
        cluster.data[2].terminate();
        meanwhile(cluster);
        let before = counted(cluster);
        cluster.data[2].start(&[]);
        cluster.data[2].wait_ready();
        eventually("it has compared all that it holds with both others", || {
            let now = counted(cluster);
            let (alike, listed) = (now[0] - before[0], now[1] - before[1]);
            (alike + listed >= 2 * SLOTS).then_some((alike, listed))
        })
    };
    for _ in 0..2 {
        // What one takes another one had; what that one lacks, it takes with the second.
        cluster.ctl(&["cache", "repair"]).code(0);
    }
    eventually("it has all small files", || {
        let has = |module: &Module| {
            [".info", ".mod"].iter().all(|suffix| {
                let answer = get(&cluster.data[2], &format!("/cached-only{}", module.url_path(suffix)));
                answer.status == 200 && answer.expect_header("x-cache") == "hit"
            })
        };
        first.iter().all(has).then_some(())
    });
    assert_eq!(come_back(&mut cluster, &|_| {}), (2 * SLOTS, 0));
    let (_, listed) = come_back(&mut cluster, &|cluster| fetch_at(cluster, 0, last));
    assert!((1..=2).contains(&listed), "{listed}");
    eventually("it has what it missed", || {
        let answer = get(&cluster.data[2], &format!("/cached-only{}", last.url_path(".mod")));
        (answer.status == 200 && answer.expect_header("x-cache") == "hit").then_some(())
    });
}

fn fetch_at(cluster: &Cluster, node: usize, module: &Module) {
    for path in files(module) {
        get(&cluster.data[node], &path).expect(200);
    }
}
