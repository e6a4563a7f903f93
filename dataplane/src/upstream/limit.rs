//! Owns how many requests are out at one origin at a time, and how many may wait for a place.
//!
//! Invariant: a [`Place`] is given back when it is dropped, whatever happened to the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places at one origin.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait_max: Duration,
}

/// One place at an origin; held while a request is out or its body is read.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// Too many wait already.
    QueueFull,
    /// None became free in time.
    TooLong,
}

impl Gate {
    /// `places` requests at a time, `waiting_max` waiting for at most `wait_max` each.
    pub fn new(places: usize, waiting_max: usize, wait_max: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), waiting: AtomicUsize::new(0), waiting_max, wait_max }
    }

    /// Waits for a place.
    pub async fn enter(&self) -> Result<Place, NoPlace> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Place { _permit: permit });
        }
        let _waiter = Waiter::join(&self.waiting, self.waiting_max).ok_or(NoPlace::QueueFull)?;
        match tokio::time::timeout(self.wait_max, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(NoPlace::TooLong),
        }
    }
}

/// Counts one waiting request; drops out when the wait ends or is given up.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn join(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let joined =
            waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < most).then_some(now + 1));
        joined.is_ok().then_some(Self(waiting))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_are_bounded_in_number_and_time() {
        let gate = Gate::new(1, 1, Duration::from_millis(20));
        let held = gate.enter().await.unwrap();
        let (first, second) = tokio::join!(gate.enter(), gate.enter());
        assert_eq!(first.unwrap_err(), NoPlace::TooLong);
        assert_eq!(second.unwrap_err(), NoPlace::QueueFull);
        drop(held);
        assert!(gate.enter().await.is_ok());
    }

    #[tokio::test]
    async fn a_wait_given_up_leaves_no_trace() {
        let gate = Gate::new(1, 1, Duration::from_secs(10));
        let held = gate.enter().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(1), gate.enter()).await.is_err());
        let (waited, ()) = tokio::join!(gate.enter(), async { drop(held) });
        assert!(waited.is_ok());
    }
}
