//! Owns how many requests are out at one origin at a time, how many may wait for a place, and for how long.
//!
//! Invariants: a [`Place`] is given back when it is dropped, whatever happened to the request; zips have a part of the places
//! at most, so that small files do not queue behind bodies that take minutes, and one client has a part of either; whoever
//! waits for such a part holds nothing that others wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limits::Limits;
use crate::client::Client;
use crate::per_client::{self, Held, PerClient};

/// Of so many places one is open to zips, and of a single one that one.
const PLACES_FOR_ONE_ZIP: usize = 2;

/// The places at one origin.
#[derive(Debug)]
pub struct Gate {
    lanes: Lanes,
    clients: Arc<PerClient<Lanes>>,
    places: usize,
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
    _share: Option<PlaceInShare>,
}

/// One place of those that the client has whom it is for.
#[derive(Debug)]
struct PlaceInShare {
    _any: OwnedSemaphorePermit,
    _zip: Option<OwnedSemaphorePermit>,
    _client: Held<Lanes>,
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
struct Lanes {
    all: Lane,
    zips: Lane,
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
            lanes: Lanes { all: Lane::new(limits.places), zips: Lane::new(zips(limits.places)) },
            clients: Arc::default(),
            places: limits.places,
            progress: AtomicU64::new(0),
            waiting_max: limits.waiting_max,
            wait: limits.wait,
            wait_max: limits.wait_max,
        }
    }

    /// Waits for a place, for `client` or for nobody.
    pub async fn enter(&self, share: Share, client: Option<Client>) -> Result<Place, NoPlace> {
        let last = Instant::now() + self.wait_max;
        let of_the_client = match client {
            Some(client) => {
                let held = self.clients.enter(client, || self.lanes_of_a_client());
                let (any, zip) = self.turns(&held, share, last).await?;
                Some(PlaceInShare { _any: any, _zip: zip, _client: held })
            }
            None => None,
        };
        let (any, zip) = self.turns(&self.lanes, share, last).await?;
        Ok(Place { _any: any, _zip: zip, _share: of_the_client })
    }

    fn lanes_of_a_client(&self) -> Lanes {
        let of_all = per_client::share;
        Lanes { all: Lane::new(of_all(self.places)), zips: Lane::new(of_all(zips(self.places))) }
    }

    async fn turns(
        &self,
        lanes: &Lanes,
        share: Share,
        last: Instant,
    ) -> Result<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>), NoPlace> {
        let zip = match share {
            Share::Small => None,
            Share::Zip => Some(self.turn(&lanes.zips, last).await?),
        };
        Ok((self.turn(&lanes.all, last).await?, zip))
    }

    /// The origin sent something: whoever waits for a place may well get one.
    pub fn progressed(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    async fn turn(&self, lane: &Lane, last: Instant) -> Result<OwnedSemaphorePermit, NoPlace> {
        if let Ok(permit) = Arc::clone(&lane.places).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiter = Waiter::join(&lane.waiting, self.waiting_max).ok_or(NoPlace::QueueFull)?;
        let turn = Arc::clone(&lane.places).acquire_owned();
        tokio::pin!(turn);
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

/// Of `places`, those that zips may have.
pub(super) fn zips(places: usize) -> usize {
    (places / PLACES_FOR_ONE_ZIP).max(1)
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
        let held = gate.enter(Share::Small, None).await.unwrap();
        let (first, second) = tokio::join!(gate.enter(Share::Small, None), gate.enter(Share::Small, None));
        assert_eq!(first.unwrap_err(), NoPlace::TooLong);
        assert_eq!(second.unwrap_err(), NoPlace::QueueFull);
        drop(held);
        assert!(gate.enter(Share::Small, None).await.is_ok());
    }

    #[tokio::test]
    async fn a_wait_given_up_leaves_no_trace() {
        let gate = Gate::new(&limits(1, 10_000));
        let held = gate.enter(Share::Small, None).await.unwrap();
        assert!(
            tokio::time::timeout(Duration::from_millis(1), gate.enter(Share::Small, None)).await.is_err()
        );
        let (waited, ()) = tokio::join!(gate.enter(Share::Small, None), async { drop(held) });
        assert!(waited.is_ok());
    }

    #[tokio::test]
    async fn zips_leave_places_to_small_files() {
        let gate = Gate::new(&limits(5, 20));
        let zips = [gate.enter(Share::Zip, None).await.unwrap(), gate.enter(Share::Zip, None).await.unwrap()];
        assert_eq!(gate.enter(Share::Zip, None).await.unwrap_err(), NoPlace::TooLong);
        let small = [(); 3].map(|()| gate.enter(Share::Small, None));
        let small = futures_util::future::join_all(small).await;
        assert!(small.iter().all(Result::is_ok));
        // Who waits for a zip is not in the way of who waits for a small file.
        let (zip, other) = tokio::join!(gate.enter(Share::Zip, None), gate.enter(Share::Small, None));
        assert_eq!((zip.unwrap_err(), other.unwrap_err()), (NoPlace::TooLong, NoPlace::TooLong));
        drop((zips, small));
        assert!(gate.enter(Share::Zip, None).await.is_ok());
        assert!(Gate::new(&limits(1, 20)).enter(Share::Zip, None).await.is_ok());
    }

    #[tokio::test]
    async fn a_client_that_asks_for_much_leaves_places_to_others() {
        let gate = Arc::new(Gate::new(&Limits { waiting_max: 100, ..limits(8, 20) }));
        let of = |number| Some(Client::of([192, 0, 2, number].into()));
        let asking =
            (0..40).map(|number| gate.enter(if number % 2 == 0 { Share::Small } else { Share::Zip }, of(1)));
        let greedy = futures_util::future::join_all(asking).await;
        assert_eq!(greedy.iter().filter(|place| place.is_ok()).count(), 6);
        assert!(gate.enter(Share::Zip, of(2)).await.is_ok());
        assert!(gate.enter(Share::Small, None).await.is_ok());
        drop(greedy);
        assert!(gate.enter(Share::Zip, of(1)).await.is_ok());
    }

    #[tokio::test]
    async fn a_wait_goes_on_while_the_origin_sends_something() {
        let gate = Gate::new(&limits(1, 500));
        let held = gate.enter(Share::Small, None).await.unwrap();
        let sending = async {
            for _ in 0..8 {
                // waits for: nothing; an origin that sends slowly is what is played.
                tokio::time::sleep(Duration::from_millis(100)).await;
                gate.progressed();
            }
            drop(held);
        };
        let (waited, ()) = tokio::join!(gate.enter(Share::Small, None), sending);
        assert!(waited.is_ok());
    }

    #[tokio::test]
    async fn even_then_it_ends() {
        let limits = Limits { wait_max: Duration::from_millis(100), ..limits(1, 20) };
        let gate = Arc::new(Gate::new(&limits));
        let _held = gate.enter(Share::Small, None).await.unwrap();
        let sender = Arc::clone(&gate);
        let sending = tokio::spawn(async move {
            loop {
                sender.progressed();
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(gate.enter(Share::Small, None).await.unwrap_err(), NoPlace::TooLong);
        sending.abort();
    }
}
