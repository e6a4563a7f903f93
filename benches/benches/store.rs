//! The store: what a cold zip costs to read, what a fetched version costs to keep, what room costs to make.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up measures nothing")]

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use benches::{Bed, Sample, commit, noise, version};
use bytes::Bytes;
use common::clock::{Clock, SystemClock};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::store::CHUNK_BYTES;
use dataplane::store::Store;
use dataplane::store::evict::{Policy, run_once};
use gomod::H1;

/// Bytes of a small zip; with the rest of its version about what the median module has.
const SMALL_ZIP_BYTES: usize = 8 * 1024;
/// Chunks of the large zip: more than the caches of the store, less than the page cache.
const CHUNKS: u32 = 256;
/// Zips held while others leave.
const HELD: u64 = 1_000;

/// Makes small versions, each with a name and a zip of its own.
struct Small {
    content: Bytes,
    next: Cell<u64>,
}

impl Small {
    fn new() -> Self {
        Self { content: noise(1, SMALL_ZIP_BYTES), next: Cell::new(0) }
    }

    fn make(&self) -> Sample {
        let number = self.next.replace(self.next.get() + 1);
        let zip = [&number.to_le_bytes()[..], &self.content].concat().into();
        let (info, go_mod) =
            (Bytes::from_static(b"{\"Version\":\"v1.0.0\"}"), Bytes::from_static(b"module m\n"));
        let version = version(&format!("example.com/m{}", number / 100), &format!("v1.{}.0", number % 100));
        Sample { version, info, go_mod, zip }
    }

    /// Stores one. The store takes the hash on trust, so that none has to be computed here.
    fn commit(&self, store: &Store) {
        commit(store, &self.make(), H1::from_bytes([1; 32]));
    }
}

fn reads(criterion: &mut Criterion) {
    let bed = Bed::default();
    let store = bed.store();
    let zip = noise(2, CHUNKS as usize * CHUNK_BYTES);
    let version = version("example.com/large", "v1.0.0");
    let (info, go_mod) = (Bytes::from_static(b"{\"Version\":\"v1.0.0\"}"), Bytes::from_static(b"module m\n"));
    let sample = Sample { version: version.clone(), info, go_mod, zip };
    commit(&store, &sample, H1::from_bytes([1; 32]));
    store.flush().unwrap();
    let blob = store.record(&version).unwrap().unwrap().zip.unwrap().blob;

    let mut group = criterion.benchmark_group("store");
    group.bench_function("record", |bencher| {
        bencher.iter(|| store.record(black_box(&version)).unwrap().unwrap());
    });
    group.throughput(Throughput::Bytes(CHUNK_BYTES as u64));
    let mut number = 0;
    group.bench_function("chunk", |bencher| {
        bencher.iter(|| {
            // A stride that meets every chunk and never the next one.
            number = (number + 97) % CHUNKS;
            store.chunk(blob, black_box(number)).unwrap()
        });
    });
    group.finish();
}

fn writes(criterion: &mut Criterion) {
    let bed = Bed::default();
    let store = bed.store();
    let small = Small::new();
    let mut group = criterion.benchmark_group("store");
    // Bounds what lands on the disk: a version takes about 10 KB.
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_secs(1));
    group.bench_function("commit of a small version", |bencher| {
        bencher.iter_batched(
            || small.make(),
            |sample| commit(&store, &sample, H1::from_bytes([1; 32])),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn evictions(criterion: &mut Criterion) {
    let bed = Bed::default();
    let store = bed.store();
    let small = Small::new();
    (0..HELD).for_each(|_| small.commit(&store));
    let policy = Policy { capacity_bytes: store.evictable_bytes(), ..Policy::default() };
    let mut group = criterion.benchmark_group("store");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_secs(1));
    // A pass that is over capacity makes room for some more at once, so most passes find nothing to do.
    group.bench_function("housekeeping after each commit", |bencher| {
        bencher.iter_batched(
            || small.commit(&store),
            |()| run_once(&store, &policy, SystemClock.now_us()).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(all, reads, writes, evictions);
criterion_main!(all);
