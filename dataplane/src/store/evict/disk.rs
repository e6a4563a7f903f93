//! The eviction queues in the database, for one pass at a time.
//!
//! Invariant: what a front says is looked at again under the locks of its versions and its blob before anything
//! is done to it, for commits and removals go on meanwhile.

use std::collections::VecDeque;

use gomod::ModuleVersion;

use super::super::commit::{decode_blob, dequeue, enqueue};
use super::super::counters::{Changes, Counter};
use super::super::error::StoreError;
use super::super::keys::{self, QueueId, QueueKey};
use super::super::records::{self, BlobManifest, Place};
use super::super::rocks::Batch;
use super::super::types::{BlobId, Class, Durability, VersionRecord, ZipManifest};
use super::super::{Inner, go_on};
use super::policy::{Front, QUEUES, Queues};

/// Entries of a queue read at once.
const PAGE_ENTRIES: usize = 64;

/// A blob in a queue, and who has it.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    blob: BlobId,
    zip: ZipManifest,
    versions: Vec<ModuleVersion>,
}

#[derive(Debug, Default)]
struct Cursor {
    page: VecDeque<(QueueKey, u64)>,
    /// Where the next page begins.
    next: Option<QueueKey>,
    /// Read to its end: what is queued from now on is for the next pass.
    ended: bool,
    /// It began at the very beginning, not where the last pass left off.
    from_zero: bool,
    /// The least position that this pass put an entry at.
    requeued: Option<u64>,
}

/// One pass over the queues.
pub(super) struct DiskQueues<'a> {
    inner: &'a Inner,
    pinned: &'a dyn Fn(&ModuleVersion) -> bool,
    now_us: i64,
    cursors: [Cursor; QUEUES],
    /// Zips that left: versions and bytes.
    pub(super) evicted: Vec<(ModuleVersion, u64)>,
    /// A zip that may leave was put back, or changed while it was looked at: the next pass may take it.
    pub(super) passed_over: bool,
}

impl<'a> DiskQueues<'a> {
    pub(super) fn new(inner: &'a Inner, pinned: &'a dyn Fn(&ModuleVersion) -> bool, now_us: i64) -> Self {
        Self { inner, pinned, now_us, cursors: Default::default(), evicted: Vec::new(), passed_over: false }
    }

    /// Bytes in all queues.
    pub(super) fn total_bytes(&self) -> u64 {
        (0..QUEUES).map(|queue| self.bytes(QueueId(queue as u8))).sum()
    }

    /// Remembers where the next pass begins.
    pub(super) fn finish(&self) {
        for (number, cursor) in self.cursors.iter().enumerate() {
            let front = cursor.page.front().map(|(key, _)| key.order);
            let next = front.or(cursor.next.map(|key| key.order));
            let start = [next, cursor.requeued].into_iter().flatten().min();
            if let Some(start) = start {
                self.inner.heat.set_start(QueueId(number as u8), start, self.now_us);
            }
        }
    }

    /// The entry at the front of `queue`, without looking at what it stands for.
    fn peek(&mut self, queue: QueueId) -> Result<Option<(QueueKey, u64)>, StoreError> {
        if let Some(entry) = self.peek_on(queue)? {
            return Ok(Some(entry));
        }
        // Should the books know of more, then the scan began behind something that took long to be written, or
        // that a clock set forward overtook: once a pass, everything is looked at.
        let more = self.bytes(queue) > 0 && self.inner.heat.start(queue) > 0;
        match self.cursors.get_mut(usize::from(queue.0)) {
            Some(cursor) if more && !cursor.from_zero => {
                let requeued = cursor.requeued;
                *cursor = Cursor { from_zero: true, requeued, ..Cursor::default() };
                self.peek_on(queue)
            }
            _ => Ok(None),
        }
    }

    fn peek_on(&mut self, queue: QueueId) -> Result<Option<(QueueKey, u64)>, StoreError> {
        let inner = self.inner;
        let Some(cursor) = self.cursors.get_mut(usize::from(queue.0)) else { return Ok(None) };
        if cursor.page.is_empty() && !cursor.ended {
            let order = if cursor.from_zero { 0 } else { inner.heat.start(queue) };
            let from = cursor.next.unwrap_or(QueueKey { queue, order, blob: BlobId(0) });
            let mut failed = None;
            inner.rocks.scan(
                "eviction queue",
                &keys::queue_of(queue),
                &keys::queue(from),
                |key, value| {
                    match (keys::parse_queue(key), records::decode_number(value)) {
                        (Some(key), Some(size)) => cursor.page.push_back((key, size.cast_unsigned())),
                        _ => failed = Some(StoreError::corrupt("eviction queue", "unreadable entry")),
                    }
                    go_on(failed.is_none() && cursor.page.len() < PAGE_ENTRIES)
                },
            )?;
            failed.map_or(Ok(()), Err)?;
            cursor.ended = cursor.page.len() < PAGE_ENTRIES;
            if let Some((last, _)) = cursor.page.back() {
                cursor.next = Some(QueueKey { blob: BlobId(last.blob.0.saturating_add(1)), ..*last });
            }
        }
        Ok(cursor.page.front().copied())
    }

    fn pop(&mut self, queue: QueueId) {
        if let Some(cursor) = self.cursors.get_mut(usize::from(queue.0)) {
            cursor.page.pop_front();
        }
    }

    /// The records that have a blob, with its manifest as they tell it; `None` when none has.
    fn owners(&self, blob: BlobId) -> Result<Option<(ZipManifest, Vec<VersionOf>)>, StoreError> {
        let mut owners = Vec::new();
        let mut zip = None;
        for version in self.inner.references(blob)? {
            let record = self.inner.record(&version)?;
            if let Some(record) = record.filter(|record| names(record, blob)) {
                zip.clone_from(&record.zip);
                owners.push(VersionOf { version, class: record.class });
            }
        }
        Ok(zip.map(|zip| (zip, owners)))
    }

    /// Takes an entry out that stands for nothing, or for what must stay for good.
    fn drop_entry(&mut self, key: QueueKey, size: u64, zip: Option<&ZipManifest>) -> Result<(), StoreError> {
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
}

struct VersionOf {
    version: ModuleVersion,
    class: Class,
}

fn names(record: &VersionRecord, blob: BlobId) -> bool {
    record.zip.as_ref().is_some_and(|zip| zip.blob == blob)
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

impl Queues for DiskQueues<'_> {
    type Item = Queued;
    type Error = StoreError;

    fn bytes(&self, queue: QueueId) -> u64 {
        self.inner.counters.get(Counter::QueueBytes(queue))
    }

    fn front(&mut self, queue: QueueId) -> Result<Option<Front<Queued>>, StoreError> {
        while let Some((key, size)) = self.peek(queue)? {
            let Some((zip, owners)) = self.owners(key.blob)? else {
                self.drop_entry(key, size, None)?;
                continue;
            };
            if owners.iter().any(|owner| owner.class != Class::Cache) {
                self.drop_entry(key, size, Some(&zip))?;
                continue;
            }
            let mut last_used = 0;
            for owner in &owners {
                let access = self.inner.last_access(&owner.version)?;
                last_used = last_used.max(u64::try_from(access.zip_us).unwrap_or(0));
            }
            let fingerprint = owners.first().map_or(0, |owner| self.inner.heat.fingerprint(&owner.version));
            let evictable = !owners.iter().any(|owner| (self.pinned)(&owner.version));
            let versions = owners.into_iter().map(|owner| owner.version).collect();
            let item = Queued { blob: key.blob, zip, versions };
            return Ok(Some(Front {
                queue,
                order: key.order,
                fingerprint,
                size,
                last_used,
                evictable,
                item,
            }));
        }
        Ok(None)
    }

    fn requeue(&mut self, front: Front<Queued>, to: QueueId, order: Option<u64>) -> Result<(), StoreError> {
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

    fn evict(&mut self, front: Front<Queued>) -> Result<bool, StoreError> {
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
