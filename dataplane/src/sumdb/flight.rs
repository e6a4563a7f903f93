//! Owns doing a thing once for all who ask for it at the same time.
//!
//! Invariants: one run per key at a time; when the caller that runs it goes away another one takes over; nothing is kept
//! once nobody waits.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

type Cells<K, V> = Mutex<HashMap<K, Arc<OnceCell<V>>, foldhash::fast::RandomState>>;

/// Runs in progress, by key.
#[derive(Debug)]
pub(crate) struct Flight<K, V> {
    cells: Cells<K, V>,
}

impl<K: Hash + Eq + Clone, V: Clone> Flight<K, V> {
    pub(crate) fn new() -> Self {
        Self { cells: Cells::default() }
    }

    /// The result of `work`, or that of somebody else's for the same key.
    pub(crate) async fn run(&self, key: K, work: impl Future<Output = V>) -> V {
        let cell = Arc::clone(self.cells.lock().entry(key.clone()).or_default());
        let seat = Seat { flight: self, key, cell };
        seat.cell.get_or_init(|| work).await.clone()
    }
}

/// One who waits; the last one to leave, or the first one with a result, takes the cell away.
struct Seat<'a, K: Hash + Eq, V> {
    flight: &'a Flight<K, V>,
    key: K,
    cell: Arc<OnceCell<V>>,
}

impl<K: Hash + Eq, V> Drop for Seat<'_, K, V> {
    fn drop(&mut self) {
        let mut cells = self.flight.cells.lock();
        let ours = cells.get(&self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
        // The map and this seat hold the cell, and nobody else can take it while the map is locked.
        if ours && (self.cell.initialized() || Arc::strong_count(&self.cell) == 2) {
            cells.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn one_run_for_all_who_wait_and_a_new_one_afterwards() {
        let flight = Flight::new();
        let (runs, go) = (AtomicUsize::new(0), Notify::new());
        let work = || async {
            runs.fetch_add(1, Ordering::SeqCst);
            go.notified().await;
            7
        };
        let (a, b, ()) =
            tokio::join!(flight.run("k", work()), flight.run("k", work()), async { go.notify_one() });
        assert_eq!((a, b, runs.load(Ordering::SeqCst)), (7, 7, 1));
        assert!(flight.cells.lock().is_empty());
        go.notify_one();
        assert_eq!(flight.run("k", work()).await, 7);
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_waiter_takes_over_from_one_who_left() {
        let flight = Flight::new();
        let left = Box::pin(flight.run("k", std::future::pending()));
        let waits = Box::pin(flight.run("k", std::future::ready(5)));
        let mut left = Some(left);
        tokio::select! {
            biased;
            () = async { left.as_mut().unwrap().await; } => panic!("never ready"),
            () = std::future::ready(()) => {}
        }
        left.take();
        assert_eq!(waits.await, 5);
        assert!(flight.cells.lock().is_empty());
    }

    #[tokio::test]
    async fn nothing_stays_of_one_who_left_alone() {
        let flight: Flight<&str, u8> = Flight::new();
        tokio::select! {
            biased;
            _ = flight.run("k", std::future::pending()) => panic!("never ready"),
            () = std::future::ready(()) => {}
        }
        assert!(flight.cells.lock().is_empty());
    }
}
