//! A barrier between a test and a server thread: the thread stops at the gate until the test opens it.
//!
//! Gates replace sleeps: a test knows that the other side has come to a point, looks at the system while
//! it stands still there, and then lets it go on.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest time that anybody waits at a gate; past it the test is broken.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Default)]
struct State {
    arrived: usize,
    open: bool,
}

/// A gate that starts closed. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Server side: reports the arrival, then waits until the gate is open. Never waits past a minute.
    pub fn pass(&self) {
        let (lock, changed) = &*self.shared;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        state.arrived += 1;
        changed.notify_all();
        let deadline = Instant::now() + PATIENCE;
        while !state.open {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Test side: waits until `count` have arrived. Fails the test when they do not come.
    pub fn wait_for(&self, count: usize) {
        let (lock, changed) = &*self.shared;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + PATIENCE;
        while state.arrived < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} came to the gate within {PATIENCE:?}", state.arrived);
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many came so far.
    pub fn arrived(&self) -> usize {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).arrived
    }

    /// Test side: lets everybody pass, now and later.
    pub fn open(&self) {
        let (lock, changed) = &*self.shared;
        lock.lock().unwrap_or_else(PoisonError::into_inner).open = true;
        changed.notify_all();
    }
}
