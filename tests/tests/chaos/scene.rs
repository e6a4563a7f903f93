//! The scene that all of this is for: two hundred developers behind nginx and HAProxy, while an operator adds a node, drains it,
//! kills one, loses a zone, takes the control plane away and restarts everything one by one. No go command fails, no byte is wrong, and what is new is
//! fetched from the origin once.
//!
//! In CI each act takes some ten seconds; under `SOAK` all of it takes `SOAK_MINUTES`, 30 unless told otherwise, of which the control plane is away for
//! `SOAK_AWAY_MINUTES`, half unless told otherwise.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::balancer::{Balancer, Program};
use tests::chance::Chance;
use tests::developers::Developers;
use tests::probe::Probe;
use tests::process::eventually;
use tests::{Cluster, Module, Origin, program, twice};

use crate::{allow_trouble, alone, is_asked_for};

const DEVELOPERS: usize = 200;
/// Go commands at a time, on a machine with two processors that runs the cluster as well.
const AT_A_TIME: usize = 6;
/// Modules that are new in each act.
const NEW: usize = 8;
/// The shares of the time in which the control plane is there, and is away.
const ACTS: u32 = 12;
/// How often a node is drained and comes back. A move takes two or three seconds, in which a hundred requests are begun: of a 99th
/// percentile only many moves can tell.
const DRAINS: usize = 9;
const FEW_DRAINS: usize = 2;
/// The 99th percentile of requests while slots move, against that of before.
const MOVE_P99_RATIO_MAX: f64 = 1.5;
/// How long after a death requests are looked at, and how long all but one of a hundred may take then.
const DEATH_WINDOW: Duration = Duration::from_secs(10);
const DEATH_P99_MAX: Duration = Duration::from_secs(2);

/// New modules, and how often each of their files may have been asked of the origin.
struct Batch {
    modules: Vec<Arc<Module>>,
    requests_max: usize,
}

struct Scene<'a> {
    origin: &'a Origin,
    developers: &'a Developers,
    balancers: &'a [Balancer],
    probe: &'a Probe,
    act: Duration,
    away: Duration,
    batches: Vec<Batch>,
    /// When slots moved, and as long a time before each move.
    moves: Vec<Range<Instant>>,
    befores: Vec<Range<Instant>>,
}

#[test]
fn developers_hear_nothing_of_what_operators_and_fate_do_to_nodes() {
    let _turn = alone();
    let origin = Origin::start();
    let mut cluster = cluster(&origin);
    let developers = Developers::new(AT_A_TIME);
    let first = developers.shelf().stock(&origin, "first", 3 * NEW);
    let balancers = [Program::Haproxy, Program::Nginx].map(|program| Balancer::start(program, &cluster, &[]));
    let proxies: Vec<String> = balancers.iter().map(|balancer| twice(&balancer.url())).collect();
    let probe = Probe::default();
    let paths: Vec<String> = first
        .iter()
        .flat_map(|module| [".info", ".mod", ".zip"].map(|suffix| module.url_path(suffix)))
        .collect();
    let (act, away) = times();
    let seed = Chance::seed();
    println!("SEED={seed}");
    let begun = Instant::now();
    let mut scene = Scene {
        origin: &origin,
        developers: &developers,
        balancers: &balancers,
        probe: &probe,
        act,
        away,
        batches: vec![Batch { modules: first, requests_max: 1 }],
        moves: Vec::new(),
        befores: Vec::new(),
    };
    developers.work(DEVELOPERS, &proxies, seed, || {
        probe.ask(balancers[0].address(), &paths, Duration::from_millis(25), || scene.play(&mut cluster));
    });
    scene.check_origin();
    println!(
        "{} go commands by {DEVELOPERS} developers in {:.0} s, none failed; {} requests at the origin",
        developers.commands(),
        begun.elapsed().as_secs_f64(),
        origin.total()
    );
    scene.check_moves();
}

/// Three control nodes, and three data nodes in three zones; as they are shipped, if there is such a build.
fn cluster(origin: &Origin) -> Cluster {
    let mut cluster = crate::shipped();
    for number in 1..=3 {
        add(&mut cluster, number, number, origin);
    }
    for number in 1..=3 {
        cluster.wait_state(&format!("data-{number}"), "active");
    }
    cluster.settled();
    allow_trouble(&mut cluster);
    cluster
}

fn add(cluster: &mut Cluster, number: usize, zone: usize, origin: &Origin) {
    let (name, zone) = (format!("data-{number}"), format!("zone-{zone}"));
    let node = cluster.add_node_with(&name, &zone, &origin.url(), |node| {
        if let Some(program) = program::shipped() {
            node.program(program);
        }
    });
    node.allow("cannot be reached");
    node.allow("no control node");
    node.allow("control plane");
}

/// How long an act takes, and how long the control plane is away.
fn times() -> (Duration, Duration) {
    if !is_asked_for() {
        return (Duration::from_secs(8), Duration::from_secs(20));
    }
    let told = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let all = minutes(told("SOAK_MINUTES").unwrap_or(30));
    let away = told("SOAK_AWAY_MINUTES").map_or(all / 2, minutes);
    (all.saturating_sub(away) / ACTS, away)
}

/// How many slots a node holds.
fn slots(cluster: &Cluster, name: &str) -> u64 {
    cluster.ctl(&["node", "show", name, "-o", "json"]).json()["slot_count"].as_u64().unwrap()
}

impl Scene<'_> {
    fn play(&mut self, cluster: &mut Cluster) {
        self.goes_on("calm", 1);
        self.a_node_comes(cluster);
        self.it_drains(cluster);
        self.one_is_killed(cluster);
        self.a_zone_is_lost(cluster);
        self.the_control_plane_is_away(cluster);
        self.everything_is_restarted(cluster);
        self.goes_on("calm again", 1);
    }

    /// New modules come, and developers use them, for an act.
    fn goes_on(&mut self, name: &str, requests_max: usize) {
        self.comes_new(name, requests_max);
        self.developers.go_on(AT_A_TIME, self.act);
    }

    fn comes_new(&mut self, name: &str, requests_max: usize) {
        let batch = format!("{}-{}", name.replace(' ', "-"), self.batches.len());
        let modules = self.developers.shelf().stock(self.origin, &batch, NEW);
        self.batches.push(Batch { modules, requests_max });
    }

    fn reload(&self, cluster: &Cluster) {
        for balancer in self.balancers {
            balancer.reload(cluster, &[]);
        }
    }

    fn a_node_comes(&mut self, cluster: &mut Cluster) {
        let origin = self.origin;
        self.takes_slots("a node came", cluster, |cluster| {
            add(cluster, 4, 3, origin);
            cluster.wait_state("data-4", "active");
        });
        self.reload(cluster);
        self.goes_on("four nodes", 1);
    }

    fn it_drains(&mut self, cluster: &mut Cluster) {
        for _ in 0..if is_asked_for() { DRAINS } else { FEW_DRAINS } {
            self.comes_new("drain", 1);
            cluster.ctl(&["node", "drain", "data-4"]).code(0);
            self.reload(cluster);
            eventually("data-4 holds nothing", || (slots(cluster, "data-4") == 0).then_some(()));
            cluster.settled();
            self.takes_slots("it came back", cluster, |cluster| {
                cluster.ctl(&["node", "uncordon", "data-4"]).code(0);
                eventually("data-4 has its share again", || (slots(cluster, "data-4") > 0).then_some(()));
            });
            self.reload(cluster);
        }
        self.goes_on("back", 1);
    }

    /// Slots move to data-4, until it has its share. What new modules cost is in the time before as well as in this one.
    fn takes_slots(&mut self, what: &str, cluster: &mut Cluster, change: impl FnOnce(&mut Cluster)) {
        let before = Instant::now();
        self.comes_new("before", 1);
        self.developers.go_on(AT_A_TIME, self.act / if is_asked_for() { DRAINS as u32 / 2 } else { 1 });
        let (window, begun) = (before.elapsed(), Instant::now());
        self.comes_new("newcomer", 1);
        change(cluster);
        cluster.settled();
        let took = begun.elapsed();
        println!("{what} in {took:.1?}");
        self.befores.push(before..before + window.min(took));
        self.moves.push(begun..begun + took);
    }

    fn check_moves(&self) {
        let [calm, meanwhile] = [&self.befores, &self.moves].map(|spans| self.probe.p99_of(spans).unwrap());
        let ratio = meanwhile.as_secs_f64() / calm.as_secs_f64();
        let count = self.moves.len();
        println!("p99 in {count} moves {meanwhile:?}, in as long times before them {calm:?}: {ratio:.2}");
        if is_asked_for() {
            assert!(ratio <= MOVE_P99_RATIO_MAX, "{ratio}");
        }
    }

    fn one_is_killed(&mut self, cluster: &mut Cluster) {
        self.comes_new("killed", 2);
        let killed = Instant::now();
        cluster.data[1].kill9();
        self.developers.go_on(AT_A_TIME, self.act.max(DEATH_WINDOW));
        self.tell_of_death("a node was killed", killed);
        cluster.data[1].start(&[]);
        cluster.data[1].wait_ready();
        self.goes_on("alive again", 1);
    }

    fn a_zone_is_lost(&mut self, cluster: &mut Cluster) {
        self.comes_new("zone", 2);
        let killed = Instant::now();
        for number in [2, 3] {
            cluster.data[number].kill9();
        }
        self.developers.go_on(AT_A_TIME, self.act.max(DEATH_WINDOW));
        self.tell_of_death("a zone was lost", killed);
        for number in [2, 3] {
            cluster.data[number].start(&[]);
            cluster.data[number].wait_ready();
        }
        self.goes_on("zone back", 1);
    }

    fn tell_of_death(&self, what: &str, killed: Instant) {
        let p99 = self.probe.p99(killed, killed + DEATH_WINDOW);
        println!("{what}: p99 of the {DEATH_WINDOW:?} after it {p99:?}");
        if is_asked_for() {
            assert!(p99.is_some_and(|p99| p99 <= DEATH_P99_MAX), "{p99:?}");
        }
    }

    fn the_control_plane_is_away(&mut self, cluster: &mut Cluster) {
        for node in &mut cluster.control {
            node.kill9();
        }
        self.comes_new("alone", 1);
        self.developers.go_on(AT_A_TIME, self.away / 2);
        // What was agreed on is on the node's own disk.
        assert!(cluster.data[2].terminate().success());
        cluster.data[2].start(&[]);
        cluster.data[2].wait_ready();
        self.comes_new("still alone", 1);
        self.developers.go_on(AT_A_TIME, self.away / 2);
        for node in &mut cluster.control {
            node.start(&[]);
        }
        cluster.wait_voters(3);
        for number in 1..=4 {
            cluster.wait_state(&format!("data-{number}"), "active");
        }
    }

    fn everything_is_restarted(&mut self, cluster: &mut Cluster) {
        self.comes_new("restarts", 1);
        for number in 0..cluster.data.len() {
            assert!(cluster.data[number].terminate().success());
            self.developers.go_on(2, Duration::ZERO);
            cluster.data[number].start(&[]);
            cluster.data[number].wait_ready();
            self.developers.go_on(AT_A_TIME, self.act / 4);
        }
        for number in 0..cluster.control.len() {
            assert!(cluster.control[number].terminate().success());
            cluster.control[number].start(&[]);
            cluster.wait_voters(3);
        }
    }

    /// Whether each file that was new was asked of the origin as often as it may have been.
    fn check_origin(&self) {
        let mut more = Vec::new();
        for Batch { modules, requests_max } in &self.batches {
            for module in modules {
                for suffix in [".info", ".mod", ".zip"] {
                    let path = module.url_path(suffix);
                    let requests = self.origin.count(&path);
                    if requests > *requests_max {
                        more.push(format!("{path}: {requests} requests, {requests_max} are enough"));
                    }
                }
            }
        }
        assert!(more.is_empty(), "{}", more.join("\n"));
    }
}
