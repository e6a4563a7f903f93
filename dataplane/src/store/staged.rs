//! Versions that are stored and not to be seen yet: published ones, until the cluster has bound their names.
//!
//! A staged version has its blob, named by a reference like any other, and a record of its own under the hash of its content, so that
//! two who publish one name at once do not meet here. Invariants: what is staged is on stable storage before anybody hears of it; revealing
//! it is one batch; nothing that reads records sees it before.

use bytes::Bytes;
use fail::fail_point;
use gomod::{H1, ModuleVersion};

use super::commit::{count_record, decode_blob, describe};
use super::counters::Changes;
use super::error::{CommitError, StoreError};
use super::lease::Doomed;
use super::merge::{Merged, Offered, ZipStep, merge};
use super::records;
use super::rocks::Batch;
use super::types::{Class, Durability, Patch, VersionRecord};
use super::{Store, decode_record, go_on, keys};

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

impl Store {
    /// Stores a whole version, as [`Class::Published`], without showing it. Survives a power cut. What is bound to other content here is a
    /// conflict.
    pub fn stage(&self, mv: &ModuleVersion, mut patch: Patch) -> Result<Staging, CommitError> {
        let inner = &self.inner;
        let Some((sealed, h1)) = patch.zip.take() else {
            return Err(StoreError::Misuse { rule: "a version is staged with its zip" }.into());
        };
        if !sealed.belongs_to(inner) {
            return Err(StoreError::Misuse { rule: "a blob is staged in the store it was written in" }.into());
        }
        patch.class = Class::Published;
        let offered = describe(&sealed, h1);
        let _version = inner.version_locks.lock(mv);
        let stored = inner.record(mv)?;
        let now_us = inner.clock.now_us();
        let visible = merge(stored.as_ref(), &patch, Some(&offered), now_us)?;
        if visible.step == ZipStep::Nothing {
            let mut batch = Batch::default();
            batch.put(keys::record(mv), records::encode_record(&visible.record));
            inner.note(inner.rocks.write("stage", batch, Durability::Synced))?;
            return Ok(Staging::Held);
        }
        let Merged { mut record, .. } = merge(None, &patch, Some(&offered), now_us)?;
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        let _blob = inner.blob_locks.lock(sealed.sha256());
        let mut named = false;
        if let Some(manifest) = &mut record.zip {
            named = inner.hold(&mut batch, &mut changes, mv, Class::Published, manifest, &sealed)?;
        }
        batch.put(keys::staged(h1.as_bytes(), mv), records::encode_record(&record));
        changes.write_into(&mut batch);
        fail_point!("store::stage::before_batch");
        inner.note(inner.rocks.write("stage", batch, Durability::Synced))?;
        fail_point!("store::stage::after_batch");
        inner.counters.apply(&changes);
        if named {
            sealed.keep();
        }
        Ok(Staging::Staged)
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
    /// held already.
    pub fn reveal(
        &self,
        mv: &ModuleVersion,
        zip_h1: H1,
        info: Bytes,
    ) -> Result<Option<VersionRecord>, CommitError> {
        let inner = &self.inner;
        let _version = inner.version_locks.lock(mv);
        let stored = inner.record(mv)?;
        let key = keys::staged(zip_h1.as_bytes(), mv);
        let value = inner.rocks.get("staged version", &key)?;
        let Some(staged) = value.map(|value| decode_record(&value)).transpose()? else {
            return Ok(
                stored.filter(|record| record.class == Class::Published && record.zip_h1 == Some(zip_h1))
            );
        };
        let Some(zip) = staged.zip.clone() else { return Ok(None) };
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
            let manifest = inner.rocks.get("blob manifest", &keys::blob(&zip.sha256))?;
            let manifest = manifest.map(|value| decode_blob(&value)).transpose()?;
            if manifest.is_none_or(|manifest| manifest.blob != zip.blob) {
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
        inner.note(inner.rocks.write("reveal", batch, Durability::Synced))?;
        fail_point!("store::reveal::after_batch");
        inner.counters.apply(&changes);
        drop(slot);
        Ok(Some(record))
    }

    /// Gives up what is staged of a version with this content.
    pub fn unstage(&self, mv: &ModuleVersion, zip_h1: H1) -> Result<(), StoreError> {
        let inner = &self.inner;
        let _version = inner.version_locks.lock(mv);
        let key = keys::staged(zip_h1.as_bytes(), mv);
        let value = inner.rocks.get("staged version", &key)?;
        let Some(staged) = value.map(|value| decode_record(&value)).transpose()? else { return Ok(()) };
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        batch.delete(key);
        let mut doomed: Option<Doomed> = None;
        let held = inner.record(mv)?.and_then(|record| record.zip);
        let _blob = staged.zip.as_ref().map(|zip| inner.blob_locks.lock(&zip.sha256));
        if let Some(zip) = staged.zip.filter(|zip| held.as_ref().is_none_or(|held| held.blob != zip.blob)) {
            doomed = inner.unname_blob(&mut batch, &mut changes, &[mv], &zip, false)?;
        }
        inner.write_removal(batch, &changes, doomed)?;
        inner.collect_some();
        Ok(())
    }
}
