//! Places for zips that other nodes send: each fills one chunk and has a window of its connection.
//!
//! Invariant: of either kind no client has more than its share, so that what one has from slow origins through other nodes leaves places for
//! what others want from next door. What is done for nobody has any place; who joins a flight waits for what it was begun for.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::client::Client;
use crate::per_client::{self, Held, PerClient};

/// 64 of both.
const FLIGHTS_MAX: usize = 48;
const COPIES_MAX: usize = 16;

/// Places of both kinds. Those of flights that may end in a fetch of this node are apart from the others: such a fetch looks for a copy
/// first, and would wait for a place that those who wait for it have.
pub(super) struct LendPlaces {
    pub(super) flights: Places,
    pub(super) copies: Places,
}

impl Default for LendPlaces {
    fn default() -> Self {
        Self { flights: Places::new(FLIGHTS_MAX), copies: Places::new(COPIES_MAX) }
    }
}

/// See the head of this file.
pub(super) struct Places {
    all: Arc<Semaphore>,
    clients: Arc<PerClient<Arc<Semaphore>>>,
    share: usize,
}

/// A place, and where it is for a client one of that client's.
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _share: Option<PlaceInShare>,
}

struct PlaceInShare {
    _place: OwnedSemaphorePermit,
    _client: Held<Arc<Semaphore>>,
}

impl Places {
    fn new(count: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(count)),
            clients: Arc::default(),
            share: per_client::share(count),
        }
    }

    /// A place for whom this task works for, if there is one now.
    pub(super) fn free(&self) -> Option<Place> {
        let share = match self.of_the_client() {
            Some(client) => {
                let place = Arc::clone(&*client).try_acquire_owned().ok()?;
                Some(PlaceInShare { _place: place, _client: client })
            }
            None => None,
        };
        let place = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _place: place, _share: share })
    }

    /// Waits for one. An error only when all of this ends.
    pub(super) async fn wait(&self) -> Result<Place, AcquireError> {
        let share = match self.of_the_client() {
            Some(client) => {
                let place = Arc::clone(&*client).acquire_owned().await?;
                Some(PlaceInShare { _place: place, _client: client })
            }
            None => None,
        };
        let place = Arc::clone(&self.all).acquire_owned().await?;
        Ok(Place { _place: place, _share: share })
    }

    fn of_the_client(&self) -> Option<Held<Arc<Semaphore>>> {
        let new = || Arc::new(Semaphore::new(self.share));
        Client::current().map(|client| self.clients.enter(client, new))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_client_leaves_places_to_the_others() {
        let places = Places::new(8);
        let client = |number| Client::of([192, 0, 2, number].into());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        while let Some(place) = client(1).served(async { places.free() }).await {
            one.push(place);
        }
        assert_eq!(one.len(), 6);
        assert!(client(1).served(async { places.wait().now_or_never() }).await.is_none());
        other.push(client(2).served(async { places.free() }).await.unwrap());
        other.push(places.free().unwrap());
        assert!(client(2).served(async { places.free() }).await.is_none(), "there are no more");
        drop(other);
        one.pop();
        assert!(client(1).served(async { places.wait().now_or_never() }).await.unwrap().is_ok());
    }
}
