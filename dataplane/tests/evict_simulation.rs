//! S3-FIFO against LRU on a generated trace: a skewed popularity that drifts, sizes like those of module zips, and
//! a scan of 40 000 things that nobody asks for again. Run with `--nocapture` to see the table.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use dataplane::store::evict::{Algorithm, Memory, MemoryQueues, Shares};

const OBJECTS: u64 = 10_000;
const REQUESTS: u64 = 100_000;
const SCAN: u64 = 40_000;
/// Popularity of the n-th most popular: n to the power of minus this.
const SKEW: f64 = 0.9;

/// A small generator of numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[expect(clippy::cast_sign_loss, reason = "clamped above 0")]
/// Sizes from 2 KB to 60 MB, mostly tens of kilobytes: the logarithm is about normal.
fn size_of(id: u64) -> u64 {
    let mut numbers = Numbers(id ^ 0x5eed);
    let normal: f64 = (0..12).map(|_| numbers.unit()).sum::<f64>() - 6.0;
    (60_000.0 * (1.9 * normal).exp()).clamp(2_000.0, 60_000_000.0) as u64
}

/// Ids asked for, in order. `scan` puts the cold ones in after half of the requests.
fn trace(scan: bool) -> Vec<u64> {
    let weights = (1..=OBJECTS).scan(0.0, |sum, rank| {
        *sum += (rank as f64).powf(-SKEW);
        Some(*sum)
    });
    let weights: Vec<f64> = weights.collect();
    let total = weights[weights.len() - 1];
    let mut numbers = Numbers(1);
    let mut ids = Vec::new();
    for request in 0..REQUESTS {
        let at = numbers.unit() * total;
        let rank = weights.partition_point(|&sum| sum < at) as u64;
        // Slowly, the popular become others: releases come out.
        ids.push(mix(rank + request / 2_000 * 7));
        if scan && request == REQUESTS / 2 {
            ids.extend((0..SCAN).map(|cold| mix(cold + (1 << 40))));
        }
    }
    ids
}

#[derive(Clone, Copy, Debug, Default)]
struct Misses {
    objects: f64,
    bytes: f64,
}

/// The share of requests, and of bytes asked for, that missed; cold ones not counted.
fn simulate(ids: &[u64], capacity: u64, algorithm: Algorithm, count: impl Fn(usize) -> bool) -> Misses {
    let shares = Shares::default();
    let memory = Memory::new(capacity, shares, 512 * 1024);
    let mut cache = MemoryQueues::new(capacity, |_| false);
    let (mut misses, mut total) = (Misses::default(), Misses::default());
    for (at, &id) in ids.iter().enumerate() {
        let size = size_of(id);
        let hit = cache.request(id, size, &memory, algorithm, shares);
        if count(at) {
            let missed = f64::from(u8::from(!hit));
            misses.objects += missed;
            misses.bytes += missed * size as f64;
            total.objects += 1.0;
            total.bytes += size as f64;
        }
    }
    assert!(cache.total_bytes() <= capacity);
    Misses { objects: misses.objects / total.objects, bytes: misses.bytes / total.bytes }
}

fn footprint(ids: &[u64]) -> u64 {
    let distinct: std::collections::BTreeSet<u64> = ids.iter().copied().collect();
    distinct.into_iter().map(size_of).sum()
}

#[test]
fn s3_fifo_misses_less_than_lru() {
    let ids = trace(false);
    let total = footprint(&ids);
    println!("{REQUESTS} requests, {:.1} GB asked for once each", total as f64 / 1e9);
    println!("cache    S3-FIFO objects  bytes     LRU objects  bytes   (hit ratios)");
    for percent in [1, 5, 10, 20] {
        let capacity = total / 100 * percent;
        let s3_fifo = simulate(&ids, capacity, Algorithm::S3Fifo, |_| true);
        let lru = simulate(&ids, capacity, Algorithm::Lru, |_| true);
        println!(
            "{percent:3} %    {:15.3}  {:.3}     {:11.3}  {:.3}",
            1.0 - s3_fifo.objects,
            1.0 - s3_fifo.bytes,
            1.0 - lru.objects,
            1.0 - lru.bytes
        );
        assert!(s3_fifo.objects < lru.objects, "{percent} %: {s3_fifo:?} {lru:?}");
        if percent == 5 {
            assert!(s3_fifo.objects < 0.9 * lru.objects, "{s3_fifo:?} {lru:?}");
        }
    }
}

#[test]
fn a_scan_of_cold_objects_does_not_flush_the_hot_ones() {
    let (quiet, scanned) = (trace(false), trace(true));
    let capacity = footprint(&quiet) / 20;
    let (begin, window) = (REQUESTS as usize / 2 + 1, 3_000);
    for algorithm in [Algorithm::S3Fifo, Algorithm::Lru] {
        let before = simulate(&quiet, capacity, algorithm, |at| (begin..begin + window).contains(&at));
        let scan = SCAN as usize;
        let after =
            simulate(&scanned, capacity, algorithm, |at| (begin + scan..begin + scan + window).contains(&at));
        let (before, after) = (1.0 - before.objects, 1.0 - after.objects);
        println!("{algorithm:?}: hit ratio {before:.3}, after the scan {after:.3}");
        if algorithm == Algorithm::S3Fifo {
            assert!(after > before - 0.05, "the scan flushed the hot set: {before:.3}, then {after:.3}");
        }
    }
}
