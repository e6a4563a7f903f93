//! The control plane's group simulated from seeds: clock, network and disks are made up, the members are the real ones.
//!
//! `SEED=n` runs one seed and prints what happens; `SOAK=1` runs 10 000 of them, `SOAK=n` that many rounds of 100.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking and may print; an invariant looks at what concerns it"
)]

mod clients;
mod disk;
mod faults;
mod invariants;
mod machine;
mod net;
mod rng;
mod scenarios;
// What may be wanted of a cluster, as the tests of the state machine by itself have it.
#[path = "../../../core/cluster/tests/state/steps.rs"]
#[expect(dead_code, reason = "those tests use more of it")]
mod steps;
#[path = "../../../core/cluster/tests/state/support.rs"]
#[expect(dead_code, reason = "those tests use more of it")]
mod support;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use controlplane::raft::Sabotage;
use world::{Report, run};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs seeds on two threads until one is violated: the first such seed, and how. Whoever has one that comes before it still tells of it,
/// so that it is the same seed however fast the threads are.
fn first_violation(
    seeds: std::ops::Range<u64>,
    sabotage: Option<Sabotage>,
    total: &mut Report,
) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let worker = || {
        let mut sum = Report::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (sum, None);
            }
            let report = std::panic::catch_unwind(|| run(seed, sabotage, false)).unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                Report {
                    violations: vec![format!("panic: {}", text.unwrap_or_default())],
                    ..Report::default()
                }
            });
            add(&mut sum, &report);
            if let Some(violation) = report.violations.into_iter().next() {
                next.store(seeds.end, Ordering::Relaxed);
                return (sum, Some((seed, violation)));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(worker), scope.spawn(worker)];
        let mut found = Vec::new();
        for thread in threads {
            let (sum, violation) = thread.join().unwrap();
            add(total, &sum);
            found.extend(violation);
        }
        found.into_iter().min_by_key(|(seed, _)| *seed)
    })
}

fn add(sum: &mut Report, report: &Report) {
    sum.acknowledged += report.acknowledged;
    sum.unknown += report.unknown;
    sum.reads += report.reads;
    sum.elections += report.elections;
    sum.snapshots += report.snapshots;
    sum.crashes += report.crashes;
    sum.changes += report.changes;
    sum.strangers += report.strangers;
    sum.disowned += report.disowned;
    sum.layouts += report.layouts;
}

#[test]
fn no_seed_breaks_an_invariant() {
    if let Some(seed) = number("SEED") {
        let report = run(seed, None, true);
        assert_eq!(report.violations, Vec::<String>::new(), "SEED={seed}");
        return;
    }
    let seeds = match number("SOAK") {
        None => 300,
        Some(1) => 10_000,
        Some(rounds) => rounds * 100,
    };
    let first = number("FIRST_SEED").unwrap_or(0);
    let (begun, mut total) = (Instant::now(), Report::default());
    let violation = first_violation(first..first + seeds, None, &mut total);
    println!("{seeds} seeds in {:.1} s: {total:?}", begun.elapsed().as_secs_f64());
    assert_eq!(violation, None, "replay with SEED=<the number>");
    // A simulation in which nothing happens proves nothing.
    for (what, count) in [
        ("acknowledged", total.acknowledged),
        ("unknown", total.unknown),
        ("reads", total.reads),
        ("elections", total.elections),
        ("snapshots", total.snapshots),
        ("crashes", total.crashes),
        ("changes", total.changes),
        ("disowned", total.disowned),
        ("layouts", total.layouts),
    ] {
        assert!(count > 0, "no {what}");
    }
}

#[test]
fn a_seed_is_the_same_every_time() {
    for seed in 0..3 {
        let (one, other) = (run(seed, None, false), run(seed, None, false));
        assert_eq!(format!("{one:?}"), format!("{other:?}"), "SEED={seed}");
    }
}

/// Seeds in which a broken rule has to be noticed.
const SABOTAGED_SEEDS: u64 = 600;

fn is_noticed(sabotage: Sabotage, expected: &[&str]) {
    let mut total = Report::default();
    let (seed, violation) = first_violation(0..SABOTAGED_SEEDS, Some(sabotage), &mut total)
        .unwrap_or_else(|| panic!("{sabotage:?} was not noticed in {SABOTAGED_SEEDS} seeds"));
    println!("{sabotage:?}: seed {seed}: {violation}");
    assert!(expected.iter().any(|text| violation.contains(text)), "{violation}");
}

#[test]
fn messages_that_leave_before_the_sync_are_noticed() {
    is_noticed(Sabotage::SendBeforeSync, &["both lead", "differ", "acknowledged", "applied", "panic"]);
}

#[test]
fn an_index_apart_from_its_records_is_noticed() {
    is_noticed(Sabotage::IndexApartFromRecords, &["again", "hashes to", "Digest", "differ"]);
}

#[test]
fn reads_without_a_quorum_are_noticed() {
    is_noticed(Sabotage::ReadWithoutQuorum, &["a read was given"]);
}
