//! What is staged is kept and not seen; what is revealed is seen whole.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod store_bed;

use std::time::Duration;

use bytes::Bytes;
use common::clock::Clock as _;
use dataplane::store::evict::{Policy, Watermarks, run_once};
use dataplane::store::{CHUNK_BYTES, Class, CommitError, Durability, Patch, Scope, Staging, Store};
use gomod::ModuleVersion;
use store_bed::*;

fn stage(store: &Store, mv: &ModuleVersion, zip: &Bytes) -> Result<Staging, CommitError> {
    let patch = Patch { info: None, origin: "published".to_owned(), ..patch_of(store, mv, zip) };
    store.stage(mv, patch, &dataplane::store::Unsound::default())
}

/// Nobody who asks for it finds anything.
fn is_out_of_sight(store: &Store, mv: &ModuleVersion) {
    assert_eq!(store.record(mv).expect("record"), None);
    assert!(store.open_zip(mv).expect("open").is_none());
    assert!(store.versions(&mv.module).expect("versions").iter().all(|version| *version != mv.version));
    assert!(store.index_since(0, 100).expect("index").iter().all(|entry| entry.version != *mv));
}

#[test]
fn what_is_staged_is_kept_and_not_seen() {
    let dir = tempfile::tempdir().expect("temporary folder");
    for (number, size) in (0..).zip([1, 1000, CHUNK_BYTES, 2 * CHUNK_BYTES + 5]) {
        let (mv, zip) = (numbered(number), content(number, size));
        let store = open(dir.path());
        assert_eq!(stage(&store, &mv, &zip).expect("stage"), Staging::Staged);
        is_out_of_sight(&store, &mv);
        drop(store);
        // Also after a restart; nothing of it counts as left over.
        let store = open(dir.path());
        is_out_of_sight(&store, &mv);
        store.collect().expect("collect");
        assert_eq!(store.orphans().expect("orphans"), dataplane::store::Orphans::default());
        let staged = store.staged(10).expect("staged");
        assert!(
            staged.iter().any(|staged| staged.version == mv && staged.record.zip_h1 == Some(h1_of(&zip)))
        );
        let record = store.reveal(&mv, h1_of(&zip), info_of(&mv)).expect("reveal").expect("staged");
        assert_eq!((record.class, record.info), (Class::Published, Some(info_of(&mv))));
        assert_eq!(zip_of(&store, &mv), Some(zip.clone()));
        assert!(store.staged(10).expect("staged").is_empty());
        assert!(store.index_since(0, 100).expect("index").iter().any(|entry| entry.version == mv));
        // Revealed again, it is as it was; staged again, it is there already.
        let again = store.reveal(&mv, h1_of(&zip), Bytes::from_static(b"{}")).expect("reveal");
        assert_eq!(again.and_then(|record| record.info), Some(info_of(&mv)));
        assert_eq!(stage(&store, &mv, &zip).expect("stage"), Staging::Held);
        assert_sound(&store);
    }
}

#[test]
fn two_who_publish_one_name_do_not_meet() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let (mv, one, two) = (numbered(1), content(1, 300_000), content(2, 300_000));
    stage(&store, &mv, &one).expect("stage");
    stage(&store, &mv, &two).expect("stage");
    assert_eq!(store.staged(10).expect("staged").len(), 2);
    store.reveal(&mv, h1_of(&two), info_of(&mv)).expect("reveal").expect("staged");
    // What lost can neither be seen nor staged any more, and leaves nothing behind.
    assert!(matches!(store.reveal(&mv, h1_of(&one), info_of(&mv)), Err(CommitError::Conflict { .. })));
    assert!(matches!(stage(&store, &mv, &one), Err(CommitError::Conflict { .. })));
    store.unstage(&mv, h1_of(&one), i64::MAX).expect("unstage");
    assert!(store.staged(10).expect("staged").is_empty());
    assert_eq!(zip_of(&store, &mv), Some(two));
    assert_sound(&store);
}

#[test]
fn what_is_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = open(dir.path());
    let (mv, zip) = (numbered(1), content(1, 300_000));
    stage(&store, &mv, &zip).expect("stage");
    store.unstage(&mv, h1_of(&zip), i64::MAX).expect("unstage");
    store.unstage(&mv, h1_of(&zip), i64::MAX).expect("unstage twice");
    assert_eq!(store.reveal(&mv, h1_of(&zip), info_of(&mv)).expect("reveal"), None);
    is_out_of_sight(&store, &mv);
    assert_eq!(store.usage().expect("usage").zips, 0);
    assert_sound(&store);
    // Whoever staged it again meanwhile counts on it.
    stage(&store, &mv, &zip).expect("stage");
    let since_us = store.staged(10).expect("staged")[0].record.first_seen_us;
    store.unstage(&mv, h1_of(&zip), since_us - 1).expect("unstage");
    assert_eq!(store.staged(10).expect("staged").len(), 1);
    store.unstage(&mv, h1_of(&zip), since_us).expect("unstage");
    assert!(store.staged(10).expect("staged").is_empty());
    // The same bytes under another name are not taken along.
    put(&store, &numbered(2), &zip, Durability::Buffered);
    stage(&store, &mv, &zip).expect("stage");
    store.unstage(&mv, h1_of(&zip), i64::MAX).expect("unstage");
    assert_eq!(zip_of(&store, &numbered(2)), Some(zip.clone()));
    stage(&store, &mv, &zip).expect("stage");
    store.remove(&numbered(2), Scope::Record).expect("remove");
    store.reveal(&mv, h1_of(&zip), info_of(&mv)).expect("reveal").expect("staged");
    assert_eq!(zip_of(&store, &mv), Some(zip));
    assert_sound(&store);
}

#[test]
fn eviction_takes_neither_what_is_staged_nor_what_was_published() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, clock) = open_at(dir.path(), NEW_YEAR_US);
    let (shared, own) = (content(1, 300_000), content(2, 300_000));
    // One has the bytes of something that may leave.
    put(&store, &numbered(5), &shared, Durability::Buffered);
    stage(&store, &numbered(1), &shared).expect("stage");
    stage(&store, &numbered(2), &own).expect("stage");
    store.reveal(&numbered(2), h1_of(&own), info_of(&numbered(2))).expect("reveal").expect("staged");
    let watermarks = Watermarks { high_percent: 100, hard_percent: 100, ..Watermarks::default() };
    let policy = Policy { capacity_bytes: 0, watermarks, ..Policy::default() };
    for _ in 0..3 {
        clock.advance(Duration::from_mins(2));
        run_once(&store, &policy, clock.now_us()).expect("pass");
    }
    assert_eq!(zip_of(&store, &numbered(5)), None);
    assert_eq!(zip_of(&store, &numbered(2)), Some(own));
    let shown = store.reveal(&numbered(1), h1_of(&shared), info_of(&numbered(1))).expect("reveal");
    assert!(shown.is_some());
    assert_eq!(zip_of(&store, &numbered(1)), Some(shared));
    assert_sound(&store);
}
