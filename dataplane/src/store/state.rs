//! What writing tells of the disk under the store: out of space, unwritable, or stopped by damage.
//!
//! Owns these three states and the log lines of their changes. Invariant: a change is logged once, however many writes
//! meet it; reads have no part in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::error::StoreError;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The last write failed for want of space. The database resumes by itself.
    out_of_space: AtomicBool,
    /// A write was refused because of damage that background work met; ended by healing.
    stopped: AtomicBool,
    /// A write failed though there is room and nothing is damaged, and why; ended by healing. The database writes nothing
    /// after such a failure until it is opened again.
    unwritable: Mutex<Option<Arc<str>>>,
}

impl State {
    /// Remembers what the result of a write tells.
    pub(super) fn note<T>(&self, result: &Result<T, StoreError>) {
        match result {
            Err(StoreError::Corrupt { .. }) => self.stopped.store(true, Ordering::Release),
            Err(StoreError::Unwritable { why, .. }) => self.cannot_write(why),
            Err(StoreError::Full { .. }) => self.show_space(true),
            Ok(_) => self.show_space(false),
            Err(_) => {}
        }
    }

    fn show_space(&self, is_full: bool) {
        if self.out_of_space.swap(is_full, Ordering::Relaxed) == is_full {
            return;
        }
        if is_full {
            tracing::error!("the disk is full: nothing is stored until there is space, reads go on");
        } else {
            tracing::warn!("the disk has space again: storing goes on");
        }
    }

    fn cannot_write(&self, why: &Arc<str>) {
        let mut unwritable = self.unwritable.lock();
        if unwritable.is_none() {
            tracing::error!(%why, "the disk takes no writes: nothing is stored until it does, reads go on");
            *unwritable = Some(Arc::clone(why));
        }
    }

    /// The disk was found to take writes, and the database is open for them.
    pub(super) fn can_write(&self) {
        if self.unwritable.lock().take().is_some() {
            tracing::warn!("the disk takes writes again: storing goes on");
        }
    }

    /// Damage was dealt with.
    pub(super) fn go_on(&self) {
        self.stopped.store(false, Ordering::Release);
    }

    pub(super) fn is_out_of_space(&self) -> bool {
        self.out_of_space.load(Ordering::Relaxed)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Why nothing can be written though there is room; `None` when that is not so.
    pub(super) fn unwritable(&self) -> Option<Arc<str>> {
        self.unwritable.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use common::clock::SystemClock;

    use super::super::{Durability, Store, StoreOptions};
    use super::*;

    /// A status of the database that tells neither of damage nor of a disk that is full or takes no writes.
    fn other_failure() -> rocksdb::Error {
        let empty = tempfile::tempdir().expect("temporary folder");
        rocksdb::DB::open(&rocksdb::Options::default(), empty.path()).expect_err("there is no database")
    }

    #[test]
    fn whatever_stops_the_database_is_ended_by_opening_it_again() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let options = StoreOptions { reserve_bytes: 0, full_percent: 100, ..StoreOptions::default() };
        let store = Store::open(dir.path(), options, Arc::new(SystemClock)).expect("open the store");
        let failed: Result<(), _> = Err(StoreError::writing("test", other_failure()));
        assert!(store.inner.note(failed).is_err_and(|error| error.takes_nothing()));
        assert!(store.unwritable().is_some() && !store.is_stopped());
        assert!(store.begin_blob().is_err_and(|error| error.takes_nothing()));
        assert!(store.heal().expect("heal").reopened);
        assert_eq!(store.unwritable(), None);
        store.begin_blob().expect("begin a blob");
    }

    #[test]
    fn what_damage_keeps_from_being_stored_is_no_damage_itself() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let options = StoreOptions { reserve_bytes: 0, full_percent: 100, ..StoreOptions::default() };
        let store = Store::open(dir.path(), options, Arc::new(SystemClock)).expect("open the store");
        let met = || -> Result<(), _> { Err(StoreError::corrupt("zip chunk", "a table cannot be read")) };
        let error = store.inner.note_new(met()).expect_err("it is not stored");
        assert!(error.takes_nothing() && store.is_stopped() && store.unwritable().is_none());
        assert!(error.to_string().contains("a table cannot be read"), "{error}");
        assert!(store.inner.note(met()).is_err_and(|error| !error.takes_nothing()));
        assert!(store.heal().expect("heal").reopened && !store.is_stopped());
    }

    #[test]
    fn a_database_that_cannot_be_opened_again_yet_is_closed_and_not_damaged() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let options = StoreOptions { reserve_bytes: 0, full_percent: 100, ..StoreOptions::default() };
        let store = Store::open(dir.path(), options, Arc::new(SystemClock)).expect("open the store");
        store.sumdb_put(&[("fact".to_owned(), "is one".into())], Durability::Synced).expect("put");
        store.inner.state.cannot_write(&"test".into());
        let [current, aside] = ["db/CURRENT", "db/ASIDE"].map(|name| dir.path().join(name));
        std::fs::rename(&current, &aside).expect("rename");
        for _ in 0..2 {
            store.heal().expect_err("there is no database");
            assert!(matches!(store.sumdb_get("fact"), Err(StoreError::Closed)));
            assert!(store.unwritable().is_some() && !store.is_stopped());
        }
        std::fs::rename(&aside, &current).expect("rename");
        assert!(store.heal().expect("heal").reopened);
        assert_eq!(store.sumdb_get("fact").expect("get").as_deref(), Some(b"is one".as_slice()));
        assert_eq!(store.unwritable(), None);
    }
}
