//! One pass of housekeeping: access times, eviction, retention, deletion, garbage.
//!
//! Meant to be called again and again by a background task, from a blocking thread; bounded, so that a pass
//! never takes long, and safe to interrupt at any point.

mod collect;
mod damage;
mod ending;
mod retain;
mod tidy;

use std::fmt;

use gomod::ModuleVersion;

use super::super::error::StoreError;
use super::super::{Inner, Store};
use super::disk::DiskQueues;
use super::goal::{Goal, Watermarks};
use super::policy::{Step, step};
use super::report::{Evicted, Interrupted, Report, Why};
use super::retention::Keep;
use collect::{aim, reclaim};
use retain::{is_due, retain};
use tidy::tidy;

pub use collect::{begin_reclaiming, reclaim_all};
pub(super) use damage::Damage;
pub(in super::super) use damage::Suspicion;
pub(super) use tidy::Round;

/// Objects looked at by the eviction of one pass.
const STEPS_MAX: usize = 20_000;
/// With so many times the room of the high mark a disk does not become full before the next pass.
const PLENTY_TIMES: u64 = 2;
/// Garbage that is not worth a collection, bytes.
const GARBAGE_FLOOR_BYTES: u64 = 64 * 1024 * 1024;

/// Settings of housekeeping.
pub struct Policy {
    /// Bytes that evictable zips may take.
    pub capacity_bytes: u64,
    /// Watermarks of the file system.
    pub watermarks: Watermarks,
    /// Rules of retention.
    pub keep: Keep,
    /// Versions of which nothing ever leaves.
    pub pinned: Box<dyn Fn(&ModuleVersion) -> bool + Send + Sync>,
    /// Garbage that is not worth a collection, bytes.
    pub garbage_floor_bytes: u64,
    /// Nothing leaves, whatever the bounds: what is held cannot be fetched again.
    pub keeps_everything: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            capacity_bytes: 50 << 30,
            watermarks: Watermarks::default(),
            keep: Keep::default(),
            pinned: Box::new(|_| false),
            garbage_floor_bytes: GARBAGE_FLOOR_BYTES,
            keeps_everything: false,
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("capacity_bytes", &self.capacity_bytes)
            .field("watermarks", &self.watermarks)
            .field("keep", &self.keep)
            .field("keeps_everything", &self.keeps_everything)
            .finish_non_exhaustive()
    }
}

/// Runs one pass. After an error the next pass goes on.
pub fn run_once(store: &Store, policy: &Policy, now_us: i64) -> Result<Report, Box<Interrupted>> {
    let _pass = store.inner.heat.pass();
    let mut report = Report::default();
    match pass(store, policy, now_us, &mut report) {
        Ok(()) => Ok(report),
        // A disk that takes no writes was told of when that was first met; the next passes look whether it has ended.
        Err(error) if error.takes_nothing() => Ok(report),
        Err(source) => Err(Box::new(Interrupted { report, source })),
    }
}

fn pass(store: &Store, policy: &Policy, now_us: i64, report: &mut Report) -> Result<(), StoreError> {
    if store.inner.rocks.is_ending() {
        return Ok(());
    }
    let mark = policy.watermarks.high_room(store.inner.file_system()?);
    store.keep_reserve(mark.saturating_mul(PLENTY_TIMES));
    store.heal_in_pass(&mut report.healed)?;
    store.inner.check_writable("housekeeping")?;
    let touched = store.flush_touches();
    let before = store.usage()?;
    let result = keep_in_bounds(store, policy, now_us, report);
    let touched = match touched {
        Ok(touches) => {
            report.touches = touches;
            Ok(())
        }
        // What makes room does not wait for them.
        Err(error) if error.takes_nothing() => Ok(()),
        Err(error) => pass_over(store, report, error),
    };
    report.log(&before);
    result.and(touched)
}

/// Goes on after damage to one entry.
fn pass_over(store: &Store, report: &mut Report, error: StoreError) -> Result<(), StoreError> {
    if !store.inner.is_of_one_entry(&error) {
        return Err(error);
    }
    report.unreadable.add(&error);
    Ok(())
}

fn keep_in_bounds(
    store: &Store,
    policy: &Policy,
    now_us: i64,
    report: &mut Report,
) -> Result<(), StoreError> {
    let made_room = if policy.keeps_everything { Ok(()) } else { make_room(store, policy, now_us, report) };
    let reclaimed = reclaim(store, policy, report);
    let tidied = tidy(store, now_us).or_else(|error| pass_over(store, report, error));
    made_room.and(reclaimed).and(tidied)
}

fn make_room(store: &Store, policy: &Policy, now_us: i64, report: &mut Report) -> Result<(), StoreError> {
    // Retention first: what no rule keeps leaves before anything that a rule keeps has to.
    let retained =
        if is_due(store, policy, now_us) { retain(store, policy, false, now_us, report) } else { Ok(()) };
    // What one of them cannot do must not let the disk fill up.
    let goal = aim(store, policy)?;
    let evicted = evict(&store.inner, policy, goal, now_us, report);
    let relieved = if evicted.is_ok() { relieve(store, policy, goal, now_us, report) } else { Ok(()) };
    retained.and(evicted).and(relieved)
}

fn evict(
    inner: &Inner,
    policy: &Policy,
    goal: Goal,
    now_us: i64,
    report: &mut Report,
) -> Result<(), StoreError> {
    let Some(target) = goal.target_bytes else { return Ok(()) };
    let mut queues = DiskQueues::new(inner, &*policy.pinned, now_us);
    let heat = &inner.heat;
    let mut steps = 0;
    let mut result = queues.bring_back().map(|()| Step::Moved);
    while result.is_ok() && queues.total_bytes() > target && steps < STEPS_MAX {
        result = step(&mut queues, &heat.memory, heat.algorithm, heat.shares, target);
        if !matches!(result, Ok(Step::Evicted | Step::Moved)) {
            break;
        }
        steps += 1;
    }
    // A pass looks at each zip once or twice: all of them may have been asked for often enough to be put back.
    report.more = steps == STEPS_MAX || (queues.passed_over && queues.total_bytes() > target);
    queues.finish();
    report.unreadable.join(std::mem::take(&mut queues.unreadable));
    let why = if goal.for_disk { Why::Disk } else { Why::Capacity };
    let evicted = queues.evicted.into_iter().map(|(version, bytes)| Evicted { version, bytes, why });
    report.evicted.extend(evicted);
    result.map(|_| ())
}

/// Takes whole records as a last resort: above the hard watermark, when no zip is left that could go instead.
fn relieve(
    store: &Store,
    policy: &Policy,
    goal: Goal,
    now_us: i64,
    report: &mut Report,
) -> Result<(), StoreError> {
    // A pass that was broken off has not looked at all of them.
    if store.inner.rocks.is_ending() {
        return Ok(());
    }
    let missed = goal.target_bytes.is_some_and(|target| store.evictable_bytes() > target);
    if goal.hard && !report.more && (missed || store.evictable_bytes() == 0) {
        retain(store, policy, true, now_us, report)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
