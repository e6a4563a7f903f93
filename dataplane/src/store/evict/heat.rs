//! The store's side of eviction: where a new zip enters, and who was asked for.
//!
//! Invariant: a clock that is wrong for a while changes neither the order of the queues nor what counts as old for good.

mod ages;

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use common::clock::Clock;
use gomod::ModuleVersion;
use parking_lot::{Mutex, MutexGuard};

use super::super::error::StoreError;
use super::super::keys::QueueId;
use super::super::records::{self, Access, Place};
use super::super::rocks::Batch;
use super::super::types::Durability;
use super::super::{Inner, Store, keys, undecodable};
use super::policy::{Algorithm, Memory, QUEUES, Shares};
use super::touch::{HOUR_US, SECOND_US, Touch, Touches};
use ages::{Ages, Belief};

/// How long a commit may take from being given a position to being written, µs.
const SETTLING_US: i64 = 60_000_000;

/// How far a position may lie ahead of the clock, µs: two days.
const AHEAD_MAX_US: u64 = 2 * 86_400_000_000;

/// What the eviction queues are made for.
#[derive(Clone, Copy, Debug)]
pub struct EvictionOptions {
    /// How victims are found.
    pub algorithm: Algorithm,
    /// Bytes that evictable zips may take.
    pub capacity_bytes: u64,
    /// How they are divided.
    pub shares: Shares,
    /// Slots of the frequency sketch, two bytes each; the ghosts take as much again.
    pub sketch_slots: usize,
}

impl Default for EvictionOptions {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            capacity_bytes: 50 << 30,
            shares: Shares::default(),
            sketch_slots: 512 * 1024,
        }
    }
}

/// What eviction remembers while the store is open, in fixed memory.
#[derive(Debug)]
pub(in super::super) struct Heat {
    pub(super) algorithm: Algorithm,
    pub(super) shares: Shares,
    pub(super) memory: Memory,
    pub(super) touches: Touches,
    hasher: foldhash::fast::FixedState,
    /// The last position given out, so that no two are equal and none goes back.
    last_order: AtomicU64,
    /// Positions below are empty, by queue: scans begin here, past what was deleted.
    starts: [AtomicU64; QUEUES],
    /// Where the retention scan goes on.
    pub(super) retention_cursor: Mutex<Option<ModuleVersion>>,
    /// Passes that met a full disk with room to open the database on.
    pub(in super::super) full_passes: AtomicU32,
    /// No garbage is collected until the next start.
    pub(super) collects_nothing: AtomicBool,
    /// Hours since the Unix epoch, as of the last pass.
    hour: AtomicU32,
    ages: Mutex<Ages>,
    /// Whether the clock was believed when it was last looked at.
    is_believed: AtomicBool,
    pass: Mutex<()>,
    /// Held by whoever reclaims everything, over all of its passes.
    pub(super) reclaiming: Mutex<()>,
}

impl Heat {
    /// `last_order` is the greatest position in the queues, `newest_us` the latest time that is stored.
    pub(in super::super) fn new(
        options: &EvictionOptions,
        clock: &dyn Clock,
        last_order: u64,
        newest_us: Option<i64>,
    ) -> Self {
        let now_us = clock.now_us();
        let EvictionOptions { algorithm, capacity_bytes, shares, sketch_slots } = *options;
        Self {
            algorithm,
            shares,
            memory: Memory::new(capacity_bytes, shares, sketch_slots),
            touches: Touches::new(match options.algorithm {
                Algorithm::S3Fifo => HOUR_US,
                Algorithm::Lru => SECOND_US,
            }),
            hasher: foldhash::fast::FixedState::default(),
            last_order: AtomicU64::new(last_order),
            starts: [const { AtomicU64::new(0) }; QUEUES],
            retention_cursor: Mutex::new(None),
            full_passes: AtomicU32::new(0),
            collects_nothing: AtomicBool::new(false),
            hour: AtomicU32::new(hour_of(now_us)),
            ages: Mutex::new(Ages::new(newest_us, now_us, clock.monotonic())),
            is_believed: AtomicBool::new(true),
            pass: Mutex::new(()),
            reclaiming: Mutex::new(()),
        }
    }

    /// What sketch and ghosts know a version by.
    pub(super) fn fingerprint(&self, mv: &ModuleVersion) -> u64 {
        self.hasher.hash_one(mv)
    }

    /// The last position that was given out.
    pub(super) fn order(&self) -> u64 {
        self.last_order.load(Ordering::Relaxed)
    }

    /// A position behind all others.
    pub(super) fn next_order(&self, now_us: i64) -> u64 {
        let now = u64::try_from(now_us).unwrap_or(0);
        let next = |last: u64| {
            // A clock that was far ahead must not make LRU, which compares this with times, first in first out for good.
            let was_ahead = self.algorithm == Algorithm::Lru && last > now.saturating_add(AHEAD_MAX_US);
            Some(if was_ahead { now } else { now.max(last.saturating_add(1)) })
        };
        let last = self.last_order.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        last.ok().and_then(next).unwrap_or(now)
    }

    /// The last position that a round over a queue looks at. S3-FIFO puts second chances behind all others, where it would meet them again
    /// and again; LRU puts what it moves where it belongs, and once.
    pub(super) fn round_end(&self, now_us: i64) -> u64 {
        match self.algorithm {
            Algorithm::S3Fifo => self.order().max(u64::try_from(now_us).unwrap_or(0).saturating_sub(1)),
            Algorithm::Lru => u64::MAX,
        }
    }

    /// From here on positions are those of a clock that was ahead; nothing while that is not certain, or nothing compares them with times.
    pub(super) fn far_ahead(&self, clock: &dyn Clock, now_us: i64) -> Option<u64> {
        let is_certain = self.algorithm == Algorithm::Lru && self.belief(clock) == Belief::All;
        is_certain.then(|| u64::try_from(now_us).unwrap_or(0).saturating_add(AHEAD_MAX_US))
    }

    /// Says that positions of `queue` below `order` are empty. What is being queued at this moment may still be
    /// on its way to the database, hence the margin.
    pub(super) fn set_start(&self, queue: QueueId, order: u64, now_us: i64) {
        let settled = u64::try_from(now_us.saturating_sub(SETTLING_US)).unwrap_or(0);
        let start = order.min(settled);
        if let Some(slot) = self.starts.get(usize::from(queue.0)) {
            slot.store(start, Ordering::Relaxed);
        }
        // Should the clock have gone back since these positions were given out.
        self.last_order.fetch_max(start, Ordering::Relaxed);
    }

    /// The least position of `queue` that may be taken.
    pub(super) fn start(&self, queue: QueueId) -> u64 {
        self.starts.get(usize::from(queue.0)).map_or(0, |slot| slot.load(Ordering::Relaxed))
    }

    /// Passes of housekeeping follow each other.
    pub(in super::super) fn pass(&self) -> MutexGuard<'_, ()> {
        self.pass.lock()
    }

    /// No garbage is collected any more until the next start.
    pub(in super::super) fn stop_collecting(&self) {
        self.collects_nothing.store(true, Ordering::Relaxed);
    }

    /// What can be believed of the clock.
    fn belief(&self, clock: &dyn Clock) -> Belief {
        let belief = self.ages.lock().look(clock.now_us(), clock.monotonic());
        let is_believed = belief != Belief::Nothing;
        if self.is_believed.swap(is_believed, Ordering::Relaxed) && !is_believed {
            tracing::info!(
                "the clock is far ahead of all that is stored: nothing counts as old before it was steady for some hours"
            );
        }
        belief
    }

    /// Where a new zip enters the queues.
    pub(in super::super) fn admit(&self, mv: &ModuleVersion, size: u64, now_us: i64) -> Place {
        let queue = self.memory.admit(self.algorithm, self.fingerprint(mv), size);
        Place { queue, order: self.next_order(now_us) }
    }
}

impl Store {
    /// Says that a version was served from the store; `zip` when it was the zip. Costs no IO and never waits. For the request that
    /// brought the zip, see [`Self::touch_fetched`].
    pub fn touch(&self, mv: &ModuleVersion, zip: bool) {
        let heat = &self.inner.heat;
        let fingerprint = heat.fingerprint(mv);
        if zip {
            heat.memory.frequency.bump(fingerprint);
        }
        heat.touches.note(mv, fingerprint, zip, self.inner.clock.now_us());
    }

    /// As [`Self::touch`], for the zip and the request that it was fetched for: that tells when it was asked for, but does not count as
    /// a hit, for every zip has one such request.
    pub fn touch_fetched(&self, mv: &ModuleVersion) {
        let heat = &self.inner.heat;
        heat.touches.note(mv, heat.fingerprint(mv), true, self.inner.clock.now_us());
    }

    /// Hits of a zip, as far as eviction counts them.
    #[cfg(test)]
    pub fn hits(&self, mv: &ModuleVersion) -> u8 {
        self.inner.heat.memory.frequency.get(self.inner.heat.fingerprint(mv))
    }

    /// The hour of the last pass: the grain of access times that serve retention alone. Who has told of a version
    /// in this hour need not do it again. Never 0.
    pub fn hour(&self) -> u32 {
        self.inner.heat.hour.load(Ordering::Relaxed)
    }

    /// When a version was last asked for, to the hour, as far as that is written; anything of it never in the future, and now
    /// while the clock may be far ahead.
    pub fn last_access(&self, mv: &ModuleVersion) -> Result<Access, StoreError> {
        self.inner.last_access(mv)
    }

    /// Writes the access times that wait; [`super::run_once`] does it too.
    pub fn flush_touches(&self) -> Result<usize, StoreError> {
        let inner = &self.inner;
        inner.heat.hour.store(hour_of(inner.clock.now_us()), Ordering::Relaxed);
        // Also where no age is asked for, or a clock that was put right long ago would be noticed when one is.
        inner.heat.belief(&*inner.clock);
        let mut written = 0;
        let mut touches = inner.heat.touches.drain().into_iter();
        while let Some(touch) = touches.next() {
            match inner.write_touch(&touch) {
                Ok(wrote) => written += usize::from(wrote),
                // The scrub tells of it, and the times of the others are no worse for it.
                Err(StoreError::Corrupt { .. }) => {}
                Err(error) => {
                    inner.heat.touches.put_back(std::iter::once(touch).chain(touches));
                    return Err(error);
                }
            }
        }
        Ok(written)
    }
}

/// Access times with now in the place of what is later.
fn until(access: Access, now_us: i64) -> Access {
    Access { any_us: access.any_us.min(now_us), zip_us: access.zip_us.min(now_us) }
}

fn hour_of(now_us: i64) -> u32 {
    u32::try_from(now_us / HOUR_US).unwrap_or(0).max(1)
}

impl Inner {
    /// Whether there was anything to write it to.
    fn write_touch(&self, touch: &Touch) -> Result<bool, StoreError> {
        // Under the lock, so that no access times outlive a record that is removed meanwhile.
        let _version = self.version_locks.lock(&touch.version);
        if self.record(&touch.version)?.is_none_or(|record| record.is_stub()) {
            return Ok(false);
        }
        let mut access = self.stored_access(&touch.version)?;
        access.any_us = access.any_us.max(touch.at_us);
        if touch.zip {
            access.zip_us = access.zip_us.max(touch.at_us);
        }
        self.write_access(&touch.version, access)?;
        Ok(true)
    }

    /// See [`Store::last_access`].
    pub(super) fn last_access(&self, mv: &ModuleVersion) -> Result<Access, StoreError> {
        let access = self.stored_access(mv)?;
        let now_us = self.clock.now_us();
        let reached = until(access, now_us);
        match self.heat.belief(&*self.clock) {
            // When the zip was, decides who leaves first: were that now for all, their order would be lost.
            Belief::Nothing => Ok(Access { any_us: now_us, ..reached }),
            Belief::All if reached != access => self.bring_back(mv, now_us),
            Belief::Ages | Belief::All => Ok(reached),
        }
    }

    /// Writes down that a version was last asked for now, where a clock that was ahead has noted a later time: else it would
    /// not be old before the clock has caught up with that.
    fn bring_back(&self, mv: &ModuleVersion, now_us: i64) -> Result<Access, StoreError> {
        let _version = self.version_locks.lock(mv);
        let access = self.stored_access(mv)?;
        let reached = until(access, now_us);
        if reached != access {
            match self.write_access(mv, reached) {
                // The next look does it.
                Err(error) if error.takes_nothing() => {}
                written => written?,
            }
        }
        Ok(reached)
    }

    /// The caller holds the lock of the version, so that no access times outlive a record that is removed meanwhile.
    fn write_access(&self, mv: &ModuleVersion, access: Access) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(keys::access(mv), records::encode_access(access));
        self.note(self.rocks.write("access time", batch, Durability::Buffered))
    }

    fn stored_access(&self, mv: &ModuleVersion) -> Result<Access, StoreError> {
        let Some(value) = self.rocks.get("access time", &keys::access(mv))? else {
            return Ok(Access::default());
        };
        records::decode_access(&value).map_err(|error| undecodable("access time", &error))
    }
}
