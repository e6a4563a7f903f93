//! What the store promises, seen from outside.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_bed;

use std::sync::{Arc, Barrier};
use std::time::Duration;

use bytes::Bytes;
use common::clock::Clock as _;
use dataplane::store::evict::{Policy, run_once};
use dataplane::store::{
    CHUNK_BYTES, CachedAnswer, Class, CommitError, Durability, Held, Part, Patch, Scope, StoreError, Verified,
};
use store_bed::*;

const SIZES: [usize; 6] = [0, 1, 1024, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 5];

#[test]
fn a_version_comes_back_whole_also_after_a_restart() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    for (number, size) in (0..).zip(SIZES) {
        clock.advance(Duration::from_secs(1));
        let (mv, zip) = (numbered(number), content(number, size));
        let record = put(&store, &mv, &zip, Durability::Buffered);
        assert_eq!(record.first_seen_us, clock.now_us());
    }
    let id = store.id();
    drop(store);
    let (store, _) = open_at(dir.path(), NEW_YEAR_US);
    assert_eq!(store.id(), id);
    for (number, size) in (0..).zip(SIZES) {
        let (mv, zip) = (numbered(number), content(number, size));
        let record = store.record(&mv).expect("record").expect("stored");
        assert_eq!(record.info, Some(info_of(&mv)));
        assert_eq!(record.go_mod, Some(go_mod_of(&mv)));
        assert_eq!(record.verified, Verified::ChecksumDatabase);
        assert_eq!(record.origin, "https://mirror.example");
        let manifest = record.zip.expect("held");
        assert_eq!((manifest.size, manifest.h1), (size as u64, h1_of(&zip)));
        assert_eq!(zip_of(&store, &mv), Some(zip));
    }
    assert_sound(&store);
}

#[test]
fn parts_may_come_one_by_one() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let mv = numbered(1);
    assert_eq!(store.record(&mv).expect("record"), None);
    let info = Patch { info: Some(info_of(&mv)), ..Patch::default() };
    store.commit(&mv, info, Durability::Buffered).expect("commit info");
    let go_mod = Patch { go_mod: Some(go_mod_of(&mv)), ..Patch::default() };
    let record = store.commit(&mv, go_mod, Durability::Buffered).expect("commit go.mod");
    assert_eq!((record.zip, record.held_us), (None, None));
    assert!(store.index_since(0, 10).expect("index").is_empty());
    assert_eq!(store.versions(&mv.module).expect("versions"), std::slice::from_ref(&mv.version));
    assert_eq!(store.held(&mv.module).expect("held"), Held::default());
    put(&store, &mv, &content(1, 1000), Durability::Synced);
    assert_eq!(store.versions(&mv.module).expect("versions"), std::slice::from_ref(&mv.version));
    let held = Held { versions: vec![(mv.version.clone(), Class::Cache)], may_have_more: false };
    assert_eq!(store.held(&mv.module).expect("held"), held);
    assert_eq!(store.index_since(0, 10).expect("index").len(), 1);
    assert_sound(&store);
}

#[test]
fn the_first_bytes_win() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let (mv, zip) = (numbered(1), content(1, 70_000));
    let first = put(&store, &mv, &zip, Durability::Buffered);
    let again = put(&store, &mv, &zip, Durability::Synced);
    assert_eq!(again, first);

    let other = Patch { go_mod: None, ..patch_of(&store, &mv, &content(2, 70_000)) };
    let refused = store.commit(&mv, other, Durability::Buffered);
    assert!(matches!(refused, Err(CommitError::Conflict { part: Part::Zip, .. })), "{refused:?}");

    // The same content in another packing, while the first is held.
    let repacked = content(3, 70_000);
    let other = Patch { zip: Some((write_blob(&store, &repacked), h1_of(&zip))), ..Patch::default() };
    let refused = store.commit(&mv, other, Durability::Buffered);
    assert!(matches!(refused, Err(CommitError::Conflict { part: Part::Zip, .. })), "{refused:?}");

    let other = Patch { go_mod: Some(Bytes::from_static(b"module b\n")), ..Patch::default() };
    let refused = store.commit(&mv, other, Durability::Buffered);
    assert!(matches!(refused, Err(CommitError::Conflict { part: Part::GoMod, .. })), "{refused:?}");

    assert_eq!(store.record(&mv).expect("record"), Some(first));
    assert_eq!(zip_of(&store, &mv), Some(zip));
    assert_sound(&store);
}

#[test]
fn a_removed_zip_is_still_bound_and_a_removed_record_is_not() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let (mv, zip, other) = (numbered(1), content(1, 300_000), content(2, 300_000));
    let first = put(&store, &mv, &zip, Durability::Buffered);
    let removed = store.remove(&mv, Scope::Zip).expect("remove");
    assert_eq!((removed.existed, removed.freed_bytes), (true, 300_000));
    assert!(!store.remove(&mv, Scope::Zip).expect("remove again").existed);
    let refused = store.commit(&mv, patch_of(&store, &mv, &other), Durability::Buffered);
    assert!(matches!(refused, Err(CommitError::Conflict { part: Part::Zip, .. })), "{refused:?}");
    // Held again: the feed does not tell of it a second time.
    let again = put(&store, &mv, &zip, Durability::Buffered);
    assert_eq!(again.held_us, first.held_us);
    assert_eq!(store.index_since(0, 10).expect("index").len(), 1);

    assert!(store.remove(&mv, Scope::Record).expect("remove").existed);
    assert_eq!(store.record(&mv).expect("record"), None);
    assert!(store.index_since(0, 10).expect("index").is_empty());
    put(&store, &mv, &other, Durability::Buffered);
    assert_eq!(zip_of(&store, &mv), Some(other));
    assert_sound(&store);
}

#[test]
fn equal_bytes_are_stored_once() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let zip = content(1, 400_000);
    let (a, b) = (numbered(1), numbered(2));
    let first = put(&store, &a, &zip, Durability::Buffered).zip.expect("held");
    let second = put(&store, &b, &zip, Durability::Buffered).zip.expect("held");
    assert_eq!(first.blob, second.blob);
    assert_eq!(store.usage().expect("usage").zip_bytes, 400_000);
    assert_eq!(store.remove(&a, Scope::Zip).expect("remove").freed_bytes, 0);
    assert_eq!(zip_of(&store, &b), Some(zip));
    assert_eq!(store.remove(&b, Scope::Zip).expect("remove").freed_bytes, 400_000);
    assert_sound(&store);
    assert_eq!(store.usage().expect("usage").zips, 0);
}

#[test]
fn readers_finish_what_is_removed_under_them() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let (mv, zip) = (numbered(1), content(1, 3 * CHUNK_BYTES));
    put(&store, &mv, &zip, Durability::Buffered);
    let reader = store.open_zip(&mv).expect("open").expect("held");
    let blob = reader.manifest().blob;
    let lease = reader.lease().clone();
    assert!(store.remove(&mv, Scope::Record).expect("remove").existed);
    assert!(store.open_zip(&mv).expect("open").is_none());
    store.collect().expect("collect");
    assert_eq!(reader.chunk(2).expect("chunk"), zip.slice(2 * CHUNK_BYTES..));
    drop(reader);
    store.collect().expect("collect");
    assert_eq!(store.chunk(blob, 0).expect("chunk").len(), CHUNK_BYTES);
    drop(lease);
    assert_eq!(store.collect().expect("collect"), 1);
    assert!(matches!(store.chunk(blob, 0), Err(StoreError::NoChunk { chunk: 0, .. })));
    assert_sound(&store);
}

#[test]
fn a_dropped_writer_or_blob_leaves_nothing() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let mut writer = store.begin_blob().expect("begin");
    writer.append(content(1, CHUNK_BYTES)).expect("append");
    let blob = writer.id();
    assert_eq!(store.chunk(blob, 0).expect("readable at once"), content(1, CHUNK_BYTES));
    drop(writer);
    drop(write_blob(&store, &content(2, 2 * CHUNK_BYTES)));
    drop(write_blob(&store, &content(3, 10)));
    store.collect().expect("collect");
    assert!(matches!(store.chunk(blob, 0), Err(StoreError::NoChunk { .. })));
    assert_sound(&store);
}

#[test]
fn writers_keep_to_the_rules() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let mut writer = store.begin_blob().expect("begin");
    let misuse = |result| matches!(result, Err(StoreError::Misuse { .. }));
    assert!(misuse(writer.append(Bytes::new())));
    assert!(misuse(writer.append(content(1, CHUNK_BYTES + 1))));
    writer.append(content(1, 5)).expect("append");
    assert!(misuse(writer.append(content(1, 5))));
    assert_eq!(writer.size(), 5);

    let elsewhere = tempfile::tempdir().expect("temporary folder");
    let other = open(elsewhere.path());
    let stray = Patch { zip: Some((write_blob(&other, &content(1, 9)), h1_of(b""))), ..Patch::default() };
    let refused = store.commit(&numbered(1), stray, Durability::Buffered);
    assert!(matches!(refused, Err(CommitError::Store(StoreError::Misuse { .. }))));
}

#[test]
fn a_sealed_blob_and_a_held_zip_are_read_at_any_offset() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    for size in SIZES {
        let (mv, zip) = (numbered(size as u64), content(7, size));
        let sealed = write_blob(&store, &zip);
        assert_reads_as(&sealed, &zip);
        let patch = Patch { zip: Some((sealed, h1_of(&zip))), ..Patch::default() };
        store.commit(&mv, patch, Durability::Buffered).expect("commit");
        assert_reads_as(&store.open_zip(&mv).expect("open").expect("held"), &zip);
    }
}

fn assert_reads_as(source: &impl gomod::zip::ReadAt, bytes: &[u8]) {
    assert_eq!(source.len(), bytes.len() as u64);
    let mut buffer = vec![0; 100_000];
    for start in (0..bytes.len() + 2).step_by(bytes.len() / 7 + 1) {
        let mut at = start;
        loop {
            let read = source.read_at(at as u64, &mut buffer).expect("read");
            if read == 0 {
                break;
            }
            assert_eq!(buffer[..read], bytes[at..at + read]);
            at += read;
        }
        assert_eq!(at, bytes.len().max(start));
    }
}

#[test]
fn concurrent_commits_agree_on_one_winner() {
    const WRITERS: u64 = 8;
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    for round in 0..20 {
        let mv = numbered(round);
        let start = Barrier::new(WRITERS as usize);
        let wins: Vec<bool> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (store, mv, start) = (&store, &mv, &start);
                    scope.spawn(move || {
                        // Two contents, four writers each.
                        let patch = patch_of(store, mv, &content(writer % 2 + 10, 270_000));
                        start.wait();
                        store.commit(mv, patch, Durability::Buffered).is_ok()
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().expect("writer")).collect()
        });
        assert_eq!(wins.iter().filter(|&&won| won).count(), 4, "one content wins, with all its writers");
        let zip = zip_of(&store, &mv).expect("held");
        assert!(wins[usize::from(zip != content(10, 270_000))]);
    }
    assert_sound(&store);
}

#[test]
fn the_index_feed_never_hides_an_entry_behind_a_reader() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    let store = Arc::new(store);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        move || {
            let (mut since, mut seen) = (0, Vec::new());
            loop {
                let last_round = done.load(std::sync::atomic::Ordering::Acquire);
                let page = store.index_since(since, 7).expect("index");
                if let Some(last) = page.last() {
                    since = last.held_us + 1;
                } else if last_round {
                    return seen;
                }
                seen.extend(page.into_iter().map(|entry| entry.version));
            }
        }
    });
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (store, clock) = (&store, &clock);
            scope.spawn(move || {
                for number in 0..60_u64 {
                    // The clock goes back now and then, as NTP may set it.
                    clock.set_wall(NEW_YEAR_US + (number.cast_signed() * 37) % 50);
                    put(store, &numbered(writer * 1000 + number), &content(number, 40), Durability::Buffered);
                }
            });
        }
    });
    done.store(true, std::sync::atomic::Ordering::Release);
    let mut seen = reader.join().expect("reader");
    assert_eq!(seen.len(), 240);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 240);
}

#[test]
fn quarantine_drops_notes_and_lets_sound_bytes_in() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, _) = open_at(dir.path(), NEW_YEAR_US);
    let (mv, twin, zip) = (numbered(1), numbered(2), content(1, 300_000));
    let bad = put(&store, &mv, &zip, Durability::Buffered).zip.expect("held");
    put(&store, &twin, &zip, Durability::Buffered);
    assert!(store.quarantine(&mv, Scope::Zip, "bytes do not match").expect("quarantine").existed);
    assert_eq!(zip_of(&store, &mv), None);
    let notes = store.quarantined(0, 10).expect("notes");
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert_eq!((&note.version, note.at_us, note.scope), (&mv, NEW_YEAR_US, Scope::Zip));
    assert_eq!(note.reason, "bytes do not match");
    assert_eq!(note.zip, Some((sha256(&zip), 300_000)));
    // Sound bytes come in as a blob of their own, not as the bad one that the twin still has.
    let sound = put(&store, &mv, &zip, Durability::Buffered).zip.expect("held");
    assert_ne!(sound.blob, bad.blob);
    store.quarantine(&twin, Scope::Record, "the same").expect("quarantine");
    assert_eq!(store.record(&twin).expect("record"), None);
    assert_eq!(zip_of(&store, &mv), Some(zip));
    assert_sound(&store);
}

#[test]
fn answers_and_facts_are_kept() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let module = numbered(1).module;
    let answer = |text: &'static str| CachedAnswer {
        body: Bytes::from_static(text.as_bytes()),
        fetched_us: 5,
        status: 200,
    };
    assert_eq!(store.list(&module).expect("list"), None);
    store.put_list(&module, &answer("list")).expect("put");
    store.put_latest(&module, &answer("latest")).expect("put");
    store.put_query(&module, "main", &answer("query")).expect("put");
    store.put_list(&module, &answer("newer list")).expect("put");
    let facts = [("a".to_owned(), Bytes::from_static(b"1")), ("b".to_owned(), Bytes::from_static(b"2"))];
    store.sumdb_put(&facts, Durability::Synced).expect("put");
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.list(&module).expect("list"), Some(answer("newer list")));
    assert_eq!(store.latest(&module).expect("latest"), Some(answer("latest")));
    assert_eq!(store.query(&module, "main").expect("query"), Some(answer("query")));
    assert_eq!(store.query(&module, "dev").expect("query"), None);
    assert_eq!(store.sumdb_get("b").expect("fact"), Some(Bytes::from_static(b"2")));
}

#[test]
fn classes_only_rise_by_commits() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let (mv, zip) = (numbered(1), content(1, 1000));
    let patch = Patch { class: Class::Published, ..patch_of(&store, &mv, &zip) };
    store.commit(&mv, patch, Durability::Synced).expect("commit");
    assert_eq!(put(&store, &mv, &zip, Durability::Buffered).class, Class::Published);
    assert_eq!(store.evictable_bytes(), 0);
    assert!(store.set_class(&mv, Class::Cache).expect("set"));
    assert_eq!(store.evictable_bytes(), 1000);
    assert!(!store.set_class(&numbered(9), Class::Cache).expect("set"));
}

#[test]
fn what_was_published_is_not_removed_by_mistake() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let (published, cached) = (numbered(1), numbered(2));
    let patch = Patch { class: Class::Published, ..patch_of(&store, &published, &content(1, 1000)) };
    store.commit(&published, patch, Durability::Synced).expect("commit");
    put(&store, &cached, &content(2, 1000), Durability::Synced);
    for (mv, existed) in [(&published, false), (&cached, true)] {
        assert_eq!(store.remove_unless(mv, Class::Published).expect("remove").existed, existed);
        assert_eq!(store.record(mv).expect("record").is_none(), existed);
    }
    assert!(store.remove(&published, Scope::Record).expect("remove").existed);
    assert_sound(&store);
}

#[test]
fn a_closed_store_takes_little_more_than_its_content() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut bytes = 0;
    for run in 0..3 {
        let store = open(dir.path());
        for number in 0..40 {
            let zip = content(number, 20_000 + number as usize * 30_000);
            let mv = numbered(run * 1000 + number);
            bytes += (zip.len() + info_of(&mv).len() + go_mod_of(&mv).len()) as u64;
            put(&store, &mv, &[&zip[..], &run.to_le_bytes()].concat().into(), Durability::Buffered);
        }
    }
    let disk = disk_bytes(dir.path());
    assert!(disk <= bytes + bytes / 20, "{disk} bytes on disk for {bytes} bytes of content");
    assert_sound(&open(dir.path()));
}

/// A `.info` that was fetched then.
fn fetched(fetched_us: i64) -> CachedAnswer {
    CachedAnswer { body: Bytes::from_static(b"{}"), fetched_us, status: 200 }
}

#[test]
fn of_the_queries_of_a_module_the_oldest_leave() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let (module, other) = (numbered(1).module, numbered(2).module);
    store.put_query(&other, "main", &fetched(0)).expect("put");
    for number in 0..100 {
        store.put_query(&module, &format!("branch-{number}"), &fetched(number)).expect("put");
        // One that is fetched again and again.
        store.put_query(&module, "main", &fetched(number)).expect("put");
    }
    let held = |number: i64| store.query(&module, &format!("branch-{number}")).expect("query").is_some();
    let left: Vec<i64> = (0..100).filter(|&number| held(number)).collect();
    assert_eq!(left, (37..100).collect::<Vec<_>>());
    assert_eq!(store.query(&module, "main").expect("query"), Some(fetched(99)));
    assert_eq!(store.query(&other, "main").expect("query"), Some(fetched(0)));
}

#[test]
fn answers_of_modules_that_nobody_uses_are_dropped() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    let day = Duration::from_hours(24);
    put(&store, &numbered(0), &content(0, 10), Durability::Buffered);
    let [held, unused, used] = [0, 1, 2].map(|number| numbered(number).module);
    for module in [&held, &unused, &used] {
        store.put_list(module, &fetched(clock.now_us())).expect("put");
        store.put_query(module, "main", &fetched(clock.now_us())).expect("put");
    }
    let pass = || {
        let policy = Policy { capacity_bytes: u64::MAX, ..Policy::default() };
        run_once(&store, &policy, clock.now_us()).expect("pass");
        [&held, &unused, &used].map(|module| {
            let (list, query) = (store.list(module), store.query(module, "main"));
            (list.expect("list").is_some(), query.expect("query").is_some())
        })
    };
    assert_eq!(pass(), [(true, true); 3]);
    clock.advance(29 * day);
    store.put_list(&used, &fetched(clock.now_us())).expect("put");
    assert_eq!(pass(), [(true, true); 3]);
    clock.advance(2 * day);
    assert_eq!(pass(), [(true, true), (false, false), (true, false)]);
}

#[test]
fn notes_of_quarantines_are_kept_up_to_a_number() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    for number in 0..10_020 {
        clock.advance(Duration::from_micros(1));
        store.quarantine(&numbered(number), Scope::Record, "it is damaged").expect("quarantine");
    }
    run_once(&store, &Policy::default(), clock.now_us()).expect("pass");
    assert_eq!(store.quarantined_count().expect("count"), 10_000);
    let oldest = store.quarantined(0, 1).expect("notes");
    assert_eq!(oldest[0].version, numbered(20));
}
