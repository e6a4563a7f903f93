//! The eviction queues in the database, for one pass at a time.
//!
//! Invariants: what a front says is looked at again under the locks of its versions and its blob before anything
//! is done to it, for commits and removals go on meanwhile; what cannot be read keeps nothing else from leaving; and a pass ends: it
//! goes over a queue twice at most, each time no further than what was there when it began.

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
    /// The last position to look at, once the first page is read: what is put behind it is met no more in this round.
    limit: Option<u64>,
    /// Read to its end: what comes from now on is for the next pass.
    ended: bool,
    /// It began at the very beginning, not where the last pass left off.
    from_zero: bool,
    /// The least position at which this pass put or left an entry.
    kept_at: Option<u64>,
    /// Bytes of what this round left where it is.
    left_bytes: u64,
}

impl Cursor {
    /// Begins the second round.
    fn begin_again(&mut self) {
        *self = Self { from_zero: true, kept_at: self.kept_at, ..Self::default() };
    }

    fn take_up(&mut self, page: VecDeque<(QueueKey, u64)>) {
        self.ended = page.len() < PAGE_ENTRIES;
        if let Some((last, _)) = page.back() {
            self.next = Some(QueueKey { blob: BlobId(last.blob.0.saturating_add(1)), ..*last });
        }
        self.page = page;
    }

    /// Takes note that there is still an entry at a position.
    fn keep(&mut self, order: u64) {
        self.kept_at = Some(self.kept_at.map_or(order, |least| least.min(order)));
    }

    /// Takes note of an entry that was put somewhere. Where this round has read already, it would miss it, and what is behind it would
    /// leave first.
    fn put(&mut self, key: QueueKey, size: u64) {
        self.keep(key.order);
        let is_read = self.ended || self.next.is_some_and(|next| key < next);
        if is_read && self.limit.is_some_and(|limit| key.order <= limit) {
            let at = self.page.partition_point(|(other, _)| *other < key);
            self.page.insert(at, (key, size));
        }
    }
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
            let queue = QueueId(number as u8);
            // Of a queue that was not looked at only what was put there is known.
            let start = cursor.limit.is_none().then(|| self.inner.heat.start(queue));
            if let Some(start) = [next, cursor.kept_at, start].into_iter().flatten().min() {
                self.inner.heat.set_start(queue, start, self.now_us);
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
        let (bytes, is_cut) = (self.bytes(queue), self.inner.heat.start(queue) > 0);
        match self.cursors.get_mut(usize::from(queue.0)) {
            Some(cursor) if is_cut && bytes > cursor.left_bytes && !cursor.from_zero => {
                cursor.begin_again();
                self.peek_on(queue)
            }
            _ => Ok(None),
        }
    }

    fn peek_on(&mut self, queue: QueueId) -> Result<Option<(QueueKey, u64)>, StoreError> {
        let (heat, now_us) = (&self.inner.heat, self.now_us);
        let Some(cursor) = self.cursors.get_mut(usize::from(queue.0)) else { return Ok(None) };
        if !cursor.page.is_empty() || cursor.ended {
            return Ok(cursor.page.front().copied());
        }
        let limit = *cursor.limit.get_or_insert_with(|| heat.round_end(now_us));
        let order = if cursor.from_zero { 0 } else { heat.start(queue) };
        let from = cursor.next.unwrap_or(QueueKey { queue, order, blob: BlobId(0) });
        let page = self.page(from, limit)?;
        let front = page.front().copied();
        if let Some(cursor) = self.cursors.get_mut(usize::from(queue.0)) {
            cursor.take_up(page);
        }
        Ok(front)
    }

    /// Entries of a queue from `from` on, up to the position `limit`; what cannot be read is passed over.
    fn page(&mut self, from: QueueKey, limit: u64) -> Result<VecDeque<(QueueKey, u64)>, StoreError> {
        let (mut page, mut places, mut entries) = (VecDeque::new(), Vec::new(), 0);
        self.inner.rocks.scan_past(
            "eviction queue",
            &keys::queue_of(from.queue),
            &keys::queue(from),
            |key, value| {
                match (keys::parse_queue(key), records::decode_number(value)) {
                    (Some(key), _) if key.order > limit => return go_on(false),
                    (Some(key), Some(size)) => page.push_back((key, size.cast_unsigned())),
                    _ => entries += 1,
                }
                go_on(page.len() < PAGE_ENTRIES)
            },
            |error| places.push(error),
        )?;
        for error in &places {
            self.unreadable.add(error);
        }
        let odd = StoreError::corrupt("eviction queue", "unreadable entry");
        (0..entries).for_each(|_| self.unreadable.add(&odd));
        Ok(page)
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
        // Each look asks the clock anew: a time that is brought back to it must not be later with each of them.
        let last_used = last_used.min(u64::try_from(self.now_us).unwrap_or(0));
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
        // What is left where it is is no step of the pass, which may go over many of them.
        while !self.inner.rocks.is_ending()
            && let Some((key, size)) = self.peek(queue)?
        {
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

    fn leave(&mut self, front: &Front<Queued>) {
        self.pop(front.queue);
        if let Some(cursor) = self.cursors.get_mut(usize::from(front.queue.0)) {
            cursor.left_bytes = cursor.left_bytes.saturating_add(front.size);
            cursor.keep(front.order);
        }
    }

    fn requeue(&mut self, front: Front<Queued>, to: QueueId, order: Option<u64>) -> Result<(), StoreError> {
        self.move_to(&front, to, order).or_else(|error| self.pass_over(error))
    }

    fn evict(&mut self, front: Front<Queued>) -> Result<bool, StoreError> {
        self.take(front).or_else(|error| self.pass_over(error).map(|()| false))
    }
}
