//! One pass of housekeeping: access times, eviction, retention, deletion, garbage.
//!
//! Meant to be called again and again by a background task, from a blocking thread; bounded, so that a pass
//! never takes long, and safe to interrupt at any point.

use std::fmt;
use std::sync::atomic::Ordering;

use gomod::{ModulePath, ModuleVersion};

use super::super::error::StoreError;
use super::super::heal::Healed;
use super::super::types::{Class, Scope};
use super::super::usage::Usage;
use super::super::{Inner, Store};
use super::disk::DiskQueues;
use super::goal::{Goal, Watermarks, goal};
use super::policy::{Step, step};
use super::retention::{Candidate, Keep, expired};

/// Objects looked at by the eviction of one pass.
const STEPS_MAX: usize = 20_000;
/// Records looked at by the retention of one pass, whole modules beyond it.
const RETENTION_RECORDS: usize = 2_000;
/// Records read at once.
const PAGE_RECORDS: usize = 256;
/// Garbage that is not worth a collection, bytes.
const GARBAGE_FLOOR_BYTES: u64 = 64 * 1024 * 1024;
/// Garbage that is, per cent of the chunks on disk.
const GARBAGE_PERCENT: u64 = 15;
/// The same when the disk is above its watermark.
const GARBAGE_PERCENT_PRESSED: u64 = 5;

/// Settings of housekeeping.
pub struct Policy {
    /// Bytes that evictable zips may take.
    pub capacity_bytes: u64,
    /// Watermarks of the file system.
    pub watermarks: Watermarks,
    /// Rules of retention.
    pub keep: Keep,
    /// Modules of which nothing ever leaves.
    pub pinned: Box<dyn Fn(&ModulePath) -> bool + Send + Sync>,
    /// Garbage that is not worth a collection, bytes.
    pub garbage_floor_bytes: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            capacity_bytes: 50 << 30,
            watermarks: Watermarks::default(),
            keep: Keep::default(),
            pinned: Box::new(|_| false),
            garbage_floor_bytes: GARBAGE_FLOOR_BYTES,
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("capacity_bytes", &self.capacity_bytes)
            .field("watermarks", &self.watermarks)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// Why something left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Zips took more than the capacity.
    Capacity,
    /// The disk was above its high watermark.
    Disk,
    /// No rule of retention kept it; the whole record left.
    Retention,
    /// The disk was above its hard watermark and no zip was left to take; the whole record left.
    Pressure,
}

/// Something that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// The version.
    pub version: ModuleVersion,
    /// Bytes of its zip; 0 when it had none, or another version counts them.
    pub bytes: u64,
    /// Why.
    pub why: Why,
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What left.
    pub evicted: Vec<Evicted>,
    /// Access times written.
    pub touches: usize,
    /// Removed blobs whose chunks were deleted.
    pub collected: usize,
    /// Share of the oldest blob files that was rewritten to give space back, 0 to 1.
    pub garbage_share: Option<f64>,
    /// What had to be healed first.
    pub healed: Healed,
    /// More has to go than this pass could take: call again soon.
    pub more: bool,
}

impl Report {
    fn sum(&self, why: Why) -> (usize, u64) {
        let of = self.evicted.iter().filter(|evicted| evicted.why == why);
        of.fold((0, 0), |(count, bytes), evicted| (count + 1, bytes + evicted.bytes))
    }
}

/// Runs one pass. What left before an error is logged and lost to the report; the next pass goes on.
pub fn run_once(store: &Store, policy: &Policy, now_us: i64) -> Result<Report, StoreError> {
    let inner = &store.inner;
    let _pass = inner.heat.pass();
    let healed = store.heal_in_pass()?;
    let mut report = Report { healed, touches: store.flush_touches()?, ..Report::default() };
    let usage = store.usage()?;
    // Retention first: what no rule keeps leaves before anything that a rule keeps has to.
    if policy.keep.any() {
        retain(store, policy, false, now_us, &mut report)?;
    }
    let goal = goal(&store.usage()?, policy.capacity_bytes, policy.watermarks);
    let result = evict(inner, policy, goal, now_us, &mut report)
        .and_then(|()| relieve(store, policy, goal, now_us, &mut report))
        .and_then(|()| reclaim(store, policy, goal, &mut report));
    log(&report, &usage);
    result.map(|()| report)
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
    let mut result = Ok(Step::Moved);
    while queues.total_bytes() > target && steps < STEPS_MAX {
        result = step(&mut queues, &heat.memory, heat.algorithm, heat.shares, target);
        if !matches!(result, Ok(Step::Evicted | Step::Moved)) {
            break;
        }
        steps += 1;
    }
    // A pass looks at each zip once or twice: all of them may have been asked for often enough to be put back.
    report.more = steps == STEPS_MAX || (queues.passed_over && queues.total_bytes() > target);
    queues.finish();
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
    let missed = goal.target_bytes.is_some_and(|target| store.evictable_bytes() > target);
    if goal.hard && !report.more && (missed || store.evictable_bytes() == 0) {
        retain(store, policy, true, now_us, report)?;
    }
    Ok(())
}

/// Goes on with the scan over all modules, a bounded part at a time.
fn retain(
    store: &Store,
    policy: &Policy,
    pressed: bool,
    now_us: i64,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut cursor = store.inner.heat.retention_cursor.lock();
    let mut seen = 0;
    while seen < RETENTION_RECORDS {
        let module = next_module(store, cursor.as_ref())?;
        let Some(last) = module.last() else {
            *cursor = None;
            break;
        };
        seen += module.len();
        *cursor = Some(last.version.clone());
        for (version, why) in leaving(module, policy, pressed, now_us) {
            let removed = store.remove(&version, Scope::Record)?;
            if removed.existed {
                report.evicted.push(Evicted { version, bytes: removed.freed_bytes, why });
            }
        }
    }
    Ok(())
}

/// A record as retention needs it.
struct Seen {
    version: ModuleVersion,
    class: Class,
    has_zip: bool,
    last_us: i64,
}

/// All records of the first module after `cursor`.
fn next_module(store: &Store, cursor: Option<&ModuleVersion>) -> Result<Vec<Seen>, StoreError> {
    let mut module: Vec<Seen> = Vec::new();
    let mut after = cursor.cloned();
    loop {
        let page = store.records_after(after.as_ref(), PAGE_RECORDS)?;
        let full = page.len() == PAGE_RECORDS;
        for (version, record) in page {
            if module.first().is_some_and(|first| first.version.module != version.module) {
                return Ok(module);
            }
            let access = store.last_access(&version)?;
            let last_us = access.any_us.max(record.held_us.unwrap_or(record.first_seen_us));
            module.push(Seen { class: record.class, has_zip: record.zip.is_some(), last_us, version });
        }
        after = module.last().map(|seen| seen.version.clone());
        if !full {
            return Ok(module);
        }
    }
}

fn leaving(module: Vec<Seen>, policy: &Policy, pressed: bool, now_us: i64) -> Vec<(ModuleVersion, Why)> {
    if module.first().is_none_or(|first| (policy.pinned)(&first.version.module)) {
        return Vec::new();
    }
    let candidate = |seen: &Seen| Candidate { version: seen.version.version.clone(), last_us: seen.last_us };
    let expired = expired(module.iter().map(candidate).collect(), policy.keep, now_us);
    let why = |seen: &Seen| {
        if seen.class != Class::Cache {
            None
        } else if expired.contains(&seen.version.version) {
            Some(Why::Retention)
        } else {
            (pressed && !seen.has_zip).then_some(Why::Pressure)
        }
    };
    module.into_iter().filter_map(|seen| why(&seen).map(|why| (seen.version, why))).collect()
}

/// Deletes what nobody reads any more, and gives the space back when that is worth the rewriting.
fn reclaim(store: &Store, policy: &Policy, goal: Goal, report: &mut Report) -> Result<(), StoreError> {
    let inner = &store.inner;
    report.collected = store.collect()?;
    let usage = store.usage()?;
    let percent = if goal.reclaim { GARBAGE_PERCENT_PRESSED } else { GARBAGE_PERCENT };
    let garbage = usage.garbage_bytes();
    let left = inner.heat.garbage_left.load(Ordering::Relaxed);
    let worth = policy.garbage_floor_bytes.max(usage.chunk_disk_bytes / 100 * percent);
    if garbage.saturating_sub(left) <= worth {
        return Ok(());
    }
    // Deletions still in memory are garbage only after they are written out.
    inner.note(inner.rocks.flush())?;
    let share = garbage_share(garbage, usage.chunk_disk_bytes);
    inner.note(inner.rocks.collect_garbage(share))?;
    inner.heat.garbage_left.store(store.usage()?.garbage_bytes(), Ordering::Relaxed);
    report.garbage_share = Some(share);
    Ok(())
}

/// How much of the oldest blob files to rewrite: the more garbage there is, the less there is to copy.
fn garbage_share(garbage: u64, total: u64) -> f64 {
    let part = garbage as f64 / total.max(1) as f64;
    (2.0 * part).clamp(0.25, 1.0)
}

fn log(report: &Report, before: &Usage) {
    if report.evicted.is_empty() && report.garbage_share.is_none() {
        return;
    }
    let [capacity, disk, retention, pressure] =
        [Why::Capacity, Why::Disk, Why::Retention, Why::Pressure].map(|why| report.sum(why));
    tracing::info!(
        capacity_zips = capacity.0,
        capacity_bytes = capacity.1,
        disk_zips = disk.0,
        disk_bytes = disk.1,
        retention_versions = retention.0,
        retention_bytes = retention.1,
        pressure_versions = pressure.0,
        evictable_bytes_before = before.evictable_bytes,
        disk_percent_before = before.file_system.percent(),
        garbage_share = report.garbage_share,
        "evicted"
    );
    for evicted in &report.evicted {
        tracing::debug!(version = %evicted.version, bytes = evicted.bytes, why = ?evicted.why, "left");
    }
}
