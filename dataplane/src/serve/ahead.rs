//! What is fetched before it is asked for.
//!
//! Who asks for the `.info` of a version asks for its `.mod` and `.zip` next, and for the `.info`s of the rest of its
//! module graph (`neighbours`). A lone `.mod` says nothing of the kind: most versions in a module graph are never
//! built; but it may say which other `.mod`s belong to the graph (`graph`). Such fetches wait in lanes of their own, so that they never take the places of requests that somebody
//! waits for. What does not fit is dropped, the oldest first, and so are zips that the [`Allowance`] has nothing left for: they are
//! fetched when they are asked for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

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

/// Small files fetched ahead at a time; never with more than a part of the places at an origin.
const SMALL_MAX: usize = 24;
const PLACES_FOR_ONE_SMALL: usize = 2;
/// Zips fetched ahead at a time. Each keeps a processor busy with hashing, beside the small files that somebody waits for.
const ZIPS_MAX: usize = 4;
const PLACES_FOR_ONE_ZIP: usize = 8;
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
    /// A `.mod` whose requirements are loaded as well.
    Graph(ModuleVersion),
    /// A zip.
    Zip(ModuleVersion),
}

impl Errand {
    fn request(&self) -> Request {
        match self {
            Self::Small(request) => request.clone(),
            Self::Graph(version) => Request::Mod(version.clone()),
            Self::Zip(version) => Request::Zip(version.clone()),
        }
    }
}

/// See the head of this file.
pub(crate) struct Ahead {
    neighbours: Mutex<Neighbours>,
    foretold: Mutex<Foretold>,
    allowance: Mutex<Allowance>,
    small: Lane,
    zips: Lane,
}

impl Ahead {
    /// For origins that give `places` requests at a time a place; where there is no place to spare, nothing is fetched ahead.
    pub(super) fn new(places: usize) -> Self {
        Self {
            neighbours: Mutex::default(),
            foretold: Mutex::default(),
            allowance: Mutex::default(),
            small: Lane::new(SMALL_MAX.min(places / PLACES_FOR_ONE_SMALL), SMALL_WAITING_MAX),
            zips: Lane::new(ZIPS_MAX.min(places / PLACES_FOR_ONE_ZIP), ZIPS_WAITING_MAX),
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
}

#[derive(Default)]
struct LaneState {
    waiting: VecDeque<Errand>,
    running: usize,
}

impl Lane {
    fn new(running_max: usize, waiting_max: usize) -> Self {
        Self { running_max, waiting_max, state: Mutex::default() }
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
        for version in loaded_next(go_mod.content.slice().unwrap_or_default(), place) {
            let errand = Errand::Graph(version.clone());
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
        let is_left = self.ahead.allowance.lock().is_left(self.monotonic());
        if !is_left || self.holds_zip(version).await {
            return;
        }
        let done = self.begin_own_zip(version).landed_where(|stage| matches!(stage, ZipStage::Done(_)));
        if let Some(ZipStage::Done(Ok((ready, Cache::Miss | Cache::Peer)))) = done.await {
            self.ahead.allowance.lock().spend(ready.content.size(), self.monotonic());
        }
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
        // It may be something that nobody has asked for.
        let is_permitted = self.may_fetch(request.module(), "", Mode::Fetch).is_ok()
            && self.check_blocks(&request, Asker::Client).is_ok();
        is_wanted && is_permitted && !self.draining.load(Relaxed)
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
        match &errand {
            Errand::Zip(version) => proxy.fetch_zip_ahead(version).await,
            Errand::Small(request) => drop(proxy.begin_own_text(request, Why::Ahead).landed().await),
            Errand::Graph(version) => {
                let landed = proxy.begin_own_text(&Request::Mod(version.clone()), Why::Ahead).landed().await;
                if let Some(Ok((go_mod, Cache::Miss))) = landed {
                    proxy.mod_was_fetched(version, &go_mod, Place::Unpruned);
                }
            }
        }
        next = proxy.ahead.lane(&errand).next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_bounds_who_runs_and_who_waits() {
        const WAITING_MAX: usize = 10;
        let lane = Lane::new(2, WAITING_MAX);
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
            assert!(ahead.small.running_max + ahead.zips.running_max < places, "{places}");
        }
        let Request::Zip(version) = Request::parse("a.b/c/@v/v1.0.0.zip").unwrap() else { panic!("a zip") };
        let zip = Errand::Zip(version);
        let none = Ahead::new(1);
        assert_eq!(none.lane(&zip).push(zip.clone()), None);
        assert!(none.zips.state.lock().waiting.is_empty(), "nobody would ever take it");
    }
}
