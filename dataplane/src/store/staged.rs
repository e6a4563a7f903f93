//! Versions that are stored and not to be seen yet: published ones, until the cluster has bound their names.
//!
//! A staged version has its blob, named by a reference like any other, and a record of its own under the hash of its content, so that
//! two who publish one name at once do not meet here. Invariants: what is staged is on stable storage before anybody hears of it; revealing
//! it is one batch; nothing that reads records sees it before.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use fail::fail_point;
use gomod::{H1, ModuleVersion};
use sha2::{Digest as _, Sha256};

use super::blob::SealedBlob;
use super::commit::{count_record, describe};
use super::counters::Changes;
use super::error::{CommitError, StoreError};
use super::lease::Doomed;
use super::merge::{Merged, Offered, ZipStep, merge};
use super::records;
use super::rocks::Batch;
use super::types::{BlobId, Class, Durability, Patch, VersionRecord, ZipManifest, chunk_count};
use super::{Inner, Store, decode_record, go_on, keys};

/// A version that is not to be seen yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Its name.
    pub version: ModuleVersion,
    /// What it is to be. `first_seen_us` is when it was staged.
    pub record: VersionRecord,
}

/// What became of a version that was to be staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// It is stored, and not to be seen before [`Store::reveal`].
    Staged,
    /// The same content was there before, to be seen by all.
    Held,
}

/// Blobs that do not verify, or are not stored as they should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsound(Vec<BlobId>);

impl Store {
    /// Stores a whole version, as [`Class::Published`], without showing it. Survives a power cut. What is bound to other content here is a
    /// conflict, unless its record cannot be read, whose place this takes once it is revealed. Of the same content, what does not verify is
    /// replaced, as far as [`Self::unsound`] has found it.
    pub fn stage(
        &self,
        mv: &ModuleVersion,
        mut patch: Patch,
        unsound: &Unsound,
    ) -> Result<Staging, CommitError> {
        let inner = &self.inner;
        let Some((sealed, h1)) = patch.zip.take() else {
            return Err(StoreError::Misuse { rule: "a version is staged with its zip" }.into());
        };
        if !sealed.belongs_to(inner) {
            return Err(StoreError::Misuse { rule: "a blob is staged in the store it was written in" }.into());
        }
        patch.class = Class::Published;
        let offered = describe(&sealed, h1);
        let Unsound(bad) = unsound;
        let _version = inner.version_locks.lock(mv);
        let stored = unless_unreadable(inner.record(mv))?;
        let now_us = inner.clock.now_us();
        let visible = merge(stored.as_ref(), &patch, Some(&offered), now_us)?;
        let _blob = inner.blob_locks.lock(sealed.sha256());
        let mut stage = Stage::default();
        if visible.step == ZipStep::Nothing {
            let mut record = visible.record;
            if let Some(manifest) = record.zip.as_mut().filter(|_| !bad.is_empty()) {
                inner.hold_sound(&mut stage, mv, manifest, &sealed, bad)?;
            }
            let slot = inner.put_lost_entry(&mut stage.batch, mv, &mut record)?;
            stage.batch.put(keys::record(mv), records::encode_record(&record));
            inner.write_stage(stage, sealed)?;
            drop(slot);
            return Ok(Staging::Held);
        }
        let Merged { mut record, .. } = merge(None, &patch, Some(&offered), now_us)?;
        if let Some(manifest) = &mut record.zip {
            inner.hold_sound(&mut stage, mv, manifest, &sealed, bad)?;
        }
        stage.batch.put(keys::staged(h1.as_bytes(), mv), records::encode_record(&record));
        inner.write_stage(stage, sealed)?;
        Ok(Staging::Staged)
    }

    /// What a version with this zip would have, or has, that is not sound. Reads all of it, so that this comes before the short work of
    /// [`Self::stage`].
    pub fn unsound(&self, mv: &ModuleVersion, sha256: &[u8; 32], size: u64) -> Result<Unsound, StoreError> {
        self.inner.bad_blobs(mv, sha256, size).map(Unsound)
    }

    /// At most `limit` of what is staged, in no order that means anything.
    pub fn staged(&self, limit: usize) -> Result<Vec<Staged>, StoreError> {
        let mut staged = Vec::new();
        let mut failed = None;
        self.inner.rocks.scan("staged version", &keys::all_staged(), &keys::all_staged(), |key, value| {
            if staged.len() >= limit {
                return go_on(false);
            }
            let record = decode_record(&Bytes::copy_from_slice(value));
            match (keys::parse_staged(key), record) {
                (Some(version), Ok(record)) => staged.push(Staged { version, record }),
                (None, _) => failed = Some(StoreError::corrupt("staged version", "unreadable key")),
                (_, Err(error)) => failed = Some(error),
            }
            go_on(failed.is_none())
        })?;
        failed.map_or(Ok(staged), Err)
    }

    /// Shows what is staged of a version with this content, with its `.info`. Survives a power cut. [`None`] when nothing such is staged, nor
    /// held already. The name is bound to this content, so that it also takes the place of a record that cannot be read.
    pub fn reveal(
        &self,
        mv: &ModuleVersion,
        zip_h1: H1,
        info: Bytes,
    ) -> Result<Option<VersionRecord>, CommitError> {
        let inner = &self.inner;
        let _version = inner.version_locks.lock(mv);
        let key = keys::staged(zip_h1.as_bytes(), mv);
        let value = inner.rocks.get("staged version", &key)?;
        let Some(staged) = value.map(|value| decode_record(&value)).transpose()? else {
            let stored = inner.record(mv)?;
            return Ok(
                stored.filter(|record| record.class == Class::Published && record.zip_h1 == Some(zip_h1))
            );
        };
        let Some(zip) = staged.zip.clone() else { return Ok(None) };
        let stored = match inner.record(mv) {
            Err(error @ StoreError::Corrupt { .. }) => {
                if !inner.is_stored(&zip)? {
                    return Ok(None);
                }
                inner.forget_unreadable(mv, &error.to_string())?;
                None
            }
            stored => stored?,
        };
        let _blob = inner.blob_locks.lock(&zip.sha256);
        let offered = Offered { size: zip.size, sha256: zip.sha256, h1: zip.h1 };
        let patch = Patch {
            info: Some(info),
            go_mod: staged.go_mod.clone(),
            go_mod_h1: staged.go_mod_h1,
            verified: staged.verified,
            origin: staged.origin.clone(),
            class: Class::Published,
            zip: None,
        };
        let Merged { mut record, step, .. } =
            merge(stored.as_ref(), &patch, Some(&offered), inner.clock.now_us())?;
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        let mut slot = None;
        if step == ZipStep::Hold {
            // A blob that left meanwhile, with a version that was removed, is no content to show.
            if !inner.is_stored(&zip)? {
                return Ok(None);
            }
            record.zip = Some(zip.clone());
            batch.put(keys::reference(zip.blob, mv), []);
            slot = inner.index(&mut batch, mv, &mut record.held_us);
        }
        count_record(&mut changes, stored.as_ref(), &record);
        batch.delete(key);
        batch.put(keys::record(mv), records::encode_record(&record));
        changes.write_into(&mut batch);
        fail_point!("store::reveal::before_batch");
        inner.note_new(inner.rocks.write("reveal", batch, Durability::Synced))?;
        fail_point!("store::reveal::after_batch");
        inner.counters.apply(&changes);
        drop(slot);
        Ok(Some(record))
    }

    /// Gives up what is staged of a version with this content, unless that was staged again after `since_us`.
    pub fn unstage(&self, mv: &ModuleVersion, zip_h1: H1, since_us: i64) -> Result<(), StoreError> {
        self.inner.unstage(mv, zip_h1, since_us)?;
        self.inner.collect_some();
        Ok(())
    }
}

/// What one batch of staging does.
#[derive(Default)]
struct Stage {
    batch: Batch,
    changes: Changes,
    /// It names the sealed blob.
    names: bool,
    /// Blobs that nothing names any more.
    doomed: Vec<Doomed>,
}

impl Inner {
    fn unstage(&self, mv: &ModuleVersion, zip_h1: H1, since_us: i64) -> Result<(), StoreError> {
        let _version = self.version_locks.lock(mv);
        let key = keys::staged(zip_h1.as_bytes(), mv);
        let value = self.rocks.get("staged version", &key)?;
        let staged = value.map(|value| decode_record(&value)).transpose()?;
        let Some(staged) = staged.filter(|staged| staged.first_seen_us <= since_us) else { return Ok(()) };
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        batch.delete(key);
        let mut doomed: Option<Doomed> = None;
        let held = match self.record(mv) {
            // It may name the same blob, by the same reference, which goes with it.
            Err(StoreError::Corrupt { .. }) => staged.zip.clone(),
            record => record?.and_then(|record| record.zip),
        };
        let _blob = staged.zip.as_ref().map(|zip| self.blob_locks.lock(&zip.sha256));
        if let Some(zip) = staged.zip.filter(|zip| held.as_ref().is_none_or(|held| held.blob != zip.blob)) {
            doomed = self.unname_blob(&mut batch, &mut changes, &[mv], &zip, false)?;
        }
        self.write_removal(batch, &changes, doomed)
    }

    /// Whether a zip is in the blob that is stored under its hash.
    fn is_stored(&self, zip: &ZipManifest) -> Result<bool, StoreError> {
        Ok(self.stored_blob(&zip.sha256)?.is_some_and(|stored| stored.blob == zip.blob))
    }

    /// Writes what was staged, whose bytes are in `sealed` if they were not there before.
    fn write_stage(&self, stage: Stage, sealed: SealedBlob) -> Result<(), StoreError> {
        let Stage { mut batch, changes, names, doomed } = stage;
        changes.write_into(&mut batch);
        fail_point!("store::stage::before_batch");
        self.note_new(self.rocks.write("stage", batch, Durability::Synced))?;
        fail_point!("store::stage::after_batch");
        self.counters.apply(&changes);
        if names {
            sealed.keep();
        }
        if !doomed.is_empty() {
            self.removals.fetch_add(1, Ordering::SeqCst);
        }
        for doomed in doomed {
            self.leases.doom(doomed);
        }
        Ok(())
    }

    /// Gives `manifest` the blob that is stored under its hash, or the sealed one if there is none or that is `bad`. The version names none
    /// that is bad any more. The caller holds the locks of the version and of the hash.
    fn hold_sound(
        &self,
        stage: &mut Stage,
        mv: &ModuleVersion,
        manifest: &mut ZipManifest,
        sealed: &SealedBlob,
        bad: &[BlobId],
    ) -> Result<(), StoreError> {
        let Stage { batch, changes, names, doomed } = stage;
        for &blob in bad {
            let old = ZipManifest { blob, ..manifest.clone() };
            doomed.extend(self.unname_blob(batch, changes, &[mv], &old, true)?);
        }
        let stored = self.stored_blob(&manifest.sha256)?;
        *names = if stored.is_some_and(|stored| bad.contains(&stored.blob)) {
            self.name_blob(batch, changes, mv, Class::Published, manifest, sealed);
            true
        } else {
            self.hold(batch, changes, mv, Class::Published, manifest, sealed)?
        };
        Ok(())
    }

    /// Which blobs a version would have with this zip, or has, and do not verify, or are not stored as they should be. Reads all of them.
    fn bad_blobs(&self, mv: &ModuleVersion, sha256: &[u8; 32], size: u64) -> Result<Vec<BlobId>, StoreError> {
        let stored = self.stored_blob(sha256)?.filter(|stored| stored.size == size);
        let stored = stored.map(|stored| stored.blob);
        let record = unless_unreadable(self.record(mv))?;
        let held = record.and_then(|record| record.zip).filter(|zip| zip.sha256 == *sha256);
        let mut bad = Vec::new();
        if let Some(stored) = stored
            && !self.verifies(stored, sha256, size)?
        {
            bad.push(stored);
        }
        if let Some(held) = held {
            let is_told_of = stored == Some(held.blob) && self.is_told_of(held.blob, mv)?;
            if !is_told_of && !bad.contains(&held.blob) {
                bad.push(held.blob);
            }
        }
        Ok(bad)
    }

    /// Whether a blob's back-reference to a version is there and can be read.
    fn is_told_of(&self, blob: BlobId, mv: &ModuleVersion) -> Result<bool, StoreError> {
        match self.rocks.get("back-reference", &keys::reference(blob, mv)) {
            Err(StoreError::Corrupt { .. }) => Ok(false),
            reference => Ok(reference?.is_some()),
        }
    }

    /// Whether a blob's chunks are all there, and are what is offered.
    fn verifies(&self, blob: BlobId, sha256: &[u8; 32], size: u64) -> Result<bool, StoreError> {
        let _lease = self.leases.take(blob);
        let mut sum = Sha256::new();
        for number in 0..chunk_count(size) {
            match self.chunk(blob, number) {
                Ok(chunk) => sum.update(&chunk),
                Err(StoreError::Corrupt { .. } | StoreError::NoChunk { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(sum.finalize().as_slice() == sha256)
    }
}

/// Of a record that cannot be read nobody knows what it says.
fn unless_unreadable(
    record: Result<Option<VersionRecord>, StoreError>,
) -> Result<Option<VersionRecord>, StoreError> {
    match record {
        Err(StoreError::Corrupt { .. }) => Ok(None),
        record => record,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Orphans;
    use super::super::bed::{open, patch, spoil, version};
    use super::super::types::CHUNK_BYTES;
    use super::*;

    /// One that is written with its commit, and one that is written before.
    const ZIP_BYTES: [usize; 2] = [7, CHUNK_BYTES + 7];

    fn stage(store: &Store, len: usize) -> Staging {
        let patch = patch(store, 1, len);
        let (sealed, _) = patch.zip.as_ref().expect("a zip");
        let unsound = store.unsound(&version(1), sealed.sha256(), sealed.size()).expect("look");
        store.stage(&version(1), patch, &unsound).expect("stage")
    }

    fn reveal(store: &Store) {
        let revealed = store.reveal(&version(1), H1::from_bytes([1; 32]), Bytes::from_static(b"{}"));
        assert!(revealed.expect("reveal").is_some());
    }

    /// Puts other bytes in the place of the last ones.
    fn damage(store: &Store, zip: Option<&ZipManifest>) {
        let zip = zip.expect("a zip");
        let mut batch = Batch::default();
        batch.put_chunk(keys::chunk(zip.blob, zip.chunks() - 1), Bytes::from_static(b"damaged"));
        store.inner.rocks.write("test", batch, Durability::Buffered).expect("write");
    }

    fn damage_held(store: &Store) {
        damage(store, store.record(&version(1)).expect("record").expect("held").zip.as_ref());
        assert_ne!(store.scrub_one(&version(1)).expect("scrub").expect("held").0, []);
    }

    fn assert_sound(store: &Store, len: usize) {
        store.collect().expect("collect");
        let len = len as u64;
        assert_eq!(store.scrub_one(&version(1)).expect("scrub"), Some((Vec::new(), len)));
        assert_eq!(store.orphans().expect("orphans"), Orphans::default());
        assert!(store.staged(1).expect("staged").is_empty());
        let usage = store.usage().expect("usage");
        assert_eq!((usage.records, usage.zips, usage.zip_bytes, usage.evictable_bytes), (1, 1, len, 0));
        assert_eq!(store.index_since(0, usize::MAX).expect("index").len(), 1);
    }

    #[test]
    fn the_same_bytes_again_take_the_place_of_bad_ones() {
        for len in ZIP_BYTES {
            let dir = tempfile::tempdir().expect("temporary folder");
            let store = open(dir.path());
            stage(&store, len);
            damage(
                &store,
                store.staged(1).expect("staged").first().and_then(|staged| staged.record.zip.as_ref()),
            );
            assert_eq!(stage(&store, len), Staging::Staged);
            reveal(&store);
            assert_sound(&store, len);

            damage_held(&store);
            let removals = store.removals();
            assert_eq!(stage(&store, len), Staging::Held);
            assert_sound(&store, len);
            assert_ne!(store.removals(), removals, "the bad blob is remembered");

            // Good ones stay where they are.
            let before = store.record(&version(1)).expect("record");
            assert_eq!(stage(&store, len), Staging::Held);
            assert_eq!(store.record(&version(1)).expect("record"), before);
            assert_sound(&store, len);
        }
    }

    #[test]
    fn the_same_bytes_again_are_told_of_again() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        stage(&store, 7);
        reveal(&store);
        let record = store.record(&version(1)).expect("record").expect("held");
        let zip = record.zip.expect("held");
        let mut batch = Batch::default();
        batch.delete(keys::reference(zip.blob, &version(1)));
        batch.delete(keys::index(record.held_us.expect("held")));
        store.inner.rocks.write("test", batch, Durability::Buffered).expect("write");
        assert_eq!(stage(&store, 7), Staging::Held);
        assert_sound(&store, 7);
    }

    #[test]
    fn what_is_revealed_takes_the_place_of_a_record_that_cannot_be_read() {
        for (len, is_zip_bad) in ZIP_BYTES.into_iter().flat_map(|len| [(len, false), (len, true)]) {
            let dir = tempfile::tempdir().expect("temporary folder");
            let store = open(dir.path());
            stage(&store, len);
            reveal(&store);
            if is_zip_bad {
                damage_held(&store);
            }
            spoil(&store, &version(1));
            assert_eq!(stage(&store, len), Staging::Staged);
            store.record(&version(1)).expect_err("nobody has bound its name yet");
            reveal(&store);
            assert_sound(&store, len);
        }
    }
}
