//! What is fetched before it is asked for.
//!
//! Who asks for the `.info` of a version asks for its `.mod` and `.zip` next, and for the `.info`s of the rest of its
//! module graph (`neighbours`). A lone `.mod` says nothing of the kind: most versions in a module graph are never
//! built; but it may say which other `.mod`s belong to the graph (`graph`). Such fetches wait in lanes of their own, so that they never take
//! the places of requests that somebody waits for. What does not fit is dropped, the oldest first, and so is what an [`Allowance`] has
//! nothing left for, or nobody waits for any more: it is fetched when it is asked for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gomod::{ModuleVersion, Query, Request};
use parking_lot::Mutex;

use super::allowance::Allowance;
use super::graph::{Foretold, Place, loaded_next};
use super::neighbours::Neighbours;
use super::proxy::{Asker, Mode, Proxy, key};
use super::ready::Ready;
use super::tag::Cache;
use super::texts::Why;
use super::zips::ZipStage;

/// Small files fetched ahead at a time; never with more than three quarters of the places at an origin. A `.mod` may take two, as its
/// sum may be looked up at the same origin.
const SMALL_MAX: usize = 24;
const SMALL_OF_PLACES: (usize, usize) = (3, 8);
/// Zips fetched ahead at a time. Each keeps a processor busy with hashing, beside the small files that somebody waits for.
const ZIPS_MAX: usize = 4;
const PLACES_FOR_ONE_ZIP: usize = 16;
/// How long zips are held off at first: with a near origin, hashing them would only slow the walk through the `.info`s.
const WALK: Duration = Duration::from_millis(100);
/// Fetches that wait in a lane; a large module graph.
const SMALL_WAITING_MAX: usize = 4096;
const ZIPS_WAITING_MAX: usize = 2048;

/// What is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Errand {
    /// A small file.
    Small(Request),
    /// A `.mod` whose requirements are loaded as well, if it comes in time.
    Graph(ModuleVersion, Instant),
    /// A zip.
    Zip(ModuleVersion),
}

impl Errand {
    fn request(&self) -> Request {
        match self {
            Self::Small(request) => request.clone(),
            Self::Graph(version, _) => Request::Mod(version.clone()),
            Self::Zip(version) => Request::Zip(version.clone()),
        }
    }
}

/// See the head of this file.
pub(crate) struct Ahead {
    neighbours: Mutex<Neighbours>,
    foretold: Mutex<Foretold>,
    small: Lane,
    zips: Lane,
}

impl Ahead {
    /// For origins that give `places` requests at a time a place; where there is no place to spare, nothing is fetched ahead.
    pub(super) fn new(places: usize) -> Self {
        let (part, whole) = SMALL_OF_PLACES;
        let small = SMALL_MAX.min(places * part / whole);
        let zips = ZIPS_MAX.min(places / PLACES_FOR_ONE_ZIP);
        Self {
            neighbours: Mutex::default(),
            foretold: Mutex::default(),
            small: Lane::new(small, SMALL_WAITING_MAX, Allowance::for_small_files()),
            zips: Lane::new(zips, ZIPS_WAITING_MAX, Allowance::for_zips()),
        }
    }

    fn lane(&self, errand: &Errand) -> &Lane {
        if matches!(errand, Errand::Zip(_)) { &self.zips } else { &self.small }
    }
}

struct Lane {
    running_max: usize,
    waiting_max: usize,
    state: Mutex<LaneState>,
    allowance: Mutex<Allowance>,
}

#[derive(Default)]
struct LaneState {
    waiting: VecDeque<Errand>,
    running: usize,
}

impl Lane {
    fn new(running_max: usize, waiting_max: usize, allowance: Allowance) -> Self {
        Self { running_max, waiting_max, state: Mutex::default(), allowance: Mutex::new(allowance) }
    }

    /// Takes in a fetch; gives it back when there is a place for one more runner, to begin with it. The one that has waited longest makes
    /// room: if it is still wanted, it is asked for before the others.
    fn push(&self, errand: Errand) -> Option<Errand> {
        let mut state = self.state.lock();
        if state.running < self.running_max {
            state.running += 1;
            return Some(errand);
        }
        if self.running_max == 0 {
            return None;
        }
        if state.waiting.len() >= self.waiting_max {
            state.waiting.pop_front();
        }
        state.waiting.push_back(errand);
        None
    }

    /// The next fetch for a runner; without one, the runner is over.
    fn next(&self) -> Option<Errand> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.running -= 1;
        }
        next
    }
}

impl Proxy {
    /// The `.info` of `version` was asked for and was not in memory.
    pub(super) fn info_was_asked(self: &Arc<Self>, version: &ModuleVersion) {
        self.begin_rest(version);
        let next = self.ahead.neighbours.lock().take(&version.module, self.monotonic());
        for ModuleVersion { module, version } in next {
            self.fetch_ahead(Errand::Small(Request::Info(module, Query::Version(version))));
        }
    }

    /// The `.mod` of `version`, which belongs to a module graph that somebody loads, came from an origin.
    pub(super) fn mod_was_fetched(self: &Arc<Self>, version: &ModuleVersion, go_mod: &Ready, place: Place) {
        let now = self.monotonic();
        self.ahead.neighbours.lock().note(version, now);
        let until = place.until(now);
        let came_from = self.provenance_at_hand(version).unwrap_or_default();
        if now > until || !self.layers.upstream.is_last(&came_from.origin) {
            return;
        }
        for version in loaded_next(go_mod.content.slice().unwrap_or_default(), place) {
            let errand = Errand::Graph(version.clone(), until);
            if self.is_worth_it(&errand) && self.ahead.foretold.lock().add(&version, now) {
                self.begin_ahead(errand);
            }
        }
    }

    /// Fetches the `.mod` and `.zip` of `version`, if they are not held, while nobody waits for them yet.
    pub(super) fn begin_rest(self: &Arc<Self>, version: &ModuleVersion) {
        // Whatever its platform, the go command asks for the `.info` of linux-amd64 to learn whether there is a release (protocol.md 87).
        if version.module.is_toolchain() {
            return;
        }
        self.fetch_ahead(Errand::Small(Request::Mod(version.clone())));
        self.fetch_ahead(Errand::Zip(version.clone()));
    }

    async fn fetch_zip_ahead(self: &Arc<Self>, version: &ModuleVersion) {
        let allowance = &self.ahead.zips.allowance;
        let is_left = allowance.lock().is_left(self.monotonic());
        if !is_left || self.holds_zip(version).await {
            return;
        }
        let done = self.begin_own_zip(version).landed_where(|stage| matches!(stage, ZipStage::Done(_)));
        if let Some(ZipStage::Done(Ok((ready, Cache::Miss | Cache::Peer)))) = done.await {
            allowance.lock().spend(ready.content.size(), self.monotonic());
            // A short one says so by itself.
            if ready.content.slice().is_none() {
                ready.waits_for_first_use();
            }
        }
    }

    /// Returns what an origin sent.
    async fn fetch_small_ahead(self: &Arc<Self>, request: &Request) -> Option<Arc<Ready>> {
        let allowance = &self.ahead.small.allowance;
        let is_left = allowance.lock().is_left(self.monotonic());
        if !is_left {
            return None;
        }
        let (ready, cache) = self.begin_own_text(request, Why::Ahead).landed().await?.ok()?;
        if matches!(cache, Cache::Miss | Cache::Peer) {
            allowance.lock().spend(ready.content.size(), self.monotonic());
        }
        (cache == Cache::Miss).then_some(ready)
    }

    fn fetch_ahead(self: &Arc<Self>, errand: Errand) {
        if self.is_worth_it(&errand) {
            self.begin_ahead(errand);
        }
    }

    fn is_worth_it(&self, errand: &Errand) -> bool {
        let request = errand.request();
        // What another node fetches for all would come here for nobody: clients ask whichever node they like.
        let is_wanted =
            self.layers.memory.ready(&key(&request)).is_none() && !self.is_fetched_elsewhere(&request);
        let is_in_time = !matches!(errand, Errand::Graph(_, until) if self.monotonic() > *until);
        // It may be something that nobody has asked for.
        let is_permitted = self.may_fetch(request.module(), "", Mode::Fetch).is_ok()
            && self.check_blocks(&request, Asker::Client).is_ok();
        is_wanted && is_in_time && is_permitted && !self.draining.load(Relaxed)
    }

    fn begin_ahead(self: &Arc<Self>, errand: Errand) {
        if let Some(first) = self.ahead.lane(&errand).push(errand) {
            tokio::spawn(run(Arc::clone(self), first));
        }
    }
}

async fn run(proxy: Arc<Proxy>, first: Errand) {
    if matches!(first, Errand::Zip(_)) {
        tokio::time::sleep(WALK).await;
    }
    let mut next = Some(first);
    while let Some(errand) = next {
        // It may have waited for long.
        if proxy.is_worth_it(&errand) {
            fetch(&proxy, &errand).await;
        }
        next = proxy.ahead.lane(&errand).next();
    }
}

async fn fetch(proxy: &Arc<Proxy>, errand: &Errand) {
    match errand {
        Errand::Zip(version) => proxy.fetch_zip_ahead(version).await,
        Errand::Small(request) => drop(proxy.fetch_small_ahead(request).await),
        Errand::Graph(version, until) => {
            if let Some(go_mod) = proxy.fetch_small_ahead(&errand.request()).await {
                proxy.mod_was_fetched(version, &go_mod, Place::Unpruned(*until));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{new_clock, proxy};
    use super::*;

    #[test]
    fn what_nobody_loads_any_more_is_not_fetched() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), new_clock());
        let proxy = proxy(dir.path(), &clock);
        let Request::Mod(version) = Request::parse("a.b/c/@v/v1.0.0.mod").unwrap() else { panic!("a .mod") };
        let second = Duration::from_secs(1);
        let errand = Errand::Graph(version, proxy.monotonic() + second);
        clock.advance(second);
        assert!(proxy.is_worth_it(&errand));
        clock.advance(second);
        assert!(!proxy.is_worth_it(&errand));
    }

    #[test]
    fn a_lane_bounds_who_runs_and_who_waits() {
        const WAITING_MAX: usize = 10;
        let lane = Lane::new(2, WAITING_MAX, Allowance::for_small_files());
        let request = |n: usize| Errand::Small(Request::parse(&format!("a.b/c/@v/v1.0.{n}.info")).unwrap());
        assert_eq!(lane.push(request(0)), Some(request(0)));
        assert_eq!(lane.push(request(1)), Some(request(1)));
        for n in 2..WAITING_MAX + 5 {
            assert_eq!(lane.push(request(n)), None);
        }
        for n in 5..WAITING_MAX + 5 {
            assert_eq!(lane.next(), Some(request(n)), "the newest wait");
        }
        assert_eq!((lane.next(), lane.next()), (None, None));
        assert_eq!(lane.push(request(9)), Some(request(9)));
    }

    #[test]
    fn there_is_always_a_place_for_what_somebody_waits_for() {
        for places in 1..100 {
            let ahead = Ahead::new(places);
            assert!(
                2 * (ahead.small.running_max + ahead.zips.running_max) < places,
                "{places}: each may look up a sum"
            );
        }
        let Request::Zip(version) = Request::parse("a.b/c/@v/v1.0.0.zip").unwrap() else { panic!("a zip") };
        let zip = Errand::Zip(version);
        let none = Ahead::new(1);
        assert_eq!(none.lane(&zip).push(zip.clone()), None);
        assert!(none.zips.state.lock().waiting.is_empty(), "nobody would ever take it");
    }
}
