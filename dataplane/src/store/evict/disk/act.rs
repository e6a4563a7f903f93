//! What is done to the fronts of the eviction queues, each in one batch, under the locks of what it touches.

use gomod::ModuleVersion;

use super::super::super::Inner;
use super::super::super::commit::{decode_blob, dequeue, enqueue};
use super::super::super::counters::{Changes, Counter};
use super::super::super::error::StoreError;
use super::super::super::keys::{self, QueueId, QueueKey};
use super::super::super::records::{self, BlobManifest, Place};
use super::super::super::rocks::Batch;
use super::super::super::types::{BlobId, Class, Durability, VersionRecord, ZipManifest};
use super::super::policy::{Front, QUEUES, Queues as _};
use super::{DiskQueues, Queued, VersionOf, has_to_stay, names};

impl DiskQueues<'_> {
    /// Takes an entry out that stands for nothing. One that has gone since its page was read is no longer counted.
    pub(super) fn drop_entry(&mut self, key: QueueKey, size: u64) -> Result<(), StoreError> {
        let entry = keys::queue(key);
        if self.inner.rocks.get("eviction queue", &entry)?.is_some() {
            let (mut batch, mut changes) = (Batch::default(), Changes::default());
            batch.delete(entry);
            changes.add(Counter::QueueBlobs(key.queue), -1);
            changes.add(Counter::QueueBytes(key.queue), -size.cast_signed());
            self.write(batch, &changes)?;
        }
        self.pop(key.queue);
        Ok(())
    }

    /// Takes an entry out that stands for what must stay for good. Whoever has lowered its class since it was looked at has found it in its
    /// place, and relies on that: so it is looked at again under the locks, and left where it is if it may leave by now.
    pub(super) fn drop_staying(
        &mut self,
        key: QueueKey,
        size: u64,
        zip: &ZipManifest,
        owners: &[VersionOf],
    ) -> Result<(), StoreError> {
        let inner = self.inner;
        let versions: Vec<&ModuleVersion> = owners.iter().map(|owner| &owner.version).collect();
        let _versions = inner.version_locks.lock_all(&versions);
        let _blob = inner.blob_locks.lock(&zip.sha256);
        let may_leave = self.owners(key.blob)?.is_none_or(|(_, owners)| !has_to_stay(&owners));
        if may_leave {
            return Ok(());
        }
        match current(inner, zip)? {
            Some(manifest) if manifest.place.map(|place| place.key(key.blob)) == Some(key) => {
                let (mut batch, mut changes) = (Batch::default(), Changes::default());
                dequeue(&mut batch, &mut changes, &manifest);
                put_manifest(&mut batch, zip, &BlobManifest { place: None, ..manifest });
                self.write(batch, &changes)?;
                self.pop(key.queue);
                Ok(())
            }
            _ => self.drop_entry(key, size),
        }
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
        put_manifest(&mut batch, zip, &BlobManifest { place: Some(place), ..manifest });
        self.write(batch, &changes)?;
        if let Some(cursor) = self.cursors.get_mut(usize::from(to.0)) {
            cursor.put(place.key(zip.blob), front.size);
        }
        Ok(())
    }

    /// Before the first front is looked at: brings back what a clock that was ahead has put behind all that comes, a page of each queue.
    /// LRU would take it last until the clock is there.
    pub(in super::super) fn bring_back(&mut self) -> Result<(), StoreError> {
        let inner = self.inner;
        let Some(order) = inner.heat.far_ahead(&*inner.clock, self.now_us) else { return Ok(()) };
        let now = u64::try_from(self.now_us).unwrap_or(0);
        for queue in (0..QUEUES).map(|number| QueueId(number as u8)) {
            for (key, size) in self.page(QueueKey { queue, order, blob: BlobId(0) }, u64::MAX)? {
                match self.look_at(key, size) {
                    Ok(Some(front)) => {
                        // What nobody has asked for counts as new.
                        let order = if front.last_used == 0 { now } else { front.last_used };
                        self.requeue(front, queue, Some(order))?;
                    }
                    Ok(None) => {}
                    Err(error) => self.pass_over(error)?,
                }
            }
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

fn put_manifest(batch: &mut Batch, zip: &ZipManifest, manifest: &BlobManifest) {
    batch.put(keys::blob(&zip.sha256), records::encode_blob(manifest));
}

#[cfg(test)]
mod tests {
    use super::super::super::super::Scope;
    use super::super::super::super::bed::{open, put, version};
    use super::*;

    /// Where what is small is when it is new.
    const QUEUE: QueueId = QueueId(0);

    #[test]
    fn what_is_lowered_between_look_and_locks_can_leave() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        put(&store, 1, 1, 100);
        let set_class = |class| assert!(store.set_class(&version(1), class).expect("set"));
        let pinned = |_: &ModuleVersion| false;
        let mut queues = DiskQueues::new(&store.inner, &pinned, 0);
        set_class(Class::Retained);
        let (key, size) = queues.peek(QUEUE).expect("peek").expect("an entry");
        let (zip, owners) = queues.owners(key.blob).expect("owners").expect("one has it");
        assert!(has_to_stay(&owners));
        set_class(Class::Cache);
        queues.drop_staying(key, size, &zip, &owners).expect("drop");
        assert_eq!(store.evictable_bytes(), 100);
        let front = queues.front(QUEUE).expect("front").expect("it can leave");
        assert!(queues.evict(front).expect("evict"));
        assert_eq!(store.evictable_bytes(), 0);
    }

    #[test]
    fn what_still_has_to_stay_is_queued_again_when_it_is_lowered() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        put(&store, 1, 1, 100);
        let pinned = |_: &ModuleVersion| false;
        let mut queues = DiskQueues::new(&store.inner, &pinned, 0);
        assert!(store.set_class(&version(1), Class::Retained).expect("set"));
        assert!(queues.front(QUEUE).expect("front").is_none());
        assert_eq!(store.evictable_bytes(), 0);
        assert!(store.set_class(&version(1), Class::Cache).expect("set"));
        assert_eq!(store.evictable_bytes(), 100);
    }

    #[test]
    fn what_was_removed_since_its_page_was_read_is_counted_once() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        (1..3).for_each(|number| put(&store, number, number, 100));
        let pinned = |_: &ModuleVersion| false;
        let mut queues = DiskQueues::new(&store.inner, &pinned, 0);
        assert!(queues.peek(QUEUE).expect("peek").is_some());
        store.remove(&version(1), Scope::Record).expect("remove");
        assert!(queues.front(QUEUE).expect("front").is_some());
        assert_eq!(store.evictable_bytes(), 100);
    }
}
