//! Whether the disk has room for more.
//!
//! Invariant: a change is logged once, however many zips meet it; and whoever asks hears the same as who was refused.

use std::sync::atomic::{AtomicBool, Ordering};

/// Once zips were refused it takes more room to take them again, by one part of so many: not every deletion is to be told of.
const MORE_PARTS: u64 = 8;

/// See the head of this file.
#[derive(Debug, Default)]
pub(in super::super) struct Room {
    refusing: AtomicBool,
}

impl Room {
    /// Whether new zips are to be refused, so many bytes being available and so many wanted.
    pub(in super::super) fn refuses(&self, available_bytes: u64, wanted_bytes: u64) -> bool {
        let was = self.refusing.load(Ordering::Relaxed);
        let more = if was { wanted_bytes / MORE_PARTS } else { 0 };
        let refuses = available_bytes < wanted_bytes.saturating_add(more);
        if self.refusing.swap(refuses, Ordering::Relaxed) != refuses {
            if refuses {
                tracing::warn!(
                    available_bytes,
                    wanted_bytes,
                    "too little room on the disk: no new zip is stored until there is more, reads go on"
                );
            } else {
                tracing::warn!(available_bytes, "the disk has room again: zips are stored");
            }
        }
        refuses
    }

    /// Whether they were when that was last asked.
    pub(in super::super) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_more_room_to_begin_again_than_to_stop() {
        let room = Room::default();
        let refused = [100, 81, 80, 79, 80, 89, 90, 85].map(|available| room.refuses(available, 80));
        assert_eq!(refused, [false, false, false, true, true, true, false, false]);
        assert!(!room.is_refusing());
        assert!(!room.refuses(0, 0), "nothing is wanted");
    }
}
