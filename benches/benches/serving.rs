//! The request path from a parsed head to the answer's head and body, for what is in memory: everything that a hit
//! costs but the socket and the HTTP codec.

use benches::{Bed, Sample, get};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use tower::Service as _;

fn hits(criterion: &mut Criterion) {
    let sample = Sample::new("github.com/example/module", "v1.2.3", 10, 3_000);
    let bed = Bed::default();
    let mut server = bed.server(&[sample]);
    let mut group = criterion.benchmark_group("hit");
    for (name, path) in [
        ("info", "/github.com/example/module/@v/v1.2.3.info"),
        ("mod", "/github.com/example/module/@v/v1.2.3.mod"),
        ("zip", "/github.com/example/module/@v/v1.2.3.zip"),
        ("list", "/github.com/example/module/@v/list"),
    ] {
        server.warm(path);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || get(path),
                |inbound| {
                    let answered = server.service.call(inbound).now_or_never();
                    let Some(Ok(response)) = answered else { unreachable!("a hit is answered at once") };
                    // Dropped here: an answer that is kept is in flight, and there are bounds to that.
                    assert!(response.status().is_success());
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(all, hits);
criterion_main!(all);
