//! Taking a version out of service whose record cannot be read.
//!
//! Such a record no longer tells what it named, but what it named tells of it: the references to a blob name versions, a
//! manifest names its blob, and the entries of the index feed name versions. All of these are looked through, which takes
//! a second for a million versions. Invariants: a blob stays for as long as a record that can be read or a staged version
//! names it; what is damaged as well keeps no record in service.

use gomod::ModuleVersion;

use super::super::commit::{decode_blob, dequeue};
use super::super::counters::{Changes, Counter};
use super::super::error::StoreError;
use super::super::lease::Doomed;
use super::super::records::{self, BlobManifest, QuarantineValue, Transient};
use super::super::rocks::Batch;
use super::super::types::{BlobId, Scope, chunk_count};
use super::super::{Inner, decode_record, go_on, keys};
use super::Removed;

/// What a record named.
#[derive(Debug, Default)]
struct Named {
    /// Blobs that have a reference to the version, each with the SHA-256 under which its manifest is, if it has one.
    blobs: Vec<(BlobId, Option<[u8; 32]>)>,
    /// Its entries in the index feed.
    held_us: Vec<i64>,
}

/// Blobs of staged versions, whose records are elsewhere.
#[derive(Debug)]
struct StagedBlobs(Vec<(BlobId, ModuleVersion)>);

impl StagedBlobs {
    fn has(&self, blob: BlobId, mv: &ModuleVersion) -> bool {
        self.0.iter().any(|(staged, version)| *staged == blob && version == mv)
    }
}

impl Inner {
    /// Whether a version whose record cannot be read may have been published: its zip is in no queue of what may leave, or that cannot be told.
    pub(in super::super) fn may_be_published(&self, mv: &ModuleVersion) -> Result<bool, StoreError> {
        let Some(named) = unless_damaged(self.named_by(mv))? else { return Ok(true) };
        for (blob, sha256) in named.blobs {
            let manifest = unless_damaged(self.manifest_of(blob, sha256))?.flatten();
            if manifest.is_none_or(|(_, manifest)| manifest.place.is_none()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the record, with all that it named and nothing else has, and keeps a note of it. The caller holds the lock of the
    /// version.
    pub(in super::super) fn forget_unreadable(
        &self,
        mv: &ModuleVersion,
        reason: &str,
    ) -> Result<Removed, StoreError> {
        let named = unless_damaged(self.named_by(mv))?.unwrap_or_default();
        let hashes: Vec<[u8; 32]> = named.blobs.iter().filter_map(|(_, sha256)| *sha256).collect();
        let _blobs = self.blob_locks.lock_all(&hashes);
        // Under the locks: nobody gives one of these blobs to another version meanwhile.
        let staged = unless_damaged(self.staged_blobs())?;
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        let value = QuarantineValue { scope: Scope::Record, reason: reason.to_owned(), zip: None };
        batch.put(keys::quarantine(self.clock.now_us(), mv), records::encode_quarantine(&value));
        batch.delete(keys::record(mv));
        batch.delete(keys::access(mv));
        changes.add(Counter::Records, -i64::from(self.was_counted(mv, &named)));
        for &held_us in &named.held_us {
            batch.delete(keys::index(held_us));
        }
        let mut removed = Removed { existed: true, freed_bytes: 0 };
        let mut doomed = Vec::new();
        if let Some(staged) = staged {
            for &blob in &named.blobs {
                let left = unless_damaged(self.leave(&mut batch, &mut changes, mv, blob, &staged))?;
                if let Some((blob, freed_bytes)) = left.flatten() {
                    doomed.push(blob);
                    removed.freed_bytes += freed_bytes;
                }
            }
        }
        self.write_removal(batch, &changes, None)?;
        for blob in doomed {
            self.leases.doom(blob);
        }
        Ok(removed)
    }

    /// Whether the record is in the sum of records for sure. A stub is not, and has neither entry in the index feed nor access times; nor
    /// has a version with no zip that nobody has asked for again. Such a one stays in the sum until [`Self::recount`].
    fn was_counted(&self, mv: &ModuleVersion, named: &Named) -> bool {
        let access = self.rocks.get("access time", &keys::access(mv));
        !named.held_us.is_empty() || access.is_ok_and(|access| access.is_some())
    }

    /// Takes the reference to the version off a blob. If nothing else names that, it is given back with its bytes, and its
    /// manifest, queue entry and marker are in the batch. The caller holds its lock.
    fn leave(
        &self,
        batch: &mut Batch,
        changes: &mut Changes,
        mv: &ModuleVersion,
        (blob, sha256): (BlobId, Option<[u8; 32]>),
        staged: &StagedBlobs,
    ) -> Result<Option<(Doomed, u64)>, StoreError> {
        if staged.has(blob, mv) {
            // The reference is the staged version's as well.
            return Ok(None);
        }
        let others: Vec<_> = self.references(blob)?.into_iter().filter(|other| other != mv).collect();
        let is_named = self.is_named(blob, &others, staged)?;
        let manifest = self.manifest_of(blob, sha256)?;
        batch.delete(keys::reference(blob, mv));
        if is_named {
            return Ok(None);
        }
        for other in &others {
            batch.delete(keys::reference(blob, other));
        }
        let size = manifest.as_ref().map(|(_, manifest)| manifest.size);
        if let Some((sha256, manifest)) = manifest {
            batch.delete(keys::blob(&sha256));
            dequeue(batch, changes, &manifest);
            changes.add(Counter::Blobs, -1);
            changes.add(Counter::BlobBytes, -manifest.size.cast_signed());
        }
        let chunks = size.map(chunk_count);
        // How many there are nobody knows of a blob that is being written either.
        let marker = chunks.map_or(Transient::Writing, |chunks| Transient::Doomed { chunks });
        batch.put(keys::transient(blob), records::encode_transient(marker));
        Ok(Some((Doomed { blob, chunks }, size.unwrap_or(0))))
    }

    /// Whether any of `others`, which have a reference to `blob`, still names it. The caller holds the lock of the blob, so that
    /// a reference is never there before its record. One that cannot be read counts: the blob goes with the last of these.
    fn is_named(
        &self,
        blob: BlobId,
        others: &[ModuleVersion],
        staged: &StagedBlobs,
    ) -> Result<bool, StoreError> {
        for other in others {
            if staged.has(blob, other) {
                return Ok(true);
            }
            let record = match self.record(other) {
                Err(StoreError::Corrupt { .. }) => return Ok(true),
                record => record?,
            };
            if record.and_then(|record| record.zip).is_some_and(|zip| zip.blob == blob) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The manifest as it is now, if it is still this blob's. The caller holds its lock.
    fn manifest_of(
        &self,
        blob: BlobId,
        sha256: Option<[u8; 32]>,
    ) -> Result<Option<([u8; 32], BlobManifest)>, StoreError> {
        let Some(sha256) = sha256 else { return Ok(None) };
        let value = self.rocks.get("blob manifest", &keys::blob(&sha256))?;
        let manifest = value.map(|value| decode_blob(&value)).transpose()?;
        Ok(manifest.filter(|manifest| manifest.blob == blob).map(|manifest| (sha256, manifest)))
    }

    /// Looks for everything that tells of a version.
    fn named_by(&self, mv: &ModuleVersion) -> Result<Named, StoreError> {
        let mut named = Named::default();
        // The table's tag is all that references to different blobs share.
        let mut references = keys::references_to(BlobId(0));
        references.truncate(1);
        self.rocks.scan("back-reference", &references, &[], |key, _| {
            if let Some((blob, version)) = keys::parse_reference(key)
                && version == *mv
            {
                named.blobs.push((blob, None));
            }
            go_on(true)
        })?;
        let text = keys::version_text(mv);
        self.rocks.scan("index feed", &keys::indexes(), &[], |key, value| {
            if value == text {
                named.held_us.extend(keys::parse_index(key));
            }
            go_on(true)
        })?;
        if named.blobs.is_empty() {
            return Ok(named);
        }
        self.rocks.scan("blob manifest", &keys::blobs(), &[], |key, value| {
            let sha256: Option<[u8; 32]> = key.split_first().and_then(|(_, sha256)| sha256.try_into().ok());
            // One that does not decode is another's, or of no use.
            if let (Some(sha256), Ok(manifest)) = (sha256, records::decode_blob(value)) {
                for (_, found) in named.blobs.iter_mut().filter(|(blob, _)| *blob == manifest.blob) {
                    *found = Some(sha256);
                }
            }
            go_on(true)
        })?;
        Ok(named)
    }

    fn staged_blobs(&self) -> Result<StagedBlobs, StoreError> {
        let mut blobs = Vec::new();
        let mut failed = None;
        self.rocks.scan("staged version", &keys::all_staged(), &[], |key, value| {
            let record = decode_record(&bytes::Bytes::copy_from_slice(value));
            match (keys::parse_staged(key), record) {
                (Some(version), Ok(record)) => blobs.extend(record.zip.map(|zip| (zip.blob, version))),
                (None, _) => failed = Some(StoreError::corrupt("staged version", "unreadable key")),
                (_, Err(error)) => failed = Some(error),
            }
            go_on(failed.is_none())
        })?;
        failed.map_or(Ok(StagedBlobs(blobs)), Err)
    }
}

/// `None` for what cannot be told because of more damage.
fn unless_damaged<T>(found: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::warn!(%error, "what an unreadable record named cannot all be found, and takes space from now on");
            Ok(None)
        }
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use bytes::Bytes;
    use gomod::H1;

    use super::super::super::Unsound;
    use super::super::super::bed::{self, open, version};
    use super::super::super::types::{CHUNK_BYTES, Class, Durability, Patch};
    use super::super::super::{Orphans, Store};
    use super::*;

    const ZIP_BYTES: u64 = CHUNK_BYTES as u64 + 7;

    /// A whole version; the same `content` is the same zip.
    fn patch(store: &Store, content: u8) -> Patch {
        bed::patch(store, content, ZIP_BYTES as usize)
    }

    fn put(store: &Store, number: u8, content: u8) {
        bed::put(store, number, content, ZIP_BYTES as usize);
    }

    fn spoil(store: &Store, number: u8) {
        bed::spoil(store, &version(number));
    }

    fn quarantine(store: &Store, number: u8) -> Removed {
        store.quarantine(&version(number), Scope::Record, "test").expect("quarantine")
    }

    /// Records and zips in the books, with nothing beside them.
    fn assert_holds(store: &Store, records: u64, zips: u64) {
        store.collect().expect("collect");
        assert_eq!(store.orphans().expect("orphans"), Orphans::default());
        let usage = store.usage().expect("usage");
        assert_eq!((usage.records, usage.zips), (records, zips));
        assert_eq!((usage.zip_bytes, usage.evictable_bytes), (zips * ZIP_BYTES, zips * ZIP_BYTES));
        assert_eq!(store.index_since(0, usize::MAX).expect("index").len() as u64, records);
    }

    #[test]
    fn what_an_unreadable_record_named_goes_with_it() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        put(&store, 1, 1);
        put(&store, 2, 2);
        for _ in 0..2 {
            spoil(&store, 1);
            assert_eq!(quarantine(&store, 1), Removed { existed: true, freed_bytes: ZIP_BYTES });
            assert_holds(&store, 1, 1);
            put(&store, 1, 1);
            assert_holds(&store, 2, 2);
            assert!(store.open_zip(&version(1)).expect("open").is_some());
        }
        store.remove(&version(1), Scope::Record).expect("remove");
        assert_holds(&store, 1, 1);
    }

    #[test]
    fn a_zip_that_others_have_stays_until_the_last_of_them_is_gone() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        (1..4).for_each(|number| put(&store, number, 1));
        for number in 1..3 {
            spoil(&store, number);
        }
        assert_eq!(quarantine(&store, 1).freed_bytes, 0);
        assert_eq!(quarantine(&store, 2).freed_bytes, 0);
        assert_holds(&store, 1, 1);
        let zip = store.open_zip(&version(3)).expect("open").expect("held");
        assert_eq!(zip.chunk(1).expect("chunk"), vec![1; 7]);
        drop(zip);
        spoil(&store, 3);
        assert_eq!(quarantine(&store, 3).freed_bytes, ZIP_BYTES);
        assert_holds(&store, 0, 0);
    }

    #[test]
    fn a_removal_takes_what_cannot_be_read_but_what_may_be_spared() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        put(&store, 1, 1);
        put(&store, 2, 2);
        put(&store, 3, 3);
        let published = Patch { class: Class::Published, ..patch(&store, 4) };
        store.commit(&version(4), published, Durability::Buffered).expect("commit");
        (2..5).for_each(|number| spoil(&store, number));
        store.versions(&version(1).module).expect_err("a list has to be whole");
        assert_eq!(store.versions_to_remove(&version(1).module).expect("versions").len(), 4);

        let gone = Removed { existed: true, freed_bytes: ZIP_BYTES };
        let remove_unless = |number, class| store.remove_unless(&version(number), class).expect("remove");
        assert_eq!(store.remove(&version(2), Scope::Record).expect("remove"), gone);
        assert_eq!(remove_unless(3, Class::Published), gone);
        assert_eq!(remove_unless(4, Class::Published), Removed::default());
        store.remove(&version(4), Scope::Zip).expect_err("it goes as a whole or not at all");
        assert_eq!(store.remove(&version(4), Scope::Record).expect("remove"), gone);
        assert_eq!(remove_unless(1, Class::Cache), Removed::default());
        assert_holds(&store, 1, 1);
    }

    #[test]
    fn what_is_staged_stays() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        store.stage(&version(1), patch(&store, 1), &Unsound::default()).expect("stage");
        put(&store, 1, 2);
        spoil(&store, 1);
        assert_eq!(quarantine(&store, 1).freed_bytes, ZIP_BYTES);
        let revealed = store.reveal(&version(1), H1::from_bytes([1; 32]), Bytes::from_static(b"{}"));
        let record = revealed.expect("reveal").expect("it was staged");
        assert_eq!(record.class, Class::Published);
        store.collect().expect("collect");
        let zip = store.open_zip(&version(1)).expect("open").expect("held");
        assert_eq!(zip.chunk(1).expect("chunk"), vec![1; 7]);
        assert_eq!(store.orphans().expect("orphans"), Orphans::default());
    }

    #[test]
    fn a_damaged_stub_was_not_counted_and_what_may_have_been_one_is_counted_anew() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        let records = || store.usage().expect("usage").records;
        let scrub = || store.scrub(&mut |_| ControlFlow::Continue(()), &mut |_| {}).expect("scrub");
        put(&store, 1, 1);
        put(&store, 2, 2);
        assert!(store.remove_content(&version(1)).expect("remove").existed);
        spoil(&store, 1);
        quarantine(&store, 1);
        assert_eq!(records(), 1);

        for number in [3, 4] {
            let go_mod = Some(Bytes::from_static(b"module example.com/a\n"));
            let patch = Patch { go_mod, ..Patch::default() };
            store.commit(&version(number), patch, Durability::Buffered).expect("commit");
        }
        store.touch(&version(3), false);
        assert_eq!(store.flush_touches().expect("flush"), 1);
        (3..5).for_each(|number| spoil(&store, number));
        quarantine(&store, 3);
        assert_eq!(records(), 2);
        // Nothing tells it from a stub.
        quarantine(&store, 4);
        assert_eq!(records(), 2);
        assert_eq!(scrub().findings, 0);
        assert_eq!(records(), 1);
        drop(store);
        assert_eq!(open(dir.path()).usage().expect("usage").records, 1);
    }
}
