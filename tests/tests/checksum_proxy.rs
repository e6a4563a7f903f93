//! `/sumdb/…` as clients see it: what is answered from what is held, and what its headers say.

use tests::Bed;

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
