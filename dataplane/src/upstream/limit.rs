//! Owns how many requests are out at one origin at a time, how many may wait for a place, and for how long.
//!
//! Invariants: a [`Place`] is given back when it is dropped, whatever happened to the request; zips have a part of the places
//! at most, so that small files do not queue behind bodies that take minutes; whoever waits for that part holds nothing
//! that others wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limits::Limits;

/// Of so many places one is open to zips, and of a single one that one.
const PLACES_FOR_ONE_ZIP: usize = 2;

/// The places at one origin.
#[derive(Debug)]
pub struct Gate {
    all: Lane,
    zips: Lane,
    /// Counts what came from the origin.
    progress: AtomicU64,
    waiting_max: usize,
    wait: Duration,
    wait_max: Duration,
}

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// A body that is small, and read at once.
    Small,
    /// A zip, which is read as fast as it is taken in.
    Zip,
}

/// One place at an origin; held while a request is out or its body is read.
#[derive(Debug)]
pub struct Place {
    _any: OwnedSemaphorePermit,
    _zip: Option<OwnedSemaphorePermit>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// Too many wait already.
    QueueFull,
    /// None became free in time.
    TooLong,
}

#[derive(Debug)]
struct Lane {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Lane {
    fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), waiting: AtomicUsize::new(0) }
    }
}

impl Gate {
    /// The places that `limits` gives to one origin.
    pub fn new(limits: &Limits) -> Self {
        Self {
            all: Lane::new(limits.places),
            zips: Lane::new((limits.places / PLACES_FOR_ONE_ZIP).max(1)),
            progress: AtomicU64::new(0),
            waiting_max: limits.waiting_max,
            wait: limits.wait,
            wait_max: limits.wait_max,
        }
    }

    /// Waits for a place.
    pub async fn enter(&self, share: Share) -> Result<Place, NoPlace> {
        let zip = match share {
            Share::Small => None,
            Share::Zip => Some(self.turn(&self.zips).await?),
        };
        Ok(Place { _any: self.turn(&self.all).await?, _zip: zip })
    }

    /// The origin sent something: whoever waits for a place may well get one.
    pub fn progressed(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    async fn turn(&self, lane: &Lane) -> Result<OwnedSemaphorePermit, NoPlace> {
        if let Ok(permit) = Arc::clone(&lane.places).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiter = Waiter::join(&lane.waiting, self.waiting_max).ok_or(NoPlace::QueueFull)?;
        let turn = Arc::clone(&lane.places).acquire_owned();
        tokio::pin!(turn);
        let last = Instant::now() + self.wait_max;
        loop {
            let progress = self.progress.load(Ordering::Relaxed);
            let until = (Instant::now() + self.wait).min(last);
            match tokio::time::timeout_at(until, turn.as_mut()).await {
                Ok(Ok(permit)) => return Ok(permit),
                // The semaphore is never closed.
                Ok(Err(_)) => return Err(NoPlace::TooLong),
                Err(_) => {
                    if until == last || self.progress.load(Ordering::Relaxed) == progress {
                        return Err(NoPlace::TooLong);
                    }
                }
            }
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

    fn limits(places: usize, wait_ms: u64) -> Limits {
        Limits { places, waiting_max: 1, wait: Duration::from_millis(wait_ms), ..Limits::default() }
    }

    #[tokio::test]
    async fn waits_are_bounded_in_number_and_time() {
        let gate = Gate::new(&limits(1, 20));
        let held = gate.enter(Share::Small).await.unwrap();
        let (first, second) = tokio::join!(gate.enter(Share::Small), gate.enter(Share::Small));
        assert_eq!(first.unwrap_err(), NoPlace::TooLong);
        assert_eq!(second.unwrap_err(), NoPlace::QueueFull);
        drop(held);
        assert!(gate.enter(Share::Small).await.is_ok());
    }

    #[tokio::test]
    async fn a_wait_given_up_leaves_no_trace() {
        let gate = Gate::new(&limits(1, 10_000));
        let held = gate.enter(Share::Small).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(1), gate.enter(Share::Small)).await.is_err());
        let (waited, ()) = tokio::join!(gate.enter(Share::Small), async { drop(held) });
        assert!(waited.is_ok());
    }

    #[tokio::test]
    async fn zips_leave_places_to_small_files() {
        let gate = Gate::new(&limits(5, 20));
        let zips = [gate.enter(Share::Zip).await.unwrap(), gate.enter(Share::Zip).await.unwrap()];
        assert_eq!(gate.enter(Share::Zip).await.unwrap_err(), NoPlace::TooLong);
        let small = [(); 3].map(|()| gate.enter(Share::Small));
        let small = futures_util::future::join_all(small).await;
        assert!(small.iter().all(Result::is_ok));
        // Who waits for a zip is not in the way of who waits for a small file.
        let (zip, other) = tokio::join!(gate.enter(Share::Zip), gate.enter(Share::Small));
        assert_eq!((zip.unwrap_err(), other.unwrap_err()), (NoPlace::TooLong, NoPlace::TooLong));
        drop((zips, small));
        assert!(gate.enter(Share::Zip).await.is_ok());
        assert!(Gate::new(&limits(1, 20)).enter(Share::Zip).await.is_ok());
    }

    #[tokio::test]
    async fn a_wait_goes_on_while_the_origin_sends_something() {
        let gate = Gate::new(&limits(1, 500));
        let held = gate.enter(Share::Small).await.unwrap();
        let sending = async {
            for _ in 0..8 {
                // waits for: nothing; an origin that sends slowly is what is played.
                tokio::time::sleep(Duration::from_millis(100)).await;
                gate.progressed();
            }
            drop(held);
        };
        let (waited, ()) = tokio::join!(gate.enter(Share::Small), sending);
        assert!(waited.is_ok());
    }

    #[tokio::test]
    async fn even_then_it_ends() {
        let limits = Limits { wait_max: Duration::from_millis(100), ..limits(1, 20) };
        let gate = Arc::new(Gate::new(&limits));
        let _held = gate.enter(Share::Small).await.unwrap();
        let sender = Arc::clone(&gate);
        let sending = tokio::spawn(async move {
            loop {
                sender.progressed();
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(gate.enter(Share::Small).await.unwrap_err(), NoPlace::TooLong);
        sending.abort();
    }
}
