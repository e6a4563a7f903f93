//! Owns the memory for small files on their way from origins: whoever finds none left waits.
//!
//! Invariant: nobody waits for more while holding some, so that no two wait for each other. A body of unknown length
//! therefore asks once, for as much as it may come to.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A body of up to so many bytes is not counted: there are no more of those than places, and most files are smaller.
pub(super) const UNCOUNTED_BYTES: u64 = 64 << 10;

/// Room for the bodies of all origins. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    left: Arc<Semaphore>,
    bytes_max: u32,
}

/// Room for one body; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Room for `bytes_max` bytes.
    pub(super) fn new(bytes_max: u32) -> Self {
        Self { left: Arc::new(Semaphore::new(bytes_max as usize)), bytes_max }
    }

    /// Waits for room for a body of at most `bytes`. One that is larger than all room there is waits for all of it.
    pub(super) async fn room(&self, bytes: u64) -> Room {
        if bytes <= UNCOUNTED_BYTES {
            return Room { _permit: None };
        }
        let counted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max);
        // The semaphore is never closed.
        Room { _permit: Arc::clone(&self.left).acquire_many_owned(counted).await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_wait_until_there_is_room_for_them() {
        let bodies = Bodies::new(1 << 20);
        let first = bodies.room(600 << 10).await;
        let now = async |bytes| {
            let room = bodies.room(bytes);
            tokio::pin!(room);
            std::future::poll_fn(|cx| std::task::Poll::Ready(room.as_mut().poll(cx).is_ready())).await
        };
        assert!(!now(600 << 10).await);
        assert!(now(400 << 10).await);
        assert!(now(UNCOUNTED_BYTES).await);
        drop(first);
        assert!(now(600 << 10).await);
        assert!(now(u64::MAX).await, "the largest is never kept waiting for ever");
        let small = bodies.room(UNCOUNTED_BYTES).await;
        assert!(now(1 << 20).await, "it is not counted");
        drop(small);
    }
}
