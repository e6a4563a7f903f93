//! Passes on real stores.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, ManualClock};

use super::super::super::StoreOptions;
use super::super::super::bed::{open, options, put, spoil, version, watermarks};
use super::super::super::types::{Durability, Patch};
use super::super::heat::EvictionOptions;
use super::super::policy::Algorithm;
use super::*;

const START_US: i64 = 1_767_225_600_000_000;
const DAY: Duration = Duration::from_hours(24);
const DAY_US: i64 = 24 * 3_600_000_000;
/// Bytes of a zip, unless said otherwise.
const ZIP_BYTES: u64 = 10;

/// A store and its clock, which moves only when told to.
struct Bed {
    store: Store,
    clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

impl Bed {
    fn new(algorithm: Algorithm) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let clock = Arc::new(ManualClock::new(START_US));
        let eviction = EvictionOptions { algorithm, sketch_slots: 4096, ..EvictionOptions::default() };
        let options = StoreOptions { eviction, ..options() };
        let store = Store::open(dir.path(), options, Arc::clone(&clock) as Arc<dyn Clock>);
        Self { store: store.expect("open the store"), clock, _dir: dir }
    }

    /// Puts zips, a second apart.
    fn put(&self, numbers: impl IntoIterator<Item = u8>) {
        for number in numbers {
            self.clock.advance(Duration::from_secs(1));
            put(&self.store, number, number, ZIP_BYTES as usize);
        }
    }

    /// A second later, a zip is asked for.
    fn touch(&self, number: u8) {
        self.clock.advance(Duration::from_secs(1));
        self.store.touch(&version(number), true);
    }

    /// What leaves with a capacity of so many bytes, in order, and whether there is more to do.
    fn pass(&self, capacity_bytes: u64, pinned: Range<u8>) -> (Vec<ModuleVersion>, bool) {
        let pinned: Vec<_> = pinned.map(version).collect();
        let pinned = Box::new(move |version: &ModuleVersion| pinned.contains(version));
        self.run(&Policy { capacity_bytes, watermarks: watermarks(), pinned, ..Policy::default() })
    }

    fn run(&self, policy: &Policy) -> (Vec<ModuleVersion>, bool) {
        self.clock.advance(Duration::from_mins(2));
        let report = run_once(&self.store, policy, self.clock.now_us()).expect("pass");
        (report.evicted.into_iter().map(|evicted| evicted.version).collect(), report.more)
    }

    /// What leaves so that so many zips are left, in order.
    fn leaving(&self, zips: u64) -> Vec<ModuleVersion> {
        self.pass(zips * ZIP_BYTES, 0..0).0
    }
}

fn versions(numbers: impl IntoIterator<Item = u8>) -> Vec<ModuleVersion> {
    numbers.into_iter().map(version).collect()
}

#[test]
fn a_record_that_retention_cannot_read_keeps_no_zip_from_leaving() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    put(&store, 1, 1, 3);
    spoil(&store, &version(2));

    let keep = Keep { newest: Some(9), days: None };
    let policy = Policy { capacity_bytes: 0, watermarks: watermarks(), keep, ..Policy::default() };
    let report = run_once(&store, &policy, 0).expect("pass");
    let left: Vec<_> = report.evicted.iter().map(|evicted| &evicted.version).collect();
    assert_eq!(left, [&version(1)]);
    assert_eq!(report.unreadable.count, 1);
}

#[test]
fn everything_is_reclaimed_by_one_at_a_time() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let turn = begin_reclaiming(&store).expect("nobody else does");
    assert!(begin_reclaiming(&store).is_none());
    reclaim_all(&store).expect("reclaim");
    drop(turn);
    assert!(begin_reclaiming(&store).is_some());
}

/// More pinned zips than a page has entries.
#[test]
fn what_is_pinned_is_passed_over_and_stays_where_it_is() {
    for algorithm in [Algorithm::S3Fifo, Algorithm::Lru] {
        let bed = Bed::new(algorithm);
        bed.put(0..150);
        assert_eq!(bed.pass(140 * ZIP_BYTES, 0..140), (versions(140..150), false), "{algorithm:?}");
        let order = bed.store.inner.heat.order();
        for _ in 0..2 {
            assert_eq!(bed.pass(0, 0..140), (Vec::new(), false), "{algorithm:?}");
            assert_eq!(bed.store.inner.heat.order(), order, "nothing was moved");
        }
        // Once it is not pinned any more, it leaves in its turn.
        assert_eq!(bed.pass(135 * ZIP_BYTES, 5..140), (versions(0..5), false), "{algorithm:?}");
    }
}

/// So many zips, a hundredth record without one, and a disk that is past its hard watermark.
fn on_a_full_disk(zips: u8) -> (Bed, Policy) {
    let bed = Bed::new(Algorithm::S3Fifo);
    bed.put(0..zips);
    let patch = Patch { origin: "origin".to_owned(), ..Patch::default() };
    bed.store.commit(&version(100), patch, Durability::Buffered).expect("commit");
    let (high_room_bytes, hard_room_bytes) = (u64::MAX, u64::MAX);
    let watermarks = Watermarks { high_percent: 0, high_room_bytes, hard_percent: 0, hard_room_bytes };
    (bed, Policy { watermarks, ..Policy::default() })
}

#[test]
fn what_is_pinned_does_not_keep_a_full_disk_from_taking_records() {
    let (bed, policy) = on_a_full_disk(80);
    let pinned = Box::new(|other: &ModuleVersion| *other != version(100));
    assert_eq!(bed.run(&Policy { pinned, ..policy }).0, versions([100]));
}

#[test]
fn a_pass_that_is_broken_off_takes_no_records_instead() {
    let (bed, policy) = on_a_full_disk(4);
    bed.store.inner.rocks.end();
    assert_eq!(bed.run(&policy).0, versions([]));
}

#[test]
fn a_queue_that_was_not_looked_at_keeps_its_beginning() {
    let bed = Bed::new(Algorithm::S3Fifo);
    bed.put(0..4);
    // Two go to the main queue, where the first of them is the first to leave.
    (0..2).for_each(|number| bed.touch(number));
    assert_eq!(bed.leaving(3), versions([2]));
    bed.put(4..6);
    bed.touch(3);
    // One more follows them.
    assert_eq!(bed.leaving(4), versions([4]));
    assert_eq!(bed.leaving(3), versions([5]));
    assert_eq!(bed.leaving(1), versions([0, 1]));
}

#[test]
fn the_request_that_brought_a_zip_is_no_hit() {
    let bed = Bed::new(Algorithm::S3Fifo);
    bed.put(0..3);
    for number in 0..2 {
        bed.store.touch_fetched(&version(number));
    }
    bed.touch(1);
    let asked_us = bed.clock.now_us() - 1_000_000;
    assert_eq!(bed.leaving(2), versions([0]));
    // It was asked for all the same.
    let access = bed.store.last_access(&version(0)).expect("access");
    assert_eq!((access.any_us, access.zip_us), (asked_us, asked_us));
    assert_eq!(bed.leaving(1), versions([2]));
}

/// What was used is moved to positions that were read already.
#[test]
fn lru_takes_a_new_zip_after_those_that_were_used_before_it_came() {
    let bed = Bed::new(Algorithm::Lru);
    bed.put(0..10);
    (0..10).rev().for_each(|number| bed.touch(number));
    bed.clock.advance(Duration::from_secs(1));
    put(&bed.store, 100, 100, 50);
    assert_eq!(bed.pass(100, 0..0), (versions([9, 8, 7, 6, 5]), false));
}

#[test]
fn lru_goes_by_use_over_many_pages() {
    let bed = Bed::new(Algorithm::Lru);
    for number in 0..200 {
        bed.put([number]);
        if let Some(before) = number.checked_sub(5) {
            bed.touch(before);
        }
    }
    assert_eq!(bed.pass(20 * ZIP_BYTES, 0..0), (versions(0..180), false));
}

/// Used while the clock was ahead; whether or not a pass has moved it by then.
#[test]
fn a_clock_that_was_ahead_does_not_make_a_zip_outlive_all_others() {
    for is_moved in [true, false] {
        let bed = Bed::new(Algorithm::Lru);
        bed.put(1..4);
        let true_time_us = bed.clock.now_us();
        bed.clock.set_wall(true_time_us + 100 * DAY_US);
        bed.touch(1);
        let ahead = if is_moved { bed.leaving(2) } else { Vec::new() };
        bed.store.flush_touches().expect("flush");
        bed.clock.set_wall(true_time_us + DAY_US);
        let now_us = bed.clock.now_us();
        assert!(bed.store.last_access(&version(1)).expect("access").zip_us <= now_us);
        let right = if is_moved { Vec::new() } else { bed.leaving(2) };
        assert_eq!([ahead, right].concat(), versions([2]));
        // The clock has been right for long enough: the zip counts as used now, and grows old from there.
        bed.clock.advance(8 * DAY);
        bed.touch(3);
        bed.put(4..6);
        assert_eq!(bed.leaving(2), versions([3, 4]), "{is_moved}");
        bed.put(6..8);
        bed.touch(5);
        assert_eq!(bed.leaving(2), versions([1, 6]), "{is_moved}");
    }
}

#[test]
fn what_came_while_the_clock_was_ahead_goes_by_when_it_was_asked_for() {
    let bed = Bed::new(Algorithm::S3Fifo);
    bed.put([0]);
    let true_time_us = bed.clock.now_us();
    bed.clock.set_wall(true_time_us + 1000 * DAY_US);
    bed.put(1..4);
    bed.clock.set_wall(true_time_us);
    bed.touch(1);
    bed.store.flush_touches().expect("flush");
    bed.clock.advance(40 * DAY);
    bed.touch(2);
    let keep = Keep { newest: None, days: Some(30) };
    let policy = Policy { watermarks: watermarks(), keep, ..Policy::default() };
    // Of the last one nothing is known that could be believed.
    assert_eq!(bed.run(&policy), (versions([0, 1]), false));
}
