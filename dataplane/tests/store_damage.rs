//! Flipped bits, lost and swapped files, foreign directories: found by checksum, refused or contained, and never
//! a partial answer.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_bed;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use common::clock::SystemClock;
use dataplane::store::evict::{Policy, run_once};
use dataplane::store::{
    CHUNK_BYTES, Class, Durability, OpenError, Patch, Scope, Store, StoreError, StoreOptions,
};
use gomod::ModuleVersion;
use store_bed::*;

type Expected = BTreeMap<ModuleVersion, Bytes>;

/// A closed store with `count` versions, small and large, none of them in the log.
fn filled(dir: &Path, count: u64) -> Expected {
    let store = open(dir);
    (0..count)
        .map(|number| {
            let (mv, zip) = (numbered(number), content(number, 500 + number as usize % 4 * CHUNK_BYTES));
            put(&store, &mv, &zip, Durability::Buffered);
            (mv, zip)
        })
        .collect()
}

fn try_open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(dir, options(), Arc::new(SystemClock))
}

fn flip(path: &Path, at: u64) {
    let mut bytes = std::fs::read(path).expect("read");
    bytes[at as usize] ^= 0x10;
    std::fs::write(path, bytes).expect("write");
}

fn len(path: &Path) -> u64 {
    path.metadata().expect("metadata").len()
}

fn is_damaged(result: &Result<Store, OpenError>) -> bool {
    match result {
        Err(error) => error.is_locked_or_damaged() && !matches!(error, OpenError::Locked { .. }),
        Ok(_) => false,
    }
}

/// Everything the store answers is right and whole, or an error of damage. The number of errors.
fn check_answers(store: &Store, expected: &Expected) -> usize {
    let mut damaged = 0;
    let mut bad = |error: StoreError| {
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        damaged += 1;
    };
    for (mv, zip) in expected {
        match store.open_zip(mv) {
            Ok(reader) => {
                let reader = reader.expect("damage is not absence");
                let chunks: Result<Vec<_>, _> =
                    (0..reader.manifest().chunks()).map(|number| reader.chunk(number)).collect();
                match chunks {
                    Ok(chunks) => assert_eq!(&chunks.concat(), zip),
                    Err(error) => bad(error),
                }
            }
            Err(error) => bad(error),
        }
        let wanted = expected.keys().filter(|other| other.module == mv.module).count();
        match store.versions(&mv.module) {
            Ok(versions) => assert_eq!(versions.len(), wanted, "a shorter list of versions"),
            Err(error) => bad(error),
        }
    }
    for answer in [
        store.index_since(0, usize::MAX).map(|entries| entries.len()),
        store.records_after(None, usize::MAX).map(|records| records.len()),
    ] {
        match answer {
            Ok(found) => assert_eq!(found, expected.len()),
            Err(error) => bad(error),
        }
    }
    damaged
}

#[test]
fn bits_flipped_in_tables_are_found() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let expected = filled(dir.path(), 60);
    let (mut refused, mut contained) = (0, 0);
    for table in files(dir.path(), ".sst") {
        for part in 0..12 {
            let copy = tempfile::tempdir().expect("temporary folder");
            copy_folder(dir.path(), copy.path());
            let table = copy.path().join("db").join(table.file_name().expect("name"));
            flip(&table, len(&table) * part / 12 + 5);
            match try_open(copy.path()) {
                Ok(store) => contained += check_answers(&store, &expected),
                result => {
                    assert!(is_damaged(&result), "{result:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(contained > 0 && refused + contained > 12, "{refused} refused, {contained} contained");
}

#[test]
fn a_bit_flipped_in_a_blob_is_found_and_heals() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let expected = filled(dir.path(), 24);
    let blobs = files(dir.path(), ".blob");
    let [blob] = blobs.as_slice() else { panic!("{blobs:?}") };
    flip(blob, len(blob) / 2);
    let store = open(dir.path());
    assert_eq!(check_answers(&store, &expected), 1);
    let (_, findings) = scrub(&store);
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    let bad = &finding.version;
    let reader = store.open_zip(bad).expect("open").expect("held");
    let corrupt = |number| matches!(reader.chunk(number), Err(StoreError::Corrupt { .. }));
    assert!((0..reader.manifest().chunks()).any(corrupt));
    drop(reader);
    assert_eq!(finding.scope, Scope::Zip);
    store.quarantine(bad, finding.scope, &finding.detail).expect("quarantine");
    assert_eq!(zip_of(&store, bad), None);
    put(&store, bad, &expected[bad], Durability::Synced);
    assert_eq!(check_answers(&store, &expected), 0);
    assert_sound(&store);
}

/// Collecting garbage reads what it moves. Damage there stops the database; the store heals without a restart.
#[test]
fn garbage_collection_that_meets_damage_is_healed() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, expected, bad) = half_removed(dir.path());
    let policy = Policy { garbage_floor_bytes: 0, ..Policy::default() };
    let pass = run_once(&store, &policy, NEW_YEAR_US);
    let stopped_by = pass.map_err(|interrupted| interrupted.source);
    assert!(matches!(stopped_by, Err(StoreError::Corrupt { .. })), "{stopped_by:?}");
    assert!(store.usage().expect("usage").stopped);
    assert_eq!(check_answers(&store, &expected), 1);
    let report = run_once(&store, &policy, NEW_YEAR_US).expect("the next pass heals");
    assert_eq!(report.healed.quarantined, std::slice::from_ref(&bad));
    assert!(report.garbage_share.is_some());
    put(&store, &bad, &expected[&bad], Durability::Synced);
    assert_eq!(check_answers(&store, &expected), 0);
    assert_sound(&store);
}

/// A store whose one blob file has a damaged zip and is half garbage, and that version.
fn half_removed(dir: &Path) -> (Store, Expected, ModuleVersion) {
    let mut expected = filled(dir, 24);
    let blob = files(dir, ".blob").remove(0);
    flip(&blob, len(&blob) / 2);
    let store = open(dir);
    let bad = scrub(&store).1.remove(0).version;
    for number in (0..24).filter(|number| number % 2 == 0) {
        if numbered(number) != bad {
            store.remove(&numbered(number), Scope::Record).expect("remove");
            expected.remove(&numbered(number));
        }
    }
    (store, expected, bad)
}

/// What was published is not fetched anew: collecting waits until it is whole again, and everything else goes on.
#[test]
fn damage_that_has_to_stay_is_met_once() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, mut expected, bad) = half_removed(dir.path());
    assert!(store.set_class(&bad, Class::Published).expect("set"));
    let policy = Policy { garbage_floor_bytes: 0, ..Policy::default() };
    run_once(&store, &policy, NEW_YEAR_US).expect_err("it meets the damage");
    assert!(store.is_stopped());
    let report = run_once(&store, &policy, NEW_YEAR_US).expect("healed");
    assert!(report.healed.reopened && report.healed.quarantined.is_empty(), "{report:?}");
    let mut remove = |number| {
        store.remove(&numbered(number), Scope::Record).expect("remove");
        expected.remove(&numbered(number));
    };
    let others = (0..24).filter(|number| number % 2 == 1 && numbered(*number) != bad);
    let others: Vec<u64> = others.collect();
    for number in &others[..3] {
        remove(*number);
        let report = run_once(&store, &policy, NEW_YEAR_US).expect("pass");
        assert!(!report.healed.reopened && report.garbage_share.is_none(), "{report:?}");
        assert!(!store.is_stopped());
    }
    let emptying = Policy { capacity_bytes: 0, garbage_floor_bytes: 0, ..Policy::default() };
    assert!(!run_once(&store, &emptying, NEW_YEAR_US).expect("pass").evicted.is_empty());

    // Somebody brings it back.
    store.quarantine(&bad, Scope::Zip, "it is damaged").expect("quarantine");
    for (version, zip) in &expected {
        put(&store, version, zip, Durability::Synced);
    }
    store.flush().expect("flush");
    assert!(scrub(&store).1.is_empty());
    store.remove(&numbered(others[3]), Scope::Record).expect("remove");
    let report = run_once(&store, &policy, NEW_YEAR_US).expect("pass");
    assert!(report.garbage_share.is_some(), "{report:?}");
    assert_sound(&store);
}

/// The chunks of what was taken out stay for its readers, and are not to be met meanwhile.
#[test]
fn collecting_waits_for_the_readers_of_what_is_damaged() {
    for by_reader in [false, true] {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (store, expected, bad) = half_removed(dir.path());
        let policy = Policy { garbage_floor_bytes: 0, ..Policy::default() };
        let reader = store.open_zip(&bad).expect("open").expect("held");
        if by_reader {
            // Whoever meets it first sets it aside; collecting does not know of that.
            store.quarantine(&bad, Scope::Zip, "it is damaged").expect("quarantine");
        }
        run_once(&store, &policy, NEW_YEAR_US).expect_err("it meets the damage");
        for pass in 0..3 {
            let report = run_once(&store, &policy, NEW_YEAR_US).expect("pass");
            assert_eq!(report.healed.reopened, pass == 0, "{report:?}");
            assert!(report.garbage_share.is_none() && !store.is_stopped(), "{report:?}");
        }
        drop(reader);
        let report = run_once(&store, &policy, NEW_YEAR_US).expect("pass");
        assert!(report.garbage_share.is_some(), "{report:?}");
        put(&store, &bad, &expected[&bad], Durability::Synced);
        assert_eq!(check_answers(&store, &expected), 0);
        assert_sound(&store);
    }
}

/// A store in which one block of records does not verify, and the versions in it.
fn with_hidden_records(dir: &Path) -> (Store, BTreeSet<ModuleVersion>) {
    let store = open(dir);
    for number in 0..60 {
        let (version, zip) = (numbered(number), content(1000 + number, 300));
        let info = Some(content(number, 3000));
        let patch = Patch { info, ..patch_of(&store, &version, &zip) };
        store.commit(&version, patch, Durability::Buffered).expect("commit");
    }
    drop(store);
    let part = content(35, 64);
    let place = |path: &Path| {
        let bytes = std::fs::read(path).expect("read");
        bytes.windows(part.len()).position(|window| window == part)
    };
    let tables = files(dir, ".sst");
    let (table, at) = tables.iter().find_map(|path| Some((path, place(path)?))).expect("a table with it");
    flip(table, at as u64);
    let store = open(dir);
    let hidden: BTreeSet<_> =
        (0..60).map(numbered).filter(|version| store.record(version).is_err()).collect();
    assert!(hidden.contains(&numbered(35)) && hidden.len() < 10, "{hidden:?}");
    (store, hidden)
}

#[test]
fn a_block_of_records_that_cannot_be_read_does_not_end_a_scrub() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, hidden) = with_hidden_records(dir.path());
    let (report, findings) = scrub(&store);
    assert_eq!(report.records, 60 - hidden.len() as u64);
    assert_eq!((report.hidden, report.findings), (1, hidden.len() as u64));
    assert!(findings.iter().all(|finding| finding.scope == Scope::Record));
    let found: BTreeSet<_> = findings.into_iter().map(|finding| finding.version).collect();
    assert_eq!(found, hidden);
}

#[test]
fn records_that_cannot_be_read_keep_no_zip_from_leaving() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, hidden) = with_hidden_records(dir.path());
    let policy = Policy { capacity_bytes: 0, ..Policy::default() };
    let report = run_once(&store, &policy, NEW_YEAR_US).expect("pass");
    assert_eq!(report.unreadable.count, hidden.len() as u64);
    let left: BTreeSet<_> = report.evicted.into_iter().map(|evicted| evicted.version).collect();
    let expected: BTreeSet<_> = (0..60).map(numbered).filter(|version| !hidden.contains(version)).collect();
    assert_eq!(left, expected);
    assert!(!store.is_stopped());
}

#[test]
fn swapped_blob_files_are_found() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let zip = |number| content(number, 2 * CHUNK_BYTES);
    let mut expected = Expected::new();
    for number in 0..2 {
        // Closing writes a blob file of its own.
        let store = open(dir.path());
        put(&store, &numbered(number), &zip(number), Durability::Buffered);
        expected.insert(numbered(number), zip(number));
    }
    let blobs = files(dir.path(), ".blob");
    let [a, b] = blobs.as_slice() else { panic!("{blobs:?}") };
    assert_eq!(len(a), len(b));
    let aside = dir.path().join("aside");
    std::fs::rename(a, &aside).expect("rename");
    std::fs::rename(b, a).expect("rename");
    std::fs::rename(&aside, b).expect("rename");
    let store = open(dir.path());
    assert_eq!(check_answers(&store, &expected), 2);
    assert_eq!(scrub(&store).1.len(), 2);
}

#[test]
fn lost_files_are_damage() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let expected = filled(dir.path(), 30);
    for end in [".sst", ".blob", "CURRENT", "MANIFEST"] {
        let copy = tempfile::tempdir().expect("temporary folder");
        copy_folder(dir.path(), copy.path());
        let found = match end {
            "MANIFEST" => manifest(copy.path()),
            _ => files(copy.path(), end).remove(0),
        };
        std::fs::remove_file(found).expect("remove");
        match try_open(copy.path()) {
            Ok(store) => assert!(check_answers(&store, &expected) > 0, "{end} is not missed"),
            result => assert!(is_damaged(&result), "{end}: {result:?}"),
        }
    }
}

fn manifest(dir: &Path) -> std::path::PathBuf {
    let current = std::fs::read_to_string(dir.join("db/CURRENT")).expect("CURRENT");
    dir.join("db").join(current.trim())
}

#[test]
fn a_damaged_manifest_is_refused() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let expected = filled(dir.path(), 30);
    for part in 0..10 {
        let copy = tempfile::tempdir().expect("temporary folder");
        copy_folder(dir.path(), copy.path());
        let manifest = manifest(copy.path());
        flip(&manifest, len(&manifest) * part / 10);
        match try_open(copy.path()) {
            // What was flipped may have stood for nothing any more, but then all must be there.
            Ok(store) => assert_eq!(check_answers(&store, &expected), 0),
            result => assert!(is_damaged(&result), "{result:?}"),
        }
    }
    std::fs::write(dir.path().join("db/CURRENT"), "MANIFEST-999999\n").expect("write");
    let result = try_open(dir.path());
    assert!(is_damaged(&result), "{result:?}");
}

/// A folder whose store died with `count` versions in its log.
fn logged(count: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    for number in 0..count {
        put(&store, &numbered(number), &content(number, 3000), Durability::Synced);
    }
    let copy = tempfile::tempdir().expect("temporary folder");
    // As a crash leaves it: the copy is made while the store is open.
    copy_folder(dir.path(), copy.path());
    copy
}

#[test]
fn a_damaged_log_is_refused_unless_only_its_end_is_torn() {
    const COUNT: u64 = 20;
    let dir = logged(COUNT);
    let log = files(dir.path(), ".log").pop().expect("a log");
    let size = len(&log);
    for (at, cut, survivors) in [
        (None, size - 1, Some(COUNT - 1)),
        (None, size - 1500, Some(COUNT - 1)),
        (Some(size - 1), size, Some(COUNT - 1)),
        (Some(size / 2), size, None),
        (Some(3), size, None),
        (Some(size - 6000), size, None),
    ] {
        let copy = tempfile::tempdir().expect("temporary folder");
        copy_folder(dir.path(), copy.path());
        let log = copy.path().join("db").join(log.file_name().expect("name"));
        if let Some(at) = at {
            flip(&log, at);
        }
        std::fs::OpenOptions::new().write(true).open(&log).expect("open").set_len(cut).expect("cut");
        let result = try_open(copy.path());
        if let Some(survivors) = survivors {
            let store = result.expect("a torn end opens");
            let held = (0..COUNT).filter(|&number| zip_of(&store, &numbered(number)).is_some());
            assert_eq!(held.collect::<Vec<_>>(), (0..survivors).collect::<Vec<_>>());
            assert_sound(&store);
        } else {
            let Err(OpenError::Damaged { path, .. }) = &result else { panic!("{result:?}") };
            assert_eq!(path, &log);
            let before = std::fs::read(&log).expect("the log is left as it was");
            assert_eq!(before.len() as u64, size);
            let accepting = StoreOptions { accept_log_loss: true, ..options() };
            let store = Store::open(copy.path(), accepting, Arc::new(SystemClock)).expect("open");
            assert_sound(&store);
        }
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().expect("temporary folder");
    filled(dir.path(), 1);
    let identity = dir.path().join("IDENTITY");
    let text = std::fs::read_to_string(&identity).expect("identity");
    std::fs::write(&identity, text.replace("\"schema\":1", "\"schema\":2")).expect("write");
    let result = try_open(dir.path());
    assert!(matches!(result, Err(OpenError::NewerSchema { found: 2, supported: 1, .. })), "{result:?}");
}

#[test]
fn a_database_of_another_store_is_refused() {
    let (a, b) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    filled(a.path(), 1);
    filled(b.path(), 1);
    std::fs::remove_dir_all(a.path().join("db")).expect("remove");
    copy_folder(&b.path().join("db"), &a.path().join("db"));
    let result = try_open(a.path());
    assert!(is_damaged(&result), "{result:?}");
    // A vanished database is not silently replaced by an empty one either.
    std::fs::remove_dir_all(b.path().join("db")).expect("remove");
    let result = try_open(b.path());
    assert!(is_damaged(&result), "{result:?}");
}

#[test]
fn a_start_that_died_before_the_identity_file_is_taken_up() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let id = open(dir.path()).id();
    std::fs::remove_file(dir.path().join("IDENTITY")).expect("remove");
    assert_eq!(open(dir.path()).id(), id);
}

#[test]
fn a_second_process_is_refused_and_told_of_the_first() {
    const DIR: &str = "STORE_TEST_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        let _store = open(Path::new(&dir));
        println!("\nopen");
        // Ends with the test, when its end of the pipe closes.
        std::io::stdin().lines().next();
        return;
    }
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .args(["a_second_process_is_refused_and_told_of_the_first", "--exact", "--nocapture"])
        .env(DIR, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the child");
    let output = BufReader::new(child.stdout.take().expect("output"));
    let opened = output.lines().any(|line| line.expect("line") == "open");
    assert!(opened);
    let result = try_open(dir.path());
    let Err(OpenError::Locked { pid, .. }) = &result else { panic!("{result:?}") };
    assert_eq!(*pid, Some(child.id()));
    child.kill().expect("kill");
    child.wait().expect("wait");
    open(dir.path());
}
