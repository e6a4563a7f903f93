//! One attempt at copying what others hold of some slots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::layout::Slot;
use cluster::{NodeName, View};
use futures_util::StreamExt as _;
use gomod::ModuleVersion;
use parking_lot::Mutex;
use proto::data::v1 as pb;

use super::digests::Digests;
use super::holdings::digests_of;
use super::missing;
use super::slots::SlotSet;
use super::sync::{Repaired, SlotSync};
use crate::peers::{Unreachable, of_name};
use crate::serve::{CopyError, Depth, ServeError};
use crate::store::{Class, ClassChange};

/// Versions taken at a time.
const AT_ONCE: usize = 4;
/// Attempts at one version, after which its slot does not wait for it any longer.
const ATTEMPTS_MAX: u32 = 5;
/// Versions whose failures are counted.
const FAILURES_MAX: usize = 10_000;

/// How often versions could not be taken, since all could last.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<(ModuleVersion, NodeName), u32>);

impl Failures {
    /// `version` could not be taken from `node`. Tells whether it is given up, which is logged once. What `lasts` never is: it may be
    /// nowhere else, so its slot waits for it.
    fn failed(&mut self, version: &ModuleVersion, node: &NodeName, lasts: bool) -> bool {
        let key = (version.clone(), node.clone());
        if !self.0.contains_key(&key) && self.0.len() >= FAILURES_MAX {
            // Where so much fails none is worth another attempt.
            return !lasts;
        }
        let count = self.0.entry(key).or_default();
        *count = count.saturating_add(1);
        if *count == ATTEMPTS_MAX {
            if lasts {
                tracing::warn!(%node, "a version that is to be kept cannot be copied and its slot waits for it; `goproxyctl cache scrub` tells of what cannot be read");
            } else {
                tracing::warn!(%node, "a version cannot be copied and is given up; it is fetched when it is asked for");
            }
        }
        *count >= ATTEMPTS_MAX && !lasts
    }

    /// Whether another attempt would be one too many.
    fn has_given_up(&self, lacking: &Lacking, node: &NodeName) -> bool {
        let key = (lacking.version.clone(), node.clone());
        !lacking.lasts && self.0.get(&key).is_some_and(|count| *count >= ATTEMPTS_MAX)
    }
}

/// Of which slots each node has given all that it holds, by the layout in force.
#[derive(Debug, Default)]
pub(super) struct Walked(BTreeMap<NodeName, SlotSet>);

impl Walked {
    fn add(&mut self, node: &NodeName, slots: &SlotSet) {
        let so_far = self.0.entry(node.clone()).or_default();
        *so_far = so_far.with(slots);
    }

    /// Those of the `slots` of which it has not.
    fn left_of(&self, node: &NodeName, slots: &SlotSet) -> SlotSet {
        self.0.get(node).map_or_else(|| slots.clone(), |walked| slots.without(walked))
    }
}

/// A version of which something is missing here.
struct Lacking {
    version: ModuleVersion,
    /// Bytes of its zip, if that is missing; 0 otherwise.
    zip_bytes: u64,
    /// Whether it is to be kept wherever it should be: it was published or is pinned, or its origin has lost it.
    lasts: bool,
}

/// Bytes that have to come of each slot.
#[derive(Debug, Default)]
struct BytesLeft(BTreeMap<Slot, u64>);

impl BytesLeft {
    fn add(&mut self, slot: Slot, bytes: u64) {
        if bytes > 0 {
            let left = self.0.entry(slot).or_default();
            *left = left.saturating_add(bytes);
        }
    }

    /// Another node holds these. Replicas of a slot hold the same zips, or some of them, and each comes once: what counts is what the one has
    /// that has most. To know it of each zip would take memory for all that come.
    fn also(&mut self, other: Self) {
        for (slot, bytes) in other.0 {
            let left = self.0.entry(slot).or_default();
            *left = bytes.max(*left);
        }
    }

    fn sum(&self) -> u64 {
        self.0.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

/// See the head of this file.
pub(super) struct Pass<'a> {
    sync: &'a SlotSync,
    view: &'a Arc<View>,
    slots: &'a SlotSet,
    depth: Depth,
    failures: &'a mut Failures,
    begun: Instant,
    bytes: AtomicU64,
    telling: Option<&'a Mutex<Repaired>>,
    /// When it is broken off; what is left then is for the next one …
    until: Option<Instant>,
    /// … and what was not, is not.
    walked: Option<&'a mut Walked>,
    /// Those of the slots of which only what differs is asked for, with the digests of what is held of them here.
    compared: Option<(SlotSet, Digests)>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        sync: &'a SlotSync,
        view: &'a Arc<View>,
        slots: &'a SlotSet,
        depth: Depth,
        failures: &'a mut Failures,
    ) -> Self {
        Self {
            sync,
            view,
            slots,
            depth,
            failures,
            begun: Instant::now(),
            bytes: AtomicU64::new(0),
            telling: None,
            until: None,
            walked: None,
            compared: None,
        }
    }

    /// Keeps `so_far` current.
    pub(super) fn telling(self, so_far: &'a Mutex<Repaired>) -> Self {
        Self { telling: Some(so_far), ..self }
    }

    /// Ends at this time, whatever is left; who has been `walked` before is not asked again.
    pub(super) fn until(self, end: Instant, walked: &'a mut Walked) -> Self {
        Self { until: Some(end), walked: Some(walked), ..self }
    }

    fn tell(&self, change: impl FnOnce(&mut Repaired)) {
        if let Some(so_far) = self.telling {
            change(&mut so_far.lock());
        }
    }

    /// Copies; gives back the slots of which everything has come. `counts` first how much that will be.
    pub(super) async fn run(mut self, counts: bool) -> SlotSet {
        let (Some((me, _)), Some(placement)) = (self.sync.peers.view(), self.view.placement()) else {
            return SlotSet::default();
        };
        let view = self.view;
        let lives = |name: &NodeName| view.node(name).is_some_and(|node| !node.state.is_away());
        let sources = missing::sources(placement, &me, self.slots, lives);
        // What those who are away may hold is not asked of anybody.
        self.tell(|so_far| {
            let all = missing::sources(placement, &me, self.slots, |_| true);
            so_far.unreachable.extend(all.into_keys().filter(|node| !lives(node)));
        });
        if counts {
            let mut left = BytesLeft::default();
            for (node, slots) in &sources {
                // Only a figure for operators: what cannot be counted is met again below.
                left.also(self.count(node, slots).await.unwrap_or_default());
            }
            self.sync.progress.set_bytes_left(left.sum());
        }
        self.compared = self.digests().await;
        let mut failed = BTreeSet::new();
        for (node, wanted) in &sources {
            let wanted =
                self.walked.as_ref().map_or_else(|| wanted.clone(), |walked| walked.left_of(node, wanted));
            if wanted.is_empty() {
                continue;
            }
            if !self.is_still_wanted() {
                failed.extend(wanted.iter());
                continue;
            }
            self.tell(|so_far| so_far.nodes += 1);
            match self.take(node, &wanted).await {
                Ok(slots) => {
                    if let Some(walked) = &mut self.walked {
                        walked.add(node, &wanted.iter().filter(|slot| !slots.contains(slot)).collect());
                    }
                    failed.extend(slots);
                }
                Err(error) => {
                    tracing::debug!(%error, "slots cannot be brought into sync yet");
                    self.tell(|so_far| so_far.unreachable.push(node.clone()));
                    failed.extend(wanted.iter());
                }
            }
        }
        if !self.is_still_wanted() {
            self.tell(|so_far| so_far.broken_off = true);
        }
        self.slots.iter().filter(|slot| !failed.contains(slot)).collect()
    }

    /// What is compared before anything is listed, where small files are all that is wanted. Of what is pinned zips are wanted, too, which digests
    /// do not stand for.
    async fn digests(&self) -> Option<(SlotSet, Digests)> {
        if self.depth != Depth::Texts {
            return None;
        }
        let pinned: SlotSet = self.view.marks().pinned().map(|(module, _)| Slot::of(module)).collect();
        let (store, slots) = (Arc::clone(&self.sync.store), self.slots.without(&pinned));
        let reading =
            tokio::task::spawn_blocking(move || digests_of(&store, &slots).map(|digests| (slots, digests)));
        // What cannot be compared is listed.
        reading.await.ok()?.ok()
    }

    fn ask(&self, slots: &SlotSet) -> pb::StreamHoldingsRequest {
        let (compared_slots, digests) = match &self.compared {
            None => (Bytes::new(), Bytes::new()),
            Some((compared, digests)) => {
                let compared = compared.within(slots);
                (Bytes::copy_from_slice(compared.as_bytes()), digests.to_bytes(&compared).into())
            }
        };
        let slots = Bytes::copy_from_slice(slots.as_bytes());
        pb::StreamHoldingsRequest { slots, compared_slots, digests }
    }

    /// Bytes that could come from `node`.
    async fn count(&self, node: &NodeName, slots: &SlotSet) -> Result<BytesLeft, Unreachable> {
        let mut pages = self.sync.peers.holdings(node, self.ask(slots)).await?;
        let mut left = BytesLeft::default();
        while let Some(page) = pages.next().await? {
            for Lacking { version, zip_bytes, .. } in self.lacking(node, page).await? {
                left.add(Slot::of(version.module.as_str()), zip_bytes);
            }
        }
        Ok(left)
    }

    /// Takes what `node` holds; gives back the slots of what could not be taken.
    async fn take(&mut self, node: &NodeName, slots: &SlotSet) -> Result<BTreeSet<Slot>, Unreachable> {
        let mut pages = self.sync.peers.holdings(node, self.ask(slots)).await?;
        let mut failed = BTreeSet::new();
        while let Some(page) = pages.next().await? {
            let mut lacking = self.lacking(node, page).await?;
            // A move has to end. With the next comparison a node that was cut off may be there again.
            if self.walked.is_some() {
                lacking.retain(|lacking| !self.failures.has_given_up(lacking, node));
            }
            let (pass, mut broken) = (&*self, Vec::new());
            let taking = lacking.into_iter().map(|Lacking { version, zip_bytes, lasts }| async move {
                if !pass.is_still_wanted() {
                    return (version, lasts, Err(CopyError::Unreachable));
                }
                let depth = if zip_bytes > 0 { Depth::Whole } else { pass.depth };
                let taken = pass.sync.proxy.take_copies_to(&version, node, depth).await;
                match &taken {
                    Ok(bytes) => {
                        pass.tell(|so_far| {
                            so_far.taken += 1;
                            so_far.taken_bytes += bytes;
                        });
                        pass.pace(*bytes).await;
                    }
                    Err(_) => pass.tell(|so_far| so_far.failed += 1),
                }
                (version, lasts, taken)
            });
            let mut taking = futures_util::stream::iter(taking).buffer_unordered(AT_ONCE);
            while let Some((version, lasts, taken)) = taking.next().await {
                match taken {
                    Ok(_) => {}
                    // This node has other content under the name, or that one has none that makes sense.
                    Err(CopyError::Refused(error @ ServeError::BadContent { .. })) => {
                        tracing::debug!(%node, %error, "a copy was not taken");
                    }
                    Err(CopyError::Unreachable | CopyError::NoPlace | CopyError::Refused(_)) => {
                        broken.push((version, lasts));
                    }
                }
            }
            drop(taking);
            if !self.is_still_wanted() {
                failed.extend(slots.iter());
                return Ok(failed);
            }
            for (version, lasts) in broken {
                if !self.failures.failed(&version, node, lasts) {
                    failed.insert(Slot::of(version.module.as_str()));
                }
            }
        }
        Ok(failed)
    }

    /// Whether the layout is still the one that this is for, and, if this is part of the move to it, that is not halted; and there is time.
    fn is_still_wanted(&self) -> bool {
        if self.until.is_some_and(|end| end <= Instant::now()) {
            return false;
        }
        self.sync.peers.view().is_some_and(|(_, now)| {
            let moves = self.depth == Depth::Whole && self.telling.is_none();
            now.transition().current == self.view.transition().current && !(moves && now.transition().paused)
        })
    }

    /// Of a page, the versions of which something is missing here.
    async fn lacking(&self, node: &NodeName, page: Vec<pb::Holding>) -> Result<Vec<Lacking>, Unreachable> {
        let (store, view, depth) = (Arc::clone(&self.sync.store), Arc::clone(self.view), self.depth);
        let teller = node.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let mut lacking = Vec::new();
            for holding in page {
                let Some(version) = holding.name.as_ref().and_then(of_name) else { continue };
                // What cannot be read here is fetched anew.
                let held = store.record(&version).ok().flatten().unwrap_or_default();
                // What was published may be nowhere else, and what is pinned may be nowhere else one day: there are to be as many
                // copies as replicas at all times.
                let (module, number) = (version.module.as_str(), version.version.as_str());
                let lasts = holding.published || holding.retained || view.marks().pins(module, number);
                let wants_zip = depth == Depth::Whole || lasts;
                let zip = wants_zip && holding.zip_size > 0 && held.zip.is_none();
                if holding.published && held.zip.is_some() && held.class != Class::Published {
                    let raised = store.set_class(&version, Class::Published);
                    raised.inspect_err(|error| tracing::warn!(%error, "a copy may be evicted yet")).ok();
                } else if holding.retained && held.zip.is_some() && held.class == Class::Cache {
                    // It is the owner who hears what the origin lists; and whoever brings a slot here knows more than who has yet to hear it.
                    let owner = view.placement().and_then(|layout| layout.owner(Slot::of(module)));
                    if depth == Depth::Whole || owner == Some(&teller) {
                        let change =
                            ClassChange { version: version.clone(), from: Class::Cache, to: Class::Retained };
                        let raised = store.change_classes(&[change]);
                        raised.inspect_err(|error| tracing::debug!(%error, "a copy may be evicted yet")).ok();
                    }
                }
                // What left here, but for what it is bound to, is not wanted here before somebody asks for it.
                let has_left = held.is_stub() && !lasts;
                let texts = !has_left
                    && (holding.info && held.info.is_none() || holding.go_mod && held.go_mod.is_none());
                if zip || texts {
                    let zip_bytes = if zip { holding.zip_size } else { 0 };
                    lacking.push(Lacking { version, zip_bytes, lasts });
                }
            }
            lacking
        });
        looking
            .await
            .map_err(|_| Unreachable { node: node.clone(), why: "its list could not be compared".to_owned() })
    }

    /// Waits until so many bytes may have come.
    async fn pace(&self, bytes: u64) {
        self.sync.progress.came(bytes);
        let total = self.bytes.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let due = self.begun + Duration::from_secs_f64(total as f64 / self.sync.rate as f64);
        tokio::time::sleep_until(due.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gomod::{ModulePath, Version};

    #[test]
    fn what_several_replicas_hold_is_counted_once() {
        let slot = |number| Slot::new(number).unwrap();
        let held = |slots: &[(u16, u64)]| {
            let mut held = BytesLeft::default();
            for (number, bytes) in slots {
                held.add(slot(*number), *bytes);
            }
            held
        };
        let mut left = BytesLeft::default();
        left.also(held(&[(1, 100), (1, 50), (2, 0)]));
        left.also(held(&[(1, 100), (3, 7)]));
        left.also(held(&[(1, 100), (1, 50), (2, 30)]));
        assert_eq!(left.sum(), 150 + 30 + 7);
    }

    #[test]
    fn a_node_that_has_given_all_of_a_slot_is_not_asked_for_it_again() {
        let slots =
            |numbers: &[u16]| numbers.iter().map(|number| Slot::new(*number).unwrap()).collect::<SlotSet>();
        let (a, b) = (NodeName::parse("a").unwrap(), NodeName::parse("b").unwrap());
        let mut walked = Walked::default();
        walked.add(&a, &slots(&[1, 2]));
        walked.add(&a, &slots(&[4]));
        assert_eq!(walked.left_of(&a, &slots(&[1, 2, 3, 4])), slots(&[3]));
        assert_eq!(walked.left_of(&b, &slots(&[1, 2])), slots(&[1, 2]), "another node may hold more of it");
    }

    #[test]
    fn a_version_that_never_comes_is_given_up() {
        let module = ModulePath::parse("a.example/m").unwrap();
        let version = ModuleVersion::new(module, Version::parse("v1.0.0").unwrap()).unwrap();
        let (a, b) = (NodeName::parse("a").unwrap(), NodeName::parse("b").unwrap());
        let mut failures = Failures::default();
        for attempt in 1..ATTEMPTS_MAX {
            assert!(!failures.failed(&version, &a, false), "{attempt}");
        }
        assert!(failures.failed(&version, &a, false) && failures.failed(&version, &a, false));
        assert!(!failures.failed(&version, &b, false), "another node may have it");
        let lacking = |lasts| Lacking { version: version.clone(), zip_bytes: 1, lasts };
        assert!(failures.has_given_up(&lacking(false), &a) && !failures.has_given_up(&lacking(false), &b));
        assert!(!failures.has_given_up(&lacking(true), &a), "it has been pinned since");
        assert!(!failures.failed(&version, &a, true), "it may be nowhere else");
        for number in 0..FAILURES_MAX {
            let node = NodeName::parse(&format!("n{number}")).unwrap();
            let _ = failures.failed(&version, &node, false);
        }
        let c = NodeName::parse("c").unwrap();
        assert!(failures.failed(&version, &c, false), "too much fails to count it");
        assert!(!failures.failed(&version, &c, true), "it may be nowhere else");
    }
}
