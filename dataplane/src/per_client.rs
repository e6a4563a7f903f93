//! What is kept of each client as long as it holds something, and how much of a thing that all share it may hold.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::client::Client;

/// Of so many places one stays with the other clients, whatever a client asks for.
const PLACES_FOR_ONE_OF_OTHERS: usize = 4;

/// How many of `places` one client may hold. A load balancer is one client, so this is most of them.
pub(crate) fn share(places: usize) -> usize {
    (places - places / PLACES_FOR_ONE_OF_OTHERS).max(1)
}

/// A `T` for each client that holds something.
#[derive(Debug)]
pub(crate) struct PerClient<T> {
    clients: Mutex<HashMap<Client, Arc<Kept<T>>>>,
}

#[derive(Debug)]
struct Kept<T> {
    held: AtomicUsize,
    value: T,
}

/// One thing that a client holds; what is kept of the client goes with the last of them.
#[derive(Debug)]
pub(crate) struct Held<T> {
    all: Arc<PerClient<T>>,
    client: Client,
    kept: Arc<Kept<T>>,
}

impl<T> PerClient<T> {
    /// Counts one more thing that `client` holds; `new` makes what is kept of it if that is its first.
    pub(crate) fn enter(self: &Arc<Self>, client: Client, new: impl FnOnce() -> T) -> Held<T> {
        self.count_in(&mut self.clients.lock(), client, new)
    }

    /// The same, unless `client` holds `most` already.
    pub(crate) fn enter_below(
        self: &Arc<Self>,
        client: Client,
        most: usize,
        new: impl FnOnce() -> T,
    ) -> Option<Held<T>> {
        let mut clients = self.clients.lock();
        let held = clients.get(&client).map_or(0, |kept| kept.held.load(Relaxed));
        (held < most).then(|| self.count_in(&mut clients, client, new))
    }

    fn count_in(
        self: &Arc<Self>,
        clients: &mut HashMap<Client, Arc<Kept<T>>>,
        client: Client,
        new: impl FnOnce() -> T,
    ) -> Held<T> {
        let kept = clients
            .entry(client)
            .or_insert_with(|| Arc::new(Kept { held: AtomicUsize::new(0), value: new() }));
        kept.held.fetch_add(1, Relaxed);
        Held { all: Arc::clone(self), client, kept: Arc::clone(kept) }
    }
}

impl<T> Default for PerClient<T> {
    fn default() -> Self {
        Self { clients: Mutex::default() }
    }
}

impl<T> Held<T> {
    /// How many things its client holds.
    pub(crate) fn count(&self) -> usize {
        self.kept.held.load(Relaxed)
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.kept.value
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        // Under the lock, so that nobody enters between the last one's leaving and its removal.
        let mut clients = self.all.clients.lock();
        if self.kept.held.fetch_sub(1, Relaxed) == 1 {
            clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_places_to_others_wherever_there_is_more_than_a_few() {
        assert_eq!([1, 2, 3, 4, 64].map(share), [1, 2, 3, 3, 48]);
    }

    #[test]
    fn nothing_is_kept_of_clients_that_hold_nothing() {
        let (all, client) = (Arc::<PerClient<u8>>::default(), Client::of([192, 0, 2, 1].into()));
        let first = all.enter(client, || 7);
        let second = all.enter(client, || 8);
        let other = all.enter(Client::of([192, 0, 2, 2].into()), || 9);
        assert_eq!((first.count(), other.count()), (2, 1));
        assert_eq!((*first, *second, *other), (7, 7, 9));
        drop(first);
        assert_eq!(second.count(), 1);
        drop((second, other));
        assert!(all.clients.lock().is_empty());
        let few: Vec<_> = (0..5).filter_map(|_| all.enter_below(client, 2, || 7)).collect();
        assert_eq!(few.len(), 2);
        drop(few);
        assert!(all.clients.lock().is_empty());
        assert_eq!(*all.enter(client, || 8), 8);
    }
}
