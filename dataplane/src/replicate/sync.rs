//! Bringing slots into sync: those that come here with a layout, with all that others hold of them; those that were here before, now
//! and then, with what is small.
//!
//! What can be fetched again is copied when a slot moves by plan, and not when nodes merely differ: each evicts by what its own
//! clients ask for. Invariant: a layout is reported as in sync only when all who may hold something of its slots, and live, were asked and all of
//! that was taken.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cluster::layout::Slot;
use cluster::{NodeName, View};
use futures_util::StreamExt as _;
use gomod::ModuleVersion;
use proto::data::v1 as pb;
use tokio_util::sync::CancellationToken;

use super::missing;
use super::slots::SlotSet;
use super::synced::SyncedFile;
use crate::peers::{Peers, Unreachable, of_name};
use crate::serve::{CopyError, Depth, Proxy};
use crate::store::Store;

/// Between two looks at whether the layout has changed.
const INTERVAL: Duration = Duration::from_millis(250);
/// After a pass that left something.
const RETRY: Duration = Duration::from_secs(1);
/// Between two comparisons of what was in sync before.
const COMPARE_INTERVAL: Duration = Duration::from_mins(10);
/// Versions taken at a time.
const AT_ONCE: usize = 4;

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
}

/// See the head of this file.
pub struct SlotSync {
    proxy: Arc<Proxy>,
    peers: Arc<Peers>,
    store: Arc<Store>,
    progress: Arc<Progress>,
    file: SyncedFile,
    /// Bytes a second.
    rate: u64,
}

/// What a pass copies.
struct Pass<'a> {
    sync: &'a SlotSync,
    depth: Depth,
    begun: Instant,
    bytes: AtomicU64,
}

impl SlotSync {
    /// Copies at most `rate` bytes a second; what is in sync is written into `folder`.
    pub fn new(
        proxy: Arc<Proxy>,
        peers: Arc<Peers>,
        store: Arc<Store>,
        progress: Arc<Progress>,
        folder: &Path,
        rate: u64,
    ) -> Self {
        Self { proxy, peers, store, progress, file: SyncedFile::new(folder), rate: rate.max(1) }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.work()).await;
    }

    async fn work(&self) {
        let file = self.file.clone();
        let mut in_sync = tokio::task::spawn_blocking(move || file.read()).await.unwrap_or_default();
        // What was in sync may have changed while this node was away.
        let mut stale = in_sync.clone();
        let mut compared = Instant::now();
        loop {
            let Some((me, view)) = self.peers.view() else {
                tokio::time::sleep(INTERVAL).await;
                continue;
            };
            let Some(placement) = view.placement() else {
                tokio::time::sleep(INTERVAL).await;
                continue;
            };
            let held = missing::held(placement, &me);
            in_sync = in_sync.iter().filter(|slot| held.contains(*slot)).collect();
            let wanted: SlotSet = held.iter().filter(|slot| !in_sync.contains(*slot)).collect();
            let epoch = view.transition().current.get();
            if wanted.is_empty() {
                self.progress.bytes_left.store(0, Relaxed);
                let is_placed = placement.new_layout().nodes().contains(&me);
                self.progress.synced_epoch.store(if is_placed { epoch } else { 0 }, Relaxed);
                stale = stale.iter().filter(|slot| held.contains(*slot)).collect();
                if !stale.is_empty() {
                    let done = self.pass(&view, &me, &stale, Depth::Texts).await;
                    stale = stale.iter().filter(|slot| !done.contains(*slot)).collect();
                    tokio::time::sleep(if stale.is_empty() { INTERVAL } else { RETRY }).await;
                } else if compared.elapsed() >= COMPARE_INTERVAL {
                    (stale, compared) = (held, Instant::now());
                } else {
                    tokio::time::sleep(INTERVAL).await;
                }
                continue;
            }
            if view.transition().paused {
                tokio::time::sleep(INTERVAL).await;
                continue;
            }
            let done = self.pass(&view, &me, &wanted, Depth::Whole).await;
            for slot in done.iter() {
                in_sync.insert(slot);
            }
            self.write(in_sync.clone()).await;
            if done.len() < wanted.len() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn write(&self, slots: SlotSet) {
        let file = self.file.clone();
        match tokio::task::spawn_blocking(move || file.write(&slots)).await {
            Ok(Ok(())) => {}
            // It is asked for again after the next start.
            Ok(Err(error)) => tracing::warn!(%error, "failed to write which slots are in sync"),
            Err(error) => tracing::warn!(%error, "failed to write which slots are in sync"),
        }
    }

    /// Copies what others hold of `slots`; gives back those of which everything has come.
    async fn pass(&self, view: &View, me: &NodeName, slots: &SlotSet, depth: Depth) -> SlotSet {
        let Some(placement) = view.placement() else { return SlotSet::default() };
        let lives = |name: &NodeName| view.node(name).is_some_and(|node| !node.state.is_away());
        let sources = missing::sources(placement, me, slots, lives);
        let pass = Pass { sync: self, depth, begun: Instant::now(), bytes: AtomicU64::new(0) };
        let mut failed = BTreeSet::new();
        if depth == Depth::Whole {
            let mut left = 0;
            for (node, slots) in &sources {
                // Only a figure for operators: what cannot be counted is met again below.
                left += pass.count(node, slots).await.unwrap_or_default();
            }
            self.progress.bytes_left.store(left, Relaxed);
        }
        for (node, wanted) in &sources {
            match pass.take(node, wanted).await {
                Ok(slots) => failed.extend(slots),
                Err(error) => {
                    tracing::debug!(%error, "slots cannot be brought into sync yet");
                    failed.extend(wanted.iter());
                }
            }
        }
        slots.iter().filter(|slot| !failed.contains(slot)).collect()
    }

    /// Of a page, the versions of which something is missing here, with the bytes of their zips that are.
    async fn lacking(&self, page: Vec<pb::Holding>, depth: Depth) -> Vec<(ModuleVersion, u64)> {
        let store = Arc::clone(&self.store);
        let looking = tokio::task::spawn_blocking(move || {
            let mut lacking = Vec::new();
            for holding in page {
                let Some(version) = holding.name.as_ref().and_then(of_name) else { continue };
                // What cannot be read here is fetched anew.
                let held = store.record(&version).ok().flatten().unwrap_or_default();
                let zip = depth == Depth::Whole && holding.zip_size > 0 && held.zip.is_none();
                let texts = holding.info && held.info.is_none() || holding.go_mod && held.go_mod.is_none();
                if zip || texts {
                    lacking.push((version, if zip { holding.zip_size } else { 0 }));
                }
            }
            lacking
        });
        looking.await.unwrap_or_default()
    }
}

impl Pass<'_> {
    /// Bytes that are to come from `node`.
    async fn count(&self, node: &NodeName, slots: &SlotSet) -> Result<u64, Unreachable> {
        let mut pages = self.sync.peers.holdings(node, slots.as_bytes()).await?;
        let mut bytes = 0;
        while let Some(page) = pages.next().await? {
            bytes += self.sync.lacking(page, self.depth).await.iter().map(|(_, bytes)| bytes).sum::<u64>();
        }
        Ok(bytes)
    }

    /// Takes what `node` holds; gives back the slots of what could not be taken.
    async fn take(&self, node: &NodeName, slots: &SlotSet) -> Result<BTreeSet<Slot>, Unreachable> {
        let mut pages = self.sync.peers.holdings(node, slots.as_bytes()).await?;
        let mut failed = BTreeSet::new();
        while let Some(page) = pages.next().await? {
            let lacking = self.sync.lacking(page, self.depth).await;
            let taking = lacking.into_iter().map(|(version, _)| async move {
                let taken = self.sync.proxy.take_copies_to(&version, node, self.depth).await;
                (version, taken)
            });
            let mut taking = futures_util::stream::iter(taking).buffer_unordered(AT_ONCE);
            while let Some((version, taken)) = taking.next().await {
                match taken {
                    Ok(bytes) => self.pace(bytes).await,
                    Err(CopyError::Unreachable) => drop(failed.insert(Slot::of(version.module.as_str()))),
                    // It will not be better the next time; whoever asks for it fetches it.
                    Err(error @ CopyError::Refused(_)) => {
                        tracing::debug!(%node, %error, "a copy was not taken");
                    }
                }
            }
        }
        Ok(failed)
    }

    /// Waits until so many bytes may have come.
    async fn pace(&self, bytes: u64) {
        let progress = &self.sync.progress;
        let left = progress.bytes_left.load(Relaxed).saturating_sub(bytes);
        progress.bytes_left.store(left, Relaxed);
        let total = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        let due = self.begun + Duration::from_secs_f64(total as f64 / self.sync.rate as f64);
        tokio::time::sleep_until(due.into()).await;
    }
}
