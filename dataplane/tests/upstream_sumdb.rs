//! The checksum database against one that grows, forks and lies: what is believed, kept and served, online and off.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod upstream_fake;
mod upstream_log;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{ManualClock, SystemClock};
use dataplane::sumdb::{
    Database, MemorySumStore, Reach, SumDb, SumDbError, SumDbMetrics, SumDbOptions, SumSpec, SumStore,
};
use gomod::sumdb::{Lookup, SignedHead, SignerKey, Tile};
use prometheus_client::registry::Registry;
use upstream_fake::{Fake, Reply, upstream};
use upstream_log::{FakeSumDb, Log, NAME, lookup_path, signer, strict_client, version};

fn database(url: &str) -> Database {
    match format!("{} {url}", signer().verifier()).parse::<SumSpec>().unwrap() {
        SumSpec::Database(database) => *database,
        SumSpec::Off => panic!("off"),
    }
}

struct Setup {
    store: Arc<MemorySumStore>,
    clock: Arc<ManualClock>,
    metrics: SumDbMetrics,
}

impl Setup {
    fn new() -> Self {
        Self { store: Arc::default(), clock: Arc::new(ManualClock::new(0)), metrics: SumDbMetrics::default() }
    }

    fn open(&self, chain: &str, offline: bool) -> SumDb {
        let corp = gomod::GlobPatterns::parse("corp.example").unwrap();
        let options = SumDbOptions { offline, no_sumdb: corp, ..SumDbOptions::default() };
        SumDb::open(
            &database("http://127.0.0.1:9"),
            options,
            Arc::new(upstream(chain)),
            self.store.clone(),
            self.clock.clone(),
            self.metrics.clone(),
        )
        .unwrap()
    }

    fn metrics(&self) -> String {
        let mut registry = Registry::default();
        self.metrics.register(registry.sub_registry_with_prefix("sumdb"));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }
}

async fn ask(db: &SumDb, path: String) -> Option<Bytes> {
    db.serve(&format!("{NAME}/{path}"), Reach::Database).await.ok().map(|answer| answer.body)
}

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

/// Each lie has its own error and metric, and nothing of it is kept.
#[tokio::test]
async fn every_lie_is_refused_by_its_name() {
    let log = Log::new(700, 0, 0);
    let path = lookup_path(5);
    let good = String::from_utf8(log.lookup(5, 700).to_vec()).unwrap();
    let other_key = SignerKey::from_seed(NAME, &[8; 32]).unwrap();
    let by_other = other_key.sign(&log.head(700).to_string()).unwrap();
    let leaf = "tile/8/0/000";
    let edge = "tile/8/0/002.p/188";
    let flipped = |path: &str| {
        let mut bytes = log.tile(&Tile::parse(path).unwrap(), 700).unwrap().to_vec();
        bytes[40] ^= 1;
        bytes
    };
    let lies: Vec<(&str, &str, Reply)> = vec![
        ("bad_signature", &path, Reply::ok(good.replacen("\n700\n", "\n701\n", 1))),
        ("bad_signature", &path, Reply::ok(Lookup::render(5, log.record(5), &by_other).to_vec())),
        ("record_mismatch", &path, Reply::ok(good.replacen("h1:A", "h1:B", 1))),
        ("record_mismatch", &path, Reply::ok(good.replacen("5\n", "6\n", 1))),
        ("record_mismatch", &path, Reply::ok(good.replacen("5\n", "700\n", 1))),
        ("unrelated", &path, Reply::ok(log.lookup(6, 700).to_vec())),
        ("malformed", &path, Reply::ok("")),
        ("malformed", &path, Reply::ok("hello\n")),
        ("unavailable", &path, Reply::ok("<html>sign in</html>").header("Content-Type", "text/html")),
        ("tile_mismatch", leaf, Reply::ok(flipped(leaf))),
        ("tile_mismatch", edge, Reply::ok(flipped(edge))),
        ("tile_mismatch", leaf, Reply::ok("short")),
        ("unavailable", &path, Reply::new(500, "")),
        ("unavailable", leaf, Reply::new(403, "")),
        ("not_found", &path, Reply::new(410, "")),
        ("unavailable", leaf, Reply::new(404, "")),
    ];
    for (label, path, lie) in lies {
        let fake = FakeSumDb::start(700).await;
        let setup = Setup::new();
        let db = setup.open(&fake.origin.url(), false);
        fake.lie(path, lie);
        let error = db.hashes(&version(5)).await.unwrap_err();
        assert_eq!(error.label(), label, "{error:?}");
        let text = setup.metrics();
        let counted = format!("requests_total{{request=\"hashes\",outcome=\"{label}\"}} 1");
        assert!(text.contains(&counted), "{text}");
        assert_eq!(setup.store.get(&format!("{NAME}/head")).unwrap(), None);
        assert_eq!(setup.store.get(&format!("{NAME}/{leaf}")).unwrap(), None);
        assert_eq!(setup.store.get(&format!("{NAME}/{}", lookup_path(5))).unwrap(), None);
        fake.tell_truth();
        // Trouble is remembered for two seconds of the upstream's own clock, so a new one asks again.
        assert!(setup.open(&fake.origin.url(), false).hashes(&version(5)).await.is_ok());
    }
}

#[tokio::test]
async fn a_fork_raises_an_alarm_that_lasts_until_it_is_cleared() {
    for (ours, theirs) in [(400, 700), (700, 400), (500, 500)] {
        let fake = FakeSumDb::start(ours).await;
        let setup = Setup::new();
        let db = setup.open(&fake.origin.url(), false);
        db.hashes(&version(3)).await.unwrap();
        let our_note = fake.state.lock().log.note(ours);
        {
            let mut state = fake.state.lock();
            state.log = Log::new(theirs, 9, 100);
            state.size = theirs;
        }
        // The contradicting history comes from elsewhere than the tiles that prove ours when it is the shorter one.
        if theirs < ours {
            let forked = fake.state.lock().log.lookup(8, theirs).to_vec();
            let mut state = fake.state.lock();
            state.log = Log::new(ours, 0, 0);
            state.size = ours;
            drop(state);
            fake.lie(&lookup_path(8), Reply::ok(forked));
        }
        let error = db.hashes(&version(8)).await.unwrap_err();
        assert!(matches!(error, SumDbError::Fork), "{ours} {theirs}: {error:?}");
        let fork = db.fork().unwrap().unwrap();
        assert_eq!(fork.ours, our_note);
        assert!(fork.theirs.starts_with(format!("go.sum database tree\n{theirs}\n").as_bytes()));
        assert!(setup.metrics().contains("fork_alarm 1"));

        let asked = fake.origin.seen().len();
        assert!(matches!(db.hashes(&version(9)).await, Err(SumDbError::Fork)));
        assert_eq!(fake.origin.seen().len(), asked, "nobody is asked any more");
        assert!(db.hashes(&version(3)).await.is_ok(), "what is held was verified before");
        assert!(ask(&db, lookup_path(3)).await.is_some());

        let again = setup.open(&fake.origin.url(), false);
        assert!(matches!(again.hashes(&version(9)).await, Err(SumDbError::Fork)), "a restart does not help");
        fake.tell_truth();
        {
            let mut state = fake.state.lock();
            state.log = Log::new(800, 0, 0);
            state.size = 800;
        }
        again.clear_fork().unwrap();
        assert!(again.hashes(&version(9)).await.is_ok());
        assert_eq!(again.fork().unwrap(), None);
        assert!(setup.metrics().contains("fork_alarm 0"));
        assert!(setup.store.get(&format!("{NAME}/fork/theirs")).unwrap().is_some(), "the proof is kept");
    }
}

/// A server at `ours` that holds the records of `held`; its database then shows a history that forks at record
/// `forked_from`, of `theirs` records, and nothing of ours any more.
async fn forked(ours: u64, held: &[u64], theirs: u64, forked_from: u64) -> (FakeSumDb, Setup, SumDb) {
    let fake = FakeSumDb::start(ours).await;
    let setup = Setup::new();
    let db = setup.open(&fake.origin.url(), false);
    for &number in held {
        db.hashes(&version(number)).await.unwrap();
    }
    {
        let mut state = fake.state.lock();
        state.log = Log::new(theirs, 9, forked_from);
        state.size = theirs;
    }
    (fake, setup, db)
}

/// The sizes are such that the second head leads to tiles that are held: those of its edge, or on the way to the record.
/// A shorter one is proven by tiles of ours that nobody has any more.
#[tokio::test]
async fn a_fork_that_contradicts_tiles_held_is_still_a_fork() {
    let longer =
        [(400, 500, 100), (257, 511, 0), (600, 601, 599), (65_537, 65_700, 3), (66_000, 66_100, 65_990)];
    let shorter =
        [(700, 400, 100), (700, 257, 3), (66_000, 65_700, 3), (66_000, 65_900, 65_890), (300, 256, 255)];
    for (ours, theirs, forked_from) in longer.into_iter().chain(shorter) {
        let case = format!("{ours} {theirs} {forked_from}");
        let last = ours.min(theirs) - 1;
        let held = [3, last, ours - 1];
        let (fake, setup, db) = forked(ours, &held, theirs, forked_from).await;
        let theirs_signed = fake.state.lock().log.note(theirs);
        let ours_signed = Log::new(ours, 0, 0).note(ours);

        let error = db.hashes(&version(8)).await.unwrap_err();
        assert!(matches!(error, SumDbError::Fork), "{case}: {error:?}");
        let fork = db.fork().unwrap().unwrap();
        assert_eq!((fork.ours, fork.theirs), (ours_signed.into(), theirs_signed.into()), "{case}");
        assert!(setup.metrics().contains("fork_alarm 1"), "{case}");
        assert_eq!(setup.store.get(&format!("{NAME}/{}", lookup_path(8))).unwrap(), None, "{case}");

        let again = setup.open(&fake.origin.url(), false);
        assert!(
            matches!(again.hashes(&version(9)).await, Err(SumDbError::Fork)),
            "{case}: a restart does not help"
        );
        for number in held {
            again.hashes(&version(number)).await.unwrap();
        }
    }
}

/// A shorter head whose proof needs tiles of ours that are not held and that its server, true to itself, does not have.
#[tokio::test]
async fn a_shorter_fork_is_compared_by_the_tiles_that_it_has() {
    // With `grown` its server is past that head, so that it has tiles of the places asked for, but of its own history.
    for grown in [400, 800] {
        let (fake, setup, db) = forked(700, &[699], grown, 100).await;
        fake.state.lock().stale = Some(400);
        let error = db.hashes(&version(8)).await.unwrap_err();
        assert!(matches!(error, SumDbError::Fork), "{grown}: {error:?}");
        assert!(db.fork().unwrap().unwrap().theirs.starts_with(b"go.sum database tree\n400\n"));
        assert!(setup.metrics().contains("fork_alarm 1"), "{grown}");
    }
}

/// The record alone is refused at once, by a tile held; the head that came with it counts for more.
#[tokio::test]
async fn a_forged_record_under_a_forked_head_is_a_fork() {
    let fake = FakeSumDb::start(700).await;
    let setup = Setup::new();
    let db = setup.open(&fake.origin.url(), false);
    db.hashes(&version(3)).await.unwrap();
    fake.lie(&lookup_path(8), Reply::ok(Log::new(400, 9, 5).lookup(8, 400).to_vec()));
    let error = db.hashes(&version(8)).await.unwrap_err();
    assert!(matches!(error, SumDbError::Fork), "{error:?}");
    assert!(setup.metrics().contains("fork_alarm 1"));
}

/// A server that has not caught up, or was put back to an older copy, of the same history.
#[tokio::test]
async fn a_server_that_is_behind_is_no_fork() {
    let (_fake, setup, db) = forked(700, &[699], 400, 400).await;
    let error = db.hashes(&version(8)).await.unwrap_err();
    assert!(matches!(error, SumDbError::Unavailable(_)), "{error:?}");
    assert!(setup.metrics().contains("fork_alarm 0"));
}

#[tokio::test]
async fn a_fork_shown_as_the_latest_head_is_an_alarm_too() {
    for theirs in [500, 300] {
        let (_fake, setup, db) = forked(400, &[3, 299], theirs, 100).await;
        let latest = ask(&db, "latest".to_owned()).await.unwrap();
        assert!(latest.starts_with(b"go.sum database tree\n400\n"), "ours is served on");
        assert!(setup.metrics().contains("fork_alarm 1"), "{theirs}");
    }
}

/// Only what follows from a signed head counts against the database: tiles that fit neither history may be anybody's.
#[tokio::test]
async fn tiles_that_lead_nowhere_are_no_fork() {
    let (fake, setup, db) = forked(400, &[3], 500, 100).await;
    fake.lie("tile/8/1/000.p/1", Reply::ok([5; 32]));
    let error = db.hashes(&version(8)).await.unwrap_err();
    assert!(matches!(error, SumDbError::TileMismatch(_)), "{error:?}");
    assert_eq!(db.fork().unwrap(), None);
    assert!(setup.metrics().contains("fork_alarm 0"));
    // The tiles that show it are there again: the fork is seen now.
    fake.tell_truth();
    let again = setup.open(&fake.origin.url(), false);
    assert!(matches!(again.hashes(&version(8)).await, Err(SumDbError::Fork)));
}

/// The same history, grown, with a lie at every place where a held tile is in play.
#[tokio::test]
async fn a_lie_about_a_grown_tree_is_no_fork_and_is_forgiven() {
    let log = Log::new(500, 0, 0);
    let garbled = |path: &str| {
        let mut bytes = log.tile(&Tile::parse(path).unwrap(), 500).unwrap().to_vec();
        bytes[0] ^= 1;
        Reply::ok(bytes)
    };
    let record = |number| String::from_utf8(log.lookup(number, 500).to_vec()).unwrap();
    let stale = String::from_utf8(log.lookup(8, 300).to_vec()).unwrap();
    let lies = [
        ("tile_mismatch", 450, "tile/8/0/001.p/244".to_owned(), garbled("tile/8/0/001.p/244")),
        ("tile_mismatch", 450, "tile/8/0/001.p/244".to_owned(), Reply::ok("short")),
        ("unavailable", 450, "tile/8/0/001.p/244".to_owned(), Reply::new(404, "")),
        ("tile_mismatch", 8, "tile/8/0/000".to_owned(), garbled("tile/8/0/000")),
        ("record_mismatch", 450, lookup_path(450), Reply::ok(record(450).replacen("h1:A", "h1:B", 1))),
        ("record_mismatch", 450, lookup_path(450), Reply::ok(record(450).replacen("450\n", "500\n", 1))),
        // Signed as it was, long ago.
        ("record_mismatch", 8, lookup_path(8), Reply::ok(stale.replacen("h1:A", "h1:B", 1))),
    ];
    for (label, number, path, lie) in lies {
        let fake = FakeSumDb::start(400).await;
        let setup = Setup::new();
        let db = setup.open(&fake.origin.url(), false);
        db.hashes(&version(399)).await.unwrap();
        fake.grow(500);
        fake.lie(&path, lie);
        let error = db.hashes(&version(number)).await.unwrap_err();
        assert_eq!(error.label(), label, "{path}: {error:?}");
        assert_eq!(db.fork().unwrap(), None, "{path}");
        fake.tell_truth();
        let again = setup.open(&fake.origin.url(), false);
        again.hashes(&version(number)).await.unwrap();
        strict_client(number, None, |path| ask(&again, path)).await.unwrap();
    }
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
    for proxy in ["http://127.0.0.1:9".to_owned(), failing.url(), plain.url()] {
        let db = Setup::new().open(&format!("file://{},{proxy}", seed.path().display()), false);
        for number in [600, 3] {
            db.hashes(&version(number)).await.unwrap();
        }
        let error = db.hashes(&version(4)).await.unwrap_err();
        assert!(matches!(error, SumDbError::Unavailable(_)), "{proxy}: {error}");
    }
}
