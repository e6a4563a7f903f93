//! How often each of very many things was asked for lately, from 0 to 3, in fixed memory.
//!
//! Owns a table of tagged two-bit counters. Things that were never hit take no slot; when a bucket is full the
//! coldest slot is reused. Wrong answers are possible and harmless: a zip stays a little longer, or leaves a
//! little earlier.

use std::sync::atomic::{AtomicU16, Ordering};

/// The highest count.
const FREQUENCY_MAX: u8 = 3;
const WAYS: usize = 4;
const COUNT_BITS: u32 = 2;

/// Counts by fingerprint.
#[derive(Debug)]
pub struct Frequency {
    /// Each slot: a 14-bit tag above a two-bit count; a count of 0 means free.
    slots: Box<[AtomicU16]>,
    buckets: usize,
}

fn tag_of(fingerprint: u64) -> u16 {
    // The bucket comes from the low bits, so the tag takes the high ones.
    ((fingerprint >> 50) as u16) << COUNT_BITS
}

fn count_of(slot: u16) -> u8 {
    (slot & 3) as u8
}

impl Frequency {
    /// Room for about `slots` counts, two bytes each.
    pub fn new(slots: usize) -> Self {
        let buckets = (slots / WAYS).max(1).next_power_of_two();
        let slots = (0..buckets * WAYS).map(|_| AtomicU16::new(0)).collect();
        Self { slots, buckets }
    }

    fn bucket(&self, fingerprint: u64) -> &[AtomicU16] {
        let start = (fingerprint as usize & (self.buckets - 1)) * WAYS;
        self.slots.get(start..start + WAYS).unwrap_or_default()
    }

    fn slot(&self, fingerprint: u64) -> Option<&AtomicU16> {
        let tag = tag_of(fingerprint);
        let is_it = |slot: u16| count_of(slot) > 0 && slot & !3 == tag;
        self.bucket(fingerprint).iter().find(|slot| is_it(slot.load(Ordering::Relaxed)))
    }

    /// Counts one hit.
    pub fn bump(&self, fingerprint: u64) {
        let tag = tag_of(fingerprint);
        if let Some(slot) = self.slot(fingerprint) {
            // Racing updates may lose a hit; the count is a hint.
            let now = slot.load(Ordering::Relaxed);
            if count_of(now) < FREQUENCY_MAX {
                slot.store(now + 1, Ordering::Relaxed);
            }
            return;
        }
        let coldest =
            self.bucket(fingerprint).iter().min_by_key(|slot| count_of(slot.load(Ordering::Relaxed)));
        if let Some(slot) = coldest {
            let now = slot.load(Ordering::Relaxed);
            // A taken slot first cools down, so that one scan does not wipe out the counts of the hot.
            let next = if count_of(now) > 1 { now - 1 } else { tag | 1 };
            slot.store(next, Ordering::Relaxed);
        }
    }

    /// The count.
    pub fn get(&self, fingerprint: u64) -> u8 {
        self.slot(fingerprint).map_or(0, |slot| count_of(slot.load(Ordering::Relaxed)))
    }

    /// Counts one down.
    pub fn cool(&self, fingerprint: u64) {
        if let Some(slot) = self.slot(fingerprint) {
            slot.store(slot.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        }
    }

    /// Forgets the count.
    pub fn clear(&self, fingerprint: u64) {
        if let Some(slot) = self.slot(fingerprint) {
            slot.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_go_to_three_and_back() {
        let counts = Frequency::new(64);
        for expected in [1, 2, 3, 3] {
            counts.bump(42);
            assert_eq!(counts.get(42), expected);
        }
        for expected in [2, 1, 0, 0] {
            counts.cool(42);
            assert_eq!(counts.get(42), expected);
        }
        counts.bump(42);
        counts.clear(42);
        assert_eq!(counts.get(42), 0);
    }

    proptest! {
        /// With room to spare, counts of distinct things do not mix.
        #[test]
        fn few_things_are_counted_exactly(hits in proptest::collection::vec(0..20_u64, 0..80)) {
            let counts = Frequency::new(4096);
            let spread = |thing: u64| (thing + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for &thing in &hits {
                counts.bump(spread(thing));
            }
            for thing in 0..20 {
                let expected = hits.iter().filter(|&&hit| hit == thing).count().min(3);
                prop_assert_eq!(usize::from(counts.get(spread(thing))), expected);
            }
        }
    }
}
