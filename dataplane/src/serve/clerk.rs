//! Short pieces of work on the store, one after another on one blocking thread.
//!
//! Commits follow each other in the database anyway. Given a thread each, those that come at once wake as many
//! threads, and cold small files cost more in switching between them than in storing; here a burst costs one.
//! What may take long (reading chunks, writing them, verifying large zips) has threads of its own.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::store::Store;

type Work = Box<dyn FnOnce(&Store) + Send>;

/// See the head of this file. What waits is bounded by the flights it is done for.
pub(crate) struct Clerk {
    store: Arc<Store>,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    waiting: VecDeque<Work>,
    at_work: bool,
}

impl Desk {
    /// Whether the clerk has to be called.
    fn take_in(&mut self, work: Work) -> bool {
        self.waiting.push_back(work);
        !std::mem::replace(&mut self.at_work, true)
    }
}

impl Clerk {
    /// A clerk who works on `store`.
    pub(crate) fn new(store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self { store, desk: Mutex::default() })
    }

    /// Does `work` after what was handed in before; [`None`] when it panicked. It is done also when nobody
    /// waits for it any more.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let span = tracing::Span::current();
        let work: Work = Box::new(move |store| {
            // Whoever waited may be gone.
            drop(sender.send(span.in_scope(|| work(store))));
        });
        if self.desk.lock().take_in(work) {
            let clerk = Arc::clone(self);
            tokio::task::spawn_blocking(move || clerk.work_off());
        }
        receiver.await.ok()
    }

    fn work_off(&self) {
        loop {
            let mut desk = self.desk.lock();
            let Some(work) = desk.waiting.pop_front() else {
                desk.at_work = false;
                return;
            };
            drop(desk);
            // Its panic has been told by the hook; the next piece must not suffer from it.
            drop(catch_unwind(AssertUnwindSafe(|| work(&self.store))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[tokio::test]
    async fn work_is_done_in_order_and_a_panic_costs_only_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(common::clock::SystemClock);
        let store = Store::open(dir.path(), StoreOptions::default(), clock).unwrap();
        let clerk = Clerk::new(Arc::new(store));
        let done: Arc<Mutex<Vec<u32>>> = Arc::default();
        let work = |n: u32| {
            let done = Arc::clone(&done);
            clerk.run(move |_| {
                assert_ne!(n, 1, "this one panics");
                done.lock().push(n);
                n
            })
        };
        let results = tokio::join!(work(0), work(1), work(2));
        assert_eq!(results, (Some(0), None, Some(2)));
        assert_eq!(*done.lock(), [0, 2]);
        assert_eq!(clerk.run(|_| 3).await, Some(3));
    }
}
