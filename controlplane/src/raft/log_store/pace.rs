//! How long the disk takes to have a write of the log on stable storage, as everybody may ask.

use std::time::Duration;

use common::slow_disk::SlowDisk;
use parking_lot::Mutex;

/// A write that takes so long is slow: half of the time after which the others elect somebody else, since nothing else is done meanwhile.
const SLOW: Duration = Duration::from_millis(200);

/// See the head of this file. It outlives the [`super::LogStore`] that tells it, which is opened again after its disk was full.
#[derive(Debug)]
pub struct DiskPace(Mutex<SlowDisk>);

impl Default for DiskPace {
    fn default() -> Self {
        Self(Mutex::new(SlowDisk::new(SLOW)))
    }
}

impl DiskPace {
    /// Whether the last writes took long.
    pub fn is_slow(&self) -> bool {
        self.0.lock().is_slow()
    }

    /// A write took so long.
    pub(super) fn note(&self, took: Duration) {
        let (before, now) = {
            let mut disk = self.0.lock();
            let before = disk.is_slow();
            *disk = disk.after(took);
            (before, disk.is_slow())
        };
        match (before, now) {
            (false, true) => tracing::warn!(?took, "the disk is slow: another member should lead"),
            (true, false) => tracing::warn!(?took, "the disk is no longer slow"),
            (false, false) | (true, true) => {}
        }
    }
}
