//! Removing all that is held of a version, which retention does, and a disk without room; what the version is bound to stays.
//!
//! Invariant: content that nobody else vouches for is bound to its version for good, however often that leaves and comes back.
//! [`Store::remove`] is for those who want the binding gone.

use gomod::ModuleVersion;

use super::super::error::StoreError;
use super::super::rocks::Batch;
use super::super::types::{Class, VersionRecord};
use super::super::{Inner, Store};
use super::Removed;

impl Store {
    /// Removes all that is held of a version, if it can be fetched again, and leaves a stub of its record: the hashes that it is bound to, so that
    /// other content is refused when it comes back. The same content is taken in as new. No stub stays where nothing is bound, nor where the
    /// checksum database vouches. Readers of the zip finish undisturbed.
    ///
    /// Nothing bounds how many stubs there are: some 150 bytes on disk for each version that was held once, which is little beside what was
    /// removed. They are not removed by anything that makes room.
    pub fn remove_content(&self, mv: &ModuleVersion) -> Result<Removed, StoreError> {
        let removed = self.inner.remove_content(mv);
        self.inner.collect_some();
        removed
    }
}

impl Inner {
    fn remove_content(&self, mv: &ModuleVersion) -> Result<Removed, StoreError> {
        let _version = self.version_locks.lock(mv);
        // It may have been published since the caller looked.
        let may_leave = |record: &VersionRecord| record.class == Class::Cache && !record.is_stub();
        let Some(record) = self.record(mv)?.filter(may_leave) else { return Ok(Removed::default()) };
        let freed_bytes =
            self.leave_only(Batch::default(), mv, Some(&record), record.stub().as_ref(), false)?;
        Ok(Removed { existed: true, freed_bytes })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::super::bed::{open, patch, put, version};
    use super::super::super::types::{CachedAnswer, Durability, Patch};
    use super::super::super::{Orphans, keys};
    use super::*;

    const ZIP_BYTES: usize = 100;

    fn access(store: &Store, number: u8) -> Option<Bytes> {
        store.inner.rocks.get("access time", &keys::access(&version(number))).expect("access times")
    }

    #[test]
    fn of_what_left_nothing_is_counted_and_a_shared_zip_stays() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        put(&store, 1, 1, ZIP_BYTES);
        put(&store, 2, 1, ZIP_BYTES);
        let retained = Patch { class: Class::Retained, ..patch(&store, 3, ZIP_BYTES) };
        store.commit(&version(3), retained, Durability::Buffered).expect("commit");
        let (gone, spared) = (|freed_bytes| Removed { existed: true, freed_bytes }, Removed::default());
        for (number, expected) in [(1, gone(0)), (1, spared), (2, gone(100)), (3, spared), (4, spared)] {
            assert_eq!(store.remove_content(&version(number)).expect("remove"), expected, "{number}");
        }
        store.collect().expect("collect");
        assert_eq!(store.orphans().expect("orphans"), Orphans::default());
        let usage = store.usage().expect("usage");
        assert_eq!((usage.records, usage.zips, usage.evictable_bytes), (1, 1, 0));
        assert_eq!(store.index_since(0, usize::MAX).expect("index").len(), 1);
        let record = |number| store.record(&version(number)).expect("record");
        assert!(record(1).expect("a stub").is_stub() && record(4).is_none());
        assert_eq!(store.scrub_one(&version(1)).expect("scrub"), None);
    }

    #[test]
    fn a_stub_has_no_access_times_and_keeps_no_answers() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        let module = version(1).module;
        put(&store, 1, 1, ZIP_BYTES);
        let answer = CachedAnswer { body: Bytes::from_static(b"v1.1.0\n"), fetched_us: 0, status: 200 };
        store.put_list(&module, &answer).expect("put");
        store.touch(&version(1), false);
        assert_eq!(store.flush_touches().expect("flush"), 1);
        assert!(access(&store, 1).is_some());
        store.drop_unused_answers(None, 1, 10).expect("drop");
        assert_eq!(store.list(&module).expect("list"), Some(answer));

        assert!(store.remove_content(&version(1)).expect("remove").existed);
        assert_eq!(access(&store, 1), None);
        // A note of use that comes late.
        store.touch(&version(1), true);
        assert_eq!(store.flush_touches().expect("flush"), 0);
        assert_eq!(access(&store, 1), None);
        store.drop_unused_answers(None, 1, 10).expect("drop");
        assert_eq!(store.list(&module).expect("list"), None);
    }
}
