//! The checksum database against one that grows: what is verified, kept and served, online and off, and which way it is reached.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod sumdb_bed;
mod upstream_fake;
mod upstream_log;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::SystemClock;
use dataplane::sumdb::{
    MemorySumStore, Reach, SumDb, SumDbError, SumDbMetrics, SumDbOptions, SumStore, SumStoreError,
};
use gomod::sumdb::{SignedHead, Tile};
use parking_lot::Mutex;
use sumdb_bed::{Setup, ask, database, nobody};
use upstream_fake::{Fake, Reply, upstream};
use upstream_log::{FakeSumDb, Log, NAME, lookup_path, signer, strict_client, version};

#[tokio::test]
async fn hashes_are_verified_once_and_then_held() {
    let fake = FakeSumDb::start(700).await;
    let setup = Setup::new();
    let db = setup.open(&fake.origin.url(), false);
    let hashes = db.hashes(&version(5)).await.unwrap();
    let line = fake.state.lock().log.record(5).lines().next().unwrap().to_owned();
    assert!(line.ends_with(&hashes.zip.unwrap().to_string()), "{line}");
    assert!(hashes.go_mod.is_some());
    let asked = fake.origin.seen().len();
    db.hashes(&version(5)).await.unwrap();
    assert_eq!(fake.origin.seen().len(), asked);
    let again = setup.open("off", true);
    assert!(again.hashes(&version(5)).await.is_ok());
    let error = again.hashes(&version(6)).await.unwrap_err();
    assert!(matches!(&error, SumDbError::Offline { .. }));
    assert!(
        error.to_string().contains("m.example/Mod6@v1.0.0") && error.to_string().contains("GONOSUMDB"),
        "{error}"
    );
}

/// A store of which everything that was there when it was damaged cannot be read, but for the head.
#[derive(Debug, Default)]
struct Damaged {
    inner: MemorySumStore,
    lost: Mutex<BTreeSet<String>>,
    written: Mutex<BTreeSet<String>>,
}

impl Damaged {
    fn damage(&self) {
        self.lost.lock().append(&mut self.written.lock());
    }
}

impl SumStore for Damaged {
    fn get(&self, key: &str) -> Result<Option<Bytes>, SumStoreError> {
        if self.lost.lock().contains(key) && (key.contains("/tile/") || key.contains("/lookup/")) {
            return Err(SumStoreError("a block does not verify".into()));
        }
        self.inner.get(key)
    }

    fn put(&self, pairs: Vec<(String, Bytes)>) -> Result<(), SumStoreError> {
        for (key, _) in &pairs {
            self.lost.lock().remove(key);
            self.written.lock().insert(key.clone());
        }
        self.inner.put(pairs)
    }
}

#[tokio::test]
async fn what_is_held_and_cannot_be_read_is_fetched_and_kept_again() {
    let fake = FakeSumDb::start(700).await;
    let store = Arc::new(Damaged::default());
    let open = |chain: String, offline: bool| {
        let options = SumDbOptions { offline, ..SumDbOptions::default() };
        let (url, clock, metrics) = (nobody(), Arc::new(SystemClock), SumDbMetrics::default());
        SumDb::open(&database(&url), options, Arc::new(upstream(&chain)), store.clone(), clock, metrics)
            .unwrap()
    };
    let db = open(fake.origin.url(), false);
    db.hashes(&version(5)).await.unwrap();
    store.damage();
    assert!(!store.lost.lock().is_empty());
    for number in [5, 6] {
        db.hashes(&version(number)).await.unwrap();
        assert!(ask(&db, lookup_path(number)).await.is_some());
    }
    let again = open("off".to_owned(), true);
    for number in [5, 6] {
        again.hashes(&version(number)).await.unwrap();
        let accepted = strict_client(number, None, |path| ask(&again, path)).await;
        accepted.unwrap();
    }
}

#[tokio::test]
async fn only_this_database_and_no_private_module() {
    let fake = FakeSumDb::start(300).await;
    let setup = Setup::new();
    let db = setup.open(&fake.origin.url(), false);
    let supported = db.serve(&format!("{NAME}/supported"), Reach::Database).await.unwrap();
    assert!(supported.body.is_empty());
    for other in
        ["sum.golang.org/supported", "sum.example/supported", "sum.example/dbx/supported", "sum.example/db"]
    {
        assert!(
            matches!(db.serve(other, Reach::Database).await, Err(SumDbError::UnknownDatabase)),
            "{other}"
        );
    }
    for path in [
        "",
        "x",
        "lookup/m.example/a",
        "lookup/m.example/A@v1.0.0",
        "tile/7/0/000",
        "tile/8/0/0",
        "tile/8/0/../000",
    ] {
        let answer = db.serve(&format!("{NAME}/{path}"), Reach::Database).await;
        assert!(matches!(answer, Err(SumDbError::UnknownPath)), "{path}");
    }
    let private = db.serve(&format!("{NAME}/lookup/corp.example/x@v1.0.0"), Reach::Database).await;
    assert!(matches!(private, Err(SumDbError::Private)));
    assert!(fake.origin.seen().is_empty(), "nothing was asked");
    let unknown = db.serve(&format!("{NAME}/lookup/m.example/x@v1.0.0"), Reach::Database).await.unwrap_err();
    assert!(
        matches!(&unknown, SumDbError::NotFound { detail, .. } if detail.contains("no such module")),
        "{unknown}"
    );
    let toolchain = gomod::ModulePath::parse("golang.org/toolchain").unwrap();
    assert!(db.covers(&toolchain) && !db.covers(&gomod::ModulePath::parse("corp.example/x").unwrap()));
}

/// The heart of serving offline: whatever is held verifies for a strict client with our answers alone, whichever of our
/// heads it has seen before, at sizes around every boundary of tiles.
#[tokio::test]
async fn a_warm_server_satisfies_strict_clients_offline() {
    let histories: [&[u64]; 6] = [
        &[1, 2, 3],
        &[255, 256, 257],
        &[256, 512, 65_536],
        &[300, 700, 701, 1_024],
        &[65_535, 65_536, 65_537, 66_000],
        &[200, 65_792, 66_049],
    ];
    for sizes in histories {
        let fake = FakeSumDb::start(sizes[0]).await;
        let setup = Setup::new();
        let db = setup.open(&fake.origin.url(), false);
        let (mut held, mut heads) = (Vec::new(), Vec::new());
        for &size in sizes {
            fake.grow(size);
            for number in [0, size / 2, size - 1] {
                db.hashes(&version(number)).await.unwrap();
                held.push(number);
            }
            let note = fake.state.lock().log.note(size);
            heads.push(SignedHead::open(note.as_bytes(), signer().verifier()).unwrap());
        }
        let offline = setup.open("off", true);
        for &number in &held {
            for known in std::iter::once(None).chain(heads.iter().map(Some)) {
                let accepted = strict_client(number, known, |path| ask(&offline, path)).await;
                let accepted = accepted.unwrap_or_else(|error| {
                    panic!(
                        "{sizes:?}: record {number} for a client at {:?}: {error}",
                        known.map(|head| head.head().size)
                    )
                });
                assert_eq!(accepted.newest.head().size, *sizes.last().unwrap());
            }
        }
        let absent = offline.serve(&format!("{NAME}/{}", lookup_path(70_000)), Reach::Database).await;
        assert!(matches!(absent, Err(SumDbError::Offline { .. })));
    }
}

/// Lookups behind a cache carry heads of all ages.
#[tokio::test]
async fn older_heads_are_checked_and_do_not_move_ours_back() {
    let fake = FakeSumDb::start(1_000).await;
    let setup = Setup::new();
    let db = setup.open(&fake.origin.url(), false);
    db.hashes(&version(1)).await.unwrap();
    for (number, stale) in [(2, 3), (3, 256), (4, 300), (5, 999)] {
        fake.state.lock().stale = Some(stale);
        db.hashes(&version(number)).await.unwrap();
    }
    let latest = ask(&db, "latest".to_owned()).await.unwrap();
    assert!(latest.starts_with(b"go.sum database tree\n1000\n"));
    let offline = setup.open("off", true);
    for number in 1..=5 {
        strict_client(number, None, |path| ask(&offline, path)).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_ahead_of_us_or_with_a_head_of_its_own_is_served() {
    let fake = FakeSumDb::start(70_000).await;
    let setup = Setup::new();
    let db = setup.open(&fake.origin.url(), false);
    db.hashes(&version(69_999)).await.unwrap();
    // A client whose head we never saw needs tiles that no record of ours needed.
    for size in [1, 256, 300, 65_000, 65_537] {
        let note = fake.state.lock().log.note(size);
        let known = SignedHead::open(note.as_bytes(), signer().verifier()).unwrap();
        strict_client(69_999, Some(&known), |path| ask(&db, path)).await.unwrap();
    }
    // One that is ahead makes us move on.
    fake.grow(70_500);
    setup.clock.advance(Duration::from_mins(5));
    let newer = fake.state.lock().log.note(70_500);
    let known = SignedHead::open(newer.as_bytes(), signer().verifier()).unwrap();
    strict_client(69_999, Some(&known), |path| ask(&db, path)).await.unwrap();
    assert_eq!(ask(&db, "latest".to_owned()).await.unwrap(), newer);
    // What exists nowhere is not found, and asked for once.
    let before = fake.asked("latest");
    for _ in 0..5 {
        let beyond = db.serve(&format!("{NAME}/tile/8/0/x999/999.p/3"), Reach::Database).await;
        assert!(matches!(beyond, Err(SumDbError::NotFound { .. })));
    }
    assert!(fake.asked("latest") <= before + 1);
}

#[tokio::test]
async fn tiles_are_proven_before_they_are_served_or_kept() {
    let fake = FakeSumDb::start(70_000).await;
    let setup = Setup::new();
    let db = setup.open(&fake.origin.url(), false);
    // Even without any record: the head is asked for, its edge proven, then the way down.
    let path = "tile/8/0/100";
    let truth = fake.state.lock().log.tile(&Tile::parse(path).unwrap(), 70_000).unwrap();
    let mut flipped = truth.to_vec();
    flipped[9] ^= 1;
    fake.lie(path, Reply::ok(flipped));
    assert!(matches!(
        db.serve(&format!("{NAME}/{path}"), Reach::Database).await,
        Err(SumDbError::TileMismatch(_))
    ));
    assert_eq!(setup.store.get(&format!("{NAME}/{path}")).unwrap(), None);
    fake.tell_truth();
    let answer = db.serve(&format!("{NAME}/{path}"), Reach::Database).await.unwrap();
    assert_eq!(answer.body, truth);
    assert_eq!(answer.content_type, "application/octet-stream");
    assert!(answer.cache_lifetime > Duration::from_hours(8_000));
    let part = db.serve(&format!("{NAME}/{path}.p/7"), Reach::Database).await.unwrap();
    assert_eq!(part.body, truth.slice(..7 * 32));
    assert!(part.cache_lifetime < Duration::from_hours(24));
    assert_eq!(fake.asked(path), 2, "the narrower one came from the wider");
}

#[tokio::test]
async fn data_tiles_are_proven_record_by_record() {
    let fake = FakeSumDb::start(600).await;
    let setup = Setup::new();
    let db = setup.open(&fake.origin.url(), false);
    for path in ["tile/8/data/001", "tile/8/data/002.p/88", "tile/8/data/001.p/3"] {
        let truth = fake.state.lock().log.tile(&Tile::parse(path).unwrap(), 600).unwrap();
        let text = String::from_utf8(truth.to_vec()).unwrap();
        if path != "tile/8/data/001.p/3" {
            fake.lie(path, Reply::ok(text.replacen("h1:A", "h1:B", 1)));
            let error = db.serve(&format!("{NAME}/{path}"), Reach::Database).await.unwrap_err();
            assert_eq!(error.label(), "record_mismatch");
            fake.tell_truth();
        }
        assert_eq!(db.serve(&format!("{NAME}/{path}"), Reach::Database).await.unwrap().body, truth, "{path}");
    }
    let offline = setup.open("off", true);
    assert!(ask(&offline, "tile/8/data/001.p/200".to_owned()).await.is_some());
    assert!(ask(&offline, "tile/8/data/000".to_owned()).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_asks_once_and_heads_move_on_one_at_a_time() {
    let fake = FakeSumDb::start(2_000).await;
    let setup = Setup::new();
    let db = setup.open(&fake.origin.url(), false);
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let db = db.clone();
        crowd.spawn(async move { db.hashes(&version(7)).await.is_ok() });
    }
    assert!(crowd.join_all().await.into_iter().all(|ok| ok));
    assert_eq!(fake.asked("lookup/"), 1);

    // Every lookup comes with a head of its own.
    let log = Log::new(3_000, 0, 0);
    fake.grow(3_000);
    for number in 100..160 {
        fake.lie(&lookup_path(number), Reply::ok(log.lookup(number, 2_000 + number).to_vec()));
    }
    let mut crowd = tokio::task::JoinSet::new();
    for number in 100..160 {
        let db = db.clone();
        crowd.spawn(async move { db.hashes(&version(number)).await.map_err(|error| format!("{error:?}")) });
    }
    for result in crowd.join_all().await {
        result.unwrap();
    }
    let offline = setup.open("off", true);
    let latest = ask(&offline, "latest".to_owned()).await.unwrap();
    assert!(latest.starts_with(b"go.sum database tree\n2159\n"), "{latest:?}");
    for number in 100..160 {
        strict_client(number, None, |path| ask(&offline, path)).await.unwrap();
    }
}

#[tokio::test]
async fn the_way_is_through_an_upstream_that_offers_it_else_direct() {
    let offering = FakeSumDb::start(300).await;
    let own = FakeSumDb::start_with(Log::new(300, 0, 0), "/").await;
    let plain = Fake::start(|_, _| Reply::text(404, "not here")).await;
    let refusing = Fake::start(|_, _| Reply::text(403, "no")).await;
    let seed = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(seed.path().join(format!("sumdb/{NAME}"))).unwrap();
    let hashes = |chain: String| {
        let database = database(&own.origin.url());
        async move {
            SumDb::open(
                &database,
                SumDbOptions::default(),
                Arc::new(upstream(&chain)),
                Arc::new(MemorySumStore::default()),
                Arc::new(SystemClock),
                SumDbMetrics::default(),
            )
            .unwrap()
            .hashes(&version(1))
            .await
        }
    };
    hashes(format!("{},{}", plain.url(), offering.origin.url())).await.unwrap();
    hashes(format!("{}|{}", refusing.url(), offering.origin.url())).await.unwrap();
    assert!(own.origin.seen().is_empty(), "the database itself was not asked");
    assert_eq!(offering.asked("/supported"), 2);
    let before = refusing.seen().len();
    let error = hashes(format!("{},{}", refusing.url(), offering.origin.url())).await.unwrap_err();
    assert_eq!(refusing.seen().len(), before + 1);
    assert!(matches!(error, SumDbError::Unavailable(_)), "{error}");
    let beside_a_copy = format!("file://{},{}", seed.path().display(), plain.url());
    let before_direct = format!("{},direct", plain.url());
    for chain in [plain.url(), "direct".to_owned(), "off".to_owned(), before_direct, beside_a_copy] {
        let before = own.origin.seen().len();
        hashes(chain.clone()).await.unwrap();
        assert!(own.origin.seen().len() > before, "{chain}");
    }
}

#[tokio::test]
async fn a_crowd_seeks_a_closed_way_once() {
    let refusing = Fake::start(|_, _| Reply::text(403, "no")).await;
    let db = Setup::new().open(&refusing.url(), false);
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..20 {
        let db = db.clone();
        crowd.spawn(async move { db.hashes(&version(number)).await.unwrap_err().label() });
    }
    assert!(crowd.join_all().await.into_iter().all(|label| label == "unavailable"));
    assert_eq!(refusing.seen().len(), 1);
}

/// What a go command leaves in its module cache when it has verified these records, each with a tree of the size beside it.
async fn module_cache(fake: &FakeSumDb, records: &[(u64, u64)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join(format!("sumdb/{NAME}"));
    let mut known: Option<SignedHead> = None;
    for &(number, size) in records {
        fake.grow(size);
        let state = &fake.state;
        let accepted = strict_client(number, known.as_ref(), |path| {
            let state = state.lock();
            let bytes = match Tile::parse(&path) {
                Ok(tile) => state.log.tile(&tile, state.size),
                Err(_) => Some(state.log.lookup(number, state.size)),
            };
            if let Some(bytes) = &bytes
                && path.starts_with("lookup/")
            {
                let file = cache.join(&path);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, bytes).unwrap();
            }
            std::future::ready(bytes)
        })
        .await
        .unwrap();
        // The go command writes a tile when it has proven it.
        for verified in &accepted.tiles {
            let file = cache.join(verified.tile.to_string());
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, &verified.hashes).unwrap();
        }
        known = Some(accepted.newest);
    }
    dir
}

/// An air-gapped site seeds from the module cache of a machine that was online.
#[tokio::test]
async fn a_copied_module_cache_serves_as_database() {
    let fake = FakeSumDb::start(900).await;
    let seed = module_cache(&fake, &[(3, 900), (400, 1_200), (600, 1_200), (1_100, 1_300)]).await;
    for end in ["", ",off", ",direct"] {
        let db = Setup::new().open(&format!("file://{}{end}", seed.path().display()), false);
        for number in [1_100, 3, 600, 400] {
            db.hashes(&version(number)).await.unwrap();
        }
        let error = db.hashes(&version(4)).await.unwrap_err();
        assert!(matches!(error, SumDbError::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_copied_module_cache_leaves_the_database_to_the_proxy_beside_it() {
    let seed = module_cache(&FakeSumDb::start(900).await, &[(3, 900)]).await;
    let directory = format!("file://{}", seed.path().display());
    let offering = FakeSumDb::start(900).await;
    let url = offering.origin.url();
    let chains = [format!("{directory},{url}"), format!("{url},{directory}")];
    for (number, chain) in chains.iter().enumerate() {
        let db = Setup::new().open(chain, false);
        for held_or_not in [3, 4] {
            db.hashes(&version(held_or_not)).await.unwrap();
        }
        assert_eq!(offering.asked("/supported"), number + 1);
    }
    // A directory with that file offers the database, as it does to the go command.
    std::fs::write(seed.path().join(format!("sumdb/{NAME}/supported")), "").unwrap();
    let before = offering.origin.seen().len();
    let db = Setup::new().open(&format!("{directory},{url}"), false);
    db.hashes(&version(3)).await.unwrap();
    let error = db.hashes(&version(4)).await.unwrap_err();
    assert!(matches!(error, SumDbError::NotFound { .. }), "{error}");
    assert_eq!(offering.origin.seen().len(), before);
}

/// Whether no way to the database is found, or the one that was chosen leads nowhere any more.
#[tokio::test]
async fn a_copied_module_cache_stands_in_for_a_database_in_trouble() {
    let seed = module_cache(&FakeSumDb::start(900).await, &[(3, 900), (600, 1_200)]).await;
    let failing = Fake::start(|seen, _| {
        if seen.path.ends_with("/supported") { Reply::ok("") } else { Reply::text(503, "try later") }
    })
    .await;
    let plain = Fake::start(|_, _| Reply::text(404, "not here")).await;
    // The database itself cannot be reached either.
    for proxy in [nobody(), failing.url(), plain.url()] {
        let db = Setup::new().open(&format!("file://{},{proxy}", seed.path().display()), false);
        for number in [600, 3] {
            db.hashes(&version(number)).await.unwrap();
        }
        let error = db.hashes(&version(4)).await.unwrap_err();
        assert!(matches!(error, SumDbError::Unavailable(_)), "{proxy}: {error}");
    }
}
