//! How much is stored, kept in step with every batch.
//!
//! Each batch carries its changes as merges, so that after a crash the sums fit what is there, and memory
//! mirrors them for reading without the disk. They steer eviction and metrics; nothing is decided by them that
//! damage could make wrong. What damage leaves of the sum of records is put right when all of them can be read.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::error::StoreError;
use super::evict::QUEUES;
use super::keys::{self, QueueId};
use super::records;
use super::rocks::{Batch, Rocks};
use super::types::Durability;
use super::{Inner, decode_record, go_on};

/// Counters before those of the queues.
const FIXED: usize = 3;
const COUNT: usize = FIXED + 2 * QUEUES;

/// What is counted. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    /// Version records; stubs do not count.
    Records,
    /// Named blobs.
    Blobs,
    /// Bytes of named blobs.
    BlobBytes,
    /// Blobs in an eviction queue.
    QueueBlobs(QueueId),
    /// Bytes of the blobs in an eviction queue.
    QueueBytes(QueueId),
}

impl Counter {
    fn number(self) -> usize {
        match self {
            Self::Records => 0,
            Self::Blobs => 1,
            Self::BlobBytes => 2,
            Self::QueueBlobs(QueueId(queue)) => FIXED + 2 * usize::from(queue),
            Self::QueueBytes(QueueId(queue)) => FIXED + 2 * usize::from(queue) + 1,
        }
    }
}

/// The sums in memory.
#[derive(Debug)]
pub(super) struct Counters {
    sums: [AtomicI64; COUNT],
    /// As they were before the database was closed to be opened again, until that has come to an end.
    before: Mutex<Option<Stored>>,
    /// Held by whoever counts anew: two at once would both add what is missing.
    recounting: Mutex<()>,
}

/// Changes that go with one batch.
#[derive(Debug, Default)]
pub(super) struct Changes {
    by_counter: [i64; COUNT],
}

impl Changes {
    /// Adds `change` to `counter`.
    pub(super) fn add(&mut self, counter: Counter, change: i64) {
        if let Some(sum) = self.by_counter.get_mut(counter.number()) {
            *sum += change;
        }
    }

    /// Puts the changes into the batch.
    pub(super) fn write_into(&self, batch: &mut Batch) {
        for (number, &change) in self.by_counter.iter().enumerate() {
            batch.add(keys::counter(number as u8), change);
        }
    }
}

/// The sums as they are in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored([i64; COUNT]);

impl Stored {
    /// Reads them by `get`.
    pub(super) fn read(get: impl Fn(&[u8]) -> Result<Option<Bytes>, StoreError>) -> Result<Self, StoreError> {
        let mut sums = [0; COUNT];
        for (number, sum) in sums.iter_mut().enumerate() {
            let value = get(&keys::counter(number as u8))?;
            *sum = value.and_then(|value| records::decode_number(&value)).unwrap_or(0);
        }
        Ok(Self(sums))
    }
}

impl Counters {
    /// Reads the sums.
    pub(super) fn load(rocks: &Rocks) -> Result<Self, StoreError> {
        let stored = Stored::read(|key| rocks.get("counter", key))?;
        Ok(Self { sums: stored.0.map(AtomicI64::new), before: Mutex::default(), recounting: Mutex::new(()) })
    }

    /// The database is about to be closed; nobody writes.
    pub(super) fn before_reopening(&self, now: Stored) {
        self.before.lock().get_or_insert(now);
    }

    /// It is open again, and holds what a writer was told that it failed to write. The difference counts and not the sums as they
    /// are now: some writer may be about to apply what is in both. Where the sums cannot be read (`None`) they stay as they are.
    pub(super) fn after_reopening(&self, after: Option<Stored>) {
        // Of no use later: what is written from now on is applied.
        let before = self.before.lock().take();
        let (Some(before), Some(after)) = (before, after) else { return };
        for ((sum, before), after) in self.sums.iter().zip(before.0).zip(after.0) {
            sum.fetch_add(after.saturating_sub(before), Ordering::Relaxed);
        }
    }

    /// Takes over the changes of a batch that was written.
    pub(super) fn apply(&self, changes: &Changes) {
        for (sum, change) in self.sums.iter().zip(changes.by_counter) {
            sum.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// The sum of `counter`; never below 0.
    pub(super) fn get(&self, counter: Counter) -> u64 {
        let sum = self.sums.get(counter.number()).map_or(0, |sum| sum.load(Ordering::Relaxed));
        u64::try_from(sum).unwrap_or(0)
    }
}

impl Inner {
    /// Counts the records and puts their sum right, whatever is written meanwhile: one scan sees one moment, and behind the records comes
    /// their sum as it was then. Changes nothing when a record cannot be read.
    pub(super) fn recount(&self) -> Result<(), StoreError> {
        let _one = self.counters.recounting.lock();
        let (prefix, end) = (keys::records(), keys::counter(Counter::Records.number() as u8));
        let (mut counted, mut sum, mut failed) = (0_i64, 0_i64, None);
        self.rocks.scan("version record", &[], &prefix, |key, value| {
            if key.starts_with(&prefix) {
                match decode_record(&Bytes::copy_from_slice(value)) {
                    Ok(record) => counted += i64::from(!record.is_stub()),
                    Err(error) => failed = Some(error),
                }
            } else if key == end {
                sum = records::decode_number(value).unwrap_or(0);
            }
            go_on(failed.is_none() && key < end.as_slice())
        })?;
        failed.map_or(Ok(()), Err)?;
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        changes.add(Counter::Records, counted - sum);
        changes.write_into(&mut batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.note(self.rocks.write("record count", batch, Durability::Buffered))?;
        self.counters.apply(&changes);
        Ok(())
    }
}
