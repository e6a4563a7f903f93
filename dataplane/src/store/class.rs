//! What a version's copy here is worth, when that changes later than its content.
//!
//! Invariant: what may leave is in a queue of eviction. A blob that rises stays in its queue until eviction comes by it, so that
//! whether one that is lowered still has its place is known under its lock alone.

use std::collections::BTreeSet;

use bytes::Bytes;
use gomod::{ModulePath, ModuleVersion};

use super::commit::{decode_blob, enqueue};
use super::counters::Changes;
use super::error::StoreError;
use super::records;
use super::rocks::Batch;
use super::types::{BlobId, Class, Durability, VersionRecord, ZipManifest};
use super::{Inner, Store, go_on, keys};
use crate::reservoir::Reservoir;

/// Records that one batch has: they are in memory together, and commits of others that share a lock with them wait.
const CHANGES_MAX: usize = 64;

/// A version that is to go from one class to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassChange {
    /// The version.
    pub version: ModuleVersion,
    /// The class that it was seen to have.
    pub from: Class,
    /// The class that it is to have.
    pub to: Class,
}

/// Records with their new classes, to be written together.
#[derive(Default)]
struct Reclassed {
    batch: Batch,
    changes: Changes,
    /// Blobs that were queued by this batch: versions may share one.
    queued: BTreeSet<BlobId>,
    is_synced: bool,
}

impl Store {
    /// Sets a version's class, up or down. False when there is no such record.
    pub fn set_class(&self, mv: &ModuleVersion, class: Class) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let _version = inner.version_locks.lock(mv);
        let Some(record) = inner.record(mv)? else { return Ok(false) };
        if record.class == class {
            return Ok(true);
        }
        let record = VersionRecord { class, ..record };
        let _blob = record.zip.as_ref().map(|zip| inner.blob_locks.lock(&zip.sha256));
        let mut reclassed = Reclassed::default();
        inner.put_class(&mut reclassed, mv, &record)?;
        inner.write_classes(reclassed)?;
        Ok(true)
    }

    /// Changes the classes of versions, each named once; how many were changed. One that has another class by now than it was seen to
    /// have, or cannot be read, stays as it is.
    pub fn change_classes(&self, changes: &[ClassChange]) -> Result<usize, StoreError> {
        let mut changed = 0;
        for changes in changes.chunks(CHANGES_MAX) {
            changed += self.inner.change_classes(changes)?;
        }
        Ok(changed)
    }
}

impl Store {
    /// Modules of which versions of this class are held; of very many `limit`, each as likely as any other. What cannot be read is passed
    /// over.
    pub fn modules_of(&self, class: Class, limit: usize) -> Result<Vec<ModulePath>, StoreError> {
        let mut modules = Reservoir::new(limit);
        let mut last: Option<ModulePath> = None;
        let each = |key: &[u8], value: &[u8]| {
            if let Some(version) = keys::parse_record(key)
                && last.as_ref() != Some(&version.module)
                && records::decode_record(&Bytes::copy_from_slice(value))
                    .is_ok_and(|record| record.class == class && record.zip.is_some())
            {
                modules.see(version.module.clone());
                last = Some(version.module);
            }
            go_on(true)
        };
        let damaged = |error| tracing::debug!(%error, "the class of a version cannot be read");
        self.inner.rocks.scan_past("version record", &keys::records(), &[], each, damaged)?;
        Ok(modules.into_kept())
    }
}

impl Inner {
    fn change_classes(&self, changes: &[ClassChange]) -> Result<usize, StoreError> {
        let versions: Vec<&ModuleVersion> = changes.iter().map(|change| &change.version).collect();
        let _versions = self.version_locks.lock_all(&versions);
        let mut records = Vec::new();
        for ClassChange { version, from, to } in changes {
            let Some(record) = unless_damaged(self.record(version))?.flatten() else { continue };
            if record.class == *from && from != to {
                records.push((version, VersionRecord { class: *to, ..record }));
            }
        }
        let zips = records.iter().filter_map(|(_, record)| record.zip.as_ref());
        let hashes: Vec<[u8; 32]> = zips.map(|zip| zip.sha256).collect();
        let _blobs = self.blob_locks.lock_all(&hashes);
        let mut reclassed = Reclassed::default();
        let mut changed = 0;
        for (version, record) in &records {
            let put = unless_damaged(self.put_class(&mut reclassed, version, record))?;
            changed += usize::from(put.is_some());
        }
        self.write_classes(reclassed)?;
        Ok(changed)
    }

    /// Adds a record with its new class to the batch, or nothing. The caller holds the locks of the version and of its blob.
    fn put_class(
        &self,
        reclassed: &mut Reclassed,
        mv: &ModuleVersion,
        record: &VersionRecord,
    ) -> Result<(), StoreError> {
        if let Some(zip) = record.zip.as_ref().filter(|_| record.class == Class::Cache) {
            self.requeue_if_out(reclassed, mv, zip)?;
        }
        reclassed.batch.put(keys::record(mv), records::encode_record(record));
        reclassed.is_synced |= record.class.durability() == Durability::Synced;
        Ok(())
    }

    /// Gives a blob that had left the eviction queues a place again. One that is in them stays: eviction passes
    /// over what it may not take.
    fn requeue_if_out(
        &self,
        reclassed: &mut Reclassed,
        mv: &ModuleVersion,
        zip: &ZipManifest,
    ) -> Result<(), StoreError> {
        let key = keys::blob(&zip.sha256);
        let Some(value) = self.rocks.get("blob manifest", &key)? else { return Ok(()) };
        let mut manifest = decode_blob(&value)?;
        if manifest.blob == zip.blob && manifest.place.is_none() && reclassed.queued.insert(zip.blob) {
            let place = self.heat.admit(mv, zip.size, self.clock.now_us());
            manifest.place = Some(place);
            enqueue(&mut reclassed.batch, &mut reclassed.changes, &manifest, place);
            reclassed.batch.put(key, records::encode_blob(&manifest));
        }
        Ok(())
    }

    fn write_classes(&self, reclassed: Reclassed) -> Result<(), StoreError> {
        let Reclassed { mut batch, changes, is_synced, .. } = reclassed;
        if batch.is_empty() {
            return Ok(());
        }
        changes.write_into(&mut batch);
        let durability = if is_synced { Durability::Synced } else { Durability::Buffered };
        self.note(self.rocks.write("class", batch, durability))?;
        self.counters.apply(&changes);
        Ok(())
    }
}

/// `None` for what is damaged, which keeps no other version from being changed.
fn unless_damaged<T>(found: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Err(StoreError::Corrupt { .. }) => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::super::bed::{open, patch, put, spoil, version};
    use super::super::types::{Patch, Scope};
    use super::*;

    fn change(number: u8, from: Class, to: Class) -> ClassChange {
        ClassChange { version: version(number), from, to }
    }

    fn class(store: &Store, number: u8) -> Class {
        store.record(&version(number)).expect("record").expect("it is there").class
    }

    #[test]
    fn what_rose_meanwhile_and_what_is_damaged_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        (1..5).for_each(|number| put(&store, number, number, 100));
        let lost: Vec<_> = (1..6).map(|number| change(number, Class::Cache, Class::Retained)).collect();
        assert!(store.set_class(&version(1), Class::Published).expect("set"));
        spoil(&store, &version(2));
        assert_eq!(store.change_classes(&lost).expect("change"), 2);
        let expected = [Class::Published, Class::Retained, Class::Retained];
        assert_eq!([1, 3, 4].map(|number| class(&store, number)), expected);
        assert_eq!(store.modules_of(Class::Retained, 9).expect("read"), [version(3).module]);
        // Each was changed once.
        assert_eq!(store.change_classes(&lost).expect("change"), 0);
        assert_eq!(store.change_classes(&[]).expect("change"), 0);
    }

    #[test]
    fn of_more_modules_than_are_asked_for_each_has_its_turn() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        let modules =
            ["a", "b", "c"].map(|name| ModulePath::parse(&format!("example.com/{name}")).expect("path"));
        for module in &modules {
            let patch = Patch { class: Class::Retained, ..patch(&store, 1, 100) };
            let version = ModuleVersion { module: module.clone(), ..version(1) };
            store.commit(&version, patch, Durability::Buffered).expect("commit");
        }
        let some = |limit| store.modules_of(Class::Retained, limit).expect("read");
        assert_eq!(some(3), modules);
        let in_turn: BTreeSet<ModulePath> = (0..200).flat_map(|_| some(1)).collect();
        assert!(in_turn.into_iter().eq(modules));
    }

    #[test]
    fn a_zip_that_two_versions_share_is_queued_once() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        for number in 1..3 {
            let patch = Patch { class: Class::Retained, ..patch(&store, 1, 100) };
            store.commit(&version(number), patch, Durability::Buffered).expect("commit");
        }
        assert_eq!(store.evictable_bytes(), 0);
        let listed = [1, 2].map(|number| change(number, Class::Retained, Class::Cache));
        assert_eq!(store.change_classes(&listed).expect("change"), 2);
        assert_eq!(store.evictable_bytes(), 100);
        for number in 1..3 {
            store.remove(&version(number), Scope::Record).expect("remove");
        }
        assert_eq!(store.evictable_bytes(), 0);
        assert_eq!(store.usage().expect("usage").zips, 0);
    }
}
