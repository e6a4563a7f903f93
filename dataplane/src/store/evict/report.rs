//! What a pass of housekeeping did, for who asked for it and for the log.
//!
//! Invariant: whatever left is in the report, also when the pass could not go on.

use gomod::ModuleVersion;

use super::super::error::StoreError;
use super::super::heal::Healed;
use super::super::usage::Usage;

/// Why something left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Zips took more than the capacity.
    Capacity,
    /// The disk was above its high watermark.
    Disk,
    /// No rule of retention kept it; all that was held of it left.
    Retention,
    /// The disk was above its hard watermark and no zip was left to take; all that was held of it left.
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

/// What could not be read and was passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// How often.
    pub count: u64,
    /// What was said the first time.
    pub first: Option<String>,
}

impl Unreadable {
    /// Adds one.
    pub(super) fn add(&mut self, error: &StoreError) {
        self.count += 1;
        self.first.get_or_insert_with(|| error.to_string());
    }

    /// Adds what came later.
    pub(super) fn join(&mut self, later: Self) {
        self.count += later.count;
        self.first = self.first.take().or(later.first);
    }
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
    /// What could not be read; the pass went on behind it.
    pub unreadable: Unreadable,
    /// More has to go than this pass could take: call again soon.
    pub more: bool,
}

impl Report {
    /// Tells the log, when anything was done. `before` is how much there was.
    pub(super) fn log(&self, before: &Usage) {
        if let Unreadable { count, first: Some(first) } = &self.unreadable {
            tracing::error!(count, first, "housekeeping passed over what cannot be read");
        }
        if self.evicted.is_empty() && self.garbage_share.is_none() {
            return;
        }
        let [capacity, disk, retention, pressure] =
            [Why::Capacity, Why::Disk, Why::Retention, Why::Pressure].map(|why| self.sum(why));
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
            garbage_share = self.garbage_share,
            "evicted"
        );
        for evicted in &self.evicted {
            tracing::debug!(version = %evicted.version, bytes = evicted.bytes, why = ?evicted.why, "left");
        }
    }

    fn sum(&self, why: Why) -> (usize, u64) {
        let of = self.evicted.iter().filter(|evicted| evicted.why == why);
        of.fold((0, 0), |(count, bytes), evicted| (count + 1, bytes + evicted.bytes))
    }
}

/// A pass that ended early.
#[derive(Debug, thiserror::Error)]
#[error("end a pass of housekeeping")]
pub struct Interrupted {
    /// What it had done by then: what left is gone all the same.
    pub report: Report,
    /// Why it ended.
    #[source]
    pub source: StoreError,
}
