//! Which things left lately, in fixed memory: coming back soon is the sign of having left too early.
//!
//! A thing counts as gone lately until as many bytes have left after it as the window holds.

const WAYS: usize = 8;
/// Bytes that one tick of a stamp stands for.
const TICK_BYTES: u64 = 64 * 1024;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// 0 means free.
    tag: u32,
    /// The clock when it left, in ticks.
    stamp: u32,
}

/// Fingerprints of what left lately.
#[derive(Debug)]
pub struct Ghost {
    slots: Box<[Slot]>,
    buckets: usize,
    /// Bytes that left so far.
    clock_bytes: u64,
    window_bytes: u64,
}

impl Ghost {
    /// Room for about `slots` fingerprints, eight bytes each, over `window_bytes` of what left.
    pub fn new(slots: usize, window_bytes: u64) -> Self {
        let buckets = (slots / WAYS).max(1).next_power_of_two();
        Self { slots: vec![Slot::default(); buckets * WAYS].into(), buckets, clock_bytes: 0, window_bytes }
    }

    fn bucket(&mut self, fingerprint: u64) -> &mut [Slot] {
        let start = (fingerprint as usize & (self.buckets - 1)) * WAYS;
        self.slots.get_mut(start..start + WAYS).unwrap_or_default()
    }

    fn age_bytes(&self, stamp: u32) -> u64 {
        let now = (self.clock_bytes / TICK_BYTES) as u32;
        u64::from(now.wrapping_sub(stamp)) * TICK_BYTES
    }

    /// Remembers what leaves.
    pub fn insert(&mut self, fingerprint: u64, bytes: u64) {
        self.clock_bytes = self.clock_bytes.wrapping_add(bytes);
        let stamp = (self.clock_bytes / TICK_BYTES) as u32;
        let tag = tag_of(fingerprint);
        let bucket = self.bucket(fingerprint);
        let same = bucket.iter().position(|slot| slot.tag == tag);
        let oldest = || {
            let age = |slot: &Slot| if slot.tag == 0 { u32::MAX } else { stamp.wrapping_sub(slot.stamp) };
            bucket.iter().enumerate().max_by_key(|(_, slot)| age(slot)).map(|(at, _)| at)
        };
        if let Some(slot) = same.or_else(oldest).and_then(|at| bucket.get_mut(at)) {
            *slot = Slot { tag, stamp };
        }
    }

    /// Whether it left lately; it is forgotten by that.
    pub fn take(&mut self, fingerprint: u64) -> bool {
        let tag = tag_of(fingerprint);
        let Some(slot) = self.bucket(fingerprint).iter_mut().find(|slot| slot.tag == tag) else {
            return false;
        };
        let stamp = std::mem::take(slot).stamp;
        self.age_bytes(stamp) <= self.window_bytes
    }
}

fn tag_of(fingerprint: u64) -> u32 {
    ((fingerprint >> 32) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_for_a_window_and_once() {
        let mut ghost = Ghost::new(64, 10 * TICK_BYTES);
        ghost.insert(7 << 32, TICK_BYTES);
        assert!(ghost.take(7 << 32));
        assert!(!ghost.take(7 << 32));
        ghost.insert(8 << 32, TICK_BYTES);
        for other in 9..20_u64 {
            ghost.insert(other << 40, TICK_BYTES);
        }
        assert!(!ghost.take(8 << 32));
    }
}
