//! Placement: how long a lookup and a plan take, and, before that, a table of how even plans are and how much they move.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up measures nothing")]
#![expect(clippy::print_stdout, reason = "the table is for whoever runs the benchmark")]

use std::hint::black_box;

use cluster::layout::{Balance, SLOTS};
use cluster::{
    Candidate, Candidates, Layout, NodeName, Options, ReplicationFactor, Slot, Standing, Zone, diff, plan,
};
use criterion::{Criterion, criterion_group, criterion_main};

/// Nodes and zones.
const CLUSTERS: [(usize, usize); 4] = [(10, 1), (10, 5), (50, 5), (200, 5)];
const REPLICAS: u8 = 3;

fn options() -> Options {
    Options { replication: ReplicationFactor::new(REPLICAS).unwrap() }
}

fn nodes(numbers: impl Iterator<Item = usize>, zones: usize) -> Candidates {
    Candidates::new(numbers.map(|number| Candidate {
        name: NodeName::parse(&format!("node-{number}")).unwrap(),
        zone: Zone::parse(&format!("zone-{}", number % zones)).unwrap(),
        weight: 100,
        standing: Standing::Taking,
    }))
    .unwrap()
}

fn planned(current: Option<&Layout>, candidates: &Candidates) -> Layout {
    plan(current, candidates, options()).unwrap()
}

/// Replicas that move, over those that a node which comes or goes has by right.
fn moved(before: &Layout, after: &Layout, nodes: usize) -> String {
    let moved = diff(before, after).replicas_moved;
    let share = (SLOTS * usize::from(REPLICAS)) as f64 / nodes as f64;
    format!("{moved} ({:.3})", f64::from(moved) / share)
}

fn table() {
    println!("nodes zones | fullest busiest | moved by: add, remove, replace (over a node's share) | bytes");
    for (count, zones) in CLUSTERS {
        let candidates = nodes(0..count, zones);
        let layout = planned(None, &candidates);
        let balance = Balance::of(&layout, &candidates);
        let change = |candidates: &Candidates, nodes: usize| {
            moved(&layout, &planned(Some(&layout), candidates), nodes)
        };
        // The one that comes instead has the zone of the one that goes.
        let instead = count.next_multiple_of(zones);
        println!(
            "{count:5} {zones:5} | {:.4}  {:.4} | {:>14} {:>14} {:>14} | {}",
            balance.fullest_over_mean_ppm as f64 / 1e6,
            balance.busiest_over_mean_ppm as f64 / 1e6,
            change(&nodes(0..=count, zones), count + 1),
            change(&nodes(1..count, zones), count),
            change(&nodes((1..count).chain([instead]), zones), count),
            layout.encode().len(),
        );
    }
}

fn lookups(criterion: &mut Criterion) {
    table();
    let layout = planned(None, &nodes(0..200, 5));
    let mut group = criterion.benchmark_group("locate");
    group.bench_function("module", |bencher| {
        bencher.iter(|| layout.locate(black_box("github.com/prometheus/client_golang")).replicas.owner());
    });
    // Slots in no order, as modules have them.
    let mut number = 0_u16;
    group.bench_function("slot", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_mul(25_173).wrapping_add(13_849);
            let slot = Slot::new(number >> 4).unwrap();
            layout.replicas(black_box(slot)).iter().map(|name| name.as_str().len()).sum::<usize>()
        });
    });
    group.finish();
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(20);
    for (count, zones) in [(10, 5), (50, 5), (200, 5)] {
        let (candidates, more) = (nodes(0..count, zones), nodes(0..=count, zones));
        let layout = planned(None, &candidates);
        group.bench_function(format!("{count} nodes anew"), |bencher| {
            bencher.iter(|| planned(None, black_box(&candidates)));
        });
        group.bench_function(format!("{count} nodes and one more"), |bencher| {
            bencher.iter(|| planned(Some(black_box(&layout)), &more));
        });
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let layout = planned(None, &nodes(0..200, 5));
    let bytes = layout.encode();
    let mut group = criterion.benchmark_group("layout of 200 nodes");
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(&layout).encode()));
    group.bench_function("decode", |bencher| bencher.iter(|| Layout::decode(black_box(&bytes)).unwrap()));
    group.finish();
}

criterion_group!(all, lookups, plans, encoding);
criterion_main!(all);
