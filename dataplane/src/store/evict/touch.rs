//! When versions were last asked for: noted at most once in a grain of time each, written in batches, in bounded memory.

use std::sync::atomic::{AtomicU32, Ordering};

use gomod::ModuleVersion;
use parking_lot::Mutex;

/// Notes that wait for the next pass at most; more are dropped until then.
const TOUCHES_MAX: usize = 16 * 1024;
/// Versions whose last note is remembered.
const RECENT: usize = 64 * 1024;
/// How coarse access times are where they serve retention alone, µs.
pub(super) const HOUR_US: i64 = 3_600_000_000;
/// How coarse they are where they decide who is evicted (LRU), µs.
pub(super) const SECOND_US: i64 = 1_000_000;

/// A version was asked for.
#[derive(Debug)]
pub(super) struct Touch {
    pub(super) version: ModuleVersion,
    pub(super) zip: bool,
    pub(super) at_us: i64,
}

/// Notes of who was asked for.
#[derive(Debug)]
pub(super) struct Touches {
    waiting: Mutex<Vec<Touch>>,
    grain_us: i64,
    /// By fingerprint: 16 bits of it, the grain and whether it was for the zip.
    recent: Box<[AtomicU32]>,
}

impl Touches {
    pub(super) fn new(grain_us: i64) -> Self {
        let recent = (0..RECENT).map(|_| AtomicU32::new(0)).collect();
        Self { waiting: Mutex::new(Vec::new()), grain_us, recent }
    }

    /// Notes it unless that was done within the grain.
    pub(super) fn note(&self, version: &ModuleVersion, fingerprint: u64, zip: bool, now_us: i64) {
        let grain = (now_us / self.grain_us).cast_unsigned() as u32;
        let mark = ((fingerprint >> 48) as u32) << 16 | (grain & 0x7fff) << 1 | u32::from(zip);
        let Some(slot) = self.recent.get(fingerprint as usize % RECENT) else { return };
        let before = slot.load(Ordering::Relaxed);
        // A note for the zip covers one for anything.
        if before == mark || before == mark | 1 {
            return;
        }
        let mut waiting = self.waiting.lock();
        if waiting.len() < TOUCHES_MAX {
            slot.store(mark, Ordering::Relaxed);
            waiting.push(Touch { version: version.clone(), zip, at_us: now_us });
        }
    }

    /// All notes that wait.
    pub(super) fn drain(&self) -> Vec<Touch> {
        std::mem::take(&mut self.waiting.lock())
    }

    /// Notes that could not be written wait again, as many as there is room for.
    pub(super) fn put_back(&self, notes: impl IntoIterator<Item = Touch>) {
        let mut waiting = self.waiting.lock();
        let room = TOUCHES_MAX.saturating_sub(waiting.len());
        waiting.extend(notes.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use gomod::{ModulePath, Version};

    use super::*;

    #[test]
    fn a_version_is_noted_once_an_hour_and_again_for_its_zip() {
        let version = ModuleVersion {
            module: ModulePath::parse("example.com/a").expect("module path"),
            version: Version::parse("v1.0.0").expect("version"),
        };
        let touches = Touches::new(HOUR_US);
        let steps = [(false, 0, 1), (false, 5, 0), (true, 10, 1), (true, 20, 0), (false, 30, 0)];
        for (zip, minute, expected) in steps {
            touches.note(&version, 99 << 48, zip, HOUR_US * 480_000 + minute * 60_000_000);
            assert_eq!(touches.drain().len(), expected, "minute {minute}");
        }
        touches.note(&version, 99 << 48, false, HOUR_US * 480_001);
        assert_eq!(touches.drain().len(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let version = ModuleVersion {
            module: ModulePath::parse("example.com/a").expect("module path"),
            version: Version::parse("v1.0.0").expect("version"),
        };
        let touches = Touches::new(HOUR_US);
        for fingerprint in 0..2 * TOUCHES_MAX as u64 {
            touches.note(&version, fingerprint, true, HOUR_US);
        }
        let drained = touches.drain();
        assert_eq!(drained.len(), TOUCHES_MAX);
        touches.note(&version, 7, true, HOUR_US * 2);
        touches.put_back(drained);
        assert_eq!(touches.drain().len(), TOUCHES_MAX);
    }
}
