//! When the space of removed zips is given back, and how much is rewritten for it: pure.
//!
//! Blob files are rewritten from the oldest on, and what of them nobody names is given back by that. Where garbage lies thick it
//! costs little; where it lies thin nearly all that is read is written again. So a byte of new garbage lets so many be
//! rewritten and no more. What that is not expected to give back counts as used: zips leave in its place, and garbage
//! gets thicker until it is. Invariant: however garbage lies, a disk does not stay full of it.

use super::super::super::usage::Usage;
use super::Watermarks;

/// Garbage that is worth a collection, per cent of the chunks on disk.
const WORTH_PERCENT: u64 = 15;
/// The same above the high mark, where the room between the marks is all that there is to wait in: one part of so many.
const WORTH_PARTS: u64 = 2;
/// A collection ends when one part of so many is left of what it began with at least.
const LEFT_PARTS: u64 = 4;
/// Bytes that may be rewritten for each byte of new garbage. At worst an eighth of the chunks on disk is garbage then.
const REWRITTEN_PER_BYTE: u64 = 8;
/// What may be rewritten all the same with each look while zips are refused for want of room, for then there may be no new garbage.
const REWRITTEN_WHEN_FULL_BYTES: u64 = 64 << 20;
/// Bytes of blob files that are rewritten in one go: eviction, and whoever ends the process, waits no longer than for that.
pub(in super::super) const STEP_BYTES: u64 = 256 << 20;
/// Part of the free space that a step may take before it gives anything back.
const ROOM_PARTS: u64 = 4;

/// Garbage that is worth a collection, bytes.
pub(in super::super) fn worth(usage: &Usage, floor_bytes: u64, watermarks: Watermarks) -> u64 {
    let at_leisure = floor_bytes.max(usage.chunk_disk_bytes / 100 * WORTH_PERCENT);
    let disk = usage.file_system;
    let (high, hard) = (watermarks.high_room(disk), watermarks.hard_room(disk));
    if disk.available_bytes < high {
        at_leisure.min(high.saturating_sub(hard) / WORTH_PARTS)
    } else {
        at_leisure
    }
}

/// Where collecting is. See the head of this file.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the unit stands in every name")]
pub(in super::super) struct Collecting {
    /// Garbage that there was when it was looked at last.
    seen_bytes: u64,
    /// Bytes of blob files that may still be rewritten.
    allowed_bytes: u64,
    /// A collection has begun, and ends with so many bytes left.
    until_bytes: Option<u64>,
}

impl Collecting {
    /// Takes up how much garbage there is, and whether a collection begins.
    pub(in super::super) fn look(&mut self, usage: &Usage, worth_bytes: u64) {
        let garbage = usage.garbage_bytes();
        let new = garbage.saturating_sub(self.seen_bytes).saturating_mul(REWRITTEN_PER_BYTE);
        let besides = if usage.out_of_space && garbage > worth_bytes { REWRITTEN_WHEN_FULL_BYTES } else { 0 };
        self.seen_bytes = garbage;
        // Once through everything gives back all that there is.
        let allowed = self.allowed_bytes.saturating_add(new).saturating_add(besides);
        self.allowed_bytes = allowed.min(usage.chunk_disk_bytes);
        let begins = garbage > worth_bytes && self.allowed_bytes >= worth_bytes.max(1);
        if begins && self.until_bytes.is_none() {
            self.until_bytes = Some(worth_bytes / LEFT_PARTS);
        }
    }

    /// A collection has begun and not ended.
    pub(in super::super) fn is_on(&self) -> bool {
        self.until_bytes.is_some()
    }

    /// Says that so many bytes were not rewritten.
    pub(in super::super) fn give_back(&mut self, bytes: u64) {
        self.allowed_bytes = self.allowed_bytes.saturating_add(bytes);
    }

    /// Ends the collection; it takes new garbage to begin another.
    pub(in super::super) fn end(&mut self) {
        self.until_bytes = None;
        self.allowed_bytes = 0;
    }

    /// Garbage that the collection will give back if it lies no thicker in the oldest files than elsewhere.
    pub(in super::super) fn expected_bytes(&self, usage: &Usage) -> u64 {
        if !self.is_on() {
            return 0;
        }
        let garbage = usage.garbage_bytes();
        let found =
            u128::from(self.allowed_bytes) * u128::from(garbage) / u128::from(usage.chunk_disk_bytes.max(1));
        u64::try_from(found).unwrap_or(u64::MAX).min(garbage)
    }

    /// Bytes of the oldest files to rewrite next; `None` at the end of the collection.
    pub(in super::super) fn step(&mut self, usage: &Usage, worth_bytes: u64) -> Option<u64> {
        self.look(usage, worth_bytes);
        let until = self.until_bytes?;
        if usage.garbage_bytes() <= until || self.allowed_bytes == 0 {
            self.until_bytes = None;
            return None;
        }
        let room = usage.file_system.available_bytes / ROOM_PARTS;
        let bytes = STEP_BYTES.min(room).min(self.allowed_bytes).max(1);
        self.allowed_bytes -= bytes;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::super::super::usage::FileSystem;
    use super::super::goal;
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    /// Used by others.
    const OTHERS: u64 = 5 * GIB;
    /// Steps of a pass.
    const STEPS: usize = 4;

    /// A disk on which nothing but the cache grows.
    #[derive(Default)]
    struct Disk {
        total: u64,
        /// Bytes that live and that do not, oldest first.
        files: VecDeque<(u64, u64)>,
        live: u64,
        dead: u64,
        /// Nothing may leave.
        pinned: bool,
        collecting: Collecting,
        refusing: bool,
        written: u64,
        rewritten: u64,
        /// Passes in a row in which nothing was stored: now, and at most.
        refused: (usize, usize),
    }

    /// Who leaves.
    #[derive(Clone, Copy, Debug)]
    enum Leaving {
        /// The oldest.
        Oldest,
        /// As many everywhere, which is the worst there is.
        Anyone,
    }

    impl Disk {
        fn usage(&self) -> Usage {
            let used_bytes = OTHERS + self.live + self.dead;
            Usage {
                zip_bytes: self.live,
                evictable_bytes: if self.pinned { 0 } else { self.live },
                chunk_disk_bytes: self.live + self.dead,
                file_system: FileSystem { used_bytes, available_bytes: self.total - used_bytes },
                out_of_space: self.refusing,
                ..Usage::default()
            }
        }

        fn worth(&self) -> u64 {
            worth(&self.usage(), 64 * MIB, Watermarks::default())
        }

        fn put(&mut self, live: u64, dead: u64) {
            self.files.push_back((live, dead));
            self.live += live;
            self.dead += dead;
        }

        fn arrive(&mut self, mut bytes: u64) {
            self.refusing = self.usage().file_system.available_bytes < (self.total / 100 * 3).min(4 * GIB);
            if self.refusing {
                self.refused.0 += 1;
                self.refused.1 = self.refused.1.max(self.refused.0);
                return;
            }
            self.refused.0 = 0;
            self.written += bytes;
            while bytes > 0 {
                let file = bytes.min(STEP_BYTES);
                self.put(file, 0);
                bytes -= file;
            }
        }

        fn evict(&mut self, mut bytes: u64, leaving: Leaving) {
            let (all, live) = (u128::from(bytes), u128::from(self.live.max(1)));
            for file in &mut self.files {
                let goes = match leaving {
                    Leaving::Oldest => bytes,
                    Leaving::Anyone => (u128::from(file.0) * all).div_ceil(live) as u64,
                };
                let goes = goes.min(file.0).min(bytes);
                *file = (file.0 - goes, file.1 + goes);
                bytes -= goes;
                self.live -= goes;
                self.dead += goes;
                if bytes == 0 {
                    break;
                }
            }
        }

        fn drop_dead_files(&mut self) {
            let gone: u64 = self.files.iter().filter(|file| file.0 == 0).map(|file| file.1).sum();
            self.files.retain(|file| file.0 > 0);
            self.dead -= gone;
        }

        fn rewrite_oldest(&mut self, bytes: u64) {
            let (mut seen, mut kept) = (0, 0);
            while seen < bytes
                && let Some((live, dead)) = self.files.pop_front()
            {
                seen += live + dead;
                kept += live;
                self.live -= live;
                self.dead -= dead;
            }
            self.rewritten += kept;
            self.put(kept, 0);
        }

        fn pass(&mut self, leaving: Leaving) {
            let usage = self.usage();
            self.collecting.look(&usage, self.worth());
            let goal = goal(&usage, self.collecting.expected_bytes(&usage), u64::MAX, Watermarks::default());
            if let Some(target) = goal.target_bytes {
                self.evict(usage.evictable_bytes - target, leaving);
            }
            self.collecting.look(&self.usage(), self.worth());
            if !self.collecting.is_on() {
                return;
            }
            self.drop_dead_files();
            for _ in 0..STEPS {
                let Some(bytes) = self.collecting.step(&self.usage(), self.worth()) else { break };
                self.rewrite_oldest(bytes);
            }
        }
    }

    #[test]
    fn a_disk_that_the_cache_fills_goes_on_storing() {
        for leaving in [Leaving::Oldest, Leaving::Anyone] {
            for (total, arriving, passes) in [
                (1000 * GIB, 2 * GIB, 1500),
                (1000 * GIB, GIB, 2500),
                (100 * GIB, 100 * MIB, 3000),
                (40 * GIB, GIB, 1000),
            ] {
                let mut disk = Disk { total, ..Disk::default() };
                for _ in 0..passes {
                    disk.arrive(arriving);
                    disk.pass(leaving);
                }
                let Disk { live, dead, written, rewritten, refused, .. } = disk;
                let told = format!(
                    "{leaving:?}, {total}: {live} live, {dead} dead, {written} and {rewritten} written, {refused:?}"
                );
                assert!(written > total && refused.1 < 100, "{told}");
                // Of what the high mark lets be used.
                let allowed = total - OTHERS - (total / 100 * 15).min(16 * GIB);
                assert!(live > allowed / 100 * 85, "{told}");
                assert!(rewritten < 2 * REWRITTEN_PER_BYTE * written, "{told}");
            }
        }
    }

    /// As a start finds it, with nothing that may leave: there is no new garbage, and no other way but to look everywhere.
    #[test]
    fn a_disk_that_is_full_of_garbage_comes_to_store_again() {
        for is_thin in [true, false] {
            let mut disk = Disk { total: 1000 * GIB, pinned: true, ..Disk::default() };
            for number in 0..992 * 4 {
                match (is_thin, number < 979 * 4) {
                    (true, _) => disk.put(253 * MIB, 3 * MIB),
                    (false, true) => disk.put(256 * MIB, 0),
                    (false, false) => disk.put(100 * MIB, 156 * MIB),
                }
            }
            let mut passes = 0;
            while disk.written == 0 {
                disk.arrive(MIB);
                disk.pass(Leaving::Oldest);
                passes += 1;
                assert!(passes < 2000, "{:?}", disk.usage());
            }
            assert!(passes > 1, "it was not full");
        }
    }

    #[test]
    fn garbage_waits_until_it_is_worth_the_while() {
        let usage = |garbage_gib: u64, available_gib: u64| Usage {
            zip_bytes: 900 * GIB,
            chunk_disk_bytes: (900 + garbage_gib) * GIB,
            file_system: FileSystem {
                used_bytes: (1000 - available_gib) * GIB,
                available_bytes: available_gib * GIB,
            },
            ..Usage::default()
        };
        let marks = Watermarks::default();
        assert!(worth(&usage(90, 20), 0, marks) > 140 * GIB);
        assert_eq!(worth(&usage(90, 15), 0, marks), 4 * GIB);
        let mut collecting = Collecting::default();
        collecting.look(&usage(3, 15), 4 * GIB);
        assert!(!collecting.is_on() && collecting.expected_bytes(&usage(3, 15)) == 0);
        collecting.look(&usage(5, 15), 4 * GIB);
        let expected = collecting.expected_bytes(&usage(5, 15));
        assert!(collecting.is_on() && (100 * MIB..GIB).contains(&expected), "{expected}");
        assert_eq!(collecting.step(&usage(5, 15), 4 * GIB), Some(STEP_BYTES));
        // It goes on until little is left, also when there is room again.
        assert_eq!(collecting.step(&usage(2, 20), 150 * GIB), Some(STEP_BYTES));
        assert_eq!(collecting.step(&usage(1, 20), 150 * GIB), None);
        assert!(!collecting.is_on());
    }
}
