//! Bringing slots into sync: those that come here with a layout, with all that others hold of them; those that were here before, now
//! and then, with what is small.
//!
//! What can be fetched again is copied when a slot moves by plan, and not when nodes merely differ: each evicts by what its own
//! clients ask for. Invariant: a layout is reported as in sync only when all who may hold something of its slots, and live, were asked and all of
//! that was taken, or given up with a warning.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cluster::layout::Slot;
use cluster::record::TransitionRecord;
use cluster::{Epoch, NodeName, Revision, View};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::missing;
use super::offers::OfferQueue;
use super::pass::{Failures, Pass, Walked};
use super::slots::SlotSet;
use super::strays::strays;
use super::synced::{Synced, SyncedFile};
use crate::peers::Peers;
use crate::serve::{Depth, Proxy};
use crate::store::Store;

/// Between two looks at whether the layout has changed.
const INTERVAL: Duration = Duration::from_millis(250);
/// After a pass that left something, at first and at most: each reads whole stores.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// Between two comparisons of what was in sync before.
const COMPARE_INTERVAL: Duration = Duration::from_mins(10);

/// How far it has come, for heartbeats.
#[derive(Debug, Default)]
pub struct Progress {
    synced_epoch: AtomicU64,
    bytes_left: AtomicU64,
}

impl Progress {
    /// The layout that this node has everything of; 0 if it is in none.
    pub fn synced_epoch(&self) -> u64 {
        self.synced_epoch.load(Relaxed)
    }

    /// Bytes of zips that have still to come for the layout in force.
    pub fn bytes_left(&self) -> u64 {
        self.bytes_left.load(Relaxed)
    }

    pub(super) fn set_bytes_left(&self, bytes: u64) {
        self.bytes_left.store(bytes, Relaxed);
    }

    pub(super) fn came(&self, bytes: u64) {
        let _ = self.bytes_left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(bytes)));
    }
}

/// What a repair came to, or has come to so far.
#[derive(Debug, Default, Clone)]
pub struct Repaired {
    /// Replicas that were asked.
    pub nodes: u32,
    /// Versions that were taken.
    pub taken: u64,
    /// Bytes of their zips.
    pub taken_bytes: u64,
    /// Versions that could not be taken.
    pub failed: u64,
    /// Replicas that could not be asked.
    pub unreachable: Vec<NodeName>,
    /// Whether another layout came, so that the rest was not taken.
    pub broken_off: bool,
}

/// See the head of this file.
pub struct SlotSync {
    pub(super) proxy: Arc<Proxy>,
    pub(super) peers: Arc<Peers>,
    pub(super) store: Arc<Store>,
    pub(super) progress: Arc<Progress>,
    offers: Arc<OfferQueue>,
    file: SyncedFile,
    /// Bytes a second.
    pub(super) rate: u64,
}

/// What is known between two looks.
struct State {
    synced: Synced,
    /// In sync once, to be compared again.
    stale: SlotSet,
    compared: Instant,
    /// What is pinned, as it was compared last.
    pinned: BTreeSet<(String, Option<String>)>,
    seen: Revision,
    failures: Failures,
    walked: Walked,
    retry: Duration,
    /// The layouts that were looked at last.
    looked_at: Option<TransitionRecord>,
    /// The layout for which bytes were counted.
    counted: Epoch,
    /// The layout by which others were told of what should be with them.
    told: Epoch,
}

impl SlotSync {
    /// Copies at most `rate` bytes a second; what is in sync is written into `folder`.
    pub fn new(
        proxy: Arc<Proxy>,
        peers: Arc<Peers>,
        store: Arc<Store>,
        progress: Arc<Progress>,
        offers: Arc<OfferQueue>,
        folder: &Path,
        rate: u64,
    ) -> Self {
        Self { proxy, peers, store, progress, offers, file: SyncedFile::new(folder), rate: rate.max(1) }
    }

    /// Takes now what other replicas hold of this node's slots and this node does not, zips included; `so_far` is kept current. Another layout
    /// breaks it off.
    pub async fn repair(&self, so_far: &Mutex<Repaired>) {
        let Some((me, view)) = self.peers.view() else { return };
        let Some(placement) = view.placement() else { return };
        let held = missing::held(placement, &me);
        let mut failures = Failures::default();
        self.pass(&view, &held, Depth::Whole, &mut failures).telling(so_far).run(false).await;
    }

    /// Works until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        stop.run_until_cancelled(self.work()).await;
    }

    async fn work(&self) {
        let file = self.file.clone();
        let synced = tokio::task::spawn_blocking(move || file.read()).await.unwrap_or_default();
        let mut state = State {
            // What was in sync may have changed while this node was away.
            stale: synced.slots.clone(),
            synced,
            compared: Instant::now(),
            pinned: BTreeSet::new(),
            seen: Revision::default(),
            failures: Failures::default(),
            walked: Walked::default(),
            retry: RETRY_MIN,
            looked_at: None,
            counted: Epoch::default(),
            told: Epoch::default(),
        };
        loop {
            let pause = Box::pin(self.look(&mut state)).await;
            self.rest(pause, state.looked_at).await;
        }
    }

    /// Waits for so long, or until the layouts are others than those that were looked at: they do not wait for what failed before.
    async fn rest(&self, pause: Duration, looked_at: Option<TransitionRecord>) {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(INTERVAL)).await;
            let now = self.peers.view().map(|(_, view)| view.transition());
            if left <= INTERVAL || now != looked_at {
                return;
            }
        }
    }

    /// Looks at the layout and does what there is to do; how long to wait then.
    async fn look(&self, state: &mut State) -> Duration {
        let Some((me, view)) = self.peers.view() else { return INTERVAL };
        state.looked_at = Some(view.transition());
        let Some(placement) = view.placement() else { return INTERVAL };
        let (epoch, before) = (view.transition().current, view.transition().previous);
        let held = missing::held(placement, &me);
        let is_new = state.synced.epoch != epoch;
        if state.synced.follow(epoch, before, &held) {
            if is_new {
                // What was left for the layout before says nothing of this one.
                self.progress.set_bytes_left(0);
                state.synced.slots = state.synced.slots.without(&missing::left(placement, &me));
            }
            state.retry = RETRY_MIN;
            (state.failures, state.walked) = (Failures::default(), Walked::default());
            self.write(&state.synced).await;
        }
        if view.revision() != state.seen {
            state.seen = view.revision();
            state.compare_pinned(&view, &held);
        }
        let wanted = held.without(&state.synced.slots);
        if wanted.is_empty() {
            self.progress.set_bytes_left(0);
            let is_placed = placement.new_layout().nodes().contains(&me);
            self.progress.synced_epoch.store(if is_placed { epoch.get() } else { 0 }, Relaxed);
        } else {
            // After a recovery an epoch may be given out again.
            self.progress.synced_epoch.store(0, Relaxed);
        }
        let in_sync = held.without(&wanted);
        state.stale = state.stale.within(&in_sync);
        if state.compared.elapsed() >= COMPARE_INTERVAL {
            state.stale = state.stale.with(&in_sync);
            (state.compared, state.told) = (Instant::now(), Epoch::default());
        }
        if state.told != epoch {
            state.told = epoch;
            self.tell_of_strays(&view, &held).await;
        }
        // What is here stays whole while moving is halted.
        if wanted.is_empty() || view.transition().paused {
            return self.compare(state, &view).await;
        }
        self.bring(state, &view, &wanted).await
    }

    /// Compares with other replicas what was in sync before, if it is due.
    async fn compare(&self, state: &mut State, view: &Arc<View>) -> Duration {
        if state.stale.is_empty() {
            return INTERVAL;
        }
        let done = self.pass(view, &state.stale, Depth::Texts, &mut state.failures).run(false).await;
        state.stale = state.stale.without(&done);
        if state.stale.is_empty() { state.done(INTERVAL) } else { state.again() }
    }

    /// Brings what is `wanted` here, some of it at a time: the comparison of what is here already is not to wait for a move of days.
    async fn bring(&self, state: &mut State, view: &Arc<View>, wanted: &SlotSet) -> Duration {
        let epoch = view.transition().current;
        let counts = state.counted != epoch;
        if counts || !state.stale.is_empty() {
            // What may be nowhere else comes before all that can be fetched again.
            let all = if counts { wanted.with(&state.stale) } else { state.stale.clone() };
            let done = self.pass(view, &all, Depth::Texts, &mut state.failures).run(false).await;
            (state.counted, state.stale) = (epoch, state.stale.without(&done));
        }
        let until = Instant::now() + COMPARE_INTERVAL;
        let whole = self.pass(view, wanted, Depth::Whole, &mut state.failures);
        let done = whole.until(until, &mut state.walked).run(counts).await;
        if !done.is_empty() {
            state.synced.slots = state.synced.slots.with(&done);
            self.write(&state.synced).await;
        }
        if done.len() == wanted.len() {
            state.done(Duration::ZERO)
        } else if until <= Instant::now() {
            Duration::ZERO
        } else {
            state.again()
        }
    }

    async fn tell_of_strays(&self, view: &Arc<View>, held: &SlotSet) {
        let (store, view, held) = (Arc::clone(&self.store), Arc::clone(view), held.clone());
        let looking = tokio::task::spawn_blocking(move || {
            let marks = view.marks();
            strays(&store, &held, &|stray| marks.pins(stray.module.as_str(), stray.version.as_str()))
        });
        match looking.await {
            Ok(Ok(found)) => {
                for version in found {
                    self.offers.add(version, self.proxy.monotonic());
                }
            }
            // It is tried again with the next comparison.
            Ok(Err(error)) => tracing::debug!(%error, "what is to be kept could not be looked through"),
            Err(error) => tracing::debug!(%error, "what is to be kept could not be looked through"),
        }
    }

    fn pass<'a>(
        &'a self,
        view: &'a Arc<View>,
        slots: &'a SlotSet,
        depth: Depth,
        failures: &'a mut Failures,
    ) -> Pass<'a> {
        Pass::new(self, view, slots, depth, failures)
    }

    /// Writes what is in sync, after that itself is on disk.
    async fn write(&self, synced: &Synced) {
        let (file, store, synced) = (self.file.clone(), Arc::clone(&self.store), synced.clone());
        let writing = tokio::task::spawn_blocking(move || {
            store.sync().map_err(|error| std::io::Error::other(error.to_string()))?;
            file.write(&synced)
        });
        match writing.await {
            Ok(Ok(())) => {}
            // It is asked for again after the next start.
            Ok(Err(error)) => {
                tracing::warn!(%error, "failed to write which slots are in sync");
            }
            Err(error) => {
                tracing::warn!(%error, "failed to write which slots are in sync");
            }
        }
    }
}

impl State {
    /// What has been pinned is to be at all replicas now, not with the next comparison.
    fn compare_pinned(&mut self, view: &View, held: &SlotSet) {
        let owned = |(module, version): (&str, Option<&str>)| (module.to_owned(), version.map(str::to_owned));
        let pinned: BTreeSet<_> = view.marks().pinned().map(owned).collect();
        let fresh: SlotSet = pinned.difference(&self.pinned).map(|(module, _)| Slot::of(module)).collect();
        self.stale = self.stale.with(&fresh.within(held));
        self.pinned = pinned;
    }

    /// Waits for `pause`, since nothing was left; what fails next is not what failed before.
    fn done(&mut self, pause: Duration) -> Duration {
        self.retry = RETRY_MIN;
        self.failures = Failures::default();
        pause
    }

    /// How long to wait before the next attempt.
    fn again(&mut self) -> Duration {
        let pause = self.retry;
        self.retry = (pause * 2).min(RETRY_MAX);
        pause
    }
}
