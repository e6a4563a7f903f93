//! Removing all that is held of a version, which retention does, and a disk without room; what the version is bound to stays.
//!
//! Invariant: content that nobody else vouches for is bound to its version for good, however often that leaves and comes back.
//! [`Store::remove`] is for those who want the binding gone.

use gomod::ModuleVersion;

use super::super::counters::Changes;
use super::super::error::StoreError;
use super::super::records;
use super::super::rocks::Batch;
use super::super::types::{Class, VersionRecord};
use super::super::{Inner, Store, keys};
use super::{Removed, forget};

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
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        forget(&mut batch, &mut changes, mv, Some(&record));
        // Behind the deletion of the record, whose place it takes.
        if let Some(stub) = record.stub() {
            batch.put(keys::record(mv), records::encode_record(&stub));
        }
        let mut removed = Removed { existed: true, freed_bytes: 0 };
        let _blob = record.zip.as_ref().map(|zip| self.blob_locks.lock(&zip.sha256));
        let mut doomed = None;
        if let Some(zip) = &record.zip {
            doomed = self.unname_blob(&mut batch, &mut changes, &[mv], zip, false)?;
            removed.freed_bytes = if doomed.is_some() { zip.size } else { 0 };
        }
        self.write_removal(batch, &changes, doomed)?;
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use common::clock::SystemClock;
    use gomod::{H1, ModulePath, Version};

    use super::super::super::types::{CachedAnswer, Durability, Patch};
    use super::super::super::{Orphans, StoreOptions};
    use super::*;

    fn store(dir: &tempfile::TempDir) -> Store {
        let options = StoreOptions { reserve_bytes: 0, full_percent: 100, ..StoreOptions::default() };
        Store::open(dir.path(), options, Arc::new(SystemClock)).expect("open the store")
    }

    fn version(number: u8) -> ModuleVersion {
        let module = ModulePath::parse("example.com/a").expect("module path");
        ModuleVersion { module, version: Version::parse(&format!("v1.{number}.0")).expect("version") }
    }

    /// A version that nobody vouches for; the same `content` is the same zip.
    fn put(store: &Store, number: u8, content: u8, class: Class) {
        let mut writer = store.begin_blob().expect("begin a blob");
        writer.append(Bytes::from(vec![content; 100])).expect("append");
        let zip = Some((writer.seal([content; 32]), H1::from_bytes([content; 32])));
        let patch = Patch { info: Some(Bytes::from_static(b"{}")), zip, class, ..Patch::default() };
        store.commit(&version(number), patch, Durability::Buffered).expect("commit");
    }

    fn access(store: &Store, number: u8) -> Option<Bytes> {
        store.inner.rocks.get("access time", &keys::access(&version(number))).expect("access times")
    }

    #[test]
    fn of_what_left_nothing_is_counted_and_a_shared_zip_stays() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = store(&dir);
        put(&store, 1, 1, Class::Cache);
        put(&store, 2, 1, Class::Cache);
        put(&store, 3, 3, Class::Retained);
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
        let store = store(&dir);
        let module = version(1).module;
        put(&store, 1, 1, Class::Cache);
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
