//! Eviction, retention and the return of space, on real stores.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod store_bed;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, ManualClock};
use dataplane::store::evict::{Algorithm, EvictionOptions, Keep, Policy, Report, Watermarks, Why, run_once};
use dataplane::store::{CHUNK_BYTES, Class, Durability, Patch, Scope, Store, StoreOptions};
use gomod::ModuleVersion;
use store_bed::*;

/// Capacity of the churning store.
const CAPACITY: u64 = 16 * 1024 * 1024;
const ZIP_BYTES: u64 = 100_000;
const DAY: Duration = Duration::from_hours(24);

fn open_with(dir: &Path, algorithm: Algorithm, clock: &Arc<ManualClock>) -> Store {
    let eviction = EvictionOptions { algorithm, sketch_slots: 4096, ..EvictionOptions::default() };
    let options = StoreOptions { eviction, ..options() };
    Store::open(dir, options, Arc::clone(clock) as Arc<dyn Clock>).expect("open the store")
}

fn fill(store: &Store, clock: &ManualClock, numbers: std::ops::Range<u64>) {
    for number in numbers {
        clock.advance(Duration::from_secs(1));
        put(store, &numbered(number), &content(number, ZIP_BYTES as usize), Durability::Buffered);
    }
}

/// No disk has enough room for these.
fn always_full() -> Watermarks {
    let (high_room_bytes, hard_room_bytes) = (u64::MAX, u64::MAX);
    Watermarks { high_percent: 0, high_room_bytes, hard_percent: 0, hard_room_bytes }
}

fn policy(capacity_zips: u64) -> Policy {
    Policy {
        capacity_bytes: capacity_zips * ZIP_BYTES,
        // The machine's disk is not what is tested here.
        watermarks: Watermarks { high_percent: 100, hard_percent: 100, ..Watermarks::default() },
        ..Policy::default()
    }
}

fn run(store: &Store, clock: &ManualClock, policy: &Policy) -> Report {
    clock.advance(Duration::from_mins(2));
    run_once(store, policy, clock.now_us()).expect("pass")
}

fn gone(report: &Report) -> BTreeSet<ModuleVersion> {
    report.evicted.iter().map(|evicted| evicted.version.clone()).collect()
}

fn set(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<ModuleVersion> {
    numbers.into_iter().map(numbered).collect()
}

fn new_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NEW_YEAR_US))
}

#[test]
fn nothing_leaves_within_the_capacity() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    fill(&store, &clock, 0..10);
    assert_eq!(run(&store, &clock, &policy(10)), Report::default());
}

#[test]
fn zips_leave_in_order_and_metadata_stays() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    fill(&store, &clock, 0..20);
    store.touch(&numbered(0), true);
    store.touch(&numbered(1), false);
    let report = run(&store, &clock, &policy(15));
    // The one whose zip was asked for is passed over; a request for the `.mod` does not keep a zip.
    assert_eq!(gone(&report), set(1..7));
    assert!(report.evicted.iter().all(|evicted| evicted.why == Why::Capacity && evicted.bytes == ZIP_BYTES));
    assert_eq!(report.collected, 6);
    for number in 0..20 {
        let record = store.record(&numbered(number)).expect("record").expect("stays");
        assert_eq!(record.zip.is_some(), number == 0 || number >= 7);
        assert!(record.info.is_some() && record.go_mod.is_some() && record.zip_h1.is_some());
    }
    assert_eq!(store.evictable_bytes(), 14 * ZIP_BYTES);
    assert_sound(&store);
}

#[test]
fn the_order_survives_a_restart() {
    for algorithm in [Algorithm::S3Fifo, Algorithm::Lru] {
        let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
        let store = open_with(dir.path(), algorithm, &clock);
        fill(&store, &clock, 0..10);
        assert_eq!(gone(&run(&store, &clock, &policy(9))), set(0..2));
        drop(store);
        let store = open_with(dir.path(), algorithm, &clock);
        assert_eq!(store.evictable_bytes(), 8 * ZIP_BYTES);
        assert_eq!(gone(&run(&store, &clock, &policy(6))), set(2..5));
        fill(&store, &clock, 10..14);
        assert_eq!(gone(&run(&store, &clock, &policy(6))), set(5..9));
        assert_sound(&store);
    }
}

/// Second chances end: a pass that gave nothing but these says that there is more to do.
#[test]
fn zips_that_are_all_in_demand_leave_in_the_passes_that_follow() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    fill(&store, &clock, 0..10);
    let touch_all = |times| (0..times).for_each(|_| (0..10).for_each(|n| store.touch(&numbered(n), true)));
    // Into the main queue, where each use is a second chance.
    touch_all(1);
    run(&store, &clock, &policy(9));
    touch_all(3);
    let mut report = run(&store, &clock, &policy(5));
    assert!(report.more && report.evicted.is_empty(), "{report:?}");
    let mut passes = 1;
    while report.more {
        report = run(&store, &clock, &policy(5));
        passes += 1;
    }
    assert!(passes <= 3, "{passes}");
    assert!(store.evictable_bytes() <= policy(5).capacity_bytes);
    // What may not leave is no reason to come again at once.
    let pinned = Policy { pinned: Box::new(|_| true), ..policy(0) };
    assert!(!run(&store, &clock, &pinned).more);
    assert_sound(&store);
}

#[test]
fn lru_takes_the_least_recently_used() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::Lru, &clock);
    fill(&store, &clock, 0..10);
    for number in [3, 0, 7] {
        clock.advance(Duration::from_secs(10));
        store.touch(&numbered(number), true);
    }
    assert_eq!(gone(&run(&store, &clock, &policy(5))), set([1, 2, 4, 5, 6, 8]));
    // Those used lie behind number 9 in the order of their use, across a restart too.
    drop(store);
    let store = open_with(dir.path(), Algorithm::Lru, &clock);
    assert_eq!(gone(&run(&store, &clock, &policy(2))), set([9, 3, 0]));
    assert_sound(&store);
}

#[test]
fn what_comes_back_soon_is_kept_longer() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    fill(&store, &clock, 0..10);
    assert!(gone(&run(&store, &clock, &policy(9))).contains(&numbered(0)));
    // It comes back at once, then many newer ones come that are asked for once.
    fill(&store, &clock, 0..1);
    fill(&store, &clock, 10..40);
    let gone = gone(&run(&store, &clock, &policy(9)));
    assert!(gone.contains(&numbered(20)) && !gone.contains(&numbered(0)));
    assert_sound(&store);
}

#[test]
fn pinned_retained_and_published_zips_stay() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    for (number, class) in [(100, Class::Retained), (101, Class::Published)] {
        let zip = content(number, ZIP_BYTES as usize);
        let patch = Patch { class, ..patch_of(&store, &numbered(number), &zip) };
        store.commit(&numbered(number), patch, Durability::Synced).expect("commit");
    }
    fill(&store, &clock, 0..20);
    // One of those in the queue rises later.
    assert!(store.set_class(&numbered(2), Class::Retained).expect("set"));
    let policy =
        Policy { pinned: Box::new(|version| version.module.as_str() == "example.com/m3"), ..policy(0) };
    let evicted = gone(&run(&store, &clock, &policy));
    assert_eq!(evicted, set((0..20).filter(|number| ![2, 3, 13].contains(number))));
    for number in [2, 3, 13, 100, 101] {
        assert!(zip_of(&store, &numbered(number)).is_some(), "{number}");
    }
    // Once lowered again it can go.
    assert!(store.set_class(&numbered(2), Class::Cache).expect("set"));
    assert_eq!(gone(&run(&store, &clock, &policy)), set([2]));
    assert_sound(&store);
}

#[test]
fn a_shared_zip_leaves_for_all_or_none() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    let (shared, kept) = (content(1, ZIP_BYTES as usize), content(2, ZIP_BYTES as usize));
    for (number, zip) in [(1, &shared), (2, &shared), (3, &kept), (4, &kept)] {
        put(&store, &numbered(number), zip, Durability::Buffered);
    }
    store.set_class(&numbered(4), Class::Published).expect("set");
    let report = run(&store, &clock, &policy(0));
    assert_eq!(gone(&report), set([1, 2]));
    assert_eq!(report.evicted.iter().map(|evicted| evicted.bytes).sum::<u64>(), ZIP_BYTES);
    assert_eq!(zip_of(&store, &numbered(3)), Some(kept));
    assert_sound(&store);
}

#[test]
fn retention_drops_whole_versions() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    // Ten modules with four versions each.
    fill(&store, &clock, 0..40);
    clock.advance(40 * DAY);
    store.touch(&numbered(5), false);
    store.set_class(&numbered(6), Class::Published).expect("set");
    let keep = Keep { newest: Some(2), days: Some(30) };
    let pinned = Box::new(|version: &gomod::ModuleVersion| version.module.as_str() == "example.com/m7");
    let policy = Policy { keep, pinned, ..policy(1000) };
    let report = run(&store, &clock, &policy);
    let expected = (0..20).filter(|number| ![5, 6, 7, 17].contains(number));
    assert_eq!(gone(&report), set(expected));
    assert!(report.evicted.iter().all(|evicted| evicted.why == Why::Retention));
    assert_eq!(store.record(&numbered(0)).expect("record"), None);
    assert_sound(&store);
    // The scan begins anew, and finds nothing more.
    for _ in 0..2 {
        clock.advance(Duration::from_hours(1));
        assert!(gone(&run(&store, &clock, &policy)).is_empty());
    }
}

/// A module with more versions than are looked at in one go, among others.
#[test]
fn retention_drops_what_a_long_module_has_too_many_of() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    let version = |module: &str, minor: u32| mv(&format!("example.com/{module}"), &format!("v1.{minor}.0"));
    for (module, count) in [("a", 5), ("long", 4_100), ("z", 5)] {
        for minor in 0..count {
            let patch = Patch { origin: "origin".to_owned(), ..Patch::default() };
            store.commit(&version(module, minor), patch, Durability::Buffered).expect("commit");
        }
    }
    let policy = Policy { keep: Keep { newest: Some(3), days: None }, ..policy(1000) };
    let mut evicted = BTreeSet::new();
    for _ in 0..3 {
        evicted.extend(gone(&run(&store, &clock, &policy)));
    }
    let expected: BTreeSet<_> = [("a", 2), ("long", 4_097), ("z", 2)]
        .into_iter()
        .flat_map(|(module, count)| (0..count).map(move |minor| version(module, minor)))
        .collect();
    assert!(evicted == expected, "{} of {}", evicted.len(), expected.len());
}

#[test]
fn retention_rests_until_something_comes_or_an_hour_is_over() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    let newest = |count| Policy { keep: Keep { newest: Some(count), days: None }, ..policy(1000) };
    // Versions of one module each.
    fill(&store, &clock, 0..1);
    fill(&store, &clock, 10..11);
    fill(&store, &clock, 20..21);
    assert_eq!(gone(&run(&store, &clock, &newest(2))), set([0]));
    assert!(gone(&run(&store, &clock, &newest(1))).is_empty(), "it rests");
    fill(&store, &clock, 30..31);
    assert_eq!(gone(&run(&store, &clock, &newest(2))), set([10]));
    clock.advance(Duration::from_hours(1));
    assert_eq!(gone(&run(&store, &clock, &newest(1))), set([20]));
}

#[test]
fn a_full_disk_takes_zips_then_records_and_stops_storing() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    fill(&store, &clock, 0..10);
    // Whatever this disk holds is too much.
    let full = Policy { watermarks: always_full(), ..policy(1000) };
    let report = run(&store, &clock, &full);
    let why = |wanted| report.evicted.iter().filter(|evicted| evicted.why == wanted).count();
    assert_eq!((why(Why::Disk), why(Why::Pressure)), (10, 10));
    assert_eq!(store.usage().expect("usage").records, 0);
    assert_sound(&store);
    drop(store);
    let options = StoreOptions { full_percent: 0, full_room_bytes: u64::MAX, ..options() };
    let store = Store::open(dir.path(), options, clock).expect("open the store");
    assert!(matches!(store.begin_blob(), Err(dataplane::store::StoreError::Full { .. })));
}

#[test]
fn access_times_are_hourly_and_survive() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    fill(&store, &clock, 0..2);
    let first = clock.now_us();
    for _ in 0..5 {
        store.touch(&numbered(0), true);
        clock.advance(Duration::from_secs(1));
    }
    store.touch(&numbered(999), true);
    assert_eq!(store.flush_touches().expect("flush"), 1);
    assert_eq!(store.last_access(&numbered(0)).expect("access").zip_us, first);
    assert_eq!(store.last_access(&numbered(999)).expect("access").any_us, 0);
    drop(store);
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    assert_eq!(store.last_access(&numbered(0)).expect("access").any_us, first);
}

fn by_age(days: u32) -> Policy {
    Policy { keep: Keep { newest: None, days: Some(days) }, ..policy(1000) }
}

#[test]
fn the_order_survives_a_clock_that_was_ahead() {
    for algorithm in [Algorithm::S3Fifo, Algorithm::Lru] {
        let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
        clock.advance(DAY);
        let store = open_with(dir.path(), algorithm, &clock);
        fill(&store, &clock, 0..3);
        drop(store);
        let clock = new_clock();
        let store = open_with(dir.path(), algorithm, &clock);
        fill(&store, &clock, 3..6);
        assert_eq!(gone(&run(&store, &clock, &policy(5))), set(0..2));
        assert_eq!(gone(&run(&store, &clock, &policy(3))), set(2..4));
        assert_sound(&store);
    }
}

#[test]
fn a_clock_that_is_far_ahead_at_the_start_makes_nothing_old() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    fill(&store, &clock, 0..10);
    drop(store);
    let true_time_us = clock.now_us();
    clock.advance(100 * DAY);
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    assert!(gone(&run(&store, &clock, &by_age(30))).is_empty());
    clock.set_wall(true_time_us);
    assert!(gone(&run(&store, &clock, &by_age(30))).is_empty());
    clock.advance(40 * DAY);
    store.touch(&numbered(3), false);
    assert_eq!(gone(&run(&store, &clock, &by_age(30))), set((0..10).filter(|&number| number != 3)));
    assert_sound(&store);
}

#[test]
fn a_store_that_was_off_for_long_is_cleaned_in_the_end() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    fill(&store, &clock, 0..10);
    drop(store);
    clock.advance(100 * DAY);
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    store.touch(&numbered(3), false);
    assert!(gone(&run(&store, &clock, &by_age(30))).is_empty());
    clock.advance(Duration::from_hours(6));
    assert_eq!(gone(&run(&store, &clock, &by_age(30))), set((0..10).filter(|&number| number != 3)));
}

#[test]
fn access_times_of_a_clock_that_was_wrong_become_true() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    fill(&store, &clock, 0..2);
    let touched_at = |off_us| {
        let true_time_us = clock.now_us();
        clock.set_wall(true_time_us + off_us);
        store.touch(&numbered(0), true);
        assert_eq!(store.flush_touches().expect("flush"), 1);
        clock.set_wall(true_time_us);
        store.last_access(&numbered(0)).expect("access").any_us
    };
    // One that was behind takes nothing away.
    let first = touched_at(0);
    assert_eq!(first, clock.now_us());
    clock.advance(2 * DAY);
    assert_eq!(touched_at(-NEW_YEAR_US), first);
    // One that was ahead is found out when the clock has been right for long enough.
    assert_eq!(touched_at(1_000_000_000_000_000), clock.now_us());
    clock.advance(8 * DAY);
    let found_out = clock.now_us();
    for _ in 0..2 {
        assert_eq!(store.last_access(&numbered(0)).expect("access").any_us, found_out);
        clock.advance(20 * DAY);
    }
    assert_eq!(gone(&run(&store, &clock, &by_age(30))), set(0..2));
}

/// Under churn the disk holds the capacity and a bounded share of garbage, and survives its collection.
#[test]
fn space_comes_back_under_churn() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    let policy = Policy { capacity_bytes: CAPACITY, garbage_floor_bytes: 4 * 1024 * 1024, ..policy(0) };
    let mut passes = 0;
    for number in 0..300_u64 {
        clock.advance(Duration::from_secs(1));
        let len = if number % 3 == 0 { 2 * CHUNK_BYTES } else { 100_000 };
        put(&store, &numbered(number), &content(number, len), Durability::Buffered);
        for hot in 0..10 {
            store.touch(&numbered(hot * 3), true);
        }
        if number % 10 == 9 {
            passes += usize::from(run(&store, &clock, &policy).garbage_share.is_some());
            let usage = store.usage().expect("usage");
            assert!(usage.evictable_bytes <= CAPACITY);
            assert!(usage.chunk_disk_bytes <= CAPACITY * 2, "{usage:?}");
        }
    }
    assert!(passes > 0, "{passes}");
    assert!(passes < 20, "{passes}");
    assert!(zip_of(&store, &numbered(0)).is_some());
    assert_sound(&store);
    drop(store);
    // What was being written out when the last pass looked is garbage only to the next one, after a restart too.
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    run(&store, &clock, &policy);
    drop(store);
    // A store that closes while the database deletes files behind the scenes leaves the rest to its next start.
    drop(open_with(dir.path(), Algorithm::S3Fifo, &clock));
    let left = disk_bytes(dir.path());
    assert!(left < CAPACITY * 3 / 2, "{left}");
}

/// As at the end of a process that has no time to wait for a compaction.
#[test]
fn what_is_broken_off_loses_nothing() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    let policy = Policy { garbage_floor_bytes: 0, ..policy(5) };
    fill(&store, &clock, 0..10);
    store.break_off_housekeeping().expect("break off");
    assert_eq!(run(&store, &clock, &policy), Report::default());
    fill(&store, &clock, 10..12);
    store.flush().expect("at least to the log");
    drop(store);
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    for number in 0..12 {
        assert_eq!(zip_of(&store, &numbered(number)), Some(content(number, ZIP_BYTES as usize)));
    }
    assert!(!run(&store, &clock, &policy).evicted.is_empty());
    assert_sound(&store);
}

/// Commits, reads, removals and eviction at once: readers see whole zips or none, and the books balance.
#[test]
fn everything_at_once() {
    let (dir, clock) = (tempfile::tempdir().expect("folder"), new_clock());
    let store = open_with(dir.path(), Algorithm::S3Fifo, &clock);
    let policy = Policy { garbage_floor_bytes: 1024 * 1024, ..policy(8) };
    let zip = |number: u64| content(number, 60_000 + (number as usize % 3) * CHUNK_BYTES);
    let writing = std::sync::atomic::AtomicUsize::new(3);
    std::thread::scope(|scope| {
        for writer in 0..3_u64 {
            let (store, clock, writing) = (&store, &clock, &writing);
            scope.spawn(move || {
                for round in 0..120 {
                    clock.advance(Duration::from_millis(200));
                    // Writers share most versions, and some of them come again and again.
                    let number = (round * 7 + writer) % 40;
                    put(store, &numbered(number), &zip(number), Durability::Buffered);
                    if round % 11 == 5 {
                        let scope = if writer == 0 { Scope::Record } else { Scope::Zip };
                        store.remove(&numbered((number + 3) % 40), scope).expect("remove");
                    }
                }
                writing.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        scope.spawn(|| {
            while writing.load(std::sync::atomic::Ordering::SeqCst) > 0 {
                run(&store, &clock, &policy);
            }
        });
        scope.spawn(|| {
            let mut number = 0;
            while writing.load(std::sync::atomic::Ordering::SeqCst) > 0 {
                number = (number + 13) % 40;
                if let Some(found) = zip_of(&store, &numbered(number)) {
                    assert_eq!(found, zip(number));
                    store.touch(&numbered(number), true);
                }
            }
        });
    });
    while run(&store, &clock, &policy).more {}
    assert!(store.evictable_bytes() <= policy.capacity_bytes);
    assert_sound(&store);
    drop(store);
    assert_sound(&open_with(dir.path(), Algorithm::S3Fifo, &clock));
}
