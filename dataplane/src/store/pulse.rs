//! Whether the disk is slow: how long it takes to put a little on stable storage, tried every few seconds.
//!
//! Writing of its own, since what the store writes may wait in memory for minutes, and a disk that hangs hangs nobody until
//! then. Nothing follows from it but that operators hear of it: other nodes go by how soon this one answers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use common::slow_disk::{HANGS, SlowDisk};
use fail::fail_point;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Inner, Store};

/// Overwritten in place, so that a full disk takes it as well.
const FILE: &str = "PULSE";
const BYTES: [u8; 512] = [b'.'; 512];
/// Between two trials.
const PAUSE: Duration = Duration::from_secs(5);
/// One that takes so long is slow; a disk that works takes some milliseconds, and a busy one some tens.
const SLOW: Duration = Duration::from_millis(400);
/// See the head of this file.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<SlowDisk>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Mutex::new(SlowDisk::new(SLOW)))
    }
}

impl Pulse {
    fn is_slow(&self) -> bool {
        self.0.lock().is_slow()
    }

    fn forget(&self) {
        *self.0.lock() = SlowDisk::new(SLOW);
    }

    fn note(&self, took: Duration) {
        let mut verdict = self.0.lock();
        let was_slow = verdict.is_slow();
        *verdict = verdict.after(took);
        match (was_slow, verdict.is_slow()) {
            (false, true) => tracing::warn!(
                ?took,
                "the disk is slow: what is not in memory takes long, and so does whatever has to be on stable storage"
            ),
            (true, false) => tracing::warn!(?took, "the disk is no longer slow"),
            (false, false) | (true, true) => {}
        }
    }
}

impl Store {
    /// Whether the disk takes long to put something on stable storage.
    pub fn is_slow(&self) -> bool {
        self.inner.pulse.is_slow()
    }

    /// Tries the disk every few seconds until `stop`.
    pub async fn keep_feeling_pulse(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
            let store = Arc::clone(&self);
            let mut trying = tokio::task::spawn_blocking(move || store.inner.try_pulse());
            let took = tokio::select! {
                took = &mut trying => took,
                () = tokio::time::sleep(HANGS) => {
                    self.inner.pulse.note(HANGS);
                    tokio::select! {
                        took = trying => took,
                        () = stop.cancelled() => return,
                    }
                }
                () = stop.cancelled() => return,
            };
            match took {
                Ok(Ok(took)) => self.inner.pulse.note(took),
                // A disk that takes nothing at all is told of by whoever wanted to write something; how slow it is nobody knows.
                Ok(Err(_)) | Err(_) => self.inner.pulse.forget(),
            }
        }
    }
}

impl Inner {
    fn try_pulse(&self) -> io::Result<Duration> {
        let begun = self.clock.monotonic();
        let file = File::options().write(true).create(true).truncate(false).open(self.dir.join(FILE))?;
        file.write_all_at(&BYTES, 0)?;
        fail_point!("store::pulse");
        file.sync_data()?;
        Ok(self.clock.monotonic().saturating_duration_since(begun))
    }
}
