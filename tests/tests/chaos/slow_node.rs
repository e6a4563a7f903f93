//! What one slow node costs whoever asks the others for what they hold, and them whoever asks for what nobody holds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::chance::is_soak;
use tests::cluster::metric;
use tests::fault_proxy::FaultProxy;
use tests::{Call, Cluster, Module, Node, Origin};

use crate::alone;

/// Modules of each half of the test, two files each: in a long run so many that the few that find out that the node is slow are less than one of a hundred.
const MODULES: usize = 2_000;
const FEW_MODULES: usize = 400;
/// Versions that nobody holds, two files each, of a module that is the slow node's.
const COLD: usize = 60;
/// Developers that ask at once.
const CLIENTS: usize = 8;
/// How slow the node is made.
const DELAY: Duration = Duration::from_millis(500);
/// Longer than a node is spared for having been slow.
const SPARED: Duration = Duration::from_secs(6);
/// What it may cost: the 99th percentile against that before, and second requests for all.
const P99_RATIO_MAX: f64 = 2.0;
const EXTRA_MAX: f64 = 0.05;
/// Second requests that a node may have saved up.
const SAVED_MAX: f64 = 5.0;
/// Answers more than there are files that nobody has, as a share of those: besides the second requests each other replica is asked for a copy
/// once a second, since the owner has its share of work.
const IN_VAIN_MAX: f64 = 0.25;

#[test]
fn a_node_that_is_made_slow_costs_those_who_ask_next_to_nothing() {
    let _turn = alone();
    let origin = Origin::start();
    let count = if is_soak() { MODULES } else { FEW_MODULES };
    let mut cluster = Cluster::bootstrap();
    let mut slow = None;
    for number in 1..=4 {
        let name = format!("data-{number}");
        cluster.add_node_with(&name, &format!("zone-{number}"), &origin.url(), |node| {
            if let Some(program) = tests::program::shipped() {
                node.program(program);
            }
            if number == 2 {
                let proxy = FaultProxy::start(node.rpc());
                node.flag("--rpc-advertise", &proxy.address().to_string());
                slow = Some(proxy);
            }
        });
        cluster.wait_state(&name, "active");
    }
    cluster.settled();
    let modules: Vec<_> =
        (0..2 * count).map(|number| Module::new(&format!("example.com/m{number}"), "v1.0.0")).collect();
    let path = module_of(&cluster, &cluster.data[1], &cluster.data[3]);
    let cold: Vec<_> = (0..COLD).map(|number| Module::new(&path, &format!("v1.{number}.0"))).collect();
    for module in modules.iter().chain(&cold) {
        origin.publish(module);
    }
    // Whoever fetches has them, and whoever else should; one node has copies of all, and another of none but its own.
    in_parallel(&modules, |module| drop(get(&cluster.data[0], &module.url_path(".info"))));
    in_parallel(&modules, |module| drop(get(&cluster.data[0], &module.url_path(".mod"))));
    cluster.ctl(&["cache", "repair"]).code(0);
    let (first, second) = modules.split_at(count);
    // waits for: nobody is spared for what was slow while all of that was fetched
    std::thread::sleep(SPARED);
    let proxy = slow.as_ref().unwrap();
    let passed = proxy.passed();
    let before = times(&cluster.data[3], first);
    // New connections to it take longer than anybody waits for.
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    assert!(proxy.passed() > passed, "it was asked for nothing");
    proxy.delay(DELAY);
    let counted = asked(&cluster.data[3]);
    let after = times(&cluster.data[3], second);
    let (all, seconds) = {
        let now = asked(&cluster.data[3]);
        (now.0 - counted.0, now.1 - counted.1)
    };
    let (p99_before, p99_after) = (percentile(&before, 99), percentile(&after, 99));
    let (ratio, extra) = (p99_after.as_secs_f64() / p99_before.as_secs_f64(), seconds as f64 / all as f64);
    println!(
        "{} and {} answers of other nodes: p50 {:?} and {:?}, p99 {p99_before:?} and {p99_after:?} ({ratio:.2}), max {:?}; \
         {seconds} of {all} requests were second ones ({extra:.3})",
        before.len(),
        after.len(),
        percentile(&before, 50),
        percentile(&after, 50),
        percentile(&after, 100),
    );
    assert!(before.len() > count / 4 && after.len() > count / 4, "too few were asked of others");
    let saved = if is_soak() { 0.0 } else { SAVED_MAX };
    assert!(seconds as f64 <= EXTRA_MAX * all as f64 + saved, "{seconds} of {all}");
    assert!(p99_after < DELAY, "{p99_after:?}");
    if is_soak() {
        assert!(ratio <= P99_RATIO_MAX, "{ratio}");
    }
    what_nobody_has_is_asked_for_once(&cluster.data[3], &cold);
}

/// The owner fetches it, slow as it is.
fn what_nobody_has_is_asked_for_once(asker: &Node, cold: &[Module]) {
    let counted = (asked(asker), answered(asker));
    let files = 2 * COLD as u64;
    assert_eq!(times(asker, cold).len() as u64, files, "all are asked of others");
    let now = (asked(asker), answered(asker));
    let (all, seconds) = (now.0.0 - counted.0.0, now.0.1 - counted.0.1);
    let extra = (now.1 - counted.1).saturating_sub(files);
    println!(
        "{seconds} of {all} requests were second ones; {extra} answers more than the {files} files that nobody had"
    );
    assert!(seconds as f64 <= EXTRA_MAX * all as f64 + SAVED_MAX, "{seconds} of {all}");
    assert!(extra as f64 <= IN_VAIN_MAX * files as f64, "{extra} for {files}");
}

fn get(node: &Node, path: &str) -> tests::Response {
    Call::new(node.http(), "GET", path).send().expect(200)
}

/// A module that one node owns, and another one does not hold.
fn module_of(cluster: &Cluster, owner: &Node, stranger: &Node) -> String {
    let is_it = |path: &String| {
        let located = cluster.ctl(&["layout", "locate", path, "-o", "json"]).json();
        let owners = located["owners"].as_array().unwrap();
        owners[0] == *owner.name() && owners.iter().all(|name| *name != *stranger.name())
    };
    (0..1000).map(|number| format!("example.com/cold{number}")).find(is_it).unwrap()
}

/// How long each answer took that another node gave.
fn times(node: &Node, modules: &[Module]) -> Vec<Duration> {
    let times = Mutex::new(Vec::new());
    in_parallel(modules, |module| {
        for kind in [".info", ".mod"] {
            let begun = Instant::now();
            let answer = get(node, &module.url_path(kind));
            let time = begun.elapsed();
            if answer.header("x-cache") == Some("peer") {
                times.lock().unwrap().push(time);
            }
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort();
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn in_parallel(modules: &[Module], each: impl Fn(&Module) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(module) = modules.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(module);
                }
            });
        }
    });
}

/// What others have answered a node, also that they hold it not.
fn answered(node: &Node) -> u64 {
    let of = |outcome: &str| {
        metric(node.admin(), &format!("goproxy_peer_requests_total{{outcome=\"{outcome}\"}}"))
    };
    of("answered") + of("refused")
}

/// What a node has asked others, and how much of that were second requests for the same.
fn asked(node: &Node) -> (u64, u64) {
    let told = Call::new(node.admin(), "GET", "/metrics").send().text();
    let of = |outcome: &str| {
        let begins = format!("goproxy_peer_requests_total{{outcome=\"{outcome}\"}} ");
        let count = told.lines().find_map(|line| line.strip_prefix(&begins)?.parse::<u64>().ok());
        count.unwrap_or_default()
    };
    (of("answered") + of("refused") + of("unreachable"), of("second"))
}
