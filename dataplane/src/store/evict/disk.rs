//! The eviction queues in the database, for one pass at a time.
//!
//! Invariants: what a front says is looked at again under the locks of its versions and its blob before anything
//! is done to it, for commits and removals go on meanwhile; and what cannot be read keeps nothing else from leaving.

mod act;

use std::collections::VecDeque;

use gomod::ModuleVersion;

use super::super::counters::Counter;
use super::super::error::StoreError;
use super::super::keys::{self, QueueId, QueueKey};
use super::super::records::{self, Access};
use super::super::types::{BlobId, Class, VersionRecord, ZipManifest};
use super::super::{Inner, go_on};
use super::policy::{Front, QUEUES, Queues};
use super::report::Unreadable;

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
    /// What could not be read.
    pub(super) unreadable: Unreadable,
}

impl<'a> DiskQueues<'a> {
    pub(super) fn new(inner: &'a Inner, pinned: &'a dyn Fn(&ModuleVersion) -> bool, now_us: i64) -> Self {
        Self {
            inner,
            pinned,
            now_us,
            cursors: Default::default(),
            evicted: Vec::new(),
            passed_over: false,
            unreadable: Unreadable::default(),
        }
    }

    /// Goes on after damage to one entry. Damage that has the database write nothing more is another matter.
    fn pass_over(&mut self, error: StoreError) -> Result<(), StoreError> {
        if !self.inner.is_of_one_entry(&error) {
            return Err(error);
        }
        self.unreadable.add(&error);
        Ok(())
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
            let (mut places, mut entries) = (Vec::new(), 0);
            inner.rocks.scan_past(
                "eviction queue",
                &keys::queue_of(queue),
                &keys::queue(from),
                |key, value| {
                    match (keys::parse_queue(key), records::decode_number(value)) {
                        (Some(key), Some(size)) => cursor.page.push_back((key, size.cast_unsigned())),
                        _ => entries += 1,
                    }
                    go_on(cursor.page.len() < PAGE_ENTRIES)
                },
                |error| places.push(error),
            )?;
            for error in &places {
                self.unreadable.add(error);
            }
            let odd = StoreError::corrupt("eviction queue", "unreadable entry");
            (0..entries).for_each(|_| self.unreadable.add(&odd));
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

    /// What an entry at the front stands for. One that stands for nothing that may leave is taken out, unless that has changed meanwhile:
    /// then it is still at the front.
    fn look_at(&mut self, key: QueueKey, size: u64) -> Result<Option<Front<Queued>>, StoreError> {
        let Some((zip, owners)) = self.owners(key.blob)? else {
            self.drop_entry(key, size)?;
            return Ok(None);
        };
        if has_to_stay(&owners) {
            self.drop_staying(key, size, &zip, &owners)?;
            return Ok(None);
        }
        let mut last_used = 0;
        for owner in &owners {
            let access = match self.inner.last_access(&owner.version) {
                // As if nobody had asked for it.
                Err(error) => {
                    self.pass_over(error)?;
                    Access::default()
                }
                Ok(access) => access,
            };
            last_used = last_used.max(u64::try_from(access.zip_us).unwrap_or(0));
        }
        let fingerprint = owners.first().map_or(0, |owner| self.inner.heat.fingerprint(&owner.version));
        let evictable = !owners.iter().any(|owner| (self.pinned)(&owner.version));
        let versions = owners.into_iter().map(|owner| owner.version).collect();
        let item = Queued { blob: key.blob, zip, versions };
        let QueueKey { queue, order, .. } = key;
        Ok(Some(Front { queue, order, fingerprint, size, last_used, evictable, item }))
    }
}

impl Inner {
    /// Whether an error tells of damage that has no part in anything else.
    pub(super) fn is_of_one_entry(&self, error: &StoreError) -> bool {
        matches!(error, StoreError::Corrupt { .. }) && !self.state.is_stopped()
    }
}

struct VersionOf {
    version: ModuleVersion,
    class: Class,
}

/// Whether a blob that these have may not leave.
fn has_to_stay(owners: &[VersionOf]) -> bool {
    owners.iter().any(|owner| owner.class != Class::Cache)
}

fn names(record: &VersionRecord, blob: BlobId) -> bool {
    record.zip.as_ref().is_some_and(|zip| zip.blob == blob)
}

impl Queues for DiskQueues<'_> {
    type Item = Queued;
    type Error = StoreError;

    fn bytes(&self, queue: QueueId) -> u64 {
        self.inner.counters.get(Counter::QueueBytes(queue))
    }

    fn front(&mut self, queue: QueueId) -> Result<Option<Front<Queued>>, StoreError> {
        while let Some((key, size)) = self.peek(queue)? {
            match self.look_at(key, size) {
                Ok(None) => {}
                Ok(front) => return Ok(front),
                Err(error) => {
                    self.pass_over(error)?;
                    self.pop(queue);
                }
            }
        }
        Ok(None)
    }

    fn requeue(&mut self, front: Front<Queued>, to: QueueId, order: Option<u64>) -> Result<(), StoreError> {
        self.move_to(&front, to, order).or_else(|error| self.pass_over(error))
    }

    fn evict(&mut self, front: Front<Queued>) -> Result<bool, StoreError> {
        self.take(front).or_else(|error| self.pass_over(error).map(|()| false))
    }
}
