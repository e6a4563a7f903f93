//! Whatever happens to data nodes, in whatever order, no go command behind the balancers fails and no byte is wrong. `SEED=n` does
//! the same faults again. In CI for half a minute; under `SOAK` for `SOAK_MINUTES`, ten unless told otherwise.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tests::balancer::{Balancer, Program};
use tests::chance::{Chance, is_soak};
use tests::developers::Developers;
use tests::{Origin, nemesis, twice};

use crate::{allow_trouble, alone, shipped_data_nodes};

const DEVELOPERS: usize = 100;
const AT_A_TIME: usize = 6;
const ORDINARY: Duration = Duration::from_secs(30);
const SOAK_MINUTES: u64 = 10;
/// Modules that are new with each fault: what is on its way is what a fault meets.
const NEW: usize = 4;
/// Requests at the origin for a file: the first, and one more for each fault that it may have met. All that a command
/// asks for is asked for while it runs, which takes no longer than two faults.
const REQUESTS_MAX: usize = 4;

#[test]
fn developers_hear_nothing_of_faults_in_any_order() {
    let _turn = alone();
    let seed = Chance::seed();
    println!("SEED={seed}");
    let mut chance = Chance::new(seed);
    let origin = Origin::start();
    let mut cluster = shipped_data_nodes(3, &origin);
    allow_trouble(&mut cluster);
    for node in &mut cluster.data {
        for text in ["cannot be reached", "no control node", "control plane"] {
            node.allow(text);
        }
    }
    let developers = Developers::new(AT_A_TIME);
    let mut modules = developers.shelf().stock(&origin, "first", 2 * NEW);
    let balancers = [Program::Haproxy, Program::Nginx].map(|program| Balancer::start(program, &cluster, &[]));
    let proxies: Vec<String> = balancers.iter().map(|balancer| twice(&balancer.url())).collect();
    let (begun, lasts) = (Instant::now(), duration());
    let faults = developers.work(DEVELOPERS, &proxies, seed, || {
        let is_over = || begun.elapsed() >= lasts;
        let faults = nemesis::torment_data(&mut cluster, &mut chance, is_over, |fault| {
            let batch = format!("{fault:?}-{}", modules.len()).to_lowercase();
            modules.extend(developers.shelf().stock(&origin, &batch, NEW));
        });
        // What was waited for through the last fault is there in the end.
        developers.go_on(AT_A_TIME, Duration::ZERO);
        faults
    });
    let mut counts = BTreeMap::new();
    for fault in &faults {
        *counts.entry(fault).or_insert(0) += 1;
    }
    println!(
        "{} go commands in {:.0} s through {counts:?}, none failed; {} requests at the origin for {} modules",
        developers.commands(),
        begun.elapsed().as_secs_f64(),
        origin.total(),
        modules.len(),
    );
    assert!(faults.len() > 3, "a run in which nothing happens proves nothing");
    for module in modules {
        for suffix in [".info", ".mod", ".zip"] {
            let path = module.url_path(suffix);
            assert!(origin.count(&path) <= REQUESTS_MAX, "{path}: {}", origin.count(&path));
        }
    }
}

fn duration() -> Duration {
    if !is_soak() {
        return ORDINARY;
    }
    let told = std::env::var("SOAK_MINUTES").ok().and_then(|minutes| minutes.parse().ok());
    Duration::from_secs(60 * told.unwrap_or(SOAK_MINUTES))
}
