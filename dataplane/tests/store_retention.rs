//! What retention takes, and what it leaves: a version stays bound to its content, and nothing else stays of it.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod store_bed;

use std::time::Duration;

use bytes::Bytes;
use common::clock::{Clock, ManualClock};
use dataplane::store::evict::{Keep, Policy, Watermarks, run_once};
use dataplane::store::{CommitError, Durability, Part, Patch, Scope, Store, Verified, VersionRecord};
use gomod::ModuleVersion;
use gomod::dirhash::go_mod_h1;
use store_bed::*;

const DAY: Duration = Duration::from_hours(24);

/// Versions of one module, the oldest first.
fn version(minor: u64) -> ModuleVersion {
    mv("example.com/a", &format!("v1.{minor}.0"))
}

/// A whole version that nobody vouches for.
fn unchecked(store: &Store, mv: &ModuleVersion, zip: &Bytes) -> Patch {
    Patch { verified: Verified::Unchecked, ..patch_of(store, mv, zip) }
}

fn put_unchecked(store: &Store, mv: &ModuleVersion, zip: &Bytes) -> VersionRecord {
    store.commit(mv, unchecked(store, mv, zip), Durability::Buffered).expect("commit")
}

/// The go.mod of a version alone, for which nobody vouches either.
fn put_go_mod(store: &Store, mv: &ModuleVersion) -> VersionRecord {
    let patch = Patch { go_mod: Some(go_mod_of(mv)), ..Patch::default() };
    store.commit(mv, patch, Durability::Buffered).expect("commit")
}

fn keep(newest: Option<u32>, days: Option<u32>) -> Policy {
    // The machine's disk is not what is tested here.
    let watermarks = Watermarks { high_percent: 100, hard_percent: 100, ..Watermarks::default() };
    Policy { keep: Keep { newest, days }, watermarks, ..Policy::default() }
}

/// What leaves in a pass, when retention has rested.
fn pass(store: &Store, clock: &ManualClock, policy: &Policy) -> Vec<ModuleVersion> {
    clock.advance(Duration::from_hours(1));
    let report = run_once(store, policy, clock.now_us()).expect("pass");
    report.evicted.into_iter().map(|evicted| evicted.version).collect()
}

#[test]
fn what_retention_removes_stays_bound() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    let (old, newest, policy) = (version(0), version(1), keep(Some(1), None));
    let (zip, other) = (content(1, 300_000), content(2, 300_000));
    let first = put_unchecked(&store, &old, &zip);
    put_unchecked(&store, &newest, &content(3, 1000));
    assert_eq!(pass(&store, &clock, &policy), std::slice::from_ref(&old));
    let stub = VersionRecord {
        zip_h1: Some(h1_of(&zip)),
        go_mod_h1: Some(go_mod_h1(&go_mod_of(&old))),
        first_seen_us: first.first_seen_us,
        ..VersionRecord::default()
    };
    assert_eq!(store.record(&old).expect("record"), Some(stub.clone()));
    assert_eq!(zip_of(&store, &old), None);
    let counted = || {
        let index = store.index_since(0, 10).expect("index");
        let indexed: Vec<_> = index.into_iter().map(|entry| entry.version).collect();
        (store.usage().expect("usage").records, indexed)
    };
    assert_eq!(counted(), (1, vec![newest.clone()]));
    assert_sound(&store);
    assert!(pass(&store, &clock, &policy).is_empty(), "nothing of it is left to leave");

    let refused = store.commit(&old, unchecked(&store, &old, &other), Durability::Buffered);
    assert!(matches!(refused, Err(CommitError::Conflict { part: Part::Zip, .. })), "{refused:?}");
    let moved = Patch { go_mod: Some(Bytes::from_static(b"module b\n")), ..Patch::default() };
    let refused = store.commit(&old, moved, Durability::Buffered);
    assert!(matches!(refused, Err(CommitError::Conflict { part: Part::GoMod, .. })), "{refused:?}");
    assert_eq!(store.record(&old).expect("record"), Some(stub.clone()));
    assert_sound(&store);

    // The same content is as good as new, and leaves as it did before.
    let again = put_unchecked(&store, &old, &zip);
    assert!(again.held_us > first.held_us);
    assert_eq!(again, VersionRecord { zip: again.zip.clone(), held_us: again.held_us, ..first });
    assert_eq!(zip_of(&store, &old), Some(zip));
    assert_eq!(counted(), (2, vec![newest, old.clone()]));
    assert_sound(&store);
    assert_eq!(pass(&store, &clock, &policy), std::slice::from_ref(&old));
    drop(store);
    let store = Store::open(dir.path(), options(), clock).expect("open the store");
    assert_eq!(store.record(&old).expect("record"), Some(stub));
    assert!(store.remove(&old, Scope::Record).expect("remove").existed);
    assert_eq!(store.record(&old).expect("record"), None);
    put_unchecked(&store, &old, &other);
    assert_sound(&store);
}

#[test]
fn nothing_stays_of_what_is_vouched_for_or_bound_to_nothing() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    put(&store, &version(0), &content(0, 1000), Durability::Buffered);
    let patch = Patch { info: Some(info_of(&version(1))), ..Patch::default() };
    store.commit(&version(1), patch, Durability::Buffered).expect("commit");
    put_unchecked(&store, &version(2), &content(2, 1000));
    assert_eq!(pass(&store, &clock, &keep(Some(1), None)), [version(0), version(1)]);
    for minor in 0..2 {
        assert_eq!(store.record(&version(minor)).expect("record"), None);
    }
    assert_sound(&store);
}

#[test]
fn what_has_left_is_none_of_the_newest() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    for minor in 0..2 {
        put_unchecked(&store, &version(minor), &content(minor, 1000));
    }
    clock.advance(40 * DAY);
    store.touch(&version(0), false);
    assert_eq!(pass(&store, &clock, &keep(None, Some(30))), [version(1)]);
    assert!(pass(&store, &clock, &keep(Some(1), None)).is_empty());
    put_unchecked(&store, &version(2), &content(2, 1000));
    assert_eq!(pass(&store, &clock, &keep(Some(1), None)), [version(0)]);
    assert_sound(&store);
}

/// A module with more stubs than are looked at in one go.
#[test]
fn nor_is_it_in_a_long_module() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    for minor in 0..2_500 {
        put_go_mod(&store, &version(minor));
    }
    clock.advance(40 * DAY);
    for minor in 0..3 {
        store.touch(&version(minor), false);
    }
    assert_eq!(pass(&store, &clock, &keep(None, Some(30))).len(), 2_497);
    assert_eq!(store.usage().expect("usage").records, 3);
    // The first pass comes to the end behind the module.
    for _ in 0..2 {
        assert!(pass(&store, &clock, &keep(Some(3), None)).is_empty());
    }
}

#[test]
fn what_comes_back_counts_as_asked_for() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    let policy = keep(None, Some(30));
    let first = put_go_mod(&store, &version(0));
    for _ in 0..2 {
        clock.advance(40 * DAY);
        assert_eq!(pass(&store, &clock, &policy), [version(0)]);
        assert_eq!(put_go_mod(&store, &version(0)), first);
        assert!(pass(&store, &clock, &policy).is_empty(), "it has just come");
    }
    assert_sound(&store);
}

#[test]
fn a_full_disk_leaves_what_versions_are_bound_to() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    let (high_room_bytes, hard_room_bytes) = (u64::MAX, u64::MAX);
    let watermarks = Watermarks { high_percent: 0, high_room_bytes, hard_percent: 0, hard_room_bytes };
    let full = Policy { watermarks, ..Policy::default() };
    put_unchecked(&store, &version(0), &content(0, 1000));
    // First its zip, then the rest.
    assert_eq!(pass(&store, &clock, &full), [version(0), version(0)]);
    assert!(store.record(&version(0)).expect("record").is_some_and(|record| record.is_stub()));
    assert!(pass(&store, &clock, &full).is_empty());
    assert_eq!(store.usage().expect("usage").records, 0);
    assert_sound(&store);
}

/// Module graphs ask for the `.mod` of many versions that nobody builds.
#[test]
fn a_go_mod_that_passes_by_pushes_no_zip_out() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    let policy = keep(Some(1), None);
    put_unchecked(&store, &version(0), &content(0, 1000));
    put_go_mod(&store, &version(1));
    assert!(pass(&store, &clock, &policy).is_empty());
    put_unchecked(&store, &version(2), &content(2, 1000));
    assert_eq!(pass(&store, &clock, &policy), [version(0), version(1)]);
    // One whose zip was evicted counts on.
    put_unchecked(&store, &version(3), &content(3, 1000));
    store.remove(&version(3), Scope::Zip).expect("remove");
    put_go_mod(&store, &version(4));
    assert_eq!(pass(&store, &clock, &policy), [version(2)]);
    assert_sound(&store);
}

#[test]
fn nor_do_many_of_a_long_module() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    for minor in 0..3 {
        put_unchecked(&store, &version(minor), &content(minor, 1000));
    }
    for minor in 3..2_500 {
        put_go_mod(&store, &version(minor));
    }
    // The second pass comes to the end behind the module.
    for _ in 0..2 {
        assert!(pass(&store, &clock, &keep(Some(3), None)).is_empty());
    }
    assert_eq!(pass(&store, &clock, &keep(Some(2), None)), [version(0)]);
}
