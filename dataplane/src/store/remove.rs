//! Ways out of the store: removal, quarantine, and the deletion of chunks that nothing names any more.
//!
//! Invariants: a blob leaves the name space in one batch, together with the marker that has its chunks deleted
//! later, by this process or the next; chunks go when the last reader is gone; the binding of a version to its
//! hashes outlives its zip, and what `content` removes beside it, and goes only with its record. A blob without a
//! marker keeps its chunks: a write that seemed to fail may have named it, which shows when the log is read again.

mod content;
mod unreadable;

use std::sync::atomic::Ordering;

use fail::fail_point;
use gomod::ModuleVersion;
use parking_lot::MutexGuard;

use super::commit::{decode_blob, dequeue};
use super::counters::{Changes, Counter};
use super::error::StoreError;
use super::lease::Doomed;
use super::records::{self, QuarantineValue, Transient};
use super::rocks::Batch;
use super::types::{BlobId, Class, Durability, Quarantined, Scope, VersionRecord, ZipManifest};
use super::{Inner, Store, go_on, keys, undecodable};

/// Deletions that ride along with another operation.
const COLLECT_SOME: usize = 4;

/// Names the lock that deletions of chunks are made under; no blob has such a name.
const DELETION: &str = "deletion of chunks";

/// What a removal took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The record existed, or with [`Scope::Zip`] its zip was held.
    pub existed: bool,
    /// Bytes of the blob that nothing names any more; 0 when another version still has it.
    pub freed_bytes: u64,
}

impl Store {
    /// Removes a version's zip or whole record, which need not be readable. Readers of the zip finish undisturbed.
    pub fn remove(&self, mv: &ModuleVersion, scope: Scope) -> Result<Removed, StoreError> {
        let removed = match scope {
            Scope::Zip => self.inner.unname(mv, scope, None, &|_| true),
            Scope::Record => self.inner.remove_record(mv, None),
        };
        self.inner.collect_some();
        removed
    }

    /// Removes a version's record, unless it is of this class, or cannot be read and may be.
    pub fn remove_unless(&self, mv: &ModuleVersion, class: Class) -> Result<Removed, StoreError> {
        let removed = self.inner.remove_record(mv, Some(class));
        self.inner.collect_some();
        removed
    }

    /// Takes a version's zip or whole record out of service because its bytes are bad, and keeps a note of it.
    /// Nothing committed later is joined with the bad blob. Works on a record that cannot be read.
    pub fn quarantine(&self, mv: &ModuleVersion, scope: Scope, reason: &str) -> Result<Removed, StoreError> {
        let removed = self.inner.unname(mv, scope, Some(reason), &|_| true);
        self.inner.collect_some();
        removed
    }

    /// The same for the zip alone, unless the version has meanwhile been given another blob than the damaged one.
    pub fn quarantine_blob(
        &self,
        mv: &ModuleVersion,
        blob: BlobId,
        reason: &str,
    ) -> Result<Removed, StoreError> {
        if self.record(mv)?.and_then(|record| record.zip).is_none_or(|zip| zip.blob != blob) {
            return Ok(Removed::default());
        }
        self.quarantine(mv, Scope::Zip, reason)
    }

    /// At most `limit` notes of what was quarantined, oldest first, from the first at or after `since_us` on.
    pub fn quarantined(&self, since_us: i64, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        let mut notes = Vec::new();
        let mut failed = None;
        let start = keys::quarantine_from(since_us);
        self.inner.rocks.scan("quarantine record", &keys::quarantines(), &start, |key, value| {
            if notes.len() >= limit {
                return go_on(false);
            }
            match (keys::parse_quarantine(key), records::decode_quarantine(value)) {
                (Some((at_us, version)), Ok(QuarantineValue { scope, reason, zip })) => {
                    notes.push(Quarantined { version, at_us, scope, reason, zip });
                }
                (None, _) => failed = Some(StoreError::corrupt("quarantine record", "unreadable key")),
                (_, Err(error)) => failed = Some(undecodable("quarantine record", &error)),
            }
            go_on(failed.is_none())
        })?;
        failed.map_or(Ok(notes), Err)
    }

    /// How many notes of what was quarantined there are.
    pub fn quarantined_count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        self.inner.rocks.scan("quarantine record", &keys::quarantines(), &keys::quarantines(), |_, _| {
            count += 1;
            go_on(true)
        })?;
        Ok(count)
    }

    /// How many removals there were since the store was opened. Whoever keeps what a record said reads it before
    /// the record and again once it is kept: while it stands still, nobody has removed the record in between, and
    /// whoever removes it later finds what was kept.
    pub fn removals(&self) -> u64 {
        self.inner.removals.load(Ordering::SeqCst)
    }

    /// Deletes the chunks of removed blobs that nobody reads any more; the number of blobs.
    pub fn collect(&self) -> Result<usize, StoreError> {
        self.inner.collect(usize::MAX)
    }
}

impl Inner {
    /// Takes a version's whole record out of the name space unless it is of the class that is `spared`. Of one that cannot be read, with a
    /// note.
    fn remove_record(&self, mv: &ModuleVersion, spared: Option<Class>) -> Result<Removed, StoreError> {
        let meant = |record: Option<&VersionRecord>| record.is_none_or(|record| Some(record.class) != spared);
        let error = match self.unname(mv, Scope::Record, None, &meant) {
            Err(error @ StoreError::Corrupt { .. }) => error,
            removed => return removed,
        };
        if !matches!(self.record(mv), Err(StoreError::Corrupt { .. })) {
            return Err(error);
        }
        let may_be_spared = match spared {
            None => false,
            Some(Class::Published) => self.may_be_published(mv)?,
            // Nothing tells these apart.
            Some(Class::Cache | Class::Retained) => true,
        };
        if may_be_spared {
            return Ok(Removed::default());
        }
        self.unname(mv, Scope::Record, Some(&error.to_string()), &meant)
    }

    /// Takes a version's zip or whole record out of the name space, with a note when it is `bad`. Nothing happens to what is not `meant`.
    pub(super) fn unname(
        &self,
        mv: &ModuleVersion,
        scope: Scope,
        bad: Option<&str>,
        meant: &dyn Fn(Option<&VersionRecord>) -> bool,
    ) -> Result<Removed, StoreError> {
        let _version = self.version_locks.lock(mv);
        let record = match (self.record(mv), bad) {
            // An unreadable record can only go as a whole.
            (Err(StoreError::Corrupt { .. }), Some(reason)) if scope == Scope::Record => {
                return self.forget_unreadable(mv, reason);
            }
            (record, _) => record?,
        };
        if !meant(record.as_ref()) {
            return Ok(Removed::default());
        }
        let mut batch = Batch::default();
        if let Some(reason) = bad {
            let zip = record.as_ref().and_then(|record| record.zip.as_ref());
            let value = QuarantineValue {
                scope,
                reason: reason.to_owned(),
                zip: zip.map(|zip| (zip.sha256, zip.size)),
            };
            batch.put(keys::quarantine(self.clock.now_us(), mv), records::encode_quarantine(&value));
        }
        let stays = match (scope, &record) {
            (Scope::Record, _) => None,
            (Scope::Zip, Some(record)) if record.zip.is_some() => {
                Some(VersionRecord { zip: None, ..record.clone() })
            }
            (Scope::Zip, _) => {
                // There is none to take out, but it was found bad.
                self.write_removal(batch, &Changes::default(), None)?;
                return Ok(Removed::default());
            }
        };
        let existed = record.is_some() || bad.is_some();
        let freed_bytes = self.leave_only(batch, mv, record.as_ref(), stays.as_ref(), bad.is_some())?;
        Ok(Removed { existed, freed_bytes })
    }

    /// Takes all that is held of a version out of the name space but what stays, and whatever else is in the batch with it; the bytes of
    /// its zip, if nothing names that any more. The caller holds the lock of the version.
    fn leave_only(
        &self,
        mut batch: Batch,
        mv: &ModuleVersion,
        record: Option<&VersionRecord>,
        stays: Option<&VersionRecord>,
        bad: bool,
    ) -> Result<u64, StoreError> {
        let mut changes = Changes::default();
        put_rest(&mut batch, &mut changes, mv, record, stays);
        let zip = record.and_then(|record| record.zip.as_ref());
        let _blob = zip.map(|zip| self.blob_locks.lock(&zip.sha256));
        let doomed = match zip {
            Some(zip) => self.unname_blob(&mut batch, &mut changes, &[mv], zip, bad)?,
            None => None,
        };
        let freed_bytes = zip.filter(|_| doomed.is_some()).map_or(0, |zip| zip.size);
        self.write_removal(batch, &changes, doomed)?;
        Ok(freed_bytes)
    }

    /// Writes the batch that takes a blob out of the name space, and leaves the blob for deletion.
    pub(super) fn write_removal(
        &self,
        mut batch: Batch,
        changes: &Changes,
        doomed: Option<Doomed>,
    ) -> Result<(), StoreError> {
        changes.write_into(&mut batch);
        if batch.is_empty() {
            return Ok(());
        }
        fail_point!("store::delete::before_batch");
        self.note(self.rocks.write("removal", batch, Durability::Buffered))?;
        self.removals.fetch_add(1, Ordering::SeqCst);
        fail_point!("store::delete::after_manifest");
        self.counters.apply(changes);
        if let Some(doomed) = doomed {
            self.leases.doom(doomed);
        }
        Ok(())
    }

    /// Takes the references of `leaving` off a blob; when they were the last, the blob is returned and its
    /// manifest, queue entry and marker are in the batch. The caller holds the locks of all of these.
    pub(super) fn unname_blob(
        &self,
        batch: &mut Batch,
        changes: &mut Changes,
        leaving: &[&ModuleVersion],
        zip: &ZipManifest,
        bad: bool,
    ) -> Result<Option<Doomed>, StoreError> {
        for mv in leaving {
            batch.delete(keys::reference(zip.blob, mv));
        }
        let last = self.references(zip.blob)?.iter().all(|mv| leaving.contains(&mv));
        let key = keys::blob(&zip.sha256);
        let manifest = self.rocks.get("blob manifest", &key)?.map(|value| decode_blob(&value)).transpose()?;
        // A bad blob's manifest went with its first quarantine, and a sound one may have come in its place.
        if let Some(manifest) = manifest.filter(|manifest| manifest.blob == zip.blob && (last || bad)) {
            batch.delete(key);
            dequeue(batch, changes, &manifest);
            changes.add(Counter::Blobs, -1);
            changes.add(Counter::BlobBytes, -manifest.size.cast_signed());
        }
        if last {
            let doomed = Transient::Doomed { chunks: zip.chunks() };
            batch.put(keys::transient(zip.blob), records::encode_transient(doomed));
        }
        Ok(last.then_some(Doomed { blob: zip.blob, chunks: Some(zip.chunks()) }))
    }

    /// The versions that have their zip in `blob`.
    pub(super) fn references(&self, blob: BlobId) -> Result<Vec<ModuleVersion>, StoreError> {
        let mut versions = Vec::new();
        let mut failed = None;
        self.rocks.scan("back-reference", &keys::references_to(blob), &[], |key, _| {
            match keys::parse_reference(key) {
                Some((_, mv)) => versions.push(mv),
                None => failed = Some(StoreError::corrupt("back-reference", "unreadable key")),
            }
            go_on(failed.is_none())
        })?;
        failed.map_or(Ok(versions), Err)
    }

    /// Deletes the chunks of up to `limit` doomed blobs without readers.
    pub(super) fn collect(&self, limit: usize) -> Result<usize, StoreError> {
        let mut collected = 0;
        while collected < limit {
            let Some(doomed) = self.leases.next_deletable() else { break };
            if let Err(error) = self.delete_chunks(doomed) {
                self.leases.put_back(doomed);
                return Err(error);
            }
            collected += 1;
        }
        Ok(collected)
    }

    /// [`Self::collect`] beside another operation, whose result does not depend on it.
    pub(super) fn collect_some(&self) {
        if let Err(error) = self.collect(COLLECT_SOME) {
            tracing::debug!(error = %error, "deletion of chunks is put off");
        }
    }

    /// Holds off deletions of chunks: whether a blob is still to be deleted must not change between the look and the deletion.
    pub(super) fn hold_off_deletion(&self) -> Option<MutexGuard<'_, ()>> {
        self.blob_locks.lock(&DELETION)
    }

    /// Deletes a blob's chunks and its marker, without reading the chunks: a damaged blob must go too. Nothing happens to one that was
    /// deleted before, or turned out to be named.
    fn delete_chunks(&self, doomed: Doomed) -> Result<(), StoreError> {
        let _deletion = self.hold_off_deletion();
        // What was handed out before it was named for a while may have readers again: the last of them hands it out.
        if !self.has_marker(doomed.blob)? || self.leases.defer(doomed) {
            return Ok(());
        }
        let mut batch = Batch::default();
        match doomed.chunks {
            Some(chunks) => {
                (0..chunks).for_each(|number| batch.delete_chunk(keys::chunk(doomed.blob, number)));
            }
            None => batch.delete_chunks(keys::chunk(doomed.blob, 0), keys::chunk(doomed.blob, u32::MAX)),
        }
        batch.delete(keys::transient(doomed.blob));
        self.note(self.rocks.write("chunk deletion", batch, Durability::Buffered))?;
        fail_point!("store::delete::after_chunks");
        Ok(())
    }

    /// Whether a blob's marker is there, so that nothing names the blob.
    fn has_marker(&self, blob: BlobId) -> Result<bool, StoreError> {
        match self.rocks.get("blob marker", &keys::transient(blob)) {
            // What a commit has named has a reference at least.
            Err(StoreError::Corrupt { .. }) => match self.references(blob) {
                Err(StoreError::Corrupt { .. }) => Ok(false),
                references => Ok(references?.is_empty()),
            },
            marker => Ok(marker?.is_some()),
        }
    }
}

/// Puts what stays of a record in its place. The index entry and the access times are those of what is more than a stub.
fn put_rest(
    batch: &mut Batch,
    changes: &mut Changes,
    mv: &ModuleVersion,
    record: Option<&VersionRecord>,
    stays: Option<&VersionRecord>,
) {
    match stays {
        Some(stays) => batch.put(keys::record(mv), records::encode_record(stays)),
        None => batch.delete(keys::record(mv)),
    }
    let counts = |record: Option<&VersionRecord>| record.is_some_and(|record| !record.is_stub());
    changes.add(Counter::Records, i64::from(counts(stays)) - i64::from(counts(record)));
    if !counts(stays) {
        batch.delete(keys::access(mv));
        if let Some(held_us) = record.and_then(|record| record.held_us) {
            batch.delete(keys::index(held_us));
        }
    }
}
