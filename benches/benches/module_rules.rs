//! Go's rules: reading requests, ordering versions, verifying zips with and without what was hashed on arrival.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up measures nothing")]

use std::hint::black_box;

use benches::Sample;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gomod::zip::{EntryDigests, PreHasher, verify};
use gomod::{Request, Version};

/// One of each shape, of the lengths that are common.
const PATHS: [&str; 5] = [
    "golang.org/x/text/@v/list",
    "github.com/!burnt!sushi/toml/@latest",
    "github.com/prometheus/client_golang/@v/v1.20.5.info",
    "k8s.io/utils/@v/v0.0.0-20241104100929-3ea5e8cea738.mod",
    "github.com/aws/aws-sdk-go-v2/service/internal/presigned-url/@v/v1.12.5.zip",
];

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(PATHS.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| PATHS.map(|path| Request::parse(black_box(path)).unwrap()));
    });
    let parsed = PATHS.map(|path| Request::parse(path).unwrap());
    group.bench_function("display", |bencher| {
        bencher.iter(|| parsed.each_ref().map(|request| black_box(request).to_string()));
    });
    group.finish();
}

fn versions(criterion: &mut Criterion) {
    let text = |number: u64| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (minor, patch) = (mixed >> 58, mixed >> 52 & 0x3f);
        match number % 10 {
            0 => format!("v1.{minor}.{patch}-rc.{}", mixed >> 40 & 7),
            1 => format!("v0.0.0-202{}1104100929-3ea5e8cea738", mixed >> 40 & 7),
            _ => format!("v1.{minor}.{patch}"),
        }
    };
    let texts: Vec<_> = (0..1_000).map(text).collect();
    let parsed: Vec<_> = texts.iter().map(|text| Version::parse(text).unwrap()).collect();
    let mut group = criterion.benchmark_group("version");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| texts.iter().filter(|text| Version::parse(black_box(text)).is_ok()).count());
    });
    group.bench_function("sort", |bencher| {
        bencher.iter_batched_ref(
            || parsed.clone(),
            |versions| versions.sort(),
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn zips(criterion: &mut Criterion) {
    for (name, files, file_bytes) in [("small", 12, 4_000), ("large", 400, 20_000)] {
        let sample = Sample::new("example.com/zip", "v1.0.0", files, file_bytes);
        let hash = |zip: &[u8]| {
            let mut hasher = PreHasher::new();
            // As they come from a socket.
            zip.chunks(16 * 1024).for_each(|piece| hasher.push(piece));
            hasher.finish()
        };
        let (digests, none) = (hash(&sample.zip), EntryDigests::default());
        let mut group = criterion.benchmark_group(format!("zip/{name}"));
        group.throughput(Throughput::Bytes(sample.zip.len() as u64));
        group.sample_size(30);
        group.bench_function("verify", |bencher| {
            bencher.iter(|| verify(black_box(&sample.zip), &sample.version, &none).unwrap());
        });
        group.bench_function("verify what was hashed on arrival", |bencher| {
            bencher.iter(|| verify(black_box(&sample.zip), &sample.version, &digests).unwrap());
        });
        group.bench_function("hash on arrival", |bencher| bencher.iter(|| hash(black_box(&sample.zip))));
        group.finish();
    }
}

criterion_group!(all, requests, versions, zips);
criterion_main!(all);
