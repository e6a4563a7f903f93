//! How much has to go, from capacity and the disk's watermarks: pure.

mod garbage;

pub(super) use garbage::{Collecting, STEP_BYTES, worth};

use super::super::usage::{FileSystem, Usage};

/// How full the file system may get, per cent; and how much room is enough all the same, since 15 per cent of a large disk are more than
/// anybody needs who has filled the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// Above it, zips leave until it is met.
    pub high_percent: u8,
    /// Free bytes with which it is met, however full the disk is.
    pub high_room_bytes: u64,
    /// Above it, whole records without a zip leave too once no zip is left to take.
    pub hard_percent: u8,
    /// Free bytes with which that is met.
    pub hard_room_bytes: u64,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self { high_percent: 85, high_room_bytes: 16 << 30, hard_percent: 92, hard_room_bytes: 8 << 30 }
    }
}

impl Watermarks {
    /// Free bytes that a file system has at the high mark.
    pub(super) fn high_room(self, disk: FileSystem) -> u64 {
        disk.room_bytes(self.high_percent, self.high_room_bytes)
    }

    fn hard_room(self, disk: FileSystem) -> u64 {
        disk.room_bytes(self.hard_percent, self.hard_room_bytes)
    }
}

/// What a pass is to reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Goal {
    /// Evictable bytes to stay at most; `None` when nothing has to go.
    pub target_bytes: Option<u64>,
    /// The disk is the reason, not the capacity.
    pub for_disk: bool,
    /// The disk is above the hard watermark.
    pub hard: bool,
}

/// Share of the capacity that a pass frees beyond need, so that not every commit begins one.
const SLACK_PER_MILLE: u64 = 10;

/// Works out the goal. Of the garbage only `expected_bytes` count as free, which are given back without taking zips: a disk full of
/// the rest would otherwise neither take zips nor have any leave.
pub fn goal(usage: &Usage, expected_bytes: u64, capacity_bytes: u64, watermarks: Watermarks) -> Goal {
    let evictable = usage.evictable_bytes;
    let over_capacity = evictable > capacity_bytes;
    let by_capacity =
        if over_capacity { capacity_bytes - capacity_bytes / 1000 * SLACK_PER_MILLE } else { evictable };
    let disk = usage.file_system;
    let total = disk.used_bytes + disk.available_bytes;
    let used = disk.used_bytes.saturating_sub(expected_bytes);
    let allowed = total.saturating_sub(watermarks.high_room(disk));
    let by_disk = evictable.saturating_sub(used.saturating_sub(allowed));
    let target = by_capacity.min(by_disk);
    Goal {
        target_bytes: (target < evictable).then_some(target),
        for_disk: by_disk < by_capacity,
        hard: disk.is_above(watermarks.hard_percent, watermarks.hard_room_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn usage(evictable_gib: u64, garbage_gib: u64, disk_used_gib: u64) -> Usage {
        Usage {
            zip_bytes: evictable_gib * GIB,
            evictable_bytes: evictable_gib * GIB,
            chunk_disk_bytes: (evictable_gib + garbage_gib) * GIB,
            file_system: FileSystem {
                used_bytes: disk_used_gib * GIB,
                available_bytes: (100 - disk_used_gib) * GIB,
            },
            ..Usage::default()
        }
    }

    #[test]
    fn nothing_goes_below_capacity_and_watermark() {
        assert_eq!(goal(&usage(40, 0, 60), 0, 50 * GIB, Watermarks::default()), Goal::default());
    }

    #[test]
    fn capacity_is_met_with_a_little_slack() {
        let goal = goal(&usage(60, 0, 60), 0, 50 * GIB, Watermarks::default());
        assert!(!goal.for_disk);
        let target = goal.target_bytes.expect("a target");
        assert!(target < 50 * GIB && target > 49 * GIB);
    }

    #[test]
    fn a_full_disk_takes_what_is_above_the_mark_and_no_more() {
        let goal = goal(&usage(40, 0, 90), 0, 50 * GIB, Watermarks::default());
        assert_eq!(goal.target_bytes, Some(35 * GIB));
        assert!(goal.for_disk && !goal.hard);
    }

    #[test]
    fn enough_room_is_enough_on_a_large_disk() {
        let large = |used_gib: u64, total_gib: u64| Usage {
            file_system: FileSystem {
                used_bytes: used_gib * GIB,
                available_bytes: (total_gib - used_gib) * GIB,
            },
            ..usage(40, 0, 50)
        };
        assert_eq!(goal(&large(480, 500), 0, 50 * GIB, Watermarks::default()), Goal::default());
        let goal = goal(&large(493, 500), 0, 50 * GIB, Watermarks::default());
        assert_eq!(goal.target_bytes, Some(31 * GIB), "until 16 are free");
        assert!(goal.hard);
    }

    #[test]
    fn garbage_that_is_given_back_anyway_takes_no_zips_and_the_rest_does() {
        let target = |expected_gib| {
            goal(&usage(40, 10, 93), expected_gib * GIB, 50 * GIB, Watermarks::default()).target_bytes
        };
        assert_eq!(target(10), None);
        assert_eq!(target(3), Some(35 * GIB));
        assert_eq!(target(0), Some(32 * GIB));
    }
}
