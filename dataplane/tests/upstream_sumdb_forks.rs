//! The checksum database against one that forks and lies: what is refused, what raises an alarm, and what is neither.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod sumdb_bed;
mod upstream_fake;
mod upstream_log;

use dataplane::sumdb::{SumDb, SumDbError, SumStore};
use gomod::sumdb::{Lookup, SignerKey, Tile};
use sumdb_bed::{Setup, ask};
use upstream_fake::Reply;
use upstream_log::{FakeSumDb, Log, NAME, lookup_path, strict_client, version};

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
        ("unavailable", &path, Reply::ok("\n <!DOCTYPE html><title>sign in</title>")),
        ("tile_mismatch", leaf, Reply::ok("<html>sign in</html>")),
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
