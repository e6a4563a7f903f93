//! `/sumdb/…` as clients see it: what is answered from what is held, and what its headers say.

use tests::module::escape;
use tests::{Bed, Proxy};

/// A complete tile: the test bed's tree has 300 records.
const TILE: &str = "/sumdb/sum.test/tile/8/0/000";

#[test]
fn cached_only_asks_the_database_for_nothing() {
    let bed = Bed::new();
    let (held, new) = (bed.module("example.com/held", "v1.0.0"), bed.module("example.com/new", "v1.0.0"));
    let proxy = bed.proxy();
    let lookup = |spec: &str| format!("/sumdb/sum.test/lookup/{spec}");
    let asked = |path: &str| {
        let prefixed = proxy.get(&format!("/cached-only{path}"));
        let flagged = proxy.call("GET", path).header("Disable-Module-Fetch", "true").send();
        assert_eq!(prefixed.status, flagged.status, "{path}");
        prefixed
    };
    let unheld = |path: &str| {
        let answer = asked(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert!(answer.text().contains("forbids fetching"), "{}", answer.text());
        assert_eq!(answer.expect_header("cache-control"), "no-store");
    };
    // Nothing is held: not even the tree head.
    let data = "/sumdb/sum.test/tile/8/data/000";
    for path in
        [&lookup(&new.spec()), TILE, "/sumdb/sum.test/tile/8/0/001.p/3", data, "/sumdb/sum.test/latest"]
    {
        unheld(path);
    }
    asked("/sumdb/sum.test/supported").expect(200);
    assert_eq!(bed.origin.total(), 0, "{:?}", bed.origin.seen());

    let fetched = proxy.get(&lookup(&held.spec())).expect(200);
    proxy.get(TILE).expect(200);
    bed.origin.forget_seen();
    assert_eq!(asked(&lookup(&held.spec())).body, fetched.body);
    asked(TILE).expect(200);
    asked("/sumdb/sum.test/latest").expect(200);
    unheld(&lookup(&new.spec()));
    unheld(data);
    // A tile that no tree of ours reaches to must not make us look for a newer head either.
    unheld("/sumdb/sum.test/tile/8/0/007");
    assert_eq!(bed.origin.total(), 0, "{:?}", bed.origin.seen());
}

#[test]
fn warm_answers_come_from_memory_and_say_how_long_they_last() {
    let bed = Bed::new();
    let module = bed.module("example.com/Warm", "v1.0.0");
    let settings = bed.settings();
    let proxy = Proxy::start(&settings);
    let lookup = format!("/sumdb/sum.test/lookup/{}", escape(&module.spec()));
    let data = "/sumdb/sum.test/tile/8/data/000";
    let (text, binary) = ("text/plain; charset=utf-8", "application/octet-stream");
    let immutable = "public, max-age=31536000, immutable";
    let table = [
        ("lookup", &*lookup, text, "public, max-age=3600", "miss"),
        ("tile", TILE, binary, immutable, "miss"),
        ("tile", data, text, immutable, "miss"),
        // Part of what proved the record.
        ("tile", "/sumdb/sum.test/tile/8/0/001.p/3", binary, "public, max-age=3600", "hit"),
    ];
    let made = |proxy: &Proxy, request: &str| {
        let labels = format!("{{request=\"{request}\",outcome=\"ok\"}}");
        proxy.metric("goproxy_sumdb_requests_total", &labels).unwrap_or(0.0)
    };
    let mut bodies = Vec::new();
    for (request, path, content_type, cache_control, cache) in table {
        let before = made(&proxy, request);
        let first = proxy.get(path).expect(200);
        let once = made(&proxy, request);
        assert!(once > before, "{path}");
        let warm = proxy.get(path).expect(200);
        assert!(made(&proxy, request) <= once, "{path} was made again");
        for answer in [&first, &warm] {
            assert_eq!(answer.expect_header("content-type"), content_type, "{path}");
            assert_eq!(answer.expect_header("cache-control"), cache_control, "{path}");
            assert_eq!(answer.body, first.body, "{path}");
        }
        assert_eq!(first.expect_header("x-cache"), cache, "{path}");
        assert_eq!(warm.expect_header("x-cache"), "hit", "{path}");
        bodies.push(first.body);
    }
    let latest = proxy.get("/sumdb/sum.test/latest").expect(200);
    assert_eq!(latest.expect_header("cache-control"), "public, max-age=60");
    assert_eq!(latest.expect_header("x-cache"), "none");
    // What was served is what is kept.
    let proxy = proxy.restart();
    bed.origin.forget_seen();
    for ((_, path, ..), body) in table.into_iter().zip(bodies) {
        let again = proxy.get(path).expect(200);
        assert!(again.body == body, "{path}");
        assert_eq!(again.expect_header("x-cache"), "hit", "{path}");
    }
    assert_eq!(bed.origin.total(), 0, "{:?}", bed.origin.seen());
}
