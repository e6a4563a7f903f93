//! Ending housekeeping with the process: nobody waits long for it, and no thread is left inside the database.

use super::super::super::Store;
use super::super::super::error::StoreError;

impl Store {
    /// From now on no pass begins anything, and what takes long ends with its next step.
    pub fn end_housekeeping(&self) {
        self.inner.rocks.end();
    }

    /// Waits for the pass that runs, and writes the access times that wait; how many.
    pub fn finish_housekeeping(&self) -> Result<usize, StoreError> {
        let _pass = self.inner.heat.pass();
        self.flush_touches()
    }

    /// Breaks off what the database does in the background, in the middle of a step, for good. What is stored is in its
    /// log then, and the next start writes it out.
    pub fn break_off_housekeeping(&self) -> Result<(), StoreError> {
        self.inner.rocks.break_off()
    }
}
