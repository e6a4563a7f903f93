//! Ending what takes long before the database is closed.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::error::StoreError;
use super::Rocks;

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Ending {
    begun: AtomicBool,
    broken_off: AtomicBool,
}

impl Ending {
    pub(super) fn is_broken_off(&self) -> bool {
        self.broken_off.load(Ordering::Acquire)
    }
}

impl Rocks {
    /// Nothing long is to be begun any more.
    pub(in super::super) fn end(&self) {
        self.ending.begun.store(true, Ordering::Release);
    }

    pub(in super::super) fn is_ending(&self) -> bool {
        self.ending.begun.load(Ordering::Acquire)
    }

    /// Ends compactions where they are; there are none any more, nor is anything written out, until the database is opened
    /// again. Writes go to the log as before.
    pub(in super::super) fn break_off(&self) -> Result<(), StoreError> {
        self.end();
        self.ending.broken_off.store(true, Ordering::Release);
        self.with(|open| {
            open.db.cancel_all_background_work(false);
            Ok(())
        })
    }
}
