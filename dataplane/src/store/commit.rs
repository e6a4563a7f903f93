//! Commits: the one way into the store. One batch makes a version's new state visible as a whole.
//!
//! Invariants: commits of one version follow each other; the batch holds the record, the blob's manifest and
//! back-reference, its place in the eviction queues, the index entry, the counters, and the end of the blob's
//! marker, so that any prefix of batches is a consistent store.

use bytes::Bytes;
use fail::fail_point;
use gomod::{H1, ModuleVersion};

use super::blob::SealedBlob;
use super::counters::{Changes, Counter};
use super::error::{CommitError, StoreError};
use super::feed::Slot;
use super::keys;
use super::merge::{Merged, Offered, ZipStep, merge};
use super::records::{self, Access, BlobManifest, Place};
use super::rocks::Batch;
use super::types::{Class, Durability, Patch, VersionRecord, ZipManifest};
use super::{Inner, Store, undecodable};

impl Store {
    /// Adds to a version, all of the patch or nothing. The first bytes win: what is already bound to other
    /// bytes is [`CommitError::Conflict`]; the same bytes again are success.
    pub fn commit(
        &self,
        mv: &ModuleVersion,
        mut patch: Patch,
        durability: Durability,
    ) -> Result<VersionRecord, CommitError> {
        let inner = &self.inner;
        let zip = patch.zip.take();
        if zip.as_ref().is_some_and(|(sealed, _)| !sealed.belongs_to(inner)) {
            return Err(
                StoreError::Misuse { rule: "a blob is committed to the store it was written in" }.into()
            );
        }
        let result = inner.commit(mv, &patch, zip, durability);
        inner.collect_some();
        result
    }
}

impl Inner {
    fn commit(
        &self,
        mv: &ModuleVersion,
        patch: &Patch,
        zip: Option<(SealedBlob, H1)>,
        durability: Durability,
    ) -> Result<VersionRecord, CommitError> {
        let offered = zip.as_ref().map(|(sealed, h1)| describe(sealed, *h1));
        let _version = self.version_locks.lock(mv);
        let stored = self.record(mv)?;
        let now_us = self.clock.now_us();
        let Merged { mut record, step, changed } = merge(stored.as_ref(), patch, offered.as_ref(), now_us)?;
        if !changed {
            if durability == Durability::Synced {
                // An earlier commit of the same may still be in memory only.
                self.note_new(self.rocks.sync())?;
            }
            return Ok(record);
        }
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        let sealed = zip.filter(|_| step == ZipStep::Hold).map(|(sealed, _)| sealed);
        let _blob = sealed.as_ref().map(|sealed| self.blob_locks.lock(sealed.sha256()));
        let mut slot = None;
        let mut named = false;
        if let (Some(sealed), Some(manifest)) = (&sealed, &mut record.zip) {
            named = self.hold(&mut batch, &mut changes, mv, record.class, manifest, sealed)?;
            slot = self.index(&mut batch, mv, &mut record.held_us);
        }
        count_record(&mut changes, stored.as_ref(), &record);
        if stored.as_ref().is_some_and(VersionRecord::is_stub) && !record.is_stub() {
            // Retention is not to go by when it was first heard of, which may be long ago.
            let access = Access { any_us: now_us, ..Access::default() };
            batch.put(keys::access(mv), records::encode_access(access));
        }
        batch.put(keys::record(mv), records::encode_record(&record));
        changes.write_into(&mut batch);
        fail_point!("store::commit::before_batch");
        self.note_new(self.rocks.write("commit", batch, durability))?;
        fail_point!("store::commit::after_batch");
        self.counters.apply(&changes);
        drop(slot);
        if let (Some(sealed), true) = (sealed, named) {
            sealed.keep();
        }
        Ok(record)
    }

    /// Names the blob in the batch and fills its place into `manifest`. False when the same bytes are stored
    /// under another blob already, which is used then.
    pub(super) fn hold(
        &self,
        batch: &mut Batch,
        changes: &mut Changes,
        mv: &ModuleVersion,
        class: Class,
        manifest: &mut ZipManifest,
        sealed: &SealedBlob,
    ) -> Result<bool, StoreError> {
        let existing = self.stored_blob(&manifest.sha256)?;
        if let Some(mut existing) = existing.filter(|existing| existing.size == manifest.size) {
            manifest.blob = existing.blob;
            batch.put(keys::reference(existing.blob, mv), []);
            if self.lost_its_place(&existing)? {
                existing.place = self.place_of(mv, class, existing.size);
                put_blob(batch, changes, &manifest.sha256, &existing);
            }
            return Ok(false);
        }
        self.name_blob(batch, changes, mv, class, manifest, sealed);
        Ok(true)
    }

    /// Names the blob in the batch, whatever is stored under its hash, and fills its place into `manifest`.
    pub(super) fn name_blob(
        &self,
        batch: &mut Batch,
        changes: &mut Changes,
        mv: &ModuleVersion,
        class: Class,
        manifest: &mut ZipManifest,
        sealed: &SealedBlob,
    ) {
        manifest.blob = sealed.id();
        sealed.write_into(batch);
        let place = self.place_of(mv, class, manifest.size);
        let blob = BlobManifest { blob: manifest.blob, size: manifest.size, place };
        put_blob(batch, changes, &manifest.sha256, &blob);
        batch.put(keys::reference(blob.blob, mv), []);
        changes.add(Counter::Blobs, 1);
        changes.add(Counter::BlobBytes, blob.size.cast_signed());
    }

    /// What is stored under this hash.
    pub(super) fn stored_blob(&self, sha256: &[u8; 32]) -> Result<Option<BlobManifest>, StoreError> {
        let value = self.rocks.get("blob manifest", &keys::blob(sha256))?;
        value.map(|value| decode_blob(&value)).transpose()
    }

    /// Where the zip of a version enters the eviction queues, if that may leave.
    fn place_of(&self, mv: &ModuleVersion, class: Class, size: u64) -> Option<Place> {
        (class == Class::Cache).then(|| self.heat.admit(mv, size, self.clock.now_us()))
    }

    /// Whether a blob's place in the eviction queues is only in its manifest: eviction drops the entry of a blob that no record
    /// has.
    fn lost_its_place(&self, blob: &BlobManifest) -> Result<bool, StoreError> {
        let Some(place) = blob.place else { return Ok(false) };
        Ok(self.rocks.get("eviction queue", &keys::queue(place.key(blob.blob)))?.is_none())
    }

    /// Adds the version to the index feed, once for as long as it is more than a stub.
    pub(super) fn index(
        &self,
        batch: &mut Batch,
        mv: &ModuleVersion,
        held_us: &mut Option<i64>,
    ) -> Option<Slot<'_>> {
        if held_us.is_some() {
            return None;
        }
        let slot = self.feed.begin(self.clock.now_us());
        *held_us = Some(slot.held_us);
        batch.put(keys::index(slot.held_us), keys::version_text(mv));
        Some(slot)
    }
}

pub(super) fn describe(sealed: &SealedBlob, h1: H1) -> Offered {
    Offered { size: sealed.size(), sha256: *sealed.sha256(), h1 }
}

/// Counts a record that there was not before, or only a stub of.
pub(super) fn count_record(changes: &mut Changes, before: Option<&VersionRecord>, after: &VersionRecord) {
    let was_counted = before.is_some_and(|before| !before.is_stub());
    changes.add(Counter::Records, i64::from(!after.is_stub()) - i64::from(was_counted));
}

/// Puts a blob's manifest, and its entry in the eviction queues if it has a place there, into the batch.
fn put_blob(batch: &mut Batch, changes: &mut Changes, sha256: &[u8; 32], blob: &BlobManifest) {
    if let Some(place) = blob.place {
        enqueue(batch, changes, blob, place);
    }
    batch.put(keys::blob(sha256), records::encode_blob(blob));
}

/// Adds a blob to a queue, in the batch; its manifest is the caller's to write.
pub(super) fn enqueue(batch: &mut Batch, changes: &mut Changes, blob: &BlobManifest, place: Place) {
    batch.put(keys::queue(place.key(blob.blob)), records::encode_number(blob.size.cast_signed()));
    changes.add(Counter::QueueBlobs(place.queue), 1);
    changes.add(Counter::QueueBytes(place.queue), blob.size.cast_signed());
}

/// Takes a blob out of its queue, in the batch; its manifest is the caller's to write.
pub(super) fn dequeue(batch: &mut Batch, changes: &mut Changes, blob: &BlobManifest) {
    let Some(place) = blob.place else { return };
    batch.delete(keys::queue(place.key(blob.blob)));
    changes.add(Counter::QueueBlobs(place.queue), -1);
    changes.add(Counter::QueueBytes(place.queue), -blob.size.cast_signed());
}

pub(super) fn decode_blob(value: &Bytes) -> Result<BlobManifest, StoreError> {
    records::decode_blob(value).map_err(|error| undecodable("blob manifest", &error))
}

#[cfg(test)]
mod tests {
    use super::super::Orphans;
    use super::super::bed::{open, put, version, watermarks};
    use super::super::evict::{Policy, run_once};
    use super::super::types::Scope;
    use super::*;

    #[test]
    fn a_blob_that_lost_its_place_gets_one_with_its_next_version() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        put(&store, 1, 1, 3);
        // The record is gone, and the entry of its blob with the next pass that comes to it.
        let mut batch = Batch::default();
        batch.delete(keys::record(&version(1)));
        store.inner.rocks.write("test", batch, Durability::Buffered).expect("write");
        let policy = Policy { capacity_bytes: 0, watermarks: watermarks(), ..Policy::default() };
        run_once(&store, &policy, 0).expect("pass");
        assert_eq!(store.evictable_bytes(), 0);
        put(&store, 1, 1, 3);
        assert_eq!(store.evictable_bytes(), 3);
        store.remove(&version(1), Scope::Zip).expect("remove");
        let usage = store.usage().expect("usage");
        assert_eq!((usage.evictable_bytes, usage.zips, usage.zip_bytes), (0, 0, 0));
        store.collect().expect("collect");
        assert_eq!(store.orphans().expect("orphans"), Orphans::default());
    }
}
