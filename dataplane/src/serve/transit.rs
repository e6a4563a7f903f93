//! Zips on their way from an origin into the store: how many of their chunks may be in memory at once.
//!
//! A chunk takes a place when it is full, and gives it back when it is stored and hashed. While there is no place its fetch
//! reads nothing more, and the origin waits.
//!
//! Invariants: whoever has a place never waits for an origin, a client or another place, so that places always come free;
//! beside them a fetch has the chunk that it fills, so that a slow origin keeps nobody else from a place.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places that there are. Clones share them.
#[derive(Clone)]
pub(crate) struct Transit {
    places: Arc<Semaphore>,
}

/// Held for as long as a chunk is being stored and hashed.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

impl Transit {
    /// Places for `chunks`, and for one at least.
    pub(crate) fn new(chunks: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(chunks.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// Waits for a place.
    pub(crate) async fn place(&self) -> Option<Place> {
        // Nobody closes the semaphore.
        Arc::clone(&self.places).acquire_owned().await.ok().map(Arc::new)
    }
}
