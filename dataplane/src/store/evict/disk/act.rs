//! What is done to the fronts of the eviction queues, each in one batch, under the locks of what it touches.

use gomod::ModuleVersion;

use super::super::super::Inner;
use super::super::super::commit::{decode_blob, dequeue, enqueue};
use super::super::super::counters::{Changes, Counter};
use super::super::super::error::StoreError;
use super::super::super::keys::{self, QueueId, QueueKey};
use super::super::super::records::{self, BlobManifest, Place};
use super::super::super::rocks::Batch;
use super::super::super::types::{Class, Durability, VersionRecord, ZipManifest};
use super::super::policy::Front;
use super::{DiskQueues, Queued, names};

impl DiskQueues<'_> {
    /// Takes an entry out that stands for nothing, or for what must stay for good.
    pub(super) fn drop_entry(
        &mut self,
        key: QueueKey,
        size: u64,
        zip: Option<&ZipManifest>,
    ) -> Result<(), StoreError> {
        let inner = self.inner;
        let _blob = zip.map(|zip| inner.blob_locks.lock(&zip.sha256));
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        let manifest = zip.map(|zip| current(inner, zip)).transpose()?.flatten();
        match manifest {
            Some(manifest) if manifest.place.map(|place| place.key(key.blob)) == Some(key) => {
                dequeue(&mut batch, &mut changes, &manifest);
                put_manifest(&mut batch, zip, &BlobManifest { place: None, ..manifest });
            }
            _ => {
                batch.delete(keys::queue(key));
                changes.add(Counter::QueueBlobs(key.queue), -1);
                changes.add(Counter::QueueBytes(key.queue), -size.cast_signed());
            }
        }
        self.write(batch, &changes)?;
        self.pop(key.queue);
        Ok(())
    }

    fn write(&self, mut batch: Batch, changes: &Changes) -> Result<(), StoreError> {
        changes.write_into(&mut batch);
        self.inner.note(self.inner.rocks.write("eviction queue", batch, Durability::Buffered))?;
        self.inner.counters.apply(changes);
        Ok(())
    }

    /// Moves a front to another place.
    pub(super) fn move_to(
        &mut self,
        front: &Front<Queued>,
        to: QueueId,
        order: Option<u64>,
    ) -> Result<(), StoreError> {
        let inner = self.inner;
        let order = order.unwrap_or_else(|| inner.heat.next_order(self.now_us));
        let from = Place { queue: front.queue, order: front.order };
        let zip = &front.item.zip;
        let _blob = inner.blob_locks.lock(&zip.sha256);
        self.pop(front.queue);
        self.passed_over |= front.evictable;
        let Some(manifest) = current(inner, zip)?.filter(|manifest| manifest.place == Some(from)) else {
            return Ok(());
        };
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        dequeue(&mut batch, &mut changes, &manifest);
        let place = Place { queue: to, order };
        enqueue(&mut batch, &mut changes, &manifest, place);
        put_manifest(&mut batch, Some(zip), &BlobManifest { place: Some(place), ..manifest });
        self.write(batch, &changes)?;
        if let Some(cursor) = self.cursors.get_mut(usize::from(to.0)) {
            cursor.requeued = Some(cursor.requeued.map_or(order, |least| least.min(order)));
        }
        Ok(())
    }

    /// Takes a front away for good; false when it had to stay after all.
    pub(super) fn take(&mut self, front: Front<Queued>) -> Result<bool, StoreError> {
        let inner = self.inner;
        let Queued { blob, zip, versions } = front.item;
        let _versions = inner.version_locks.lock_all(&versions);
        let _blob = inner.blob_locks.lock(&zip.sha256);
        self.pop(front.queue);
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        for version in inner.references(blob)? {
            let record = inner.record(&version)?;
            let Some(record) = record.filter(|record| names(record, blob)) else { continue };
            if record.class != Class::Cache || !versions.contains(&version) {
                // Changed or joined by another version since it was looked at: the next pass looks again.
                self.passed_over = true;
                return Ok(false);
            }
            let record = VersionRecord { zip: None, ..record };
            batch.put(keys::record(&version), records::encode_record(&record));
        }
        let leaving: Vec<&ModuleVersion> = versions.iter().collect();
        let doomed = inner.unname_blob(&mut batch, &mut changes, &leaving, &zip, false)?;
        inner.write_removal(batch, &changes, doomed)?;
        if doomed.is_none() {
            return Ok(false);
        }
        let mut bytes = zip.size;
        for version in versions {
            self.evicted.push((version, std::mem::take(&mut bytes)));
        }
        Ok(true)
    }
}

/// The blob's manifest, if it is still this blob's.
fn current(inner: &Inner, zip: &ZipManifest) -> Result<Option<BlobManifest>, StoreError> {
    let value = inner.rocks.get("blob manifest", &keys::blob(&zip.sha256))?;
    let manifest = value.map(|value| decode_blob(&value)).transpose()?;
    Ok(manifest.filter(|manifest| manifest.blob == zip.blob))
}

fn put_manifest(batch: &mut Batch, zip: Option<&ZipManifest>, manifest: &BlobManifest) {
    if let Some(zip) = zip {
        batch.put(keys::blob(&zip.sha256), records::encode_blob(manifest));
    }
}
