//! Single flight: however many ask for one thing at once, one task makes it, and it outlives whoever asked first.
//!
//! What such a task does is boxed in it: it is tens of kilobytes of state, and would be copied each time that the task is wrapped and handed on.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The flights that are under way, by key.
pub(crate) struct Flights<K, V> {
    under_way: Mutex<HashMap<K, Begun<V>>>,
}

struct Begun<V> {
    at: Instant,
    receiver: watch::Receiver<Option<V>>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { under_way: Mutex::default() }
    }
}

/// The making side of a flight. Dropped without a landing (its task panicked or was cancelled), it leaves the
/// map, and waiters see [`None`].
pub(crate) struct Flight<K: Eq + Hash + Clone, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
    sender: watch::Sender<Option<V>>,
}

impl<K: Eq + Hash + Clone, V: Clone> Flights<K, V> {
    /// Joins the flight for `key`, or begins it: then `start` gets the making side and must see to it that it
    /// lands, in a task of its own.
    pub(crate) fn join(self: &Arc<Self>, key: &K, start: impl FnOnce(Flight<K, V>)) -> Waiter<V> {
        let mut under_way = self.under_way.lock();
        if let Some(begun) = under_way.get(key) {
            return Waiter { receiver: begun.receiver.clone() };
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(key.clone(), Begun { at: Instant::now(), receiver: receiver.clone() });
        drop(under_way);
        start(Flight { flights: Arc::clone(self), key: key.clone(), sender });
        Waiter { receiver }
    }
}

impl<K: Eq + Hash, V: Clone> Flights<K, V> {
    /// Joins the flight for `key`, if one is under way.
    pub(crate) fn under_way(&self, key: &K) -> Option<Waiter<V>> {
        self.under_way.lock().get(key).map(|begun| Waiter { receiver: begun.receiver.clone() })
    }

    /// How far the flight for `key` has come, if one is under way and has come anywhere.
    pub(crate) fn now(&self, key: &K) -> Option<V> {
        self.under_way.lock().get(key)?.receiver.borrow().clone()
    }

    /// At most `limit` of the flights that are under way, and when each began.
    pub(crate) fn list(&self, limit: usize) -> Vec<(K, Instant)>
    where
        K: Clone,
    {
        let under_way = self.under_way.lock();
        under_way.iter().take(limit).map(|(key, begun)| (key.clone(), begun.at)).collect()
    }
}

impl<K: Eq + Hash + Clone, V> Flight<K, V> {
    /// Hands `value` to everybody who waits and to who joins before the flight is over.
    pub(crate) fn land(&self, value: V) {
        self.sender.send_replace(Some(value));
    }
}

impl<K: Eq + Hash + Clone, V> Drop for Flight<K, V> {
    fn drop(&mut self) {
        self.flights.under_way.lock().remove(&self.key);
    }
}

/// The waiting side.
pub(crate) struct Waiter<V> {
    receiver: watch::Receiver<Option<V>>,
}

impl<V: Clone> Waiter<V> {
    /// What the flight landed with first; `None` when its task died.
    pub(crate) async fn landed(self) -> Option<V> {
        self.landed_where(|_| true).await
    }

    /// What the flight landed with that is `wanted`; `None` when its task died before.
    pub(crate) async fn landed_where(mut self, wanted: impl Fn(&V) -> bool) -> Option<V> {
        let value = self.receiver.wait_for(|value| value.as_ref().is_some_and(&wanted)).await.ok()?;
        value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_join_get_one_result_and_the_next_flight_is_a_new_one() {
        let flights: Arc<Flights<u8, u32>> = Arc::default();
        let mut started = Vec::new();
        let first = flights.join(&1, |flight| started.push(flight));
        let second = flights.join(&1, |flight| started.push(flight));
        assert_eq!(started.len(), 1);
        assert_eq!(flights.now(&1), None);
        assert!(matches!(flights.list(2)[..], [(1, at)] if at <= Instant::now()));
        let flight = started.pop().unwrap();
        flight.land(7);
        assert_eq!(flights.now(&1), Some(7));
        drop(flight);
        assert_eq!((first.landed().await, second.landed().await), (Some(7), Some(7)));
        assert!(flights.under_way.lock().is_empty());
        let _ = flights.join(&1, |flight| started.push(flight));
        assert_eq!(started.len(), 1);
    }

    #[tokio::test]
    async fn a_flight_whose_task_dies_leaves_nobody_waiting() {
        let flights: Arc<Flights<u8, u32>> = Arc::default();
        let waiter = flights.join(&1, |flight| {
            tokio::spawn(async move {
                let _flight = flight;
                tokio::task::yield_now().await;
            });
        });
        assert_eq!(waiter.landed().await, None);
        assert!(flights.under_way.lock().is_empty());
    }
}
